"""The dry run says what the run then does: bytes against real arrays, buckets against compiled programs."""

import dataclasses
import io
import json
import math
import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import NamedSharding
from rich.console import Console

from r1jax.benchmarks.shapes import Shape, forward_flops
from r1jax.config import (
    BatchConfig,
    ConfigError,
    DataConfig,
    EvaluateConfig,
    EvaluationConfig,
    GrpoConfig,
    LoraConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    PolicyLossConfig,
    PretrainConfig,
    PretrainedConfig,
    RunConfig,
    SamplerConfig,
    SamplingConfig,
    SftConfig,
    TokenizerConfig,
    constant,
)
from r1jax.config.load import load_config
from r1jax.dryrun import activations, arrays, memory
from r1jax.dryrun.page import describe, readable
from r1jax.dryrun.programs import BatchShape, SamplerUse, batch_shape, programs_of, scored_models
from r1jax.learn.jit import jit_make
from r1jax.learn.state import StepConfig, init_state, state_shardings
from r1jax.models import decoder, decoding, lora
from r1jax.models.adapters import combined
from r1jax.models.huggingface.config_json import write_config
from r1jax.models.presets import PRESETS, preset
from r1jax.parallel import rules
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


CONFIG = pathlib.Path(__file__).resolve().parents[2] / "experiments" / "configs" / "open_weights.py"
MESHES = {
    "qwen3-30b-a3b": {"fsdp": 8, "expert": 8, "tensor": 4},
    "llama3.3-70b": {"fsdp": 32, "tensor": 8},
    "deepseek-v3": {"fsdp": 32, "expert": 8, "tensor": 4},
}


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_described_with_its_number_of_parameters(name):
    mesh = {"data": 1} | MESHES.get(name, {"fsdp": 2} if name.startswith("tiny-") else {"fsdp": 8})
    rows = math.prod(mesh.get(axis, 1) for axis in ("fsdp", "expert"))
    overrides = {"model.path": "none", "model.preset": name, "stages.zero.batch.micro_batch_rows": max(rows, 4)}
    overrides |= {f"mesh.{axis}": size for axis, size in mesh.items()}
    for sampler in ("sampler", "evaluation.sampler"):
        overrides[f"stages.zero.{sampler}.lanes"] = max(rows, 16)
    model = PRESETS[name].model
    config = load_config(str(CONFIG), [(path, str(value)) for path, value in overrides.items()])
    text = printed(config, stages=["zero"])
    count = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(decoder.param_shapes(model)))
    assert f"parameters  {count:,}\n" in text
    assert ("active  " in text) == (model.moe is not None)
    assert "adapters of rank 32" in text
    assert f"random weights in the shape of {name}" in text


def test_a_folder_is_described_from_its_config_alone(tmp_path, monkeypatch):
    model = preset("tiny-deepseek-v3").model
    (tmp_path / "config.json").write_text(json.dumps(write_config(model)))
    monkeypatch.chdir(tmp_path.parent)
    text = printed(run_of(grpo(), model=PretrainedConfig(path=tmp_path.name), mesh=MeshConfig(data=2)))
    assert f"weights of {tmp_path.name}" in text
    assert "3 of 8 experts and 2 shared" in text
    assert "cache of latents" in text


def test_weights_of_a_checkpoint_stand_at_the_root():
    text = printed(dataclasses.replace(run_of(grpo()), weights="runs/base/checkpoints"))
    assert "weights of runs/base/checkpoints" in text
    assert "random weights" not in text


def test_a_score_head_predicts_no_tokens():
    with pytest.raises(ConfigError, match="expected 'tokens'"):
        printed(run_of(grpo(), model=PretrainedConfig(preset="tiny-qwen3", head="score")))


def test_an_evaluation_of_the_first_weights_has_no_adapters():
    check = EvaluateConfig(name="check", evaluation=EVALUATION)
    again = EvaluateConfig(name="again", start="check", evaluation=EVALUATION)
    tuned = EvaluateConfig(name="tuned", start="zero", evaluation=EVALUATION)
    model = dataclasses.replace(TINY, remat="dots", lora=LoraConfig(rank=4, frozen="int8"))
    run, mesh = run_of(check, again, grpo(), tuned, model=model), arrays.abstract_mesh(ALL, 1)
    names = {stage.name: {one.name for one in memory.holdings_of(stage, run, mesh)} for stage in run.stages}
    assert names["check"] == names["again"]
    assert "base, float32" in names["check"]
    assert {"frozen base, int8", "adapters, float32"} <= names["zero"] & names["tuned"]


