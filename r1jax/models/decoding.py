"""The sampler's side of the decoder: a prompt's part of the cache is computed once for all its completions.

Slots form lanes x width: lane l holds one prompt, its W slots decode W completions of that prompt. Each slot
attends to its lane's prompt part and to its own part of the cache. What the cache keeps of a token is the
attention's to say (`cache_parts`: keys and values, or one latent).

Layers are unrolled here and every layer's cache is a few arrays of its own: a step writes one column of each in
place (when the cache is donated or carried by a loop) and copies nothing.
"""

from __future__ import annotations

import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from r1jax.config import ModelConfig
from r1jax.models import rope
from r1jax.models.adapters import merged
from r1jax.models.attention import CacheLengths, CachePart, Parts
from r1jax.models.decoder import Block, Params, attention_kind, final_norm, make_block, param_dims, stacks, unembedding
from r1jax.models.param_dims import in_compute_dtype
from r1jax.parallel.rules import Dims, constrain, is_dims


class DecodingParams(NamedTuple):
    """A copy of the parameters made for sampling, in the compute dtype."""

    embedding: Array  # [V, D]
    layers: tuple[Params, ...]  # one dict a layer
    final_norm: Params
    unembedding: Array  # [D, V], a copy of its own when tied: read along V


class KVCache(NamedTuple):
    """What is kept of every slot's tokens; tuples over layers. L lanes of W slots."""

    prompt: tuple[Parts, ...]  # of a lane: each part has dims [L, ...], S tokens
    own: tuple[Parts, ...]  # of a slot: each part has dims [L, W, ...], C tokens
    prompt_lengths: Array  # int32 [L], valid positions of the prompt parts
    own_lengths: Array  # int32 [L, W], valid positions of the own parts


def prepare(params: Params, *, config: ModelConfig) -> DecodingParams:
    """The parameters as `prefill` and `decode` want them. Jit it: then it is one pass over the weights."""

    def cast(dims: Dims, leaf: Array) -> Array:
        # The rest computes in float32, as in training, and is small: no reason to round it.
        return leaf.astype(config.compute_dtype) if in_compute_dtype(dims) else leaf

    merged_params = merged(params, config=config, dtype=config.compute_dtype)
    cast_params = jax.tree.map(cast, param_dims(config), merged_params, is_leaf=is_dims)
    layers = tuple(
        jax.tree.map(operator.itemgetter(i), cast_params[name])
        for name, _, count in stacks(config)
        for i in range(count)
    )
    return DecodingParams(
        embedding=cast_params["embed"]["embedding"],
        layers=layers,
        final_norm=cast_params["final_norm"],
        unembedding=unembedding(cast_params, config=config),
    )


def empty_cache(config: ModelConfig, lanes: int, width: int, prompt_tokens: int, own_tokens: int) -> KVCache:
    """A cache of zeros for prompts of up to `prompt_tokens` and completions of up to `own_tokens`."""

    def zeros(leading: tuple[int, ...], tokens: int) -> tuple[Parts, ...]:
        def part(one: CachePart) -> Array:
            sizes = (tokens if size is None else size for size in one.sizes)
            return jnp.zeros((*leading, *sizes), config.compute_dtype)

        parts = attention_kind(config).cache_parts(config)
        return tuple({name: part(one) for name, one in parts.items()} for _ in range(config.num_layers))

    return KVCache(
        prompt=zeros((lanes,), prompt_tokens),
        own=zeros((lanes, width), own_tokens),
        prompt_lengths=jnp.zeros((lanes,), jnp.int32),
        own_lengths=jnp.zeros((lanes, width), jnp.int32),
    )


def cache_dims(config: ModelConfig) -> KVCache:
    """The logical dims of every array of the cache (see `parallel.rules`)."""
    parts = attention_kind(config).cache_parts(config)

    def each(leading: Dims, length: str) -> tuple[dict[str, Dims], ...]:
        named = {
            name: (*leading, *(length if dim == "length" else dim for dim in one.dims)) for name, one in parts.items()
        }
        return (named,) * config.num_layers

    return KVCache(
        prompt=each(("lanes",), "prompt_length"),
        own=each(("lanes", "width"), "cache_length"),
        prompt_lengths=("lanes",),
        own_lengths=("lanes", "width"),
    )


