"""How low-rank adapters lie in a tree of parameters, and how a block uses them. Which there are: `lora`.

An adapter lies beside the kernel that it adapts: `lora_a` [L, *inputs, rank] and `lora_b` [L, rank, *outputs] next to
`kernel` [L, *inputs, *outputs]. So parameters come in three trees of one form: the base alone (what `decoder.init`
makes), what is trained alone (the adapters), and both `combined`, which is what `decoder.forward` takes.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import qwix
from flax import nnx

from r1jax.config import ModelConfig
from r1jax.models.layers import Adapter

Tree = dict[str, Any]

_NAMES = ("lora_a", "lora_b")


def combined(frozen: Tree | None, trained: Tree) -> Tree:
    """Both trees in one; without a frozen part that is what is trained."""
    if frozen is None:
        return trained
    both = dict(frozen)
    for name, below in trained.items():
        both[name] = combined(frozen[name], below) if name in frozen else below
    return both


def separate(tree: Tree) -> tuple[Tree, Tree]:
    """A tree without its adapters, and the adapters alone."""
    base: Tree = {}
    adapters: Tree = {}
    for name, below in tree.items():
        if name in _NAMES:
            adapters[name] = below
        elif isinstance(below, dict):
            base[name], found = separate(below)
            if found:
                adapters[name] = found
        else:
            base[name] = below
    return base, adapters


def attach(module: nnx.Module, adapters: Tree, *, factor: float) -> None:
    """Gives the linear maps below a module their adapters (of one layer), B multiplied by `factor`."""
    for name, below in adapters.items():
        if "lora_a" in below:
            getattr(module, name).adapter = nnx.data(Adapter(below["lora_a"], factor * below["lora_b"]))
        else:
            attach(getattr(module, name), below, factor=factor)


def dequantized(tree: Any, dtype: Any) -> Any:
    """A tree (or one leaf of it) with every quantised array written out in `dtype`."""

    def write_out(leaf: Any) -> Any:
        return qwix.dequantize(leaf).astype(dtype) if isinstance(leaf, qwix.QArray) else leaf

    return jax.tree.map(write_out, tree, is_leaf=lambda leaf: isinstance(leaf, qwix.QArray))


def merged(params: Tree, *, config: ModelConfig, dtype: Any = jnp.float32) -> Tree:
    """Combined parameters as those of a model without adapters: every adapted kernel with its A B added.

    Sums are float32, adapted and quantised arrays come back in `dtype`; they are made one layer after the other, so
    that never more than a layer of an array is there in float32.
    """
    if config.lora is None:
        return params

    def layer(parts: tuple[Any, ...]) -> jax.Array:
        kernel, *adapter = parts
        kernel = dequantized(kernel, jnp.float32).astype(jnp.float32)
        if adapter:
            a, b = adapter
            delta = a.reshape(-1, a.shape[-1]) @ b.reshape(b.shape[0], -1)
            kernel += config.lora.scale * delta.reshape(kernel.shape)
        return kernel.astype(dtype)

    def fold(node: Any) -> Any:
        if isinstance(node, qwix.QArray):
            return jax.lax.map(layer, (node,))
        if not isinstance(node, dict):
            return node
        below = {name: one for name, one in node.items() if name not in _NAMES}
        if "lora_a" in node:
            below["kernel"] = jax.lax.map(layer, (below["kernel"], node["lora_a"], node["lora_b"]))
        return {name: fold(one) for name, one in below.items()}

    return fold(params)