def test_a_moment_that_needs_more_than_any_phase_is_told():
    evaluation = dataclasses.replace(EVALUATION, sampler=SamplerConfig(lanes=1, width=1, max_prompt_tokens=8))
    model = dataclasses.replace(
        TINY, hidden_size=256, ffn_size=1024, remat="dots", lora=LoraConfig(rank=4, frozen="nf4")
    )
    stages = (grpo(evaluation=EVALUATION), EvaluateConfig(name="check", start="zero", evaluation=evaluation))
    text = printed(run_of(*stages, model=model, mesh=MeshConfig(data=1)))
    zero, check = text.split("check ─")
    assert "while adapters are added to the sampler's copy" in check
    assert "while" not in zero  # training needs more


def test_what_is_active_is_what_the_operations_of_a_token_count():
    # Two operations for each number of a matrix: all but the embedding, norms and the correction bias.
    for name in ("tiny-qwen3", "tiny-qwen3-moe", "tiny-deepseek-v3"):
        model = dataclasses.replace(preset(name).model, tie_embeddings=False)
        shapes = decoder.param_shapes(model)
        added = [x for path, x in jax.tree.leaves_with_path(shapes) if path[-1].key in ("scale", "correction_bias")]
        others = sum(math.prod(leaf.shape) for leaf in [*added, shapes["embed"]["embedding"]])
        multiplied = memory.count_active(model) - others
        shape = Shape(model, prompts=1, prompt_tokens=1, group=1, new_tokens=1, micro_batch_rows=1)
        assert forward_flops(shape, 1, 0, 1) == 2 * multiplied


