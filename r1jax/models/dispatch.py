"""Rows to experts and back on one device: sorted by expert, run as grouped matmuls, returned to their places."""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.ad_checkpoint import checkpoint_name
from jaxtyping import Array

from r1jax.models.grouped_matmul import grouped_matmul
from r1jax.models.layers import ACTIVATIONS

# The name of what a `jax.checkpoint` should keep for the backward pass: the rest is cheap to make again, or is
# weights that were gathered from other devices.
KEPT = "mixture of experts"


class ExpertWeights(NamedTuple):
    gate: Array  # [E, D, F]
    up: Array  # [E, D, F]
    down: Array  # [E, F, D]


def kept(arrays: Any) -> Any:
    """A tree of arrays, marked as worth keeping for the backward pass."""
    return jax.tree.map(lambda array: checkpoint_name(array, KEPT), arrays)


def by_expert(experts_S: Array, num_experts: int) -> tuple[Array, Array, Array]:
    """Slots in the order of their experts (none, `num_experts`, last), where each came, and each expert's bounds."""
    order_S = jnp.argsort(experts_S, stable=True)
    rank_S = jnp.zeros_like(order_S).at[order_S].set(jnp.arange(order_S.size), unique_indices=True)
    bounds = jnp.searchsorted(experts_S[order_S], jnp.arange(num_experts + 1)).astype(jnp.int32)
    return kept((order_S, rank_S, bounds))


@functools.partial(jax.custom_vjp, nondiff_argnums=(3,))
def moved(rows_TD: Array, source_S: Array, target_A: Array, copies: int) -> Array:
    """Slot s gets row `source_S[s] // copies`, or zeros where that is beyond the rows.

    `target_A` is the inverse: the slot that copy a % copies of row a // copies goes to, or one beyond. With it the
    backward pass reads, too, where the transpose of reading would add at scattered places.
    """
    return jnp.take(rows_TD, source_S // copies, axis=0, mode="fill", fill_value=0)


def _moved_forward(rows_TD: Array, source_S: Array, target_A: Array, copies: int):
    return moved(rows_TD, source_S, target_A, copies), target_A


def _moved_backward(copies: int, target_A: Array, d_slots_SD: Array):
    d_copies_AD = jnp.take(d_slots_SD, target_A, axis=0, mode="fill", fill_value=0)
    d_copies = d_copies_AD.reshape(-1, copies, d_slots_SD.shape[1]).astype(jnp.float32)
    return d_copies.sum(1).astype(d_slots_SD.dtype), None, None


moved.defvjp(_moved_forward, _moved_backward)


def expert_ffn(rows_SD: Array, weights_S1: Array, *, experts: ExpertWeights, sizes: Array, activation: str) -> Array:
    """Each row through its expert, times its weight; rows beyond the last expert's become 0.

    The weights go in before the last matrix: so its output, the widest array of all, is not kept for their gradient.
    """
    act = ACTIVATIONS[activation]
    rows_SD, weights_S1 = kept((rows_SD, weights_S1))
    gate_SF, up_SF = kept(tuple(grouped_matmul(rows_SD, weights, sizes) for weights in (experts.gate, experts.up)))
    return grouped_matmul((act(gate_SF) * up_SF * weights_S1).astype(rows_SD.dtype), experts.down, sizes)
