"""What a stage holds on each device, and when: exact for arrays that outlive a program, estimates within one.

Exact bytes come from the shapes and shardings of the run itself (padding of the hardware's tiles aside). Estimates
count what the code names: they leave out what a compiler adds or fuses away, and are meant for "does it fit?".
"""

from __future__ import annotations

import dataclasses
import functools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, NamedSharding

from r1jax.config import (
    MESH_AXES,
    ConfigError,
    GrpoConfig,
    MeshConfig,
    ModelConfig,
    RunConfig,
    StageConfig,
    TrainingConfig,
)
from r1jax.dryrun.programs import BatchShape, SamplerUse, batch_shape, sampler_uses, scored_models
from r1jax.learn.state import StepConfig, init_state, state_shardings
from r1jax.models import decoder, decoding
from r1jax.parallel import rules
from r1jax.parallel.mesh import axis_sizes
from r1jax.sampler.programs import dparams_dims

F32 = 4


@dataclasses.dataclass(frozen=True)
class Holding:
    """Bytes on each device, held in the phases named (see `phases_of`). Those of one name add up."""

    name: str
    bytes: int
    exact: bool
    phases: frozenset[str]


def abstract_mesh(config: MeshConfig, num_devices: int) -> AbstractMesh:
    """The mesh of a run on `num_devices`, or on as many as its sizes ask for where those do not fit."""
    try:
        sizes = axis_sizes(config, num_devices)
    except ConfigError:
        asked = [getattr(config, axis) for axis in MESH_AXES]
        sizes = axis_sizes(config, math.prod(size for size in asked if size is not None))
    return AbstractMesh(sizes, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


def phases_of(stage: StageConfig) -> list[str]:
    """When memory differs: "update" where the stage trains, and each use of a sampler."""
    update = ["update"] if isinstance(stage, TrainingConfig) else []
    return update + [use.purpose for use in sampler_uses(stage)]


def total(holdings: list[Holding], phase: str) -> int:
    """Bytes on each device in a phase."""
    return sum(one.bytes for one in holdings if phase in one.phases)


def holdings_of(stage: StageConfig, run: RunConfig, mesh: AbstractMesh) -> list[Holding]:
    """All that a stage holds. ConfigError, from the rules, names a size that the mesh does not divide."""
    phases = frozenset(phases_of(stage))
    while_training = phases - {"evaluation"}  # which comes when the train state is gone
    update = phases & {"update"}
    found = [Holding("parameters, float32", params_bytes(run.model, mesh), True, phases)]
    if isinstance(stage, TrainingConfig):
        found += _state(stage, run.model, mesh, while_training)
        found += _update(stage, run.model, mesh, update)
    for use in sampler_uses(stage):
        held = while_training if use.purpose == "rollout" else frozenset({use.purpose})
        name = f"sampler's copy, {run.model.compute_dtype}"
        found.append(Holding(name, dparams_bytes(run.model, mesh), True, held))
        found += _sampling(use, run.model, mesh, frozenset({use.purpose}))
    return found


def count_params(model: ModelConfig) -> int:
    """Parameters of the model."""
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(decoder.param_shapes(model)))


def params_bytes(model: ModelConfig, mesh: AbstractMesh) -> int:
    """Of the float32 parameters, exactly."""
    shapes = decoder.param_shapes(model)
    return _tree_bytes(shapes, rules.shardings(decoder.param_dims(model), shapes, mesh))


def dparams_bytes(model: ModelConfig, mesh: AbstractMesh) -> int:
    """Of the sampler's copy, exactly: in the compute dtype, spread over `tensor` alone."""
    shapes = jax.eval_shape(functools.partial(decoding.prepare, config=model), decoder.param_shapes(model))
    return _tree_bytes(shapes, rules.shardings(dparams_dims(model), shapes, mesh))


def cache_bytes(model: ModelConfig, use: SamplerUse, own_tokens: int, mesh: AbstractMesh) -> int:
    """Of keys and values of the longest prompts and of completions of `own_tokens`, exactly."""
    shape = use.shape
    cache = jax.eval_shape(
        lambda: decoding.empty_cache(model, shape.lanes, shape.width, shape.max_prompt_tokens, own_tokens)
    )
    return _tree_bytes(cache, rules.shardings(decoding.cache_dims(model), cache, mesh))


def _state(stage: TrainingConfig, model: ModelConfig, mesh: AbstractMesh, phases: frozenset[str]) -> list[Holding]:
    reference = "reference" in scored_models(stage)
    config = StepConfig(model=model, optimizer=stage.optimizer, num_steps=stage.num_steps)
    shapes = jax.eval_shape(
        functools.partial(init_state, config=config, reference=reference), decoder.param_shapes(model)
    )
    shardings = state_shardings(config, mesh, reference=reference)
    moments = Holding(
        f"moments of {stage.optimizer.name}", _tree_bytes(shapes.opt_state, shardings.opt_state), True, phases
    )
    if not reference:
        return [moments]
    copy = _tree_bytes(shapes.reference, shardings.reference)
    return [moments, Holding(f"reference, {model.compute_dtype}", copy, True, phases)]


def _update(stage: TrainingConfig, model: ModelConfig, mesh: AbstractMesh, phases: frozenset[str]) -> list[Holding]:
    shape = batch_shape(stage)
    gradients = params_bytes(model, mesh)
    per_token = 7 + len(scored_models(stage)) if isinstance(stage, GrpoConfig) else 5
    batch = per_token * _local(("micro", "batch", "length"), shape, mesh, F32)
    found = [
        Holding(f"batch, {per_token} arrays", batch, True, phases),
        Holding("gradients, float32", gradients, True, phases),
        Holding(f"activations, remat {model.remat}", activation_bytes(model, shape, mesh), False, phases),
        Holding("3 blocks of logits", 3 * logits_block_bytes(model, shape, mesh), False, phases),
    ]
    if shape.micro_batches > 1:
        found.insert(2, Holding("a micro-batch's gradients", gradients, False, phases))
    if mesh.shape["fsdp"] > 1 or model.compute_dtype != "float32":
        weights = largest_weights_bytes(model, mesh)
        found.append(Holding(f"gathered weights, {model.compute_dtype}", weights, False, phases))
    return found


