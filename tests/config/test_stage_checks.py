"""Values of stages and losses that would crash a run later, or do nothing in it, are refused when they are written."""

from __future__ import annotations

import dataclasses

import pytest

from r1jax.config import (
    BatchConfig,
    CollectConfig,
    ConfigError,
    DataConfig,
    EvaluationConfig,
    GateConfig,
    GrpoConfig,
    OptimizerConfig,
    PolicyLossConfig,
    PretrainConfig,
    RefineConfig,
    SamplerConfig,
    SamplingConfig,
    SftConfig,
)

DATA = DataConfig("task", name="sums", limit=10)
EVALUATION = EvaluationConfig(DATA)
TRAINING = {"data": DATA, "num_steps": 40, "optimizer": OptimizerConfig(), "batch": BatchConfig(2048, 2)}
VALIDATED = {"validation": EVALUATION, "validate_every": 10}


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        (SftConfig, {"validation": EVALUATION, "validate_every": 0}, "s.validate_every: expected 1 or more"),
        (SftConfig, VALIDATED | {"patience": 0}, "s.patience: expected 1 or more"),
        (SftConfig, VALIDATED | {"stop_at": 0.0}, "s.stop_at: expected a share"),
        (SftConfig, VALIDATED | {"stop_at": 1.5}, "s.stop_at: expected a share"),
        (SftConfig, {"batch_sequences": 0}, "s.batch_sequences: expected 1 or more"),
        (PretrainConfig, {"batch_rows": 0}, "s.batch_rows: expected 1 or more"),
        (
            PretrainConfig,
            VALIDATED | {"keep_best": True, "gate": GateConfig(EVALUATION, accuracy=0.5)},
            "s.keep_best: expected False where there is a gate",
        ),
        (GrpoConfig, {"reference_refresh_every": 0}, "s.reference_refresh_every: expected 1 or more"),
        (GrpoConfig, {"overlong_tokens": 0}, "s.overlong_tokens: expected 1 or more"),
        # 32 prompts x 16: a fifth of 512 completions is 102.4.
        (
            GrpoConfig,
            {"loss": PolicyLossConfig(kl_target=0.1, kl_horizon=102)},
            "s.loss.kl_horizon: expected more than a fifth of the 512 completions .*, found 102",
        ),
    ],
)
def test_a_value_without_a_meaning_is_refused_by_its_field(kind, changes, message):
    assert kind(name="s", **TRAINING)
    with pytest.raises(ConfigError, match=message):
        kind(name="s", **TRAINING | changes)


def test_an_adaptive_kl_coefficient_may_not_turn_negative_and_its_horizon_is_free_without_a_target():
    loss = PolicyLossConfig(kl_target=0.1, kl_horizon=103)
    assert GrpoConfig(name="s", loss=loss, **TRAINING).loss == loss
    assert GrpoConfig(name="s", loss=dataclasses.replace(loss, kl_target=None, kl_horizon=1), **TRAINING)


@pytest.mark.parametrize(("field", "value"), [("kl_horizon", 0), ("kl_in_reward", -1.0)])
def test_a_loss_refuses_what_it_cannot_compute(field, value):
    with pytest.raises(ConfigError, match=f"loss.{field}: expected"):
        PolicyLossConfig(**{field: value})


def collecting(*, prompts: int, refined: int = 40, **changes) -> CollectConfig:
    refine = RefineConfig(by="policy", sampling=SamplingConfig(max_new_tokens=refined))
    fields = {"sampling": SamplingConfig(max_new_tokens=100), "sampler": SamplerConfig(max_prompt_tokens=prompts)}
    return CollectConfig(**{"name": "data", "start": "zero", "data": DATA, "refine": refine} | fields | changes)


def test_a_policy_that_refines_must_have_room_for_the_longest_turn_and_its_question():
    assert collecting(prompts=101)
    with pytest.raises(
        ConfigError,
        match=r"data.sampler.max_prompt_tokens: expected more than sampling.max_new_tokens=100 .*, found 100",
    ):
        collecting(prompts=100)
    with pytest.raises(ConfigError, match=r"expected more than refine.sampling.max_new_tokens=200 .*, found 200"):
        collecting(prompts=200, refined=200)  # its summary is of what it has rewritten
    rewritten = RefineConfig(by="policy", steps=("rewrite",), sampling=SamplingConfig(max_new_tokens=200))
    assert collecting(prompts=101, refine=rewritten)
    assert collecting(prompts=8, refine=RefineConfig(by="rule", rule="module:function"))
    assert collecting(prompts=8, refine=None)
