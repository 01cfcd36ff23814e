"""The sampler's side of the decoder: a prompt's keys and values are computed once for all its completions.

Slots form lanes x width: lane l holds one prompt, its W slots decode W completions of that prompt. Each slot
attends to its lane's prompt part and to its own part of the cache (`attention.attend_cached`).

Layers are unrolled here and every layer's cache is an array of its own: a step writes one column of each in
place (when the cache is donated or carried by a loop) and copies nothing. Keys are laid out [..., K, H,
length] and values [..., K, length, H], the orders in which both products read memory in a row.
"""

from __future__ import annotations

import operator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from r1jax.config import ModelConfig
from r1jax.models import rope
from r1jax.models.attention import attend, attend_cached
from r1jax.models.decoder import Params, block_graph, final_norm, unembedding
from r1jax.parallel.rules import constrain


class DecodingParams(NamedTuple):
    """A copy of the parameters made for sampling, in the compute dtype."""

    embedding: Array  # [V, D]
    layers: tuple[Params, ...]  # one dict a layer
    final_norm: Params
    unembedding: Array  # [D, V], a copy of its own when tied: read along V


class KVCache(NamedTuple):
    """Keys and values of every slot; tuples over layers. L lanes of W slots, K heads of width H."""

    prompt_k: tuple[Array, ...]  # [L, K, H, S]
    prompt_v: tuple[Array, ...]  # [L, K, S, H]
    own_k: tuple[Array, ...]  # [L, W, K, H, C]
    own_v: tuple[Array, ...]  # [L, W, K, C, H]
    prompt_lengths: Array  # int32 [L], valid positions of prompt_k and prompt_v
    own_lengths: Array  # int32 [L, W], valid positions of own_k and own_v


def prepare(params: Params, *, config: ModelConfig) -> DecodingParams:
    """The parameters as `prefill` and `decode` want them. Jit it: then it is one pass over the weights."""
    cast = jax.tree.map(lambda leaf: leaf.astype(config.compute_dtype), params)
    layers = tuple(jax.tree.map(operator.itemgetter(i), cast["layers"]) for i in range(config.num_layers))
    return DecodingParams(
        embedding=cast["embed"]["embedding"],
        layers=layers,
        # Norms are computed in float32 and are small: no reason to round them.
        final_norm=params["final_norm"],
        unembedding=unembedding(cast, config=config),
    )


def empty_cache(config: ModelConfig, lanes: int, width: int, prompt_tokens: int, own_tokens: int) -> KVCache:
    """A cache of zeros for prompts of up to `prompt_tokens` and completions of up to `own_tokens`."""
    heads, head = config.num_kv_heads, config.head_width

    def zeros(*shape: int) -> tuple[Array, ...]:
        return tuple(jnp.zeros(shape, config.compute_dtype) for _ in range(config.num_layers))

    return KVCache(
        prompt_k=zeros(lanes, heads, head, prompt_tokens),
        prompt_v=zeros(lanes, heads, prompt_tokens, head),
        own_k=zeros(lanes, width, heads, head, own_tokens),
        own_v=zeros(lanes, width, heads, own_tokens, head),
        prompt_lengths=jnp.zeros((lanes,), jnp.int32),
        own_lengths=jnp.zeros((lanes, width), jnp.int32),
    )


def cache_dims(config: ModelConfig) -> KVCache:
    """The logical dims of every array of the cache (see `parallel.rules`)."""

    def each(*dims: str) -> tuple[Any, ...]:
        return (dims,) * config.num_layers

    return KVCache(
        prompt_k=each("lanes", "act_kv_heads", "act_head", "prompt_length"),
        prompt_v=each("lanes", "act_kv_heads", "prompt_length", "act_head"),
        own_k=each("lanes", "width", "act_kv_heads", "act_head", "cache_length"),
        own_v=each("lanes", "width", "act_kv_heads", "cache_length", "act_head"),
        prompt_lengths=("lanes",),
        own_lengths=("lanes", "width"),
    )


