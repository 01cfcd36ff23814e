"""Every rule speaks up on the run that it is for, and none on a healthy one."""

import math
import random

import pytest

from r1jax.config import BatchConfig, DataConfig, GrpoConfig, MixedDataConfig, OptimizerConfig, Schedule
from r1jax.doctor import DEFAULT_WINDOW, PATIENCE_VALUES, REMIND_LINES, RULES, WINDOW_VALUES, Doctor, diagnose
from r1jax.doctor.hacking import ACCURACY, SCORE

HEALTHY = {
    "loss": 0.01,
    "grad_norm": 0.4,
    "entropy": 0.4,
    "completion_tokens": 40.0,
    "truncated_share": 0.02,
    "reward/format": 0.7,
    "correct_share": 0.4,
    "no_answer_share": 0.04,
    "zero_variance_share": 0.3,
    "all_right_share": 0.2,
    "all_wrong_share": 0.1,
    "masked_share": 0.0,
    "mismatch": 1e-5,
    "clip_low_share": 0.01,
    "clip_high_share": 0.02,
}
SICK = {
    "truncation": {"truncated_share": 0.7},
    "no_signal": {"zero_variance_share": 0.95, "all_wrong_share": 0.9},
    "format_alone": {"reward/format": 0.95},
    "no_answer": {"no_answer_share": 0.3},
    "entropy_collapse": {"entropy": 0.005},
    "entropy_explosion": {"entropy": 3.0},
    "length_collapse": {"completion_tokens": 8.0, "all_right_share": 0.02},
    "mismatch": {"mismatch": 0.2},
    "clipping": {"clip_low_share": 0.3, "clip_high_share": 0.4},
    "non_finite": {"loss": None},
    "grading": {"masked_share": 0.2},
}


def lines(*parts):
    """(changes, count) ... -> metrics lines with their steps."""
    every = [HEALTHY | changes for changes, count in parts for _ in range(count)]
    return [{"step": step, **line} for step, line in enumerate(every, start=1)]


STEPS, EVERY = 120, 10  # of the series below, and between its validations


def learnt(step: int) -> float:
    """How much of what there is to learn is learnt, from 0 to nearly 1."""
    return 1 - math.exp(-step / 30)


def growing(step: int, *, start: int = 40) -> float:
    """How ill a run is that is well at first: from 0 at `start` to 1 forty steps later."""
    return min(1.0, max(0.0, (step - start) / 40))


def healthy_series(seed: int = 0, **changes) -> list[dict]:
    """A run as GRPO on chained sums gives it, noise and all, with reward models asked at its validations.

    `changes`: what stands in the place of a metric, a function of the step and of its healthy value.
    """
    draw = random.Random(seed)

    def noisy(value: float, share: float = 0.1) -> float:
        return max(0.0, value * (1 + draw.gauss(0, share)))

    series = []
    for step in range(1, STEPS + 1):
        skill = learnt(step)
        right = min(1.0, noisy(0.16 + 0.75 * skill))
        solved = min(1.0, noisy(0.45 * skill**2, 0.3))
        line = {
            "loss": noisy(1e-4, 0.8) * (step > 1),
            "grad_norm": noisy(0.2, 0.3),
            "entropy": noisy(0.27 - 0.235 * skill),
            "kl": noisy(0.08 * skill, 0.5),
            "mismatch": noisy(1e-7, 0.5),
            "ratio_max": 1.0,
            "clip_low_share": noisy(0.002, 0.5),
            "clip_high_share": noisy(0.004, 0.5),
            "zero_variance_share": solved,
            "all_right_share": solved,
            "all_wrong_share": noisy(0.2 * (1 - skill), 0.5),
            "reward/maths": right,
            "reward/format": min(1.0, noisy(0.62 + 0.37 * skill, 0.03)),
            "correct_share": right,
            "no_answer_share": noisy(0.25 * (1 - skill), 0.3),
            "completion_tokens": noisy(32 + 12 * skill, 0.05),
            "truncated_share": noisy(0.01, 0.9),
            "masked_share": 0.0,
        }
        if step % EVERY == 0:
            line |= {
                ACCURACY: 0.15 + 0.75 * skill + draw.gauss(0, 0.02),
                SCORE: -1.0 + 1.5 * skill + draw.gauss(0, 0.1),
            }
        changed = {name: change(step, line[name]) for name, change in changes.items() if name in line}
        series.append({"step": step, **line, **changed})
    return series


