"""How one token is drawn from a row of logits: temperature, top-k, top-p, one uniform a row.

The draw inverts the cumulative distribution: no noise over the vocabulary, and the same uniform gives the
same token wherever the row stands. Filters find their threshold by bisection over the bits of a float (31
masked sums, exact), which costs far less than sorting a vocabulary. All arguments are traced: nothing recompiles.
"""

from __future__ import annotations

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float, Int

from r1jax.config import SamplingConfig

BLOCK_TOKENS = 128  # the vocabulary is summed in blocks, then one block is searched
_BITS_OF_TWO = 0x40000000  # float32 bits of 2.0: above every weight exp(logit - largest logit) <= 1


def rule_arguments(sampling: SamplingConfig, vocab_size: int) -> tuple[Array, Array, Array]:
    """Temperature (float32), top_p (float32) and top_k (int32) for `draw`: filters that are off keep all."""
    top_p = 1.0 if sampling.top_p is None else sampling.top_p
    top_k = vocab_size if sampling.top_k is None else min(sampling.top_k, vocab_size)
    return jnp.float32(sampling.temperature), jnp.float32(top_p), jnp.int32(top_k)


def draw(
    logits_BV: Float[Array, "B V"],
    uniforms_B: Float[Array, " B"],
    temperature: Float[Array, ""],
    top_p: Float[Array, ""],
    top_k: Int[Array, ""],
) -> tuple[Int[Array, " B"], Float[Array, " B"]]:
    """One token a row and its log-probability.

    The filters apply to softmax(logits / temperature): first top-k, then top-p over what that leaves
    (Holtzman et al. 2019, arXiv:1904.09751); tokens tied at the threshold all stay. The log-probability is
    that of the unfiltered distribution, since this is what the loss compares with.

    Args:
      logits_BV: float32.
      uniforms_B: float32 in [0, 1).
      temperature: 0 takes the most likely token (the first of equals) and records log-probabilities at 1.
      top_p: 1.0 keeps all.
      top_k: V keeps all.

    Returns:
      tokens_B int32 and logps_B float32 in nats.
    """
    greedy = temperature == 0
    scaled_BV = logits_BV / jnp.where(greedy, 1.0, temperature)
    peak_B = scaled_BV.max(axis=-1)
    weights_BV = jnp.exp(scaled_BV - peak_B[:, None])
    filtered = (top_p < 1) | (top_k < logits_BV.shape[-1])
    tokens_B = lax.switch(
        jnp.where(greedy, 0, jnp.where(filtered, 2, 1)),
        (
            lambda: scaled_BV.argmax(axis=-1).astype(jnp.int32),
            lambda: _invert(weights_BV, uniforms_B),
            lambda: _invert(keep_top(weights_BV, top_p, top_k), uniforms_B),
        ),
    )
    chosen_B = jnp.take_along_axis(scaled_BV, tokens_B[:, None], axis=-1)[:, 0]
    return tokens_B, chosen_B - peak_B - jnp.log(weights_BV.sum(axis=-1))


def keep_top(weights_BV: Float[Array, "B V"], top_p: Float[Array, ""], top_k: Int[Array, ""]) -> Float[Array, "B V"]:
    """Sets to 0 the weights (in [0, 1], not normalised) that top-k and then top-p exclude.

    A token stays when fewer than `top_k` tokens weigh more than it, and when those that weigh more than it
    hold less than `top_p` of the mass that top-k left.
    """

    def top_k_only(weights_BV):
        few_B = lambda heavier_BV: heavier_BV.sum(axis=-1) < top_k  # noqa: E731
        return _keep_from(weights_BV, _bisect(weights_BV, few_B))

    def top_p_only(weights_BV):
        enough_B = top_p * weights_BV.sum(axis=-1)
        light_B = lambda heavier_BV: jnp.where(heavier_BV, weights_BV, 0).sum(axis=-1) < enough_B  # noqa: E731
        return _keep_from(weights_BV, _bisect(weights_BV, light_B))

    weights_BV = lax.cond(top_k < weights_BV.shape[-1], top_k_only, lambda weights: weights, weights_BV)
    return lax.cond(top_p < 1, top_p_only, lambda weights: weights, weights_BV)


def _keep_from(weights_BV: Float[Array, "B V"], least_B: Float[Array, " B"]) -> Float[Array, "B V"]:
    return jnp.where(weights_BV >= least_B[:, None], weights_BV, 0)


def _bisect(weights_BV: Float[Array, "B V"], accepts) -> Float[Array, " B"]:
    """The smallest float t >= 0 of each row for which accepts(weights > t) holds.

    `accepts` maps a Bool[B, V] of the heavier tokens to Bool[B]; it holds for no heavier token, and if for
    some then for fewer. Floats >= 0 are ordered as their bits are, so 31 halvings of the bits find t exactly.
    """

    def halve(_, bounds):
        low_B, high_B = bounds
        middle_B = (low_B + high_B) // 2
        ok_B: Bool[Array, " B"] = accepts(weights_BV > _as_float(middle_B)[:, None])
        return jnp.where(ok_B, low_B, middle_B + 1), jnp.where(ok_B, middle_B, high_B)

    rows = weights_BV.shape[0]
    low_B, high_B = jnp.zeros(rows, jnp.int32), jnp.full(rows, _BITS_OF_TWO, jnp.int32)
    return _as_float(lax.fori_loop(0, 31, halve, (low_B, high_B))[1])


def _as_float(bits_B: Int[Array, " B"]) -> Float[Array, " B"]:
    return lax.bitcast_convert_type(bits_B, jnp.float32)


def _invert(weights_BV: Float[Array, "B V"], uniforms_B: Float[Array, " B"]) -> Int[Array, " B"]:
    """The token whose interval of the cumulative distribution holds the uniform, block by block."""
    rows, vocab = weights_BV.shape
    weights_BV = jnp.pad(weights_BV, ((0, 0), (0, -vocab % BLOCK_TOKENS)))
    blocks_BJC = weights_BV.reshape(rows, -1, BLOCK_TOKENS)
    masses_BJ = blocks_BJC.sum(axis=-1)
    block_B, rest_B = _locate(masses_BJ, uniforms_B * masses_BJ.sum(axis=-1))
    inside_BC = jnp.take_along_axis(blocks_BJC, block_B[:, None, None], axis=1)[:, 0]
    within_B, _ = _locate(inside_BC, rest_B)
    return block_B * BLOCK_TOKENS + within_B


def _locate(
    masses_BN: Float[Array, "B N"], target_B: Float[Array, " B"]
) -> tuple[Int[Array, " B"], Float[Array, " B"]]:
    """(first entry whose running sum exceeds the target, what of the target is left in it).

    Entries without mass are never taken, whatever rounding does to the running sum (it need not be monotone);
    a target that rounding puts beyond the whole sum falls into the last entry with mass.
    """
    count = masses_BN.shape[-1]
    upper_BN = jnp.cumsum(masses_BN, axis=-1)
    entries_N = jnp.arange(count, dtype=jnp.int32)
    first_B = jnp.where((upper_BN > target_B[:, None]) & (masses_BN > 0), entries_N, count).min(axis=-1)
    last_B = jnp.where(masses_BN > 0, entries_N, 0).max(axis=-1)
    entry_B = jnp.where(first_B < count, first_B, last_B)
    below_B = jnp.take_along_axis(upper_BN - masses_BN, entry_B[:, None], axis=-1)[:, 0]
    return entry_B, target_B - below_B