def test_operations_of_latent_attention_are_those_of_its_form():
    # 4 heads, 3 layers. Over heads of 16 + 8 and values of 24: 2 x 3 x 4 x 48. Over latents of 32 + 8, twice.
    shape = Shape(preset("tiny-deepseek-v3").model, 1, 1, 1, 1, 1)
    at, without = (forward_flops(shape, 1, context, 0) for context in (1, 0))
    assert at - without == 2 * 3 * 4 * 48
    assert forward_flops(shape, 1, 1, 0, over_latents=True) - without == 2 * 3 * 4 * 80


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

    run, planned = run_of(stage, model=model, mesh=mesh_config), arrays.abstract_mesh(mesh_config, 8)
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
    planned = arrays.abstract_mesh(mesh_config, 8)
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
    assert {one.name: one.count for one in programs_of(stage, run_of(stage))} == {
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
    run, mesh = run_of(stage), arrays.abstract_mesh(MeshConfig(), 1)
    moments = held(run, mesh, "moments of adamw")
    assert moments["validation"] > 0
    assert moments["evaluation"] == 0
    copies = held(run, mesh, "sampler's copy, float32")
    assert copies["validation"] == 2 * copies["evaluation"]  # the policy's sampler is still there


def gradients_on(mesh, model: ModelConfig, rows: int, length: int):
    """XLA's account of the gradients of what is trained, arguments and results placed as in a run."""

    def loss(trained, frozen, tokens_BT):
        positions_BT = jnp.broadcast_to(jnp.arange(length), (rows, length))
        segments_BT = jnp.ones((rows, length), jnp.int32)
        return decoder.forward(combined(frozen, trained), tokens_BT, positions_BT, segments_BT, config=model).sum()

    trained, frozen, place = placed(model, mesh)
    tokens = jax.ShapeDtypeStruct((rows, length), np.int32)
    where = NamedSharding(mesh, rules.spec(("batch", "length"), tokens.shape, mesh))
    outputs = jax.tree.map(lambda leaf: leaf.sharding, trained)
    with jax.set_mesh(mesh):
        compiled = jax.jit(jax.grad(loss), out_shardings=outputs).lower(trained, frozen, place(tokens, where)).compile()
    return compiled.memory_analysis()


def placed(model: ModelConfig, mesh):
    """Shapes of what is trained and what is frozen, on the mesh; and what puts a shape there."""

    def place(shape, where):
        return jax.ShapeDtypeStruct(shape.shape, shape.dtype, sharding=where)

    trained, frozen = lora.trained_shapes(model), lora.frozen_shapes(model)
    trained = jax.tree.map(place, trained, rules.shardings(lora.trained_dims(model), trained, mesh))
    return trained, jax.tree.map(place, frozen, lora.frozen_shardings(model, mesh)), place


DENSE = ModelConfig(vocab_size=128, hidden_size=128, num_layers=4, num_heads=4, num_kv_heads=2, ffn_size=512)
ESTIMATED = {
    "dense": DENSE,
    "dense with adapters": dataclasses.replace(DENSE, remat="dots", lora=LoraConfig(rank=8, frozen="nf4")),
    "experts": preset("tiny-qwen3-moe").model,
    "experts and latents": preset("tiny-deepseek-v3").model,
}


@pytest.mark.parametrize("remat", ["none", "dots", "full"])
@pytest.mark.parametrize("model", ESTIMATED.values(), ids=ESTIMATED.keys())
def test_activations_are_estimated_within_a_factor_of_two_of_what_xla_allocates(model, remat):
    if remat == "none" and model.lora is not None:
        model = dataclasses.replace(model, lora=dataclasses.replace(model.lora, frozen="compute"))
    model = dataclasses.replace(model, remat=remat)
    allocated = gradients_on(make_mesh(ALL, jax.devices()[:1]), model, 4, 256).temp_size_in_bytes
    estimate = activations.activation_bytes(model, BatchShape(1, 4, 256), arrays.abstract_mesh(ALL, 1))
    assert 0.5 < estimate / allocated < 2.0


@pytest.mark.parametrize(
    ("name", "mesh_config"),
    [
        ("tiny-qwen3-moe", MeshConfig(data=1, fsdp=2, expert=4)),
        ("tiny-deepseek-v3", MeshConfig(data=1, expert=4, tensor=2)),
    ],
    ids=["experts and fsdp", "experts and tensor"],
)
def test_experts_over_devices_are_estimated_within_a_factor_of_two_of_what_xla_allocates(name, mesh_config):
    model = dataclasses.replace(preset(name).model, remat="full", num_layers=3)
    allocated = gradients_on(make_mesh(mesh_config), model, 8, 128).temp_size_in_bytes
    estimate = activations.activation_bytes(model, BatchShape(1, 8, 128), arrays.abstract_mesh(mesh_config, 8))
    assert 0.5 < estimate / allocated < 2.0


@pytest.mark.parametrize("frozen", ["compute", "int8", "nf4"])
@pytest.mark.parametrize("mesh_config", [MeshConfig(data=1), MeshConfig(data=1, fsdp=4, tensor=2)], ids=str)
def test_bytes_of_adapters_and_their_base_are_those_that_xla_is_given(frozen, mesh_config):
    # Not those of `nbytes`, which counts a byte for each of NF4's half bytes.
    model = dataclasses.replace(DENSE, remat="dots", lora=LoraConfig(rank=8, frozen=frozen))
    size = 8 if mesh_config.tensor == 2 else 1
    mesh, planned = make_mesh(mesh_config, jax.devices()[:size]), arrays.abstract_mesh(mesh_config, size)
    trained, base, _ = placed(model, mesh)
    with jax.set_mesh(mesh):
        prepare = jax.jit(lambda *parts: decoding.prepare(combined(*parts), config=model))
        analysis = prepare.lower(base, trained).compile().memory_analysis()
    given = arrays.frozen_bytes(model, planned) + arrays.trained_bytes(model, planned)
    assert given == analysis.argument_size_in_bytes
    if size == 1:
        merged = activations.merging_bytes(model, planned)
        assert 0.5 < merged / analysis.temp_size_in_bytes < 2.0


def test_logits_blocks_stay_under_the_budget_where_all_of_them_would_not():
    mesh = arrays.abstract_mesh(MeshConfig(data=1), 1)
    shape = BatchShape(1, 2, 64)
    # 2 rows x 64 positions x 64 words x 4 bytes = 32,768
    assert activations.logits_block_bytes(TINY, shape, mesh) == 32_768
    # A budget of 3,000 holds 5 positions of 512 bytes; one of 10,000 more, but there are 8 blocks at least.
    for budget_bytes, held_bytes in {3_000: 5 * 512, 10_000: 8 * 512}.items():
        model = dataclasses.replace(TINY, logits_budget_bytes=budget_bytes)
        assert activations.logits_block_bytes(model, shape, mesh) == held_bytes
    # Spread over rows and vocabulary, 16,384 of the 65,536 bytes of 4 rows lie on each device: now they fit.
    mesh = arrays.abstract_mesh(MeshConfig(data=2, tensor=2), 4)
    model = dataclasses.replace(TINY, logits_budget_bytes=16_384)
    assert activations.logits_block_bytes(model, BatchShape(1, 4, 64), mesh) == 16_384


def test_bytes_are_written_in_the_largest_unit_that_they_fill():
    assert [readable(n) for n in (0, 1023, 1536, 5 * 2**30)] == ["0 B", "1023 B", "1.50 KiB", "5.00 GiB"]
    assert readable(math.ceil(1.5 * 2**50)) == "1536.00 TiB"
