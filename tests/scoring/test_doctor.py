"""Every rule speaks up on the run that it is for, and none on a healthy one."""

import pytest

from r1jax.doctor import PATIENCE_VALUES, REMIND_LINES, RULES, WINDOW_VALUES, Doctor, diagnose

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


def test_each_rule_has_a_case_here():
    assert set(SICK) == set(RULES)


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
