"""The dry run says what the run then does: bytes against real arrays, buckets against compiled programs."""

import dataclasses
import io
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from r1jax.config import (
    BatchConfig,
    ConfigError,
    DataConfig,
    EvaluateConfig,
    EvaluationConfig,
    GrpoConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    PolicyLossConfig,
    PretrainConfig,
    RunConfig,
    SamplerConfig,
    SamplingConfig,
    SftConfig,
    TokenizerConfig,
    constant,
)
from r1jax.dryrun import memory
from r1jax.dryrun.page import describe, readable
from r1jax.dryrun.programs import BatchShape, SamplerUse, batch_shape, programs_of, scored_models
from r1jax.learn.jit import jit_make
from r1jax.learn.state import StepConfig, init_state, state_shardings
from r1jax.models import decoder
from r1jax.parallel.mesh import make_mesh
from r1jax.sampler.engine import Request, Sampler
from r1jax.sampler.programs import programs

ALL = MeshConfig()
NOWHERE = DataConfig(kind="jsonl", path="/nowhere/records.jsonl")
TINY = ModelConfig(
    vocab_size=64, hidden_size=32, num_layers=2, num_heads=4, num_kv_heads=2, ffn_size=64, tie_embeddings=True
)
# Qwen2.5-7B
LARGE = ModelConfig(
    vocab_size=152_064,
    hidden_size=3584,
    num_layers=28,
    num_heads=28,
    num_kv_heads=4,
    ffn_size=18_944,
    attention_bias=True,
    compute_dtype="bfloat16",
    remat="full",
)
EVALUATION = EvaluationConfig(
    data=NOWHERE,
    sampling=SamplingConfig(max_new_tokens=256),
    sampler=SamplerConfig(lanes=16, width=8, max_prompt_tokens=128),
)


def grpo(**changes) -> GrpoConfig:
    fields = {
        "name": "zero",
        "data": NOWHERE,
        "num_steps": 64,
        "group_size": 8,
        "rollout_prompts": 16,
        "max_new_tokens": constant(100),
        "optimizer": OptimizerConfig(),
        "batch": BatchConfig(row_tokens=256, micro_batch_rows=8),
        "sampler": SamplerConfig(lanes=8, width=8, chunk_steps=16, max_prompt_tokens=96),
    }
    return GrpoConfig(**fields | changes)


def run_of(*stages, model=TINY, mesh=ALL) -> RunConfig:
    return RunConfig(name="dry", model=model, tokenizer=TokenizerConfig(path="/nowhere"), stages=stages, mesh=mesh)


def printed(config: RunConfig, **options) -> str:
    text = io.StringIO()
    describe(config, console=Console(file=text, width=120), **options)
    return text.getvalue()


def held(config: RunConfig, mesh, name: str) -> dict[str, int]:
    """Bytes by phase of what is called so in the run's first stage."""
    found = [one for one in memory.holdings_of(config.stages[0], config, mesh) if one.name == name]
    assert found
    return {phase: memory.total(found, phase) for phase in memory.phases_of(config.stages[0])}


def bytes_on_first_device(tree) -> int:
    return sum(leaf.addressable_shards[0].data.nbytes for leaf in jax.tree.leaves(tree))


def test_a_large_model_on_devices_that_are_not_there_is_described_without_data_or_weights():
    stage = grpo(
        start="/nowhere/weights",
        batch=BatchConfig(row_tokens=256, micro_batch_rows=16),
        sampler=SamplerConfig(lanes=16, max_prompt_tokens=96),
    )
    text = printed(run_of(stage, model=LARGE, mesh=MeshConfig(data=1, fsdp=16)))
    assert "7,615,616,512" in text  # as Qwen2.5-7B has it
    assert "16 devices: fsdp=16; here are 8" in text
    assert "jsonl /nowhere/records.jsonl" in text
    # float32: 4 bytes x 7,615,616,512. Over 16 devices but for norms and biases, which are small: 1.77 GiB.
    assert "1.77 GiB" in text


