"""What a stage's result depends on: fields that came later change nothing for those who do not use them."""

import dataclasses

import pytest

from r1jax.config import (
    BatchConfig,
    DataConfig,
    EvaluateConfig,
    EvaluationConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainConfig,
    RewardModelConfig,
    RunConfig,
    TokenizerConfig,
)
from r1jax.workdir import Plan, Workdir, WorkdirError
from r1jax.workdir.identity import identity

TRAINING = {
    "data": DataConfig("task", name="sums", limit=10),
    "num_steps": 40,
    "optimizer": OptimizerConfig(),
    "batch": BatchConfig(64, 2),
}
SCORED = EvaluationConfig(TRAINING["data"], scored_by=("helpful",))


def run_of(**scorer) -> RunConfig:
    return RunConfig(
        name="test",
        model=ModelConfig(vocab_size=32, hidden_size=8, num_layers=1, num_heads=2, num_kv_heads=1, ffn_size=16),
        tokenizer=TokenizerConfig(task="sums"),
        stages=(
            PretrainConfig(name="base", **TRAINING),
            RewardModelConfig(name="helpful", start="base", **TRAINING | scorer),
            EvaluateConfig(name="looked_at", start="base", evaluation=SCORED),
        ),
    )


def finished(path) -> Workdir:
    workdir = Workdir(path)
    workdir.claim(run_of())
    for name in ("base", "helpful", "looked_at"):
        workdir.begin(run_of(), name)
        workdir.finish(name, {})
    return workdir


def test_a_field_that_came_later_is_no_part_of_it_where_nobody_sets_it():
    fields = {"class", *(field.name for field in dataclasses.fields(RewardModelConfig))}
    for name in ("helpful", "looked_at"):
        (stage,) = [one for one in identity(run_of(), name)["stages"] if one["name"] == "helpful"]
        assert fields - stage.keys() == {"score_tokens"}


def test_how_long_answers_are_that_others_have_scored_is_theirs_to_depend_on(tmp_path):
    workdir, longer = finished(tmp_path), run_of(score_tokens=128)
    assert workdir.plan(longer, "helpful") == Plan("skip")  # it was trained to the same
    with pytest.raises(WorkdirError, match=r"stages.helpful.score_tokens: absent -> 128"):
        workdir.plan(longer, "looked_at")
    assert workdir.plan(run_of(), "looked_at") == Plan("skip")
