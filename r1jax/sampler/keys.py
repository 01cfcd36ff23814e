"""Uniform draws as a function of (seed, step, prompt, sample, position) alone.

Which slot decodes a sample, what is decoded beside it and how often a run was resumed cannot change its draws.
The bits are those of threefry `fold_in` itself, which no JAX flag and no batch shape alters.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, UInt


def rollout_key(seed: int, step: int) -> UInt[Array, " 2"]:
    """The key of one rollout.

    Args:
      seed, step: of the run and of its optimiser step, both in [0, 2**32).

    Raises:
      ValueError: outside of that range.
    """
    for name, value in (("seed", seed), ("step", step)):
        if not 0 <= value < 2**32:
            raise ValueError(f"{name}: expected an integer in [0, 2**32), found {value}")
    key = jax.random.key(0, impl="threefry2x32")
    for number in (seed, step):
        key = jax.random.fold_in(key, jnp.uint32(number))
    return jax.random.key_data(key)


def slot_keys(
    rollout_2: UInt[Array, " 2"], prompts_B: UInt[Array, " B"], samples_B: UInt[Array, " B"]
) -> UInt[Array, "B 2"]:
    """The key of each slot: the rollout's, folded with its prompt number and its sample number."""
    return jax.vmap(lambda prompt, sample: _fold(_fold(rollout_2, prompt), sample))(prompts_B, samples_B)


def uniforms(keys_B2: UInt[Array, "B 2"], positions_B: Int[Array, " B"]) -> Float[Array, " B"]:
    """One float32 in [0, 1) a slot, a multiple of 2**-24.

    Args:
      keys_B2: from `slot_keys`.
      positions_B: of the token to draw in its completion, from 0.
    """
    words_B = jax.vmap(_fold)(keys_B2, positions_B)[:, 0]
    return (words_B >> 8).astype(jnp.float32) * 2.0**-24  # the 24 bits that a float32 holds exactly


def _fold(key_2: UInt[Array, " 2"], number: Int[Array, ""] | UInt[Array, ""]) -> UInt[Array, " 2"]:
    key = jax.random.wrap_key_data(key_2, impl="threefry2x32")
    return jax.random.key_data(jax.random.fold_in(key, number))
