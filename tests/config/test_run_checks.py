"""What stages name must be in the run, shares must fit together, and nothing is asked of a stage that it cannot do."""

from __future__ import annotations

import dataclasses

import pytest

from r1jax.config import (
    BatchConfig,
    BenchmarkConfig,
    ConfigError,
    DataConfig,
    EvaluationConfig,
    GrpoConfig,
    MixedDataConfig,
    ModelConfig,
    OptimizerConfig,
    PreferenceConfig,
    RewardConfig,
    RewardModelConfig,
    RewardsConfig,
    RewardSetConfig,
    RunConfig,
    Schedule,
    TokenizerConfig,
    constant,
)
from r1jax.config.learn import largest_sum
from r1jax.config.references import parts

SUMS = DataConfig("task", name="sums", limit=10)
TRAINING = {"data": SUMS, "num_steps": 40, "optimizer": OptimizerConfig(), "batch": BatchConfig(2048, 2)}
HELPFUL = RewardModelConfig(name="helpful", **TRAINING)
ZERO = GrpoConfig(name="zero", **TRAINING)
SETS = tuple(RewardSetConfig(name, (RewardConfig("format"),)) for name in ("default", "general"))


def run_of(**changes) -> RunConfig:
    return RunConfig(
        name="test",
        model=ModelConfig(vocab_size=32, hidden_size=8, num_layers=1, num_heads=2, num_kv_heads=1, ffn_size=16),
        tokenizer=TokenizerConfig(task="sums"),
        stages=(HELPFUL, dataclasses.replace(ZERO, **changes)),
        rewards=RewardsConfig(sets=SETS),
    )


def of_set(name: str) -> DataConfig:
    return dataclasses.replace(SUMS, rewards=name)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"preferences": (PreferenceConfig("helpful", sets=("general", "polite")),)},
            "stages.zero.preferences.0.sets: expected reward sets out of default, general, found 'polite'",
        ),
        (
            {"data": of_set("polite")},
            "stages.zero.data.rewards: expected a reward set out of default, general, found 'polite'",
        ),
        (
            {"benchmarks": (BenchmarkConfig("aime", EvaluationConfig(of_set("aime"))),)},
            "stages.zero.benchmarks.aime.evaluation.data.rewards: .* found 'aime'",
        ),
        ({"mixed": (MixedDataConfig(of_set("polite"), constant(0.5)),)}, "stages.zero.mixed.0.data.rewards: "),
    ],
)
def test_a_reward_set_that_the_run_has_not_is_named_by_its_field(changes, message):
    with pytest.raises(ConfigError, match=message):
        run_of(**changes).check_reward_sets()


def test_a_reward_model_does_not_go_by_the_name_of_a_reward_of_its_sets():
    run = run_of(preferences=(PreferenceConfig("helpful", sets=("general",)),))
    run.check_reward_sets()
    taken = (SETS[0], RewardSetConfig("general", (RewardConfig("tests:a"), RewardConfig("helpful"))))
    with pytest.raises(ConfigError, match=r"zero.preferences.0.model: .* than the rewards of general \(tests:a, help"):
        dataclasses.replace(run, rewards=RewardsConfig(sets=taken)).check_reward_sets()


def test_a_run_may_do_without_a_default_set_where_records_name_their_own():
    dataclasses.replace(run_of(), rewards=RewardsConfig(sets=SETS[1:])).check_reward_sets()


def test_the_parts_of_a_config_come_with_the_paths_of_their_fields():
    stage = dataclasses.replace(
        ZERO,
        mixed=(MixedDataConfig(of_set("general"), constant(0.5)),),
        benchmarks=(BenchmarkConfig("aime", EvaluationConfig(SUMS)),),
    )
    assert dict(parts(stage, DataConfig)) == {
        "benchmarks.aime.evaluation.data": SUMS,
        "data": SUMS,
        "mixed.0.data": of_set("general"),
    }
    assert list(parts(SUMS, DataConfig)) == [("", SUMS)]


def test_a_reward_model_has_no_benchmarks():
    with pytest.raises(ConfigError, match=r"helpful.benchmarks: expected none \(a reward model writes no text\)"):
        dataclasses.replace(HELPFUL, benchmarks=(BenchmarkConfig("aime", EvaluationConfig(SUMS)),))


def line(*points: tuple[int, float]) -> Schedule:
    return Schedule(points, "linear")


@pytest.mark.parametrize(
    ("shares", "most"),
    [
        ([Schedule(((0, 1.0), (10, 0.0))), Schedule(((0, 0.0), (10, 1.0)))], 1.0),  # one after the other
        ([line((0, 1.0), (7, 0.0)), line((0, 0.0), (7, 1.0))], 1.0),  # one into the other: always 1
        ([line((0, 0.0), (10, 1.0)), Schedule(((0, 0.5), (10, 0.0)))], 1.4),  # step 9: 0.9 + 0.5
        ([line((0, 0.0), (10, 1.0), (20, 0.0)), line((0, 0.5), (20, 0.0))], 1.25),  # step 10: 1 + 0.25
        ([constant(0.6), Schedule(((0, 0.0), (5, 0.3)))], 0.9),
        ([], 0.0),
    ],
)
def test_shares_are_added_up_step_by_step(shares, most):
    assert largest_sum(shares) == most
    mixed = tuple(MixedDataConfig(SUMS, share) for share in shares)
    if most <= 1:
        assert dataclasses.replace(ZERO, mixed=mixed).mixed == mixed
    else:
        with pytest.raises(ConfigError, match=f"zero.mixed: .* stay at 1 or below, found {most}"):
            dataclasses.replace(ZERO, mixed=mixed)
    every = max((sum(share.at(step) for share in shares) for step in range(30)), default=0.0)
    assert largest_sum(shares) == pytest.approx(every)
