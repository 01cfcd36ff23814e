"""Sums over the sequences that share packed rows."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int


def _sums_by_number(values_BT: Float[Array, "B T"], segments_BT: Int[Array, "B T"]):
    """[B, T + 1]: the sum of `values` over each segment number of a row."""
    total = functools.partial(jax.ops.segment_sum, num_segments=segments_BT.shape[1] + 1)
    return jax.vmap(total)(values_BT, segments_BT)


def sequence_sums(values_BT: Float[Array, "B T"], segments_BT: Int[Array, "B T"]) -> Float[Array, "B T"]:
    """At each position, the sum of `values` over the sequence it belongs to; 0 at padding.

    Args:
      segments_BT: 1, 2, ... number the sequences of a row, 0 is padding. A sequence lies in one row.
    """
    sums_BT = jnp.take_along_axis(_sums_by_number(values_BT, segments_BT), segments_BT, axis=1)
    return jnp.where(segments_BT > 0, sums_BT, 0.0)


def sequence_shares(mask_BT: Float[Array, "B T"], segments_BT: Int[Array, "B T"]) -> Float[Array, "B T"]:
    """At each scored position, 1 / (scored positions of its sequence); 0 elsewhere.

    Weighted by them, a sum over tokens is a sum over sequences of per-sequence means.
    """
    return mask_BT / jnp.maximum(sequence_sums(mask_BT, segments_BT), 1.0)


def count_sequences(mask_BT: Float[Array, "B T"], segments_BT: Int[Array, "B T"]) -> Float[Array, ""]:
    """The number of sequences with a scored token."""
    return jnp.sum(_sums_by_number(mask_BT, segments_BT)[:, 1:] > 0, dtype=jnp.float32)
