"""Arrays that outlive a program: exactly how many bytes they take on each device.

Sizes come from the shapes and shardings of the run itself (padding of the hardware's tiles aside). A model is traced
for them, which takes a while for a large one: hence the caches, which stages of a run share.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import jax
from jax.sharding import AbstractMesh, AxisType, NamedSharding

from r1jax.config import MESH_AXES, ConfigError, MeshConfig, ModelConfig, OptimizerConfig
from r1jax.dryrun.programs import SamplerUse
from r1jax.learn.state import StepConfig, reference_copy, state_shardings
from r1jax.models import decoder, decoding, lora
from r1jax.models.param_dims import in_compute_dtype
from r1jax.parallel import rules
from r1jax.parallel.mesh import axis_sizes
from r1jax.sampler.programs import dparams_dims


def abstract_mesh(config: MeshConfig, num_devices: int) -> AbstractMesh:
    """The mesh of a run on `num_devices`, or on as many as its sizes ask for where those do not fit."""
    try:
        sizes = axis_sizes(config, num_devices)
    except ConfigError:
        asked = [getattr(config, axis) for axis in MESH_AXES]
        sizes = axis_sizes(config, math.prod(size for size in asked if size is not None))
    return AbstractMesh(sizes, MESH_AXES, axis_types=(AxisType.Auto,) * len(MESH_AXES))


@functools.cache
def param_shapes(model: ModelConfig) -> decoder.Params:
    """`decoder.param_shapes`, once."""
    return decoder.param_shapes(model)


@functools.cache
def param_dims(model: ModelConfig) -> decoder.Params:
    """`decoder.param_dims`, once."""
    return decoder.param_dims(model)


@functools.cache
def trained_bytes(model: ModelConfig, mesh: AbstractMesh) -> int:
    """Of what is trained, in float32: so of its gradients too."""
    shapes = lora.trained_shapes(model)
    return tree_bytes(shapes, rules.shardings(lora.trained_dims(model), shapes, mesh))


@functools.cache
def frozen_bytes(model: ModelConfig, mesh: AbstractMesh) -> int:
    """Of the base beside adapters, as `model.lora.frozen` says; 0 without adapters."""
    return tree_bytes(lora.frozen_shapes(model), lora.frozen_shardings(model, mesh))


@functools.cache
def loaded_bytes(model: ModelConfig, mesh: AbstractMesh) -> int:
    """Of the run's first weights as they are loaded: float32, or where adapters are trained the compute dtype."""
    shapes, dims = param_shapes(model), param_dims(model)

    def one(dims: rules.Dims, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        cast = model.lora is not None and in_compute_dtype(dims)
        return jax.ShapeDtypeStruct(leaf.shape, model.compute_dtype if cast else leaf.dtype)

    held = jax.tree.map(one, dims, shapes, is_leaf=rules.is_dims)
    return tree_bytes(held, rules.shardings(dims, held, mesh))


@functools.cache
def moments_bytes(model: ModelConfig, optimizer: OptimizerConfig, mesh: AbstractMesh) -> int:
    """Of the optimiser's state."""
    config = _step_config(model, optimizer)
    moments = jax.eval_shape(config.make_optimizer().init, lora.trained_shapes(model))
    return tree_bytes(moments, state_shardings(config, mesh).opt_state)


@functools.cache
def reference_bytes(model: ModelConfig, optimizer: OptimizerConfig, mesh: AbstractMesh) -> int:
    """Of the policy's copy that KL is measured from: of its adapters, where the base is shared."""
    config = _step_config(model, optimizer)
    copy = jax.eval_shape(functools.partial(reference_copy, config=config), lora.trained_shapes(model))
    return tree_bytes(copy, rules.shardings(lora.trained_dims(model), copy, mesh))


def _step_config(model: ModelConfig, optimizer: OptimizerConfig) -> StepConfig:
    return StepConfig(model=model, optimizer=optimizer, num_steps=optimizer.warmup_steps + 1)  # sizes are the same


@functools.cache
def decoding_shapes(model: ModelConfig) -> decoding.DecodingParams:
    """The sampler's copy with a `jax.ShapeDtypeStruct` for every array."""
    return jax.eval_shape(functools.partial(decoding.prepare, config=model), param_shapes(model))


@functools.cache
def dparams_bytes(model: ModelConfig, mesh: AbstractMesh) -> int:
    """Of the sampler's copy: in the compute dtype, adapters added, spread over `tensor` and `expert` alone."""
    shapes = decoding_shapes(model)
    return tree_bytes(shapes, rules.shardings(dparams_dims(model), shapes, mesh))


@functools.cache
def cache_bytes(model: ModelConfig, use: SamplerUse, own_tokens: int, mesh: AbstractMesh) -> int:
    """Of what the cache keeps of the longest prompts and of completions of `own_tokens`."""
    shape = use.shape
    cache = jax.eval_shape(
        lambda: decoding.empty_cache(model, shape.lanes, shape.width, shape.max_prompt_tokens, own_tokens)
    )
    return tree_bytes(cache, rules.shardings(decoding.cache_dims(model), cache, mesh))


def local_size(dims: rules.Dims, shape: tuple[int, ...], mesh: AbstractMesh) -> int:
    """Numbers on each device of one array."""
    return math.prod(NamedSharding(mesh, rules.spec(dims, tuple(shape), mesh)).shard_shape(tuple(shape)))


def tree_bytes(shapes: Any, shardings: Any) -> int:
    """Bytes on each device of all arrays of a tree. Those of 4-bit numbers hold two in a byte.

    (XLA packs them on every platform; `jax.Array.nbytes` counts a whole byte each.)
    """

    def one(leaf: jax.ShapeDtypeStruct, sharding: NamedSharding) -> int:
        return math.ceil(jax.dtypes.itemsize_bits(leaf.dtype) * math.prod(sharding.shard_shape(leaf.shape)) / 8)

    return sum(jax.tree.leaves(jax.tree.map(one, shapes, shardings)))
