"""Rotary position embedding (Su et al. 2021, arXiv:2104.09864) and its rescalings for longer contexts.

Pairs are (i, i + H/2), as in the weights that most families publish, or neighbours (2i, 2i + 1) as in the paper and
in DeepSeek's. Turned heads come out as halves in both cases: queries and keys alike, so their products agree.
"""

from __future__ import annotations

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from r1jax.config import RopeConfig

Rotation = tuple[Float[Array, "*rows half"], Float[Array, "*rows half"]]  # cosine, sine


def frequencies(config: RopeConfig, width: int) -> np.ndarray:
    """Radians a position turns each of the width / 2 pairs, float32."""
    inverse = 1.0 / config.theta ** (np.arange(0, width, 2, dtype=np.float64) / width)
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


def _yarn(inverse: np.ndarray, config: RopeConfig) -> np.ndarray:
    """YaRN (Peng et al. 2023, arXiv:2309.00071, section 3.2): as `llama3`, but mixed linearly in the pair's number."""
    width = 2 * len(inverse)

    def pair(turns: float) -> float:
        """The (broken) number of the pair that turns so often within the original context."""
        return width * math.log(config.original_max_positions / (2 * math.pi * turns)) / (2 * math.log(config.theta))

    first, last = pair(config.beta_fast), pair(config.beta_slow)
    if config.truncate:
        first, last = math.floor(first), math.ceil(last)
    first, last = max(first, 0), min(last, width - 1)
    slowed = np.clip((np.arange(len(inverse)) - first) / max(last - first, 1e-3), 0.0, 1.0)
    return (1 - slowed) * inverse + slowed * inverse / config.factor


RESCALE = {"none": _none, "linear": _linear, "llama3": _llama3, "yarn": _yarn}


def head_growth(config: RopeConfig) -> float:
    """By how much rotated queries and keys grow (YaRN, eq. 22; DeepSeek's form has two numbers in the formula)."""
    if config.scaling != "yarn":
        return 1.0
    if config.attention_factor is not None:
        return config.attention_factor
    if config.mscale and config.mscale_all_dim:
        return _growth(config, config.mscale) / _growth(config, config.mscale_all_dim)
    return _growth(config, 1.0)


def softmax_growth(config: RopeConfig) -> float:
    """By how much latent attention's scores grow besides: that of all dims, for the query and for the key."""
    if config.scaling != "yarn" or not config.mscale_all_dim:
        return 1.0
    return _growth(config, config.mscale_all_dim) ** 2


def _growth(config: RopeConfig, mscale: float) -> float:
    return 0.1 * mscale * math.log(config.factor) + 1.0


def rotations(positions: Int[Array, "*rows"], config: RopeConfig, width: int) -> Rotation:
    """Cosine and sine of every position's angles, float32: computed once, used by all layers."""
    angles = positions[..., None].astype(jnp.float32) * frequencies(config, width)
    growth = head_growth(config)
    return growth * jnp.cos(angles), growth * jnp.sin(angles)


def rotate(
    x: Float[Array, "*rows heads H"], rotation: Rotation, *, neighbours: bool = False
) -> Float[Array, "*rows heads H"]:
    """Heads turned to their positions, in float32, returned in the dtype of `x`; `neighbours`: see the module."""
    cos, sin = (part[..., None, :] for part in rotation)
    x32 = x.astype(jnp.float32)
    first, second = (x32[..., 0::2], x32[..., 1::2]) if neighbours else jnp.split(x32, 2, axis=-1)
    turned = jnp.concatenate([first * cos - second * sin, second * cos + first * sin], axis=-1)
    return turned.astype(x.dtype)
