"""Grouped-query attention (Ainslie et al. 2023), in training and decoding, behind one mask contract.

The contract: a query sees a key when both carry the same segment number and the key does not come later in
the row. Padding is segment 0 and sees padding alone, so no row of the softmax is ever empty and padding
touches nothing else. While decoding, the segment is the completion: its prompt's valid part and its own
valid part.

Query heads are grouped by the key/value head that they share (N = K x R), so keys and values are never
repeated. Scores and softmax are float32.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from r1jax.config import ModelConfig
from r1jax.models import rope
from r1jax.models.layers import Linear, RMSNorm
from r1jax.parallel.rules import Dims, constrain

MASKED = float(jnp.finfo(jnp.float32).min)  # not -inf: the difference of two infinities is NaN

Rotation = tuple[Array, Array]


def attend(
    q_BTNH: Float[Array, "B T N H"],
    k_BTKH: Float[Array, "B T K H"],
    v_BTKH: Float[Array, "B T K H"],
    segments_BT: Int[Array, "B T"],
) -> Float[Array, "B T N H"]:
    """Causal attention within equal segments of a row, scaled by 1 / sqrt(H)."""
    B, T, N, H = q_BTNH.shape
    K = k_BTKH.shape[2]
    R = N // K
    # The R queries that share a key are rows of one matrix: products of two matrices for each (row, key head),
    # twice as fast on a CPU as products over five dims.
    q_BKRTH = (q_BTNH * H**-0.5).reshape(B, T, K, R, H).transpose(0, 2, 3, 1, 4)
    q_BKMH = q_BKRTH.reshape(B, K, R * T, H)
    scores_BKMS = jnp.einsum("BKMH,BSKH->BKMS", q_BKMH, k_BTKH, preferred_element_type=jnp.float32)
    same_BTS = segments_BT[:, :, None] == segments_BT[:, None, :]
    visible_BTS = same_BTS & jnp.tril(jnp.ones((T, T), bool))
    scores_BKRTS = jnp.where(visible_BTS[:, None, None], scores_BKMS.reshape(B, K, R, T, T), MASKED)
    weights_BKRTS = jax.nn.softmax(scores_BKRTS, axis=-1).astype(v_BTKH.dtype)
    out_BKMH = jnp.einsum("BKMS,BSKH->BKMH", weights_BKRTS.reshape(B, K, R * T, T), v_BTKH)
    return out_BKMH.reshape(B, K, R, T, H).transpose(0, 3, 1, 2, 4).reshape(B, T, N, H)


def attend_cached(
    q_LWNH: Float[Array, "L W N H"],
    prompt_k_LKHS: Float[Array, "L K H S"],
    prompt_v_LKSH: Float[Array, "L K S H"],
    own_k_LWKHC: Float[Array, "L W K H C"],
    own_v_LWKCH: Float[Array, "L W K C H"],
    prompt_lengths_L: Int[Array, " L"],
    own_lengths_LW: Int[Array, "L W"],
) -> Float[Array, "L W N H"]:
    """Attention of one new token a slot (L lanes of W slots) over its lane's prompt and its own tokens.

    `own_lengths_LW` counts the valid own positions, the new token's among them. One softmax spans both parts.
    """
    L, W, N, H = q_LWNH.shape
    K, S = prompt_k_LKHS.shape[1], prompt_k_LKHS.shape[3]
    C = own_k_LWKHC.shape[4]
    q_LWKRH = (q_LWNH * H**-0.5).reshape(L, W, K, N // K, H)
    prompt = jnp.einsum("LWKRH,LKHS->LWKRS", q_LWKRH, prompt_k_LKHS, preferred_element_type=jnp.float32)
    own = jnp.einsum("LWKRH,LWKHC->LWKRC", q_LWKRH, own_k_LWKHC, preferred_element_type=jnp.float32)
    in_prompt_LS = jnp.arange(S) < prompt_lengths_L[:, None]
    in_own_LWC = jnp.arange(C) < own_lengths_LW[:, :, None]
    prompt = jnp.where(in_prompt_LS[:, None, None, None], prompt, MASKED)
    own = jnp.where(in_own_LWC[:, :, None, None], own, MASKED)
    peak = jnp.maximum(prompt.max(-1, keepdims=True), own.max(-1, keepdims=True))
    prompt, own = jnp.exp(prompt - peak), jnp.exp(own - peak)
    total = prompt.sum(-1, keepdims=True) + own.sum(-1, keepdims=True)
    dtype = q_LWNH.dtype
    out = jnp.einsum("LWKRS,LKSH->LWKRH", (prompt / total).astype(dtype), prompt_v_LKSH)
    out += jnp.einsum("LWKRC,LWKCH->LWKRH", (own / total).astype(dtype), own_v_LWKCH)
    return out.reshape(L, W, N, H)


class Attention(nnx.Module):
    """`project` makes rotated queries, keys and values; `merge` maps what they attended to back."""

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

    def project(
        self, x: Float[Array, "*rows D"], rotation: Rotation, rows: Dims
    ) -> tuple[Float[Array, "*rows N H"], Float[Array, "*rows K H"], Float[Array, "*rows K H"]]:
        """Queries and keys, normalised where the family does so and turned to their positions, and values."""
        q, k, v = self.query(x), self.key(x), self.value(x)
        if self.query_norm is not None:
            q, k = self.query_norm(q), self.key_norm(k)
        q = constrain(rope.rotate(q, rotation), (*rows, "act_heads", "act_head"))
        k = constrain(rope.rotate(k, rotation), (*rows, "act_kv_heads", "act_head"))
        return q, k, constrain(v, (*rows, "act_kv_heads", "act_head"))

    def merge(self, heads: Float[Array, "*rows N H"], rows: Dims) -> Float[Array, "*rows D"]:
        """The heads' outputs mapped back to the model's width."""
        return self.out(constrain(heads, (*rows, "act_heads", "act_head")))
