"""What runs on the device: prefill into lanes, decode in chunks, grow the cache. All else is the host's.

All that changes between calls is traced (temperature, filters, stop tokens, lengths); programs are compiled
per prompt bucket and cache bucket alone, and shared by all samplers of one model, shape and mesh. The slots'
state is donated from call to call, so a decode step writes the cache in place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Bool, Int

from r1jax.config import ModelConfig
from r1jax.models import decoder, decoding
from r1jax.parallel import rules
from r1jax.sampler.board import Chunk
from r1jax.sampler.keys import slot_keys, uniforms
from r1jax.sampler.rule import draw


class Slots(NamedTuple):
    """The device's record of L lanes of W slots. `cache.own_lengths` counts the tokens that a slot fed back."""

    cache: decoding.KVCache
    tokens_LW: Array  # int32: the token drawn last, to be fed next
    active_LW: Array  # bool: draws on
    keys_LW2: Array  # uint32, from keys.slot_keys


class Admission(NamedTuple):
    """New prompts for some of the lanes: P prompts, padded to S tokens on the right."""

    tokens_PS: Array  # int32
    lengths_P: Array  # int32, at least 1
    rows_L: Array  # int32: which of the P prompts a lane takes; -1 leaves the lane as it is
    prompts_L: Array  # uint32: prompt numbers, for the keys
    samples_LW: Array  # uint32: sample numbers, for the keys
    used_LW: Array  # bool: the slot has a sample to draw
    rollout_2: Array  # uint32, from keys.rollout_key


class Rule(NamedTuple):
    """How tokens are drawn and what ends a completion; all of it traced."""

    temperature: Array  # float32 scalar
    top_p: Array  # float32 scalar
    top_k: Array  # int32 scalar
    stop_ids: Array  # int32 [n]
    max_new_tokens: Array  # int32 scalar


class Programs(NamedTuple):
    """The jitted functions of one (model, lanes, width, chunk, mesh)."""

    prepare: Callable[..., decoding.DecodingParams]  # (params)
    empty: Callable[..., Slots]  # (prompt_tokens, own_tokens), both static
    admit: Callable[..., tuple[Slots, Chunk]]  # (dparams, slots, admission, rule)
    chunk: Callable[..., tuple[Slots, Chunk]]  # (dparams, slots, rule)
    grow: Callable[..., Slots]  # (slots, own_tokens), the latter static


@functools.cache
def programs(config: ModelConfig, lanes: int, width: int, chunk_steps: int, mesh: Mesh) -> Programs:
    """Jits the functions of this module with shardings and donation. Call them under `jax.set_mesh(mesh)`.

    Raises ConfigError, from the rules, when the mesh does not divide the lanes.
    """
    slots = rules.shardings(slots_dims(config), jax.eval_shape(lambda: empty_slots(config, lanes, width, 1, 1)), mesh)
    drawn = Chunk(
        *(NamedSharding(mesh, PartitionSpec(None, *slots.tokens_LW.spec)) for _ in range(2)),
        *(slots.tokens_LW for _ in range(2)),
        NamedSharding(mesh, PartitionSpec()),
    )
    prepare = functools.partial(decoding.prepare, config=config)
    dparams = rules.shardings(dparams_dims(config), jax.eval_shape(prepare, decoder.param_shapes(config)), mesh)
    empty = functools.partial(empty_slots, config, lanes, width)
    step = functools.partial(decode_chunk, config=config, steps=chunk_steps)
    return Programs(
        prepare=jax.jit(prepare, out_shardings=dparams),
        empty=jax.jit(empty, static_argnums=(0, 1), out_shardings=slots),
        admit=jax.jit(functools.partial(admit, config=config), donate_argnums=1, out_shardings=(slots, drawn)),
        chunk=jax.jit(step, donate_argnums=1, out_shardings=(slots, drawn)),
        grow=jax.jit(functools.partial(grow, config=config), static_argnums=1, out_shardings=slots),
    )


def empty_slots(config: ModelConfig, lanes: int, width: int, prompt_tokens: int, own_tokens: int) -> Slots:
    """Slots with nothing to do, and room for prompts and completions of so many tokens."""
    return Slots(
        cache=decoding.empty_cache(config, lanes, width, prompt_tokens, own_tokens),
        tokens_LW=jnp.zeros((lanes, width), jnp.int32),
        active_LW=jnp.zeros((lanes, width), bool),
        keys_LW2=jnp.zeros((lanes, width, 2), jnp.uint32),
    )


