"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864) and its rescalings for longer contexts.

Pairs are (i, i + H/2), as in the weights that Hugging Face publishes, not neighbours as in the paper.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from r1jax.config import RopeConfig


def frequencies(config: RopeConfig, head_width: int) -> np.ndarray:
    """Radians a position turns each of the head_width / 2 pairs, float32."""
    inverse = 1.0 / config.theta ** (np.arange(0, head_width, 2, dtype=np.float64) / head_width)
    return RESCALE[config.scaling](inverse, config).astype(np.float32)


def _none(inverse: np.ndarray, config: RopeConfig) -> np.ndarray:
    return inverse


def _linear(inverse: np.ndarray, config: RopeConfig) -> np.ndarray:
    return inverse / config.factor


def _llama3(inverse: np.ndarray, config: RopeConfig) -> np.ndarray:
    """Llama 3.1's rule: waves longer than the original context are slowed by `factor`, short ones are kept.

    In between, the two are mixed linearly in the number of turns within the original context.
    """
    turns = config.original_max_positions * inverse / (2 * math.pi)
    kept = (turns - config.low_freq_factor) / (config.high_freq_factor - config.low_freq_factor)
    kept = np.clip(kept, 0.0, 1.0)
    return kept * inverse + (1 - kept) * inverse / config.factor


RESCALE = {"none": _none, "linear": _linear, "llama3": _llama3}


def rotations(
    positions: Int[Array, "*rows"], config: RopeConfig, head_width: int
) -> tuple[Float[Array, "*rows half"], Float[Array, "*rows half"]]:
    """Cosine and sine of every position's angles, float32: computed once, used by all layers."""
    angles = positions[..., None].astype(jnp.float32) * frequencies(config, head_width)
    return jnp.cos(angles), jnp.sin(angles)


def rotate(
    x: Float[Array, "*rows heads H"],
    rotation: tuple[Float[Array, "*rows half"], Float[Array, "*rows half"]],
) -> Float[Array, "*rows heads H"]:
    """Heads turned to their positions, in float32, returned in the dtype of `x`."""
    cos, sin = (part[..., None, :] for part in rotation)
    first, second = jnp.split(x.astype(jnp.float32), 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)