def prefill(
    dparams: DecodingParams,
    tokens_PS: Int[Array, "P S"],
    lengths_P: Int[Array, " P"],
    *,
    config: ModelConfig,
) -> tuple[Float[Array, "P V"], tuple[Array, ...], tuple[Array, ...]]:
    """Runs P right-padded prompts of `lengths_P` tokens each (at least 1).

    Returns float32 logits of the token after each prompt (only the last real position meets the head), and
    the keys [P, K, H, S] and values [P, K, S, H] of every layer, in the layout of `KVCache.prompt_k` and
    `prompt_v`.
    """
    rows = ("prompts", "prompt_length")
    P, S = tokens_PS.shape
    positions_PS = jnp.broadcast_to(jnp.arange(S), (P, S))
    segments_PS = (positions_PS < lengths_P[:, None]).astype(jnp.int32)
    rotation = rope.rotations(positions_PS, config.rope, config.head_width)
    x_PSD = dparams.embedding[tokens_PS]
    keys, values = [], []
    for layer in dparams.layers:
        block = nnx.merge(block_graph(config), layer)
        q_PSNH, k_PSKH, v_PSKH = block.heads(x_PSD, rotation, rows)
        x_PSD = block.rest(x_PSD, attend(q_PSNH, k_PSKH, v_PSKH, segments_PS), rows)
        keys.append(k_PSKH.transpose(0, 2, 3, 1))
        values.append(v_PSKH.transpose(0, 2, 1, 3))
    last_PD = x_PSD[jnp.arange(P), lengths_P - 1]
    return _head(dparams, last_PD, config), tuple(keys), tuple(values)


def decode(
    dparams: DecodingParams, tokens_LW: Int[Array, "L W"], cache: KVCache, *, config: ModelConfig
) -> tuple[Float[Array, "L W V"], KVCache]:
    """One token further in every slot: float32 logits of the next one, and the cache that holds this one.

    Slot (l, w)'s token stands at position prompt_lengths[l] + own_lengths[l, w]; its key and value are
    written at own_lengths[l, w], which then grows by one. A slot whose own part is full writes nothing (idle
    slots may run on); the caller sees to it that no live slot gets there.
    """
    rows = ("lanes", "width")
    positions_LW = cache.prompt_lengths[:, None] + cache.own_lengths
    rotation = rope.rotations(positions_LW, config.rope, config.head_width)
    x_LWD = constrain(dparams.embedding[tokens_LW], (*rows, "act_embed"))
    lane, slot = jnp.indices(tokens_LW.shape, dtype=jnp.int32, sparse=True)
    own_ks, own_vs = [], []
    for i, layer in enumerate(dparams.layers):
        block = nnx.merge(block_graph(config), layer)
        q_LWNH, k_LWKH, v_LWKH = block.heads(x_LWD, rotation, rows)
        own_k = cache.own_k[i].at[lane, slot, :, :, cache.own_lengths].set(k_LWKH, mode="drop")
        own_v = cache.own_v[i].at[lane, slot, :, cache.own_lengths].set(v_LWKH, mode="drop")
        attended_LWNH = attend_cached(
            q_LWNH,
            cache.prompt_k[i],
            cache.prompt_v[i],
            own_k,
            own_v,
            cache.prompt_lengths,
            cache.own_lengths + 1,
        )
        x_LWD = block.rest(x_LWD, attended_LWNH, rows)
        own_ks.append(own_k)
        own_vs.append(own_v)
    cache = cache._replace(own_k=tuple(own_ks), own_v=tuple(own_vs), own_lengths=cache.own_lengths + 1)
    return _head(dparams, x_LWD, config), cache


def _head(dparams: DecodingParams, x: Float[Array, "*rows D"], config: ModelConfig) -> Float[Array, "*rows V"]:
    hidden = final_norm({"final_norm": dparams.final_norm}, x, config=config)
    return jnp.matmul(hidden, dparams.unembedding, preferred_element_type=jnp.float32)
