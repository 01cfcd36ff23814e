"""Low-rank adapters (Hu et al. 2021, arXiv:2106.09685): a frozen kernel W is used as W + alpha / rank * A B.

What is trained, refreshed and saved is then the adapters alone (and a score head); `adapters` says how they lie beside
the base. Without `config.lora` everything is trained and nothing is frozen.

The frozen matrices are held in the compute dtype, or those of the layers quantised by qwix: int8 with a scale for each
output, NF4 (Dettmers et al. 2023, arXiv:2305.14314) with one for every 64 inputs of it. One layer at a time is written
out where it is used.
"""

from __future__ import annotations

import fnmatch
import math
from typing import Any

import jax
import jax.numpy as jnp
import qwix
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array

from r1jax.config import ConfigError, ModelConfig
from r1jax.models import decoder
from r1jax.models.adapters import Tree, separate
from r1jax.models.param_dims import in_compute_dtype, input_axes
from r1jax.parallel import rules
from r1jax.parallel.rules import Dims, is_dims

Path = tuple[str, ...]

NF4_TILE = 64  # inputs that share a scale
_UNFROZEN = "score"  # a score head starts from random numbers: frozen it would score nothing


def linears(config: ModelConfig) -> tuple[Path, ...]:
    """The paths of all linear maps of the layers; routers and experts are not among them."""
    found: list[Path] = []

    def visit(dims: Any, path: Path) -> None:
        if is_dims(dims):
            return
        if "kernel" in dims and None not in dims["kernel"]:
            found.append(path)
        for name, below in dims.items():
            visit(below, (*path, name))

    dims = decoder.param_dims(config)
    for stack, _, _ in decoder.stacks(config):
        visit(dims[stack], (stack,))
    return tuple(found)


def targets(config: ModelConfig) -> tuple[Path, ...]:
    """The paths that `config.lora.targets` choose; ConfigError names a pattern that matches nothing."""
    paths = {path: ".".join(path[1:]) for path in linears(config)}
    for pattern in config.lora.targets:
        if not fnmatch.filter(paths.values(), pattern):
            raise ConfigError(
                f"model.lora.targets: expected patterns that match a linear map, found {pattern!r}; "
                f"this model has {', '.join(dict.fromkeys(paths.values()))}"
            )
    return tuple(
        path for path, name in paths.items() if any(fnmatch.fnmatchcase(name, one) for one in config.lora.targets)
    )


def init(config: ModelConfig, key: jax.Array) -> Tree:
    """Fresh adapters, float32: A uniform within 1 / sqrt(inputs) (as PEFT has it), B zero, so that W is unchanged."""
    shapes, dims = decoder.param_shapes(config), decoder.param_dims(config)
    tree: Tree = {}
    for number, path in enumerate(targets(config)):
        shape = _at(shapes, path)["kernel"].shape
        inputs = input_axes(_at(dims, path)["kernel"])
        bound = 1 / math.sqrt(math.prod(shape[axis] for axis in inputs))
        a_shape = (*shape[: inputs.stop], config.lora.rank)
        a = jax.random.uniform(jax.random.fold_in(key, number), a_shape, jnp.float32, -bound, bound)
        b = jnp.zeros((shape[0], config.lora.rank, *shape[inputs.stop :]), jnp.float32)
        _put(tree, path, {"lora_a": a, "lora_b": b})
    return tree


def trained(params: Tree, *, config: ModelConfig) -> Tree:
    """The part of combined parameters that training updates: all of them, or the adapters (and a score head)."""
    if config.lora is None:
        return params
    return separate(params)[1] | {name: params[name] for name in (_UNFROZEN,) if name in params}


def trained_shapes(config: ModelConfig) -> Tree:
    """The tree that training updates, with a `jax.ShapeDtypeStruct` for every array."""
    shapes = decoder.param_shapes(config)
    if config.lora is None:
        return shapes
    adapters = jax.eval_shape(lambda key: init(config, key), jax.random.key(0))
    return adapters | {name: shapes[name] for name in (_UNFROZEN,) if name in shapes}


