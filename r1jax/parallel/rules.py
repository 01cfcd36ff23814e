"""One table from the logical dims of tensors to the axes of the mesh.

Parameters and activations name their dims apart (`embed` and `act_embed`): the parameters of a matrix are
spread over `fsdp`, the activations that it meets are not. A dim is unknown, doubly placed or indivisible: an
error that names it, never a silent replica. The one exception is written down: key/value heads fewer than
the devices that would share them are replicated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import jax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec

from r1jax.config import ConfigError

Dims = tuple[str | None, ...]

# Logical dim -> the mesh axes that share it. None: left to the compiler.
RULES: dict[str, tuple[str, ...] | None] = {
    # parameters
    "layers": (),
    "vocab": ("tensor",),
    "embed": ("fsdp",),
    "heads": ("tensor",),
    "kv_heads": ("tensor",),
    "head": (),
    "ffn": ("tensor",),
    "experts": ("expert",),
    "latent": (),
    "lora_rank": (),
    "norm": (),
    # activations
    "micro": (),
    "batch": ("data", "fsdp", "expert"),
    "length": ("context",),
    "act_embed": (),
    "act_heads": ("tensor",),
    "act_kv_heads": ("tensor",),
    "act_head": (),
    "act_ffn": ("tensor",),
    "act_latent": (),
    "act_vocab": ("tensor",),
    "tokens": ("data", "fsdp", "expert", "context"),  # batch and length as one dim
    # the sampler's
    "prompts": None,
    "prompt_length": (),
    "lanes": ("data", "fsdp", "expert"),
    "width": (),
    "cache_length": (),
}

# Dims that are replicated where there are fewer of them than devices on their axes.
REPLICATED_WHEN_FEWER = frozenset({"kv_heads", "act_kv_heads"})


def spec(dims: Dims, shape: tuple[int, ...], mesh: Mesh | AbstractMesh) -> PartitionSpec:
    """How a tensor of `shape` with the named `dims` lies on `mesh`. A dim of None is replicated.

    Raises ValueError for an unknown name, a wrong number of dims or an axis used twice, ConfigError for a
    size that its axes do not divide.
    """
    if len(dims) != len(shape):
        raise ValueError(f"expected one name a dim, found dims {dims} for shape {shape}")
    entries: list[Any] = []
    owner: dict[str, str] = {}
    for dim, size in zip(dims, shape, strict=True):
        axes = _axes(dim, size, mesh.shape)
        for axis in axes or ():
            if axis in owner:
                raise ValueError(f"dims {dims}: mesh axis {axis!r} is used by both {owner[axis]!r} and {dim!r}")
            owner[axis] = dim
        entries.append(PartitionSpec.UNCONSTRAINED if axes is None else _entry(axes))
    return PartitionSpec(*entries)


def _axes(dim: str | None, size: int, mesh_shape: Mapping[str, int]) -> tuple[str, ...] | None:
    if dim is None:
        return ()
    if dim not in RULES:
        raise ValueError(f"unknown dim {dim!r}; those there are: {', '.join(RULES)}")
    axes = RULES[dim]
    if not axes:
        return axes
    devices = math.prod(mesh_shape[axis] for axis in axes)
    if size % devices == 0:
        return axes
    if dim in REPLICATED_WHEN_FEWER and size < devices:
        return ()
    over = " x ".join(f"{axis}={mesh_shape[axis]}" for axis in axes)
    raise ConfigError(
        f"mesh: expected dim {dim!r} to be a multiple of {devices} ({over}), found {size}; change that size or the mesh"
    )


def _entry(axes: tuple[str, ...]) -> str | tuple[str, ...] | None:
    if not axes:
        return None
    return axes[0] if len(axes) == 1 else axes


def is_dims(node: Any) -> bool:
    """Whether a node of a tree is the dims of one tensor (a plain tuple of names), so: a leaf."""
    return type(node) is tuple and all(dim is None or isinstance(dim, str) for dim in node)


def shardings(dims_tree: Any, shapes_tree: Any, mesh: Mesh | AbstractMesh) -> Any:
    """The tree of NamedShardings of a tree of arrays (or shapes) and the tree of their dims.

    Raises like `spec`, with the path of the array in front.
    """

    def place(path, dims, array):
        try:
            return NamedSharding(mesh, spec(dims, array.shape, mesh))
        except ValueError as error:
            raise type(error)(f"{jax.tree_util.keystr(path, simple=True, separator='.')}: {error}") from error

    return jax.tree_util.tree_map_with_path(place, dims_tree, shapes_tree, is_leaf=is_dims)


def placed(dims_tree: Any, shapes_tree: Any, mesh: Mesh | AbstractMesh) -> Any:
    """`shapes_tree` as `jax.ShapeDtypeStruct`s that know where they lie. Raises like `shardings`."""
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        shapes_tree,
        shardings(dims_tree, shapes_tree, mesh),
    )


def constrain(x: jax.Array, dims: Dims) -> jax.Array:
    """`x`, told to lie on the mesh in use as `dims` say; `x` itself where no mesh is set (`jax.set_mesh`)."""
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return x
    return jax.lax.with_sharding_constraint(x, spec(dims, x.shape, mesh))