# How each illness grows in a run that begins as the healthy one does.
PLANTED = {
    "truncation": {"truncated_share": lambda step, well: well + 0.9 * growing(step)},
    "no_signal": {
        "zero_variance_share": lambda step, well: max(well, growing(step)),
        "all_wrong_share": lambda step, well: max(well, growing(step)),
        "all_right_share": lambda step, well: well * (1 - growing(step)),
    },
    "format_alone": {"correct_share": lambda step, well: 0.15, "all_right_share": lambda step, well: 0.02},
    "no_answer": {"no_answer_share": lambda step, well: well + 0.7 * growing(step)},
    "entropy_collapse": {
        "entropy": lambda step, well: well * (1 - 0.99 * growing(step, start=10)),
        "all_right_share": lambda step, well: 0.1,
    },
    "entropy_explosion": {"entropy": lambda step, well: well + 4 * growing(step)},
    "length_collapse": {
        "completion_tokens": lambda step, well: well - (well - 8) * growing(step),
        "all_right_share": lambda step, well: 0.01,
    },
    "mismatch": {"mismatch": lambda step, well: well + 0.2 * growing(step)},
    "clipping": {"clip_high_share": lambda step, well: well + 0.7 * growing(step)},
    "non_finite": {"grad_norm": lambda step, well: None if step == 77 else well},
    "grading": {"masked_share": lambda step, well: 0.3 * growing(step)},
    "hacking": {
        SCORE: lambda step, well: well + 3 * growing(step),
        ACCURACY: lambda step, well: well - 0.6 * growing(step),
    },
}


def test_each_rule_has_a_case_here():
    assert set(SICK) | {"hacking"} == set(PLANTED) == set(RULES)


@pytest.mark.parametrize("seed", range(10))
def test_a_realistic_healthy_run_has_no_findings(seed):
    assert diagnose(healthy_series(seed)) == []


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("rule", PLANTED)
def test_an_illness_that_grows_in_a_realistic_run_is_found_while_it_goes_and_nothing_else_is_said(rule, seed):
    doctor = Doctor()
    found = [
        finding for line in healthy_series(seed, **PLANTED[rule]) for finding in doctor.observe(line["step"], line)
    ]
    assert {finding.rule for finding in found} == {rule}
    assert all(40 < finding.step <= STEPS or rule == "entropy_collapse" for finding in found)
    assert all(finding.message.endswith(".") and finding.advice.endswith(".") for finding in found)


def test_hacking_says_both_slopes_and_over_which_steps():
    (finding,) = diagnose(healthy_series(**PLANTED["hacking"]))
    assert finding.rule == "hacking"
    assert "the reward model's score moves by +" in finding.message
    assert "the accuracy by -" in finding.message
    assert "Take an earlier checkpoint" in finding.advice


def test_hacking_is_looked_for_over_as_many_validations_as_are_asked_for():
    points = [(1.0, 0.9), (2.0, 0.8), (3.0, 0.7), (4.0, 0.6), (5.0, 0.5), (6.0, 0.4)]
    series = [{"step": 10 * n, SCORE: score, ACCURACY: right} for n, (score, right) in enumerate(points)]
    assert [one.step for one in diagnose(series)] == [10 * (DEFAULT_WINDOW - 1)]  # once, as soon as there are five
    assert [one.step for one in diagnose(series, Doctor(hacking_window=6))] == [50]
    assert diagnose(series, Doctor(hacking_window=7)) == []
    assert diagnose([{**line, SCORE: None} for line in series]) == []


def test_a_doctor_that_is_fed_the_lines_of_before_a_restart_finds_the_hacking_that_began_there():
    series = healthy_series(**PLANTED["hacking"])
    whole, restarted = Doctor(), Doctor()
    steps = [finding.step for line in series for finding in whole.observe(line["step"], line)]
    before = [line for line in series if line["step"] < steps[0]]
    assert [one for line in before for one in restarted.observe(line["step"], line)] == []
    (found,) = restarted.observe(steps[0], series[steps[0] - 1])
    assert found.rule == "hacking"


def test_a_healthy_run_has_no_findings():
    assert diagnose(lines(({}, 300))) == []


@pytest.mark.parametrize("rule", SICK)
def test_a_sick_run_is_found_and_nothing_else_is_said(rule):
    findings = diagnose(lines(({}, PATIENCE_VALUES), (SICK[rule], WINDOW_VALUES)))
    assert [finding.rule for finding in findings] == [rule]
    assert findings[0].message.endswith(".")
    assert findings[0].advice.endswith(".")


def test_the_advice_depends_on_whether_groups_are_all_right_or_all_wrong():
    (wrong,) = diagnose(lines(({"zero_variance_share": 0.9, "all_wrong_share": 0.8, "all_right_share": 0.1}, 10)))
    (right,) = diagnose(lines(({"zero_variance_share": 0.9, "all_wrong_share": 0.1, "all_right_share": 0.8}, 10)))
    assert "easier prompts" in wrong.advice
    assert "harder prompts" in right.advice


