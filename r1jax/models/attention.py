"""Grouped-query attention (Ainslie et al. 2023), in training and decoding, behind one mask contract.

The contract: a query sees a key when both carry the same segment number and the key does not come later in
the row. Padding is segment 0 and sees padding alone, so no row of the softmax is ever empty and padding
touches nothing else. While decoding, the segment is the completion: its prompt's valid part and its own
valid part.

Query heads are grouped by the key/value head that they share (N = K x R), so keys and values are never
repeated. Scores and softmax are float32.

Every kind of attention offers the same four things: a call (training), `prefill`, `decode`, and `cache_parts`, which
says what it keeps of a token. `latent_attention` is the other kind.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from r1jax.config import ModelConfig
from r1jax.models import rope
from r1jax.models.layers import Linear, RMSNorm
from r1jax.models.rope import Rotation
from r1jax.parallel.rules import Dims, constrain

MASKED = float(jnp.finfo(jnp.float32).min)  # not -inf: the difference of two infinities is NaN

Parts = dict[str, Array]  # one layer's cache, by the names of `cache_parts`


class CachePart(NamedTuple):
    """One array of a layer's cache, for one sequence: logical dims and sizes, "length" (None) where tokens stand."""

    dims: tuple[str, ...]
    sizes: tuple[int | None, ...]


class CacheLengths(NamedTuple):
    """The valid positions of L lanes of W slots; the token being decoded counts among its slot's own."""

    prompt_L: Int[Array, " L"]
    own_LW: Int[Array, "L W"]


def attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BTKH: Float[Array, "B T K H"],
    v_BTKV: Float[Array, "B T K V"],
    segments_BT: Int[Array, "B T"],
    *,
    scale: float,
) -> Float[Array, "B T N V"]:
    """Causal attention within equal segments of a row; scores are multiplied by `scale`."""
    B, T, N, H = q_BTNH.shape
    K, V = v_BTKV.shape[2:]
    R = N // K
    # The R queries that share a key are rows of one matrix: products of two matrices for each (row, key head),
    # twice as fast on a CPU as products over five dims.
    q_BKRTH = (q_BTNH * scale).reshape(B, T, K, R, H).transpose(0, 2, 3, 1, 4)
    q_BKMH = q_BKRTH.reshape(B, K, R * T, H)
    scores_BKMS = jnp.einsum("BKMH,BSKH->BKMS", q_BKMH, k_BTKH, preferred_element_type=jnp.float32)
    same_BTS = segments_BT[:, :, None] == segments_BT[:, None, :]
    visible_BTS = same_BTS & jnp.tril(jnp.ones((T, T), bool))
    scores_BKRTS = jnp.where(visible_BTS[:, None, None], scores_BKMS.reshape(B, K, R, T, T), MASKED)
    weights_BKRTS = jax.nn.softmax(scores_BKRTS, axis=-1).astype(v_BTKV.dtype)
    out_BKMV = jnp.einsum("BKMS,BSKV->BKMV", weights_BKRTS.reshape(B, K, R * T, T), v_BTKV)
    return out_BKMV.reshape(B, K, R, T, V).transpose(0, 3, 1, 2, 4).reshape(B, T, N, V)


def softmax_of_both(
    prompt: Float[Array, "L W *heads S"], own: Float[Array, "L W *heads C"], lengths: CacheLengths
) -> tuple[Float[Array, "L W *heads S"], Float[Array, "L W *heads C"]]:
    """One softmax over the valid positions of a lane's prompt and of a slot's own part: the weights of each."""

    def among(length: int, valid: Array, scores: Array) -> Bool[Array, " ..."]:
        inside = jnp.arange(length) < valid[..., None]
        return inside.reshape(*valid.shape, *[1] * (scores.ndim - valid.ndim - 1), length)

    prompt = jnp.where(among(prompt.shape[-1], lengths.prompt_L, prompt), prompt, MASKED)
    own = jnp.where(among(own.shape[-1], lengths.own_LW, own), own, MASKED)
    peak = jnp.maximum(prompt.max(-1, keepdims=True), own.max(-1, keepdims=True))
    prompt, own = jnp.exp(prompt - peak), jnp.exp(own - peak)
    total = prompt.sum(-1, keepdims=True) + own.sum(-1, keepdims=True)
    return prompt / total, own / total