def admit(
    dparams: decoding.DecodingParams, slots: Slots, admission: Admission, rule: Rule, *, config: ModelConfig
) -> tuple[Slots, Chunk]:
    """Prefills prompts, gives them to their lanes and draws each used slot's first token (a chunk of one step).

    The lanes that take no prompt keep what they have; those that do must have no active slot. Prompts are
    spread over the devices as lanes are, so their number is a multiple of the same number of devices.
    """
    tokens_PS = rules.constrain(admission.tokens_PS, ("lanes", "prompt_length"))
    logits_PV, kept = decoding.prefill(dparams, tokens_PS, admission.lengths_P, config=config)
    taken_L = admission.rows_L >= 0
    rows_L = jnp.maximum(admission.rows_L, 0)

    def give(old_L: Array, new_L: Array) -> Array:
        return jnp.where(taken_L.reshape(-1, *[1] * (old_L.ndim - 1)), new_L, old_L)

    lanes, width = slots.tokens_LW.shape
    prompts_LW = jnp.repeat(admission.prompts_L[:, None], width, axis=1)
    keys_B2 = slot_keys(admission.rollout_2, prompts_LW.reshape(-1), admission.samples_LW.reshape(-1))
    uniforms_B = uniforms(keys_B2, jnp.zeros(lanes * width, jnp.int32))
    logits_BV = jnp.repeat(logits_PV[rows_L], width, axis=0)
    tokens_LW, logps_LW = _draw(logits_BV, uniforms_B, rule, (lanes, width))
    fresh_LW = taken_L[:, None] & admission.used_LW
    active_LW = fresh_LW & ~_stops(tokens_LW, rule) & (rule.max_new_tokens > 1)
    cache = slots.cache._replace(
        prompt=jax.tree.map(lambda old, new: give(old, new[rows_L]), slots.cache.prompt, kept),
        prompt_lengths=give(slots.cache.prompt_lengths, admission.lengths_P[rows_L]),
        own_lengths=give(slots.cache.own_lengths, jnp.zeros_like(slots.cache.own_lengths)),
    )
    slots = Slots(
        cache=cache,
        tokens_LW=give(slots.tokens_LW, tokens_LW),
        active_LW=give(slots.active_LW, active_LW),
        keys_LW2=give(slots.keys_LW2, keys_B2.reshape(lanes, width, 2)),
    )
    counts_LW = fresh_LW.astype(jnp.int32)
    return slots, Chunk(tokens_LW[None], logps_LW[None], counts_LW, slots.active_LW, jnp.int32(1))


def decode_chunk(
    dparams: decoding.DecodingParams, slots: Slots, rule: Rule, *, config: ModelConfig, steps: int
) -> tuple[Slots, Chunk]:
    """Draws up to `steps` tokens in every active slot; ends as soon as no slot is active."""
    lanes, width = slots.tokens_LW.shape
    # All uniforms of the chunk at once: position p is drawn once p tokens have been fed back.
    positions_CB = jnp.arange(1, steps + 1)[:, None] + slots.cache.own_lengths.reshape(-1)
    keys_B2 = slots.keys_LW2.reshape(-1, 2)
    uniforms_CB = jax.vmap(uniforms, in_axes=(None, 0))(keys_B2, positions_CB)

    def goes_on(carry: tuple[Slots, Chunk]) -> Array:
        slots, chunk = carry
        return (chunk.steps < steps) & slots.active_LW.any()

    def step(carry: tuple[Slots, Chunk]) -> tuple[Slots, Chunk]:
        slots, chunk = carry
        logits_LWV, cache = decoding.decode(dparams, slots.tokens_LW, slots.cache, config=config)
        fed_LW = slots.cache.own_lengths + slots.active_LW
        logits_BV = logits_LWV.reshape(lanes * width, -1)
        tokens_LW, logps_LW = _draw(logits_BV, uniforms_CB[chunk.steps], rule, (lanes, width))
        active_LW = slots.active_LW & ~_stops(tokens_LW, rule) & (fed_LW + 1 < rule.max_new_tokens)
        chunk = Chunk(
            tokens_CLW=chunk.tokens_CLW.at[chunk.steps].set(tokens_LW),
            logps_CLW=chunk.logps_CLW.at[chunk.steps].set(logps_LW),
            counts_LW=chunk.counts_LW + slots.active_LW,
            active_LW=active_LW,
            steps=chunk.steps + 1,
        )
        slots = slots._replace(cache=cache._replace(own_lengths=fed_LW), tokens_LW=tokens_LW, active_LW=active_LW)
        return slots, chunk

    nothing = Chunk(
        tokens_CLW=jnp.zeros((steps, lanes, width), jnp.int32),
        logps_CLW=jnp.zeros((steps, lanes, width), jnp.float32),
        counts_LW=jnp.zeros((lanes, width), jnp.int32),
        active_LW=slots.active_LW,
        steps=jnp.int32(0),
    )
    return jax.lax.while_loop(goes_on, step, (slots, nothing))


def grow(slots: Slots, own_tokens: int, *, config: ModelConfig) -> Slots:
    """The same slots with room for completions of `own_tokens` tokens, which is no less than they have."""
    return slots._replace(cache=decoding.grow(slots.cache, own_tokens, config=config))


def slots_dims(config: ModelConfig) -> Slots:
    """The logical dims of `Slots` (see `parallel.rules`)."""
    by_slot = ("lanes", "width")
    return Slots(decoding.cache_dims(config), by_slot, by_slot, (*by_slot, None))


def dparams_dims(config: ModelConfig) -> decoding.DecodingParams:
    """The logical dims of the sampler's parameters: those of training, less what fsdp spreads.

    A decode step reads every weight for one token a slot: gathering them over fsdp each time would cost more
    than the step. So the copy is spread over `tensor` alone.
    """

    def local(dims: rules.Dims) -> rules.Dims:
        return tuple(None if dim == "embed" else dim for dim in dims)

    dims = jax.tree.map(local, decoder.param_dims(config), is_leaf=rules.is_dims)
    layers = tuple(
        jax.tree.map(lambda dims: dims[1:], dims[name], is_leaf=rules.is_dims)
        for name, _, count in decoder.stacks(config)
        for _ in range(count)
    )
    return decoding.DecodingParams(
        embedding=dims["embed"]["embedding"],
        layers=layers,
        final_norm=dims["final_norm"],
        unembedding=(None, "vocab"),
    )


def _draw(logits_BV, uniforms_B, rule: Rule, shape: tuple[int, int]):
    tokens_B, logps_B = draw(logits_BV, uniforms_B, rule.temperature, rule.top_p, rule.top_k)
    return tokens_B.reshape(shape), logps_B.reshape(shape)


def _stops(tokens_LW: Int[Array, "L W"], rule: Rule) -> Bool[Array, "L W"]:
    return (tokens_LW[..., None] == rule.stop_ids).any(axis=-1)