def own_room(cache: KVCache, *, config: ModelConfig) -> int:
    """The tokens of a completion that the cache has room for."""
    dims, part = next(zip(cache_dims(config).own[0].values(), cache.own[0].values(), strict=True))
    return part.shape[dims.index("cache_length")]


def grow(cache: KVCache, own_tokens: int, *, config: ModelConfig) -> KVCache:
    """The same cache with room for completions of `own_tokens` tokens, which is no less than it has."""

    def pad(dims: Dims, array: Array) -> Array:
        more = [
            (0, own_tokens - size if dim == "cache_length" else 0) for dim, size in zip(dims, array.shape, strict=True)
        ]
        return jnp.pad(array, more)

    return cache._replace(own=jax.tree.map(pad, cache_dims(config).own, cache.own, is_leaf=is_dims))


def prefill(
    dparams: DecodingParams,
    tokens_PS: Int[Array, "P S"],
    lengths_P: Int[Array, " P"],
    *,
    config: ModelConfig,
) -> tuple[Float[Array, "P V"], tuple[Parts, ...]]:
    """Runs P right-padded prompts of `lengths_P` tokens each (at least 1).

    Returns float32 logits of the token after each prompt (only the last real position meets the head), and
    what the cache keeps of the prompts, in the form of `KVCache.prompt` for P lanes.
    """
    rows = ("prompts", "prompt_length")
    P, S = tokens_PS.shape
    positions_PS = jnp.broadcast_to(jnp.arange(S), (P, S))
    segments_PS = (positions_PS < lengths_P[:, None]).astype(jnp.int32)
    rotation = rope.rotations(positions_PS, config.rope, config.rotated_width)
    x_PSD = dparams.embedding[tokens_PS]
    kept = []
    for block in _blocks(dparams, config):
        attended_PSD, parts = block.attention.prefill(block.attention_norm(x_PSD), rotation, segments_PS, rows)
        x_PSD, _ = block.rest(x_PSD, attended_PSD, rows, segments_PS > 0)
        kept.append(parts)
    last_PD = x_PSD[jnp.arange(P), lengths_P - 1]
    return _head(dparams, last_PD, config), tuple(kept)


def decode(
    dparams: DecodingParams, tokens_LW: Int[Array, "L W"], cache: KVCache, *, config: ModelConfig
) -> tuple[Float[Array, "L W V"], KVCache]:
    """One token further in every slot: float32 logits of the next one, and the cache that holds this one.

    Slot (l, w)'s token stands at position prompt_lengths[l] + own_lengths[l, w]; what is kept of it is
    written at own_lengths[l, w], which then grows by one. A slot whose own part is full writes nothing (idle
    slots may run on); the caller sees to it that no live slot gets there.
    """
    rows = ("lanes", "width")
    positions_LW = cache.prompt_lengths[:, None] + cache.own_lengths
    rotation = rope.rotations(positions_LW, config.rope, config.rotated_width)
    x_LWD = constrain(dparams.embedding[tokens_LW], (*rows, "act_embed"))
    lengths = CacheLengths(cache.prompt_lengths, cache.own_lengths + 1)
    everyone_LW = jnp.ones(tokens_LW.shape, bool)
    kept = []
    for block, prompt, own in zip(_blocks(dparams, config), cache.prompt, cache.own, strict=True):
        normed_LWD = block.attention_norm(x_LWD)
        attended_LWD, own = block.attention.decode(normed_LWD, rotation, prompt, own, lengths, rows)
        x_LWD, _ = block.rest(x_LWD, attended_LWD, rows, everyone_LW)
        kept.append(own)
    return _head(dparams, x_LWD, config), cache._replace(own=tuple(kept), own_lengths=lengths.own_LW)


def _blocks(dparams: DecodingParams, config: ModelConfig) -> list[Block]:
    kinds = [experts for _, experts, count in stacks(config) for _ in range(count)]
    return [
        make_block(layer, config=config, experts=experts) for experts, layer in zip(kinds, dparams.layers, strict=True)
    ]


def _head(dparams: DecodingParams, x: Float[Array, "*rows D"], config: ModelConfig) -> Float[Array, "*rows V"]:
    hidden = final_norm({"final_norm": dparams.final_norm}, x, config=config)
    return jnp.matmul(hidden, dparams.unembedding, preferred_element_type=jnp.float32)