def _sampling(use: SamplerUse, model: ModelConfig, mesh: AbstractMesh, phases: frozenset[str]) -> list[Holding]:
    shape, buckets = use.shape, use.cache_buckets
    slots = _local(("lanes", "width", "act_vocab"), (shape.lanes, shape.width, model.vocab_size), mesh, F32)
    largest = cache_bytes(model, use, buckets[-1], mesh)
    prefill = layer_bytes(model, shape.lanes, shape.max_prompt_tokens, mesh, rows=("lanes", "prompt_length"))
    prefill += cache_bytes(model, use, 0, mesh)  # the new prompts' keys and values beside those they replace
    not_grown_yet = largest - cache_bytes(model, use, buckets[0], mesh)
    before_growth = cache_bytes(model, use, buckets[-2], mesh) if len(buckets) > 1 else 0
    return [
        Holding("KV cache, grown", largest, True, phases),
        # Never both at once: prefill comes before the cache has grown.
        Holding("its growth, or prefill", max(before_growth, prefill - not_grown_yet), False, phases),
        Holding("3 x logits of all slots", 3 * slots, False, phases),
    ]


def layer_bytes(
    model: ModelConfig, num_rows: int, length: int, mesh: AbstractMesh, rows: rules.Dims = ("batch", "length")
) -> int:
    """What the backward pass needs of a layer, all of it; for prefill, what a layer computes on its way.

    Tests hold it within a factor of two of what XLA allocates.
    """
    size = jnp.dtype(model.compute_dtype).itemsize
    stream, queries, keys, ffn = _parts(model, num_rows, length, mesh, rows)
    scores = _local((rows[0], "act_heads", rows[1], None), (num_rows, model.num_heads, length, length), mesh, 1)
    hidden = (4 if model.gated_ffn else 2) * ffn
    return size * (4 * stream + 3 * queries + 4 * keys + hidden) + (2 * F32 + size) * scores


def _parts(model: ModelConfig, num_rows: int, length: int, mesh: AbstractMesh, rows: rules.Dims) -> tuple[int, ...]:
    """Numbers on each device in the residual stream, queries, keys and the feed-forward's hidden values."""
    head = model.head_width
    return (
        _local((*rows, "act_embed"), (num_rows, length, model.hidden_size), mesh, 1),
        _local((*rows, "act_heads", "act_head"), (num_rows, length, model.num_heads, head), mesh, 1),
        _local((*rows, "act_kv_heads", "act_head"), (num_rows, length, model.num_kv_heads, head), mesh, 1),
        _local((*rows, "act_ffn"), (num_rows, length, model.ffn_size), mesh, 1),
    )


def activation_bytes(model: ModelConfig, shape: BatchShape, mesh: AbstractMesh) -> int:
    """What the backward pass keeps of one micro-batch, with one layer computed again where remat does so."""
    layer = layer_bytes(model, shape.rows, shape.positions, mesh)
    if model.remat == "none":
        return model.num_layers * layer
    size = jnp.dtype(model.compute_dtype).itemsize
    stream, queries, keys, ffn = _parts(model, shape.rows, shape.positions, mesh, ("batch", "length"))
    products = queries + 2 * keys + 2 * stream + (2 if model.gated_ffn else 1) * ffn
    kept = {"full": stream, "dots": stream + products}[model.remat]
    return model.num_layers * size * kept + layer


def logits_block_bytes(model: ModelConfig, shape: BatchShape, mesh: AbstractMesh) -> int:
    """Of one [B, block, V] block of float32 logits, by the rule of `learn.logprobs`."""
    whole = shape.rows * shape.positions * model.vocab_size * F32
    blocks = min(shape.positions, math.ceil(whole / model.logits_budget_bytes))
    if blocks <= 1:
        return _local(("batch", "length", "act_vocab"), (shape.rows, shape.positions, model.vocab_size), mesh, F32)
    block = math.ceil(shape.positions / blocks)
    return _local(("batch", None, "act_vocab"), (shape.rows, block, model.vocab_size), mesh, F32)


def largest_weights_bytes(model: ModelConfig, mesh: AbstractMesh) -> int:
    """Of the weights that are gathered over `fsdp` and cast at once: a layer's, or the head's."""
    size = jnp.dtype(model.compute_dtype).itemsize
    shapes = jax.eval_shape(functools.partial(decoding.prepare, config=model), decoder.param_shapes(model))
    dims = dparams_dims(model)
    layer = _tree_bytes(shapes.layers[0], rules.shardings(dims.layers[0], shapes.layers[0], mesh))
    return max(layer, _local(dims.unembedding, shapes.unembedding.shape, mesh, size))


def _local(dims: rules.Dims, shape: tuple[int, ...], mesh: AbstractMesh, item_bytes: int) -> int:
    """Bytes on each device of one array."""
    return item_bytes * math.prod(NamedSharding(mesh, rules.spec(dims, tuple(shape), mesh)).shard_shape(tuple(shape)))


def _tree_bytes(shapes: Any, shardings: Any) -> int:
    def one(leaf: jax.ShapeDtypeStruct, sharding: NamedSharding) -> int:
        return leaf.dtype.itemsize * math.prod(sharding.shard_shape(leaf.shape))

    return sum(jax.tree.leaves(jax.tree.map(one, shapes, shardings)))
