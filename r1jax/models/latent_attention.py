"""Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1; used by DeepSeek-V3 and R1).

Keys and values of all heads are linear maps of one normalised vector a token, of `kv_rank` numbers; one more key of
`rope_size` numbers, the only part that knows its position, is shared by all heads. The cache holds those two and
nothing else. In training and prefill every head's keys and values are written out (the naive form). In decoding the map
from the latent to a head's key is applied to the query instead, and the map to its value to what was attended to (the
absorbed form): attention then runs over the latents themselves, as if all heads shared one key.

The mask contract is that of `attention`.
"""

from __future__ import annotations

import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from r1jax.config import ModelConfig
from r1jax.models import rope
from r1jax.models.attention import CacheLengths, CachePart, Parts, attend, softmax_of_both
from r1jax.models.layers import Linear, RMSNorm
from r1jax.models.rope import Rotation
from r1jax.parallel.rules import Dims, constrain


class LatentAttention(nnx.Module):
    """Queries through their own latent (where `query_rank` is set), keys and values through the cached one."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        latent, width, heads = config.latent, config.hidden_size, config.num_heads

        def linear(inputs: tuple[int, ...], outputs: tuple[int, ...], init_range: float = config.init_range) -> Linear:
            return Linear(inputs, outputs, init_range=init_range, rngs=rngs)

        if latent.query_rank is None:
            self.query = linear((width,), (heads, config.head_width))
        else:
            self.query_down = linear((width,), (latent.query_rank,))
            self.query_norm = RMSNorm(latent.query_rank, eps=config.norm_eps)
            self.query_up = linear((latent.query_rank,), (heads, config.head_width))
        self.kv_down = linear((width,), (latent.kv_rank + latent.rope_size,))
        self.kv_norm = RMSNorm(latent.kv_rank, eps=config.norm_eps)
        self.kv_up = linear((latent.kv_rank,), (heads, latent.nope_size + latent.value_size))
        out_range = 0.0 if config.zero_init_outputs else config.init_range
        self.out = linear((heads, latent.value_size), (width,), out_range)
        self.config = config
        self.scale = config.head_width**-0.5 * rope.softmax_growth(config.rope)

    @staticmethod
    def cache_parts(config: ModelConfig) -> dict[str, CachePart]:
        """A token's latent and rotated key, side by side."""
        return {"latent": CachePart(("length", "act_latent"), (None, config.latent.kv_rank + config.latent.rope_size))}

    def __call__(
        self, x_BTD: Float[Array, "B T D"], rotation: Rotation, segments_BT: Int[Array, "B T"], rows: Dims
    ) -> Float[Array, "B T D"]:
        """Attention of whole rows, every head's keys and values written out."""
        return self.prefill(x_BTD, rotation, segments_BT, rows)[0]

    def prefill(
        self, x_BTD: Float[Array, "B T D"], rotation: Rotation, segments_BT: Int[Array, "B T"], rows: Dims
    ) -> tuple[Float[Array, "B T D"], Parts]:
        """As the call; and what the cache keeps of every position."""
        sizes = self.config.latent
        q_BTNH, cached_BTC = self._queries(x_BTD, rotation, rows), self._latents(x_BTD, rotation)
        heads = constrain(self.kv_up(cached_BTC[..., : sizes.kv_rank]), (*rows, "act_heads", "act_head"))
        nope_BTNP, v_BTNV = jnp.split(heads, [sizes.nope_size], axis=-1)
        rope_BTNP = jnp.broadcast_to(cached_BTC[..., None, sizes.kv_rank :], (*nope_BTNP.shape[:-1], sizes.rope_size))
        k_BTNH = jnp.concatenate([nope_BTNP, rope_BTNP], axis=-1)
        return self._merge(attend(q_BTNH, k_BTNH, v_BTNV, segments_BT, scale=self.scale), rows), {"latent": cached_BTC}

    def decode(
        self,
        x_LWD: Float[Array, "L W D"],
        rotation: Rotation,
        prompt: Parts,
        own: Parts,
        lengths: CacheLengths,
        rows: Dims,
    ) -> tuple[Float[Array, "L W D"], Parts]:
        """One token a slot, over the cached latents; and the own part with this token's at its last valid position.

        Args:
          prompt: latent [L, S, kv_rank + rope_size].
          own: latent [L, W, C, kv_rank + rope_size].
        """
        sizes = self.config.latent
        lane, slot = jnp.indices(lengths.own_LW.shape, dtype=jnp.int32, sparse=True)
        fresh_LWC = self._latents(x_LWD, rotation)
        own = {"latent": own["latent"].at[lane, slot, lengths.own_LW - 1].set(fresh_LWC, mode="drop")}
        to_keys_RNP, to_values_RNV = jnp.split(self.kv_up.kernel[...].astype(x_LWD.dtype), [sizes.nope_size], axis=-1)

        nope_LWNP, rope_LWNP = jnp.split(self._queries(x_LWD, rotation, rows), [sizes.nope_size], axis=-1)
        absorbed_LWNR = jnp.einsum("LWNP,RNP->LWNR", nope_LWNP, to_keys_RNP)
        q_LWNC = jnp.concatenate([absorbed_LWNR, rope_LWNP], axis=-1) * self.scale
        prompt_LWNS = jnp.einsum("LWNC,LSC->LWNS", q_LWNC, prompt["latent"], preferred_element_type=jnp.float32)
        own_LWNT = jnp.einsum("LWNC,LWTC->LWNT", q_LWNC, own["latent"], preferred_element_type=jnp.float32)
        prompt_LWNS, own_LWNT = softmax_of_both(prompt_LWNS, own_LWNT, lengths)
        # Over the rotated key too, cut off afterwards: cutting the cache instead would copy it.
        attended_LWNC = jnp.einsum("LWNS,LSC->LWNC", prompt_LWNS.astype(x_LWD.dtype), prompt["latent"])
        attended_LWNC += jnp.einsum("LWNT,LWTC->LWNC", own_LWNT.astype(x_LWD.dtype), own["latent"])
        out_LWNV = jnp.einsum("LWNR,RNV->LWNV", attended_LWNC[..., : sizes.kv_rank], to_values_RNV)
        return self._merge(out_LWNV, rows), own

    def _queries(self, x: Float[Array, "*rows D"], rotation: Rotation, rows: Dims) -> Float[Array, "*rows N H"]:
        """A head's part without positions, then its rotated part."""
        sizes = self.config.latent
        q = self.query(x) if sizes.query_rank is None else self.query_up(self.query_norm(self.query_down(x)))
        nope, turned = jnp.split(constrain(q, (*rows, "act_heads", "act_head")), [sizes.nope_size], axis=-1)
        return jnp.concatenate([nope, rope.rotate(turned, rotation, neighbours=self.config.rope.neighbours)], axis=-1)

    def _latents(self, x: Float[Array, "*rows D"], rotation: Rotation) -> Float[Array, "*rows C"]:
        """What the cache keeps of a token: the normalised latent, then the rotated key."""
        latent, key = jnp.split(self.kv_down(x), [self.config.latent.kv_rank], axis=-1)
        key = rope.rotate(key[..., None, :], rotation, neighbours=self.config.rope.neighbours)[..., 0, :]
        return jnp.concatenate([self.kv_norm(latent), key], axis=-1)

    def _merge(self, heads: Float[Array, "*rows N V"], rows: Dims) -> Float[Array, "*rows D"]:
        """The heads' outputs mapped back to the model's width."""
        return self.out(constrain(heads, (*rows, "act_heads", "act_head")))