def attend_cached(
    q_LWNH: Float[Array, "L W N H"], prompt: Parts, own: Parts, lengths: CacheLengths
) -> Float[Array, "L W N H"]:
    """Attention of one new token a slot (L lanes of W slots) over its lane's prompt and its own tokens.

    Args:
      prompt: k [L, K, H, S], v [L, K, S, H].
      own: k [L, W, K, H, C], v [L, W, K, C, H].
    """
    L, W, N, H = q_LWNH.shape
    K = prompt["k"].shape[1]
    q_LWKRH = (q_LWNH * H**-0.5).reshape(L, W, K, N // K, H)
    prompt_LWKRS = jnp.einsum("LWKRH,LKHS->LWKRS", q_LWKRH, prompt["k"], preferred_element_type=jnp.float32)
    own_LWKRC = jnp.einsum("LWKRH,LWKHC->LWKRC", q_LWKRH, own["k"], preferred_element_type=jnp.float32)
    prompt_LWKRS, own_LWKRC = softmax_of_both(prompt_LWKRS, own_LWKRC, lengths)
    dtype = q_LWNH.dtype
    out = jnp.einsum("LWKRS,LKSH->LWKRH", prompt_LWKRS.astype(dtype), prompt["v"])
    out += jnp.einsum("LWKRC,LWKCH->LWKRH", own_LWKRC.astype(dtype), own["v"])
    return out.reshape(L, W, N, H)


class Attention(nnx.Module):
    """Queries, keys and values of the hidden states, rotary positions, and the map back."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        width, head = config.hidden_size, config.head_width
        heads, kv_heads, init_range = config.num_heads, config.num_kv_heads, config.init_range

        def projection(count: int) -> Linear:
            shape = (count, head)
            return Linear((width,), shape, init_range=init_range, rngs=rngs, bias=config.attention_bias)

        self.query, self.key, self.value = projection(heads), projection(kv_heads), projection(kv_heads)
        self.query_norm = RMSNorm(head, eps=config.norm_eps) if config.qk_norm else None
        self.key_norm = RMSNorm(head, eps=config.norm_eps) if config.qk_norm else None
        out_range = 0.0 if config.zero_init_outputs else init_range
        self.out = Linear((heads, head), (width,), init_range=out_range, rngs=rngs)
        self.neighbours = config.rope.neighbours

    @staticmethod
    def cache_parts(config: ModelConfig) -> dict[str, CachePart]:
        """Keys and values, in the orders in which both products read memory in a row."""
        K, H = config.num_kv_heads, config.head_width
        return {
            "k": CachePart(("act_kv_heads", "act_head", "length"), (K, H, None)),
            "v": CachePart(("act_kv_heads", "length", "act_head"), (K, None, H)),
        }

    def __call__(
        self, x_BTD: Float[Array, "B T D"], rotation: Rotation, segments_BT: Int[Array, "B T"], rows: Dims
    ) -> Float[Array, "B T D"]:
        """Attention of whole rows."""
        q_BTNH, k_BTKH, v_BTKH = self._project(x_BTD, rotation, rows)
        return self._merge(attend(q_BTNH, k_BTKH, v_BTKH, segments_BT, scale=q_BTNH.shape[-1] ** -0.5), rows)

    def prefill(
        self, x_PSD: Float[Array, "P S D"], rotation: Rotation, segments_PS: Int[Array, "P S"], rows: Dims
    ) -> tuple[Float[Array, "P S D"], Parts]:
        """As the call; and what the cache keeps of every position."""
        q_PSNH, k_PSKH, v_PSKH = self._project(x_PSD, rotation, rows)
        out_PSD = self._merge(attend(q_PSNH, k_PSKH, v_PSKH, segments_PS, scale=q_PSNH.shape[-1] ** -0.5), rows)
        return out_PSD, {"k": k_PSKH.transpose(0, 2, 3, 1), "v": v_PSKH.transpose(0, 2, 1, 3)}

    def decode(
        self,
        x_LWD: Float[Array, "L W D"],
        rotation: Rotation,
        prompt: Parts,
        own: Parts,
        lengths: CacheLengths,
        rows: Dims,
    ) -> tuple[Float[Array, "L W D"], Parts]:
        """One token a slot, over the cache; and the own part with this token at its last valid position."""
        q_LWNH, k_LWKH, v_LWKH = self._project(x_LWD, rotation, rows)
        lane, slot = jnp.indices(lengths.own_LW.shape, dtype=jnp.int32, sparse=True)
        at = lengths.own_LW - 1
        own = {
            "k": own["k"].at[lane, slot, :, :, at].set(k_LWKH, mode="drop"),
            "v": own["v"].at[lane, slot, :, at].set(v_LWKH, mode="drop"),
        }
        return self._merge(attend_cached(q_LWNH, prompt, own, lengths), rows), own

    def _project(
        self, x: Float[Array, "*rows D"], rotation: Rotation, rows: Dims
    ) -> tuple[Float[Array, "*rows N H"], Float[Array, "*rows K H"], Float[Array, "*rows K H"]]:
        """Queries and keys, normalised where the family does so and turned to their positions, and values."""
        q, k, v = self.query(x), self.key(x), self.value(x)
        if self.query_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        q, k = (rope.rotate(heads, rotation, neighbours=self.neighbours) for heads in (q, k))
        q = constrain(q, (*rows, "act_heads", "act_head"))
        k = constrain(k, (*rows, "act_kv_heads", "act_head"))
        return q, k, constrain(v, (*rows, "act_kv_heads", "act_head"))

    def _merge(self, heads: Float[Array, "*rows N H"], rows: Dims) -> Float[Array, "*rows D"]:
        """The heads' outputs mapped back to the model's width."""
        return self.out(constrain(heads, (*rows, "act_heads", "act_head")))
