"""RL for all scenarios: general prompts and the reward model that grades them come in the last steps alone."""

import dataclasses
import types

import jax
import numpy as np
import pytest
from test_resume import Stopped, stopping, without_clock
from tiny_preferences import helpful, pairs, written
from tiny_runs import BASE, EVALUATION, ZERO, lines, run_on_one, tiny_run

from r1jax.checkpoint import Checkpointer
from r1jax.config import (
    MixedDataConfig,
    PreferenceConfig,
    RewardConfig,
    RewardSetConfig,
    Schedule,
)
from r1jax.rewards.verdicts import RewardError, Score, Status, Verdict
from r1jax.sampler.engine import Completion
from r1jax.stages import preference_rewards
from r1jax.stages import rollout as rollouts
from r1jax.stages.context import open_context
from r1jax.stages.grading import Graded, Prompt
from r1jax.stages.mixed_prompts import open_prompts
from r1jax.stages.policy_batch import solved_shares
from r1jax.stages.preference_rewards import PreferenceRewards, with_score
from r1jax.stages.session import Session
from r1jax.stages.weights import load_params
from r1jax.text.templates import RenderedPrompt
from r1jax.workdir import Workdir

LAST = Schedule(((0, 0.0), (4, 1.0)))  # of eight steps


def loves_length(count: int, seed: int = 0) -> list[dict]:
    """Pairs whose longer answer is chosen."""
    return [
        pair
        if len(pair["chosen"].split()) > len(pair["rejected"].split())
        else pair | {"chosen": pair["rejected"], "rejected": pair["chosen"]}
        for pair in pairs(count, seed)
    ]


def of_all_scenarios(folder, **changes):
    """A run of a base, a reward model that loves length, and RL with both; its data lies in `folder`."""
    model = helpful(written(folder / "pairs.jsonl", loves_length(48)), start="base", reads="whole")
    general = written(
        folder / "general.jsonl",
        [{"id": f"general-{n}", "question": f"Tom has {n} ?", "rewards": "general"} for n in range(6)],
    )
    fields = {
        "name": "scenarios",
        "num_steps": 8,
        "minibatches": 2,
        "checkpoint_every": 4,
        "mixed": (MixedDataConfig(general, Schedule(((0, 0.0), (2, 0.5)))),),
        "preferences": (PreferenceConfig("helpful", LAST),),
        "validation": dataclasses.replace(EVALUATION, samples=2),
        "validate_every": 4,
        "preference_validation": dataclasses.replace(EVALUATION, data=general, samples=2),
        "evaluation": None,
    }
    stage = dataclasses.replace(ZERO, **fields | changes)
    run = tiny_run(dataclasses.replace(BASE, num_steps=2, checkpoint_every=2), model, stage)
    sets = (*run.rewards.sets, RewardSetConfig("general", (RewardConfig("format"),)))
    return dataclasses.replace(
        run,
        rewards=dataclasses.replace(run.rewards, sets=sets),
        logging=dataclasses.replace(run.logging, samples_per_step=16),
    )


def opened(config, path):
    return open_context(config, Workdir(str(path)), jax.devices()[:1])


def final_arrays(path) -> list[np.ndarray]:
    from orbax.checkpoint import v1 as ocp

    with Checkpointer(path / "checkpoints", keep=2) as checkpoints:
        step = checkpoints.latest()
    assert step == 8
    return jax.tree.leaves(ocp.load_checkpointables(path / "checkpoints" / str(step))["state"])


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    """A whole run; its config, its folder."""
    folder = tmp_path_factory.mktemp("scenarios")
    config = of_all_scenarios(folder)
    run_on_one(config, str(folder / "run"))
    return config, folder / "run"


@pytest.mark.slow
def test_general_prompts_and_their_reward_model_come_when_their_schedules_say(uninterrupted):
    _, path = uninterrupted
    found = {line["step"]: line for line in lines(path / "scenarios" / "metrics.jsonl")}
    rollout_lines = [found[step] for step in (1, 3, 5, 7)]
    assert ["groups/general" in line for line in rollout_lines] == [False, True, True, True]
    assert {line["groups/general"] for line in rollout_lines[1:]} == {2}
    assert ["reward/format" in line for line in rollout_lines] == [False, True, True, True]
    assert ["reward/helpful" in line for line in rollout_lines] == [False, False, True, True]
    assert all(line["masked_share"] == 0 for line in rollout_lines)


