"""The setter behind --config.path.to.field=value."""

from __future__ import annotations

import pytest

from r1jax.config import (
    BatchConfig,
    ConfigError,
    DataConfig,
    EvaluationConfig,
    GrpoConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainConfig,
    RunConfig,
    Schedule,
    TokenizerConfig,
)
from r1jax.config.flags import apply, parse

DATA = DataConfig("task", name="sums", limit=10)
TRAINING = {"data": DATA, "num_steps": 40, "optimizer": OptimizerConfig(), "batch": BatchConfig(2048, 2)}
RUN = RunConfig(
    name="test",
    model=ModelConfig(vocab_size=32, hidden_size=8, num_layers=1, num_heads=2, num_kv_heads=1, ffn_size=16),
    tokenizer=TokenizerConfig(task="sums"),
    stages=(
        PretrainConfig(name="base", **TRAINING),
        GrpoConfig(name="zero", start="base", evaluation=EvaluationConfig(DATA), **TRAINING),
    ),
)


def test_overrides_are_taken_out_of_a_command_line_and_the_rest_is_left_for_absl():
    argv = [
        "run.py",
        "--config=a.py",
        "--config.seed=3",
        "-config.name=x=y",
        "--workdir=w",
        "--",
        "--config.a=1",
    ]
    overrides, remaining = parse(argv)
    assert overrides == [("seed", "3"), ("name", "x=y")]
    assert remaining == ["run.py", "--config=a.py", "--workdir=w", "--", "--config.a=1"]


def test_an_override_without_a_value_says_how_it_is_written():
    with pytest.raises(ConfigError, match=r"expected --config.seed=value"):
        parse(["run.py", "--config.seed", "3"])


@pytest.mark.parametrize(
    ("path", "text", "read"),
    [
        ("seed", "7", lambda run: run.seed == 7),
        ("name", "none", lambda run: run.name == "none"),  # a str that cannot be None
        ("model.rope.theta", "1e6", lambda run: run.model.rope.theta == 1e6),
        (
            "model.rope.scaling",
            "none",
            lambda run: run.model.rope.scaling == "none",
        ),  # an option of a Literal
        ("model.qk_norm", "true", lambda run: run.model.qk_norm is True),
        ("model.head_size", "none", lambda run: run.model.head_size is None),
        ("model.head_size", "6", lambda run: run.model.head_size == 6),
        ("mesh.data", "none", lambda run: run.mesh.data is None),
        ("stages.zero.start", "/a/folder", lambda run: run.stages[1].start == "/a/folder"),
        ("stages.1.group_size", "4", lambda run: run.stages[1].group_size == 4),
        ("stages.zero.evaluation", "none", lambda run: run.stages[1].evaluation is None),
        (
            "stages.zero.evaluation.sampling.top_p",
            "none",
            lambda run: run.stages[1].evaluation.sampling.top_p is None,
        ),
        (
            "stages.zero.data.columns",
            "question:Question,answer:Gold",
            lambda run: run.stages[1].data.columns == (("question", "Question"), ("answer", "Gold")),
        ),
        ("stages.zero.data.columns", "", lambda run: run.stages[1].data.columns == ()),
        ("stages.zero.temperature", "0.7", lambda run: run.stages[1].temperature == Schedule(((0, 0.7),))),
        (
            "stages.zero.temperature",
            "0:1.0,8200:0.7",
            lambda run: run.stages[1].temperature == Schedule(((0, 1.0), (8200, 0.7))),
        ),
        (
            "stages.zero.temperature",
            "linear:0:1.0,100:0.5",
            lambda run: run.stages[1].temperature == Schedule(((0, 1.0), (100, 0.5)), "linear"),
        ),
        (
            "rewards.sets.default.rewards.maths.weight",
            "0.5",
            lambda run: run.rewards.sets[0].rewards[0].weight.at(9) == 0.5,
        ),
    ],
)
def test_a_value_is_read_by_the_type_of_its_field(path, text, read):
    changed = apply(RUN, [(path, text)])
    assert read(changed)
    assert type(changed) is RunConfig


def test_other_fields_and_the_config_itself_stay_as_they_were():
    changed = apply(RUN, [("stages.zero.num_steps", "80")])
    assert changed.stages[0] is RUN.stages[0]
    assert (changed.stages[1].num_steps, RUN.stages[1].num_steps) == (80, 40)
    assert apply(RUN, []) == RUN


def test_of_two_values_for_a_field_the_later_counts():
    assert apply(RUN, [("seed", "1"), ("seed", "2")]).seed == 2


def test_fields_that_depend_on_each_other_may_come_in_any_order():
    # Either alone is refused: warm-up must be shorter than the stage, 2 minibatches must divide num_steps.
    pair = [("stages.zero.num_steps", "200"), ("stages.zero.optimizer.warmup_steps", "100")]
    with pytest.raises(ConfigError, match="warmup_steps: expected less than num_steps=40"):
        apply(RUN, pair[1:])
    for overrides in (pair, pair[::-1]):
        assert apply(RUN, overrides).stages[1].optimizer.warmup_steps == 100


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("sed", "1", r"--config.sed: RunConfig has no field 'sed'; did you mean 'seed'\?"),
        ("stages.zero.num_step", "1", r"no field 'num_step'; did you mean 'num_steps'\?"),
        ("stages.base.group_size", "4", "PretrainConfig has no field 'group_size'"),
        ("stages.zer.num_steps", "1", r"no element 'zer'; did you mean 'zero'\? It has: base, zero"),
        ("stages.2.num_steps", "1", "no element '2'"),
        ("seed", "1.5", "--config.seed: expected an integer, found '1.5'"),
        ("model.init_range", "nan", "expected a finite number, found 'nan'"),
        ("model.qk_norm", "1", "expected true or false, found '1'"),
        ("model.head_size", "x", "expected an integer or none, found 'x'"),
        ("model.activation", "swish", "expected one of silu, gelu, relu2, found 'swish'"),
        ("model.rope", "llama3", "expected its fields one by one"),
        ("stages.zero.validation.samples", "4", "stages.zero.validation is None here"),
        ("seed.x", "4", "seed is 0, which has no fields"),
        ("stages.zero.temperature", "5:1.0", "step:value points from step 0 on"),
        ("stages.zero.temperature", "0:1.0,hot", "expected a number, or step:value points"),
        ("stages.zero.data.columns", "question", "expected 2 values separated by ':'"),
        ("model.num_layers", "0", "model.num_layers: expected a positive integer, found 0"),
    ],
)
def test_a_refusal_names_the_field_what_was_expected_and_what_was_found_in_one_line(path, text, message):
    with pytest.raises(ConfigError, match=message) as refusal:
        apply(RUN, [(path, text)])
    assert "\n" not in str(refusal.value)