def test_all_right_is_fine_while_other_prompts_are_to_come_and_is_said_once_they_are_there():
    solved = {"zero_variance_share": 0.95, "all_right_share": 0.93}
    series = lines((solved, 60))
    schedule = Schedule(((0, 0.0), (30, 0.5)))
    scheduled = GrpoConfig(
        name="rl",
        start="base",
        data=DataConfig("task", name="sums", limit=10),
        num_steps=60,
        optimizer=OptimizerConfig(),
        batch=BatchConfig(2048, 2),
        mixed=(MixedDataConfig(DataConfig("task", name="small_talk", limit=10), schedule),),
    )
    doctor = Doctor.of(scheduled)
    steps = [found.step for line in series for found in doctor.observe(line["step"], line)]
    assert steps == [30 + WINDOW_VALUES]  # over rollouts that have them alone
    lost = {"zero_variance_share": 0.95, "all_wrong_share": 0.93}
    assert [found.step for found in diagnose(lines((lost, WINDOW_VALUES)), Doctor.of(scheduled))] == [WINDOW_VALUES]


def test_low_entropy_is_fine_once_most_prompts_are_solved():
    assert diagnose(lines(({}, 20), ({"entropy": 0.005, "all_right_share": 0.7}, 20))) == []


def test_one_odd_batch_says_nothing():
    assert diagnose(lines(({}, 20), ({"truncated_share": 1.0, "masked_share": 0.4}, 1), ({}, 5))) == []


def test_a_step_that_is_not_finite_is_reported_at_once():
    doctor = Doctor()
    assert doctor.observe(1, HEALTHY) == []
    (finding,) = doctor.observe(2, HEALTHY | {"grad_norm": float("nan")})
    assert (finding.rule, finding.step) == ("non_finite", 2)
    assert "1 of the latest 2 updates" in str(finding)


def test_a_finding_is_repeated_only_after_a_while():
    doctor = Doctor()
    said = [step for step in range(1, 3 * REMIND_LINES) if doctor.observe(step, {"truncated_share": 0.9})]
    assert said == [WINDOW_VALUES, WINDOW_VALUES + REMIND_LINES, WINDOW_VALUES + 2 * REMIND_LINES]


def test_rollout_metrics_are_judged_though_only_the_first_of_sixteen_updates_has_them():
    doctor = Doctor()
    found = []
    for step in range(16 * WINDOW_VALUES):
        figures = {"truncated_share": 0.9} if step % 16 == 0 else {}
        found += doctor.observe(step, {"loss": 0.1, "grad_norm": 1.0} | figures)
    assert [finding.rule for finding in found] == ["truncation"]


def test_a_loss_near_zero_at_the_start_is_normal():
    assert diagnose(lines(({"loss": 0.0, "kl": 0.0}, 60))) == []


def test_a_format_that_is_learnt_before_the_answers_is_normal():
    early = ({"reward/format": 0.5, "correct_share": 0.1}, 15)
    learnt = {"reward/format": 0.98}
    assert diagnose(lines(early, (learnt | {"correct_share": 0.1}, 20), (learnt | {"correct_share": 0.4}, 60))) == []
    (finding,) = diagnose(lines(early, (learnt | {"correct_share": 0.1}, 40)))
    assert finding.rule == "format_alone"
    assert "from 0.50 to 0.98" in finding.message
    assert "10% at the start, 10% now" in finding.message


def test_a_format_that_is_learnt_by_who_answers_all_right_already_is_normal():
    right = {"correct_share": 0.95}
    assert diagnose(lines((right | {"reward/format": 0.5}, 20), (right | {"reward/format": 0.95}, 60))) == []


def test_a_format_reward_of_another_name_counts_too():
    start, now = ({"reward/format": None, "reward/format_r1": value} for value in (0.4, 0.9))
    assert [one.rule for one in diagnose(lines((start, 20), (now, 40)))] == ["format_alone"]


def test_completions_without_an_answer_because_they_are_cut_are_a_matter_of_truncation():
    cut = {"truncated_share": 0.9, "no_answer_share": 0.9}
    assert [one.rule for one in diagnose(lines(({}, 20), (cut, 20)))] == ["truncation"]


def test_a_base_without_answers_that_learns_to_give_them_is_fine():
    assert diagnose(lines(({"no_answer_share": 0.6}, 20), ({"no_answer_share": 0.1}, 20))) == []
