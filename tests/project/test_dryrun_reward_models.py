"""The dry run of a stage that trains a reward model: its programs, and its bytes against real arrays and XLA's."""

import dataclasses

import jax
import jax.numpy as jnp
import pytest
from test_dryrun import DENSE, NOWHERE, bytes_on_first_device, grpo, held, placed, printed, run_of

from r1jax.config import (
    BatchConfig,
    LoraConfig,
    MeshConfig,
    OptimizerConfig,
    PreferenceConfig,
    PretrainedConfig,
    RewardModelConfig,
)
from r1jax.data.packing import micro_batches
from r1jax.data.scored import pack_scored, scored_unit
from r1jax.dryrun import arrays, memory, others
from r1jax.dryrun.programs import batch_shape, programs_of
from r1jax.learn.state import StepConfig, init_state
from r1jax.learn.steps import reward_model_gradients
from r1jax.models import decoder
from r1jax.models.adapters import combined
from r1jax.parallel.mesh import make_mesh
from r1jax.stages.scorer import Scorer


def helpful(**changes) -> RewardModelConfig:
    batch = BatchConfig(row_tokens=256, micro_batch_rows=4)
    fields = {"name": "helpful", "data": NOWHERE, "num_steps": 8, "batch_records": 10, "batch": batch}
    return RewardModelConfig(**fields | {"optimizer": OptimizerConfig()} | changes)


def test_it_is_shown_after_the_policy_that_it_starts_from():
    # The policy's head is tied, which a score head cannot be.
    run = run_of(grpo(), helpful(start="zero"), mesh=MeshConfig(data=1))
    text = printed(run, stages=["helpful"])
    assert "helpful: rewardmodel, 8 steps on jsonl /nowhere/records.jsonl" in text
    assert "[M 3, B 4, T 256]" in text
    assert "score held-out" in text
    assert "blocks of logits" not in text
    assert "hidden states for scores" in text
    alone = dataclasses.replace(
        run, stages=(helpful(),), model=PretrainedConfig(preset="tiny-qwen3", head="score", lora=LoraConfig(rank=2))
    )
    assert "adapters, float32" in printed(alone)


def test_ten_pairs_take_at_most_ten_rows():
    assert batch_shape(helpful()) == (3, 4, 256)


def test_lengths_are_those_that_the_scorer_compiles():
    stage = helpful()
    counts = {one.name: one.count for one in programs_of(stage, run_of(stage))}
    assert counts == {"train step": 1, "score held-out": 3}  # rows of 64, 128 and 256
    model, mesh = run_of(stage).scoring().model, make_mesh(MeshConfig(), jax.devices()[:1])
    scorer = Scorer(model, mesh, stage.batch)
    params = decoder.init(model, jax.random.key(0))
    scorer.scores(params, [[5] * length for length in (3, 40, 64, 65, 100, 128, 129, 200, 256)])
    assert scorer._score._jitted._cache_size() == 3


def test_others_read_with_rows_of_the_length_that_it_is_to_score():
    stage, longer = helpful(), helpful(score_tokens=1024)
    assert others.reward_model("helpful", run_of(longer)).row_tokens == 1024
    assert others.reward_model("helpful", run_of(stage)).row_tokens == 256
    assert programs_of(longer, run_of(longer)) == programs_of(stage, run_of(stage))  # training, and what is held out
    scored = dataclasses.replace(grpo(), preferences=(PreferenceConfig("helpful", sets=("default",)),))
    for one, rows, count in ((stage, "16 x 64, 8 x 128, 4 x 256", 3), (longer, "64 x 64, 32 x 128, 16 x 256", 5)):
        run = run_of(one, scored)
        (program,) = [found for found in programs_of(scored, run) if found.name == "reward models"]
        assert program.count == count
        assert program.shapes.startswith(f"helpful: rows of {rows}")
    mesh = arrays.abstract_mesh(MeshConfig(), 1)
    reading = [others.reward_model("helpful", run_of(one)).reading_bytes(mesh) for one in (stage, longer)]
    assert reading[0] < reading[1]


def test_bytes_of_its_state_are_those_of_the_real_one():
    run, mesh = run_of(helpful()), arrays.abstract_mesh(MeshConfig(), 1)
    model = run.scoring().model
    config = StepConfig(model, OptimizerConfig(), num_steps=8, score_loss="pairwise")
    state = init_state(decoder.init(model, jax.random.key(0)), config=config)
    assert held(run, mesh, "parameters, float32")["update"] == bytes_on_first_device(state.params)
    assert held(run, mesh, "moments of adamw")["update"] == bytes_on_first_device(state.opt_state)
    units = [scored_unit([([1, 2], 1), ([3], -1)])]
    rows = micro_batches(pack_scored(units, row_tokens=256, packed=True), micro_batch_rows=4, capacity=3)
    bytes_of_rows = sum(array.nbytes for array in rows.values() if array.ndim == 3)
    assert held(run, mesh, "batch, 6 arrays")["update"] == bytes_of_rows


@pytest.mark.parametrize("remat", ["none", "full"])
def test_what_an_update_needs_is_estimated_within_a_factor_of_two_of_what_xla_allocates(remat):
    stage = helpful(batch_records=4)
    run, planned = run_of(stage, model=dataclasses.replace(DENSE, remat=remat)), arrays.abstract_mesh(MeshConfig(), 1)
    model, mesh = run.scoring().model, make_mesh(MeshConfig(), jax.devices()[:1])
    config = StepConfig(model, OptimizerConfig(), num_steps=8, score_loss="pairwise")
    trained, frozen, _ = placed(model, mesh)
    shapes = {
        name: jax.ShapeDtypeStruct((1, 4, 256), jnp.int32) for name in ("tokens", "positions", "segments", "pairs")
    }
    shapes |= {name: jax.ShapeDtypeStruct((1, 4, 256), jnp.float32) for name in ("signs", "mask")}
    shapes["num_micro"] = jax.ShapeDtypeStruct((), jnp.int32)

    def gradients(params, batch):
        return reward_model_gradients(combined(frozen, params), batch, config=config)[0]

    with jax.set_mesh(mesh):
        allocated = jax.jit(gradients).lower(trained, shapes).compile().memory_analysis().temp_size_in_bytes
    holdings = memory.holdings_of(stage, run, planned)
    estimate = sum(one.bytes for one in holdings if one.name.startswith(("activations", "hidden states")))
    assert 0.5 < estimate / allocated < 2.0