def trained_dims(config: ModelConfig) -> Tree:
    """The logical dims of `trained_shapes`."""
    dims = decoder.param_dims(config)
    if config.lora is None:
        return dims
    tree: Tree = {}
    for path in targets(config):
        kernel = _at(dims, path)["kernel"]
        split = input_axes(kernel).stop
        a, b = (*kernel[:split], "lora_rank"), (kernel[0], "lora_rank", *kernel[split:])
        _put(tree, path, {"lora_a": a, "lora_b": b})
    return tree | {name: dims[name] for name in (_UNFROZEN,) if name in dims}


def frozen(params: Tree, *, config: ModelConfig) -> Tree | None:
    """The base of (base or combined) parameters as it is held beside adapters; None without `config.lora`."""
    if config.lora is None:
        return None

    def hold(dims: Dims, leaf: Any) -> Any:
        if not in_compute_dtype(dims) or isinstance(leaf, qwix.QArray):  # held so already
            return leaf
        if config.lora.frozen == "compute" or dims[0] != "layers":
            return jnp.asarray(leaf, config.compute_dtype)
        return _quantized(leaf, dims, config.lora.frozen)

    base, dims = _without_unfrozen(separate(params)[0]), _without_unfrozen(decoder.param_dims(config))
    return jax.tree.map(hold, dims, base, is_leaf=is_dims)


def _quantized(kernel: Array, dims: Dims, kind: str) -> qwix.QArray:
    inputs = input_axes(dims)
    if kind == "int8":
        return qwix.quantize(kernel, "int8", channelwise_axes=[i for i in range(kernel.ndim) if i not in inputs])
    tiled = inputs[-1]
    tile = math.gcd(NF4_TILE, kernel.shape[tiled])
    others = [axis for axis in range(kernel.ndim) if axis != tiled]
    return qwix.quantize(kernel, "nf4", channelwise_axes=others, tiled_axes={tiled: tile})


def frozen_shapes(config: ModelConfig) -> Tree | None:
    """The tree of `frozen` with a `jax.ShapeDtypeStruct` for every array, from parameters in the compute dtype."""

    def held(dims: Dims, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(leaf.shape, config.compute_dtype if in_compute_dtype(dims) else leaf.dtype)

    params = jax.tree.map(held, decoder.param_dims(config), decoder.param_shapes(config), is_leaf=is_dims)
    return jax.eval_shape(lambda params: frozen(params, config=config), params)


def frozen_shardings(config: ModelConfig, mesh: Mesh | AbstractMesh) -> Tree | None:
    """Where `frozen` lies: a kernel as it would unfrozen; its scales beside what they scale, where they divide so."""
    if config.lora is None:
        return None
    shapes = frozen_shapes(config)

    def parts(dims: Dims, held: Any) -> Any:
        def own(part: jax.ShapeDtypeStruct) -> Dims:
            sizes = zip(dims, part.shape, held.shape, strict=True)
            return tuple(dim if size == whole or _divides(dim, size, mesh) else None for dim, size, whole in sizes)

        return jax.tree.map(own, held)

    dims = jax.tree.map(parts, _without_unfrozen(decoder.param_dims(config)), shapes, is_leaf=is_dims)
    return rules.shardings(dims, shapes, mesh)


def _divides(dim: str | None, size: int, mesh: Mesh | AbstractMesh) -> bool:
    return dim is not None and size % math.prod(mesh.shape[axis] for axis in rules.RULES[dim]) == 0


def _without_unfrozen(tree: Tree) -> Tree:
    return {name: below for name, below in tree.items() if name != _UNFROZEN}


def _at(tree: Tree, path: Path) -> Tree:
    for name in path:
        tree = tree[name]
    return tree


def _put(tree: Tree, path: Path, value: Tree) -> None:
    for name in path[:-1]:
        tree = tree.setdefault(name, {})
    tree[path[-1]] = value