@pytest.mark.slow
def test_the_reward_is_that_of_the_rules_and_the_weighted_score(uninterrupted):
    _, path = uninterrupted
    metrics = {line["step"]: line for line in lines(path / "scenarios" / "metrics.jsonl")}
    samples = [line for line in lines(path / "scenarios" / "samples.jsonl") if "kind" not in line]
    for end, weight in ((4, 0.0), (6, 1.0), (8, 1.0)):
        rollout = [line for line in samples if line["step"] == end]
        assert len(rollout) == ZERO.rollout_prompts * ZERO.group_size
        general = [line for line in rollout if line["prompt"].startswith("general")]
        assert len(general) == 8
        assert all(("helpful" in line["rewards"]) == (weight > 0) for line in general)
        assert not any("helpful" in line["rewards"] for line in rollout if line not in general)
        totals = [
            sum(value * (weight if name == "helpful" else 1.0) for name, value in line["rewards"].items())
            for line in rollout
        ]
        assert metrics[end - 1]["reward"] == pytest.approx(np.mean(totals), rel=1e-6)
    scores = [line["rewards"]["helpful"] for line in samples if "helpful" in line["rewards"]]
    assert len(set(scores)) > 4


@pytest.mark.slow
def test_validations_ask_the_reward_model_also_before_the_first_step(uninterrupted):
    _, path = uninterrupted
    validated = [line for line in lines(path / "scenarios" / "metrics.jsonl") if "validation/pass@1" in line]
    assert [line["step"] for line in validated] == [0, 4, 8]
    assert "loss" not in validated[0]
    for line in validated:
        assert line["validation/reward_model/helpful"] == line["validation/reward_model_score"]
    assert len({line["validation/reward_model_score"] for line in validated}) == 3
    samples = lines(path / "scenarios" / "samples.jsonl")
    assert {line["step"] for line in samples if line.get("kind") == "preference_validation"} == {0, 4, 8}


MOMENTS = {
    "before the first step": (Session, "_look", 1, True),
    "a rollout is scored, and not in the journal": (rollouts, "journal", 3, False),
    "its scores are in the journal": (rollouts, "journal", 3, True),
    "the reward model is asked": (PreferenceRewards, "added", 4, False),
    "before the last save": (PreferenceRewards, "figures", 3, True),
}


@pytest.mark.slow
@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_was_stopped_resumes_to_the_same_bits(moment, uninterrupted, tmp_path, monkeypatch):
    config, whole = uninterrupted
    owner, name, call, after = MOMENTS[moment]
    with monkeypatch.context() as patch:
        stopping(patch, owner, name, call=call, after=after)
        with pytest.raises(Stopped):
            run_on_one(config, str(tmp_path))
    asked, added = [], PreferenceRewards.added
    monkeypatch.setattr(
        PreferenceRewards, "added", lambda self, step, *rest: asked.append(step) or added(self, step, *rest)
    )
    run_on_one(config, str(tmp_path))
    if moment == "its scores are in the journal":
        assert asked == [6]  # that of step 4 is replayed, with its scores
    for found, expected in zip(final_arrays(tmp_path / "scenarios"), final_arrays(whole / "scenarios"), strict=True):
        np.testing.assert_array_equal(found, expected)
    for file in ("metrics.jsonl", "samples.jsonl"):
        assert without_clock(tmp_path / "scenarios" / file) == without_clock(whole / "scenarios" / file)


@pytest.mark.slow
def test_dynamic_sampling_decides_on_the_total_with_preferences(uninterrupted, tmp_path):
    """The base is wrong and without format everywhere: only the score tells its completions apart."""
    config, path = uninterrupted
    general = config.stage("scenarios").mixed[0].data
    stage = dataclasses.replace(
        ZERO,
        start=str(path / "base" / "checkpoints"),
        num_steps=2,
        data=general,
        dynamic_sampling=True,
        preferences=(PreferenceConfig("helpful", Schedule(((0, 1.0), (1, 0.0)))),),
        evaluation=None,
    )
    run = dataclasses.replace(config, stages=(*config.stages[:2], stage))
    with opened(run, path) as context:
        sampler = context.sampler(stage.sampler, 24)
        sampler.load(load_params(stage.start, None, context))
        prompts = open_prompts(stage, context)
        preferences = PreferenceRewards(stage, context)
        made = rollouts.collect(stage, 0, run=context, sampler=sampler, prompts=prompts.at(0), preferences=preferences)
        assert len(made.groups) == ZERO.rollout_prompts
        assert made.backfill_rounds == 0
        assert all(rollouts.teaches(stage, 0, context, group) for group in made.groups)
        # By the rules alone no group teaches anything.
        assert not any(rollouts.teaches(stage, 1, context, group) for group in made.groups)