def test_a_stage_shows_what_it_starts_from_and_only_chosen_stages_are_detailed():
    base = PretrainConfig(
        name="base",
        data=NOWHERE,
        num_steps=10,
        optimizer=OptimizerConfig(),
        batch=BatchConfig(row_tokens=64, micro_batch_rows=8),
    )
    config = run_of(base, grpo(start="base"), EvaluateConfig(name="check", start="zero", evaluation=EVALUATION))
    text = printed(config, stages=["check"])
    tree = [line for line in text.splitlines() if line.lstrip(" │├└─").startswith(("base:", "zero:", "check:"))]
    depths = [line.index(":") - len(name) for line, name in zip(tree, ("base", "zero", "check"), strict=True)]
    assert depths == sorted(set(depths))  # each further in than what it starts from
    assert "evaluation: decode" in text
    assert "train step" not in text


def test_an_unknown_stage_is_answered_with_those_there_are():
    with pytest.raises(ConfigError, match="expected one of zero, found 'on'"):
        printed(run_of(grpo()), stages=["on"])


def test_a_size_that_the_mesh_does_not_divide_is_an_error_that_names_it():
    with pytest.raises(ConfigError, match="'lanes' to be a multiple of 3"):
        printed(run_of(grpo(batch=BatchConfig(row_tokens=256, micro_batch_rows=9)), mesh=MeshConfig(data=3)))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_bytes_of_the_train_state_are_those_of_the_real_one_on_its_mesh(optimizer):
    stage = grpo(optimizer=OptimizerConfig(name=optimizer, muon_learning_rate=0.01))
    mesh_config = MeshConfig(data=1, fsdp=4, tensor=2)
    model = dataclasses.replace(TINY, compute_dtype="bfloat16")
    mesh, config = make_mesh(mesh_config), StepConfig(model=model, optimizer=stage.optimizer, num_steps=64)
    shardings = state_shardings(config, mesh, reference=True)
    make = jit_make(lambda p: init_state(p, config=config, reference=True), mesh, shardings)
    state = make(decoder.init(model, jax.random.key(0)))

    run, planned = run_of(stage, model=model, mesh=mesh_config), memory.abstract_mesh(mesh_config, 8)
    assert held(run, planned, "parameters, float32")["update"] == bytes_on_first_device(state.params)
    assert held(run, planned, f"moments of {optimizer}")["update"] == bytes_on_first_device(state.opt_state)
    assert held(run, planned, "reference, bfloat16")["rollout"] == bytes_on_first_device(state.reference)


def test_bytes_of_the_sampler_are_those_of_its_arrays_on_the_mesh():
    mesh_config = MeshConfig(data=4, tensor=2)
    run, mesh = run_of(grpo(), mesh=mesh_config), make_mesh(mesh_config)
    compiled = programs(TINY, 8, 8, 16, mesh)
    with jax.set_mesh(mesh):
        dparams = compiled.prepare(decoder.init(TINY, jax.random.key(0)))
        cache = compiled.empty(96, 100).cache
    planned = memory.abstract_mesh(mesh_config, 8)
    assert held(run, planned, "sampler's copy, float32") == {
        "update": bytes_on_first_device(dparams),
        "rollout": bytes_on_first_device(dparams),
    }
    assert held(run, planned, "KV cache, grown") == {"update": 0, "rollout": bytes_on_first_device(cache)}


def test_buckets_are_those_that_the_sampler_compiles():
    # Prompts of 3 and 40 tokens meet both prompt buckets, 6 new tokens both cache buckets, of a shape met nowhere else.
    model = dataclasses.replace(TINY, num_layers=1, ffn_size=48)
    shape = SamplerConfig(lanes=1, width=2, chunk_steps=4, max_prompt_tokens=40)
    use = SamplerUse("rollout", shape, 6)
    assert use.prompt_buckets == [32, 40]
    assert use.cache_buckets == [4, 6]

    mesh = make_mesh(MeshConfig(), jax.devices()[:1])
    sampler = Sampler(model, shape, mesh=mesh, stop_ids=(), max_new_tokens=6, pad_id=0)
    sampler.load(decoder.init(model, jax.random.key(0)))
    sampling = SamplingConfig(temperature=1.0, max_new_tokens=6)
    for length in (3, 40):
        list(sampler.generate([Request(0, (5,) * length, 2)], seed=0, step=0, sampling=sampling))
    compiled = programs(model, 1, 2, 4, mesh)
    assert (compiled.admit._cache_size(), compiled.chunk._cache_size()) == (2, 2 * 2)

    stage = grpo(sampler=shape, max_new_tokens=constant(6))
    assert {one.name: one.count for one in programs_of(stage)} == {
        "train step": 1,
        "score": 1,
        "rollout: prefill": 2,
        "rollout: decode": 4,
    }


def test_caches_double_from_a_chunk_to_the_longest_completion():
    assert SamplerUse("rollout", SamplerConfig(chunk_steps=16), 104).cache_buckets == [16, 32, 64, 104]
    assert SamplerUse("gate", SamplerConfig(chunk_steps=32), 2).cache_buckets == [2]


def test_batch_shapes_hold_all_rows_of_an_update():
    batch = BatchConfig(row_tokens=64, micro_batch_rows=8)
    common = {"data": NOWHERE, "num_steps": 8, "optimizer": OptimizerConfig(), "batch": batch}
    assert batch_shape(PretrainConfig(name="base", batch_rows=20, **common)) == (3, 8, 64)
    assert batch_shape(SftConfig(name="sft", batch_sequences=16, **common)) == (2, 8, 64)
    # 16 prompts x 8 completions in 4 minibatches: 32 completions, at most a row each, 8 rows at once.
    assert batch_shape(grpo(minibatches=4)) == (4, 8, 256)


def test_log_probs_are_scored_for_whom_the_loss_needs():
    assert scored_models(grpo()) == ["reference"]
    assert scored_models(grpo(loss=PolicyLossConfig(kl_coefficient=0.0))) == []
    assert scored_models(grpo(minibatches=2)) == ["reference", "old policy"]


def test_the_final_evaluation_holds_no_train_state_but_validation_does():
    stage = grpo(evaluation=EVALUATION, validation=EVALUATION, validate_every=1)
    run, mesh = run_of(stage), memory.abstract_mesh(MeshConfig(), 1)
    moments = held(run, mesh, "moments of adamw")
    assert moments["validation"] > 0
    assert moments["evaluation"] == 0
    copies = held(run, mesh, "sampler's copy, float32")
    assert copies["validation"] == 2 * copies["evaluation"]  # the policy's sampler is still there


@pytest.mark.parametrize("remat", ["none", "dots", "full"])
def test_activations_are_estimated_within_a_factor_of_two_of_what_xla_allocates(remat):
    model = ModelConfig(
        vocab_size=128, hidden_size=128, num_layers=4, num_heads=4, num_kv_heads=2, ffn_size=512, remat=remat
    )
    B, T = 4, 256

    def loss(params, tokens_BT):
        positions_BT = jnp.broadcast_to(jnp.arange(T), (B, T))
        hidden_BTD = decoder.forward(params, tokens_BT, positions_BT, jnp.ones((B, T), jnp.int32), config=model)
        return hidden_BTD.sum()

    arguments = decoder.param_shapes(model), jax.ShapeDtypeStruct((B, T), np.int32)
    allocated = jax.jit(jax.grad(loss)).lower(*arguments).compile().memory_analysis().temp_size_in_bytes
    estimate = memory.activation_bytes(model, BatchShape(1, B, T), memory.abstract_mesh(MeshConfig(), 1))
    assert 0.5 < estimate / allocated < 2.0


def test_logits_blocks_stay_under_the_budget_where_all_of_them_would_not():
    mesh = memory.abstract_mesh(MeshConfig(data=1), 1)
    shape = BatchShape(1, 2, 64)
    # 2 rows x 64 positions x 64 words x 4 bytes = 32,768
    assert memory.logits_block_bytes(TINY, shape, mesh) == 32_768
    # A budget of 3,000 holds 5 positions of 512 bytes; one of 10,000 more, but there are 8 blocks at least.
    for budget_bytes, held_bytes in {3_000: 5 * 512, 10_000: 8 * 512}.items():
        model = dataclasses.replace(TINY, logits_budget_bytes=budget_bytes)
        assert memory.logits_block_bytes(model, shape, mesh) == held_bytes
    # Spread over rows and vocabulary, 16,384 of the 65,536 bytes of 4 rows lie on each device: now they fit.
    mesh = memory.abstract_mesh(MeshConfig(data=2, tensor=2), 4)
    model = dataclasses.replace(TINY, logits_budget_bytes=16_384)
    assert memory.logits_block_bytes(model, BatchShape(1, 4, 64), mesh) == 16_384


def test_bytes_are_written_in_the_largest_unit_that_they_fill():
    assert [readable(n) for n in (0, 1023, 1536, 5 * 2**30)] == ["0 B", "1023 B", "1.50 KiB", "5.00 GiB"]
    assert readable(math.ceil(1.5 * 2**50)) == "1536.00 TiB"