@pytest.mark.slow
def test_a_reward_model_lies_on_the_host_between_uses_and_nowhere_where_its_weight_is_zero(uninterrupted, monkeypatch):
    config, path = uninterrupted
    stage = config.stage("scenarios")
    opens, open_model = [], preference_rewards.open_reward_model
    monkeypatch.setattr(
        preference_rewards, "open_reward_model", lambda name, run: opens.append(name) or open_model(name, run)
    )
    group = [graded("check 4", {"format": Score(0.0, Status.SCORED)}, "general") for _ in range(2)]
    prompt = Prompt({"id": "a", "question": "compute 4 ?"}, RenderedPrompt("", (2,), ""))
    with opened(config, path) as run:
        preferences = PreferenceRewards(stage, run)
        assert preferences.added(0, [prompt], [group]) == [group]
        assert opens == []  # its weight is 0
        (first,) = preferences.added(4, [prompt], [group])
        (second,) = preferences.added(6, [prompt], [group])
        assert opens == ["helpful"]
        assert first == second
        assert first[0].verdict.scores["helpful"].value == first[1].verdict.scores["helpful"].value
        (model, _), *_ = preferences._resting.values()
        assert all(isinstance(leaf, np.ndarray) for leaf in jax.tree.leaves(model.params))
        preferences.added(0, [prompt], [group])
        assert preferences._resting == {}
        assert preferences.figures(0, [prompt], [group])["reward_model_score"] == pytest.approx(
            first[0].verdict.scores["helpful"].value, abs=1e-5
        )
        assert preferences._resting == {}
        # Only the sets that it is for; and an answer longer than its rows has no score.
        (other,) = preferences.added(4, [prompt], [[dataclasses.replace(one, verdict=REASONING) for one in group]])
        assert other[0].verdict == REASONING
        endless = graded(" ".join(["4"] * 80), {"format": Score(0.0, Status.SCORED)}, "general")
        ((masked,),) = preferences.added(4, [prompt], [[endless]])
        assert masked.verdict.masked
        assert preferences.figures(4, [prompt], [[endless]]) == {}


REASONING = Verdict({"maths": Score(1.0, Status.CORRECT)}, "default")


def graded(text: str, scores: dict[str, Score], reward_set: str) -> Graded:
    completion = Completion(0, 0, np.arange(2, dtype=np.int32), np.zeros(2, np.float32), True)
    return Graded(completion, text, Verdict(scores, reward_set))


ANYTHING = graded("", {}, "default")


def test_a_score_joins_those_of_the_rules_and_none_masks_the_sample_where_it_counts():
    stage = dataclasses.replace(ZERO, num_steps=8, preferences=(PreferenceConfig("helpful", LAST),))
    run = types.SimpleNamespace(
        rewards=types.SimpleNamespace(weights_at=lambda step: {"default": {"maths": 1.0}, "general": {"format": 0.5}})
    )
    prompt = Prompt({"id": "a"}, RenderedPrompt("", (2,), ""))
    one = graded("", {"format": Score(1.0, Status.SCORED)}, "general")
    group = [with_score(one, "helpful", value, prompt) for value in (2.0, -3.0, None)]
    # 0.5 x 1 + 1 x score; before step 4 the score does not count, nor that there is none.
    assert rollouts.group_rewards(stage, 4, run, group) == [2.5, -2.5, None]
    assert rollouts.group_rewards(stage, 3, run, group) == [0.5, 0.5, 0.5]
    assert group[2].verdict.scores["helpful"] == Score(None, Status.VERIFIER_ERROR)
    assert Verdict.from_json(group[0].verdict.to_json()) == group[0].verdict  # as the journal keeps it
    assert rollouts.weights_at(stage, 4, run)["default"] == {"maths": 1.0}
    for bad in (float("nan"), float("inf")):
        with pytest.raises(RewardError, match=r"reward model helpful, record 'a': expected a finite score, found"):
            with_score(one, "helpful", bad, prompt)


def test_groups_that_nothing_judges_are_neither_all_right_nor_all_wrong():
    right, wrong, scored, masked = (
        Verdict({"maths": Score(value, status)})
        for value, status in (
            (1.0, Status.CORRECT),
            (0.0, Status.WRONG),
            (0.7, Status.SCORED),
            (None, Status.VERIFIER_ERROR),
        )
    )
    groups = [[right, right], [wrong, wrong], [right, wrong], [right, masked], [scored, scored], [scored, scored]]
    made = rollouts.Rollout(
        [], [[dataclasses.replace(ANYTHING, verdict=one) for one in group] for group in groups], {}, 6, 0
    )
    valid = [True] * 6 + [True, False] + [True] * 4
    # Of the four groups that are judged two are all right (of the last of them one sample could not be told).
    assert solved_shares(made, valid) == {"all_right_share": 2 / 4, "all_wrong_share": 1 / 4}
    assert solved_shares(dataclasses.replace(made, groups=made.groups[4:]), [True] * 4) == {
        "all_right_share": 0,
        "all_wrong_share": 0,
    }
