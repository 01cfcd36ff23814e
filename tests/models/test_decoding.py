"""Prefill and decode give the logits of the whole forward pass, wherever a completion sits."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import FAMILIES, logits_of, one_segment, params_of, random_tokens

from r1jax.config import MeshConfig
from r1jax.models import decoding
from r1jax.parallel import mesh, rules

PROMPT_LENGTHS = np.array([3, 5, 1])
PROMPT_ROOM, OWN_ROOM, LANES, WIDTH = 6, 4, 3, 2


def _prefilled(params, prompts_PS, config):
    """Decoding parameters, the prompts' last logits and a cache with prompt p in lane p."""
    dparams = jax.jit(decoding.prepare, static_argnames="config")(params, config=config)
    lengths = jnp.asarray(PROMPT_LENGTHS, jnp.int32)
    run = jax.jit(decoding.prefill, static_argnames="config")
    logits_PV, kept = run(dparams, prompts_PS, lengths, config=config)
    cache = decoding.empty_cache(config, LANES, WIDTH, PROMPT_ROOM, OWN_ROOM)
    cache = cache._replace(prompt=kept, prompt_lengths=lengths)
    return dparams, logits_PV, cache


def _step(config):
    return functools.partial(jax.jit(decoding.decode, static_argnames="config"), config=config)


@pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES.keys())
def test_prefill_and_decode_equal_forward(config):
    params = params_of(config)
    prompts_PS, own_LWC = random_tokens(LANES, PROMPT_ROOM), random_tokens(LANES, WIDTH, OWN_ROOM, seed=9)
    dparams, prompt_logits_PV, cache = _prefilled(params, prompts_PS, config)
    step, stepped = _step(config), []
    for t in range(OWN_ROOM):
        logits_LWV, cache = step(dparams, own_LWC[:, :, t], cache)
        stepped.append(logits_LWV)
    stepped_LWCV = np.stack(stepped, axis=2)
    for lane, slot in np.ndindex(LANES, WIDTH):
        length = PROMPT_LENGTHS[lane]
        whole = np.zeros((1, PROMPT_ROOM + OWN_ROOM), np.int32)  # what follows the completion is not seen
        whole[0, : length + OWN_ROOM] = [*prompts_PS[lane, :length], *own_LWC[lane, slot]]
        expected = logits_of(params, whole, *one_segment(whole), config)[0]
        own = expected[length : length + OWN_ROOM]
        np.testing.assert_allclose(prompt_logits_PV[lane], expected[length - 1], atol=1e-4)
        np.testing.assert_allclose(stepped_LWCV[lane, slot], own, atol=1e-4)
    np.testing.assert_array_equal(cache.own_lengths, np.full((LANES, WIDTH), OWN_ROOM))


def test_slots_of_different_lengths_decode_side_by_side():
    # Slot 0 of every lane starts one token ahead of slot 1: both still equal their lockstep run.
    config = FAMILIES["qwen3"]
    dparams, _, cache = _prefilled(params_of(config), random_tokens(LANES, PROMPT_ROOM), config)
    own_LWC, step = random_tokens(LANES, WIDTH, OWN_ROOM, seed=9), _step(config)
    logits_0, lockstep = step(dparams, own_LWC[:, :, 0], cache)
    logits_1, _ = step(dparams, own_LWC[:, :, 1], lockstep)
    behind = lockstep._replace(own_lengths=lockstep.own_lengths.at[:, 1].set(0))
    mixed = jnp.stack([own_LWC[:, 0, 1], own_LWC[:, 1, 0]], axis=1)
    logits_mixed, after = step(dparams, mixed, behind)
    np.testing.assert_allclose(logits_mixed[:, 0], logits_1[:, 0], atol=1e-6)
    np.testing.assert_allclose(logits_mixed[:, 1], logits_0[:, 1], atol=1e-6)
    np.testing.assert_array_equal(after.own_lengths, [[2, 1]] * LANES)


@pytest.mark.parametrize("family", ["qwen2", "deepseek"])
def test_what_lies_beyond_the_lengths_is_never_read(family):
    config = FAMILIES[family]
    params, tokens = params_of(config), random_tokens(LANES, WIDTH, seed=9)
    dparams, _, cache = _prefilled(params, random_tokens(LANES, PROMPT_ROOM), config)

    def more_room(dims, part):
        beyond = [(0, 2 if dim == "prompt_length" else 0) for dim in dims]
        return jnp.pad(part, beyond, constant_values=50.0)

    dirty = cache._replace(
        prompt=jax.tree.map(more_room, decoding.cache_dims(config).prompt, cache.prompt, is_leaf=rules.is_dims),
        own=jax.tree.map(lambda part: part + 50.0, cache.own),
    )
    clean_logits, _ = _step(config)(dparams, tokens, cache)
    dirty_logits, _ = _step(config)(dparams, tokens, dirty)
    np.testing.assert_allclose(clean_logits, dirty_logits, atol=1e-5)


def test_a_completion_does_not_depend_on_the_slot_it_sits_in():
    config = FAMILIES["qwen2"]
    dparams, _, cache = _prefilled(params_of(config), random_tokens(LANES, PROMPT_ROOM), config)
    tokens, step = random_tokens(LANES, WIDTH, seed=9), _step(config)
    logits, _ = step(dparams, tokens, cache)
    turned = jax.tree.map(lambda leaf: jnp.roll(leaf, 1, axis=0), cache)
    rolled, _ = step(dparams, jnp.roll(tokens, 1, axis=0)[:, ::-1], turned)
    np.testing.assert_array_equal(np.roll(rolled, -1, axis=0)[:, ::-1], logits)


@pytest.mark.parametrize("family", ["llama3", "deepseek"])
def test_a_full_slot_writes_nothing_and_leaves_its_neighbours_alone(family):
    config = FAMILIES[family]
    dparams, _, cache = _prefilled(params_of(config), random_tokens(LANES, PROMPT_ROOM), config)
    full = cache._replace(own_lengths=cache.own_lengths.at[0, 0].set(OWN_ROOM))
    tokens = random_tokens(LANES, WIDTH, seed=9)
    logits, after = _step(config)(dparams, tokens, full)
    expected, expected_after = _step(config)(dparams, tokens, cache)
    for part, before, other in zip(*map(jax.tree.leaves, (after.own, cache.own, expected_after.own)), strict=True):
        np.testing.assert_array_equal(part[0, 0], before[0, 0])
        np.testing.assert_array_equal(part[1:], other[1:])
    np.testing.assert_array_equal(logits[1:], expected[1:])


@pytest.mark.parametrize("family", ["qwen2", "deepseek"])
def test_a_donated_cache_is_updated_in_place(family):
    config = FAMILIES[family]
    dparams, _, cache = _prefilled(params_of(config), random_tokens(LANES, PROMPT_ROOM), config)
    step = jax.jit(decoding.decode, static_argnames="config", donate_argnums=2)
    compiled = step.lower(dparams, random_tokens(LANES, WIDTH), cache, config=config).compile()
    # Every array of the cache is handed on under its own buffer.
    assert compiled.memory_analysis().alias_size_in_bytes == sum(leaf.nbytes for leaf in jax.tree.leaves(cache))


def test_prepared_parameters_are_in_the_compute_dtype():
    config = dataclasses.replace(FAMILIES["qwen2"], compute_dtype="bfloat16")
    dparams, logits_PV, cache = _prefilled(params_of(config), random_tokens(LANES, PROMPT_ROOM), config)
    assert dparams.unembedding.dtype == jnp.bfloat16
    assert dparams.layers[0]["attention"]["query"]["kernel"].dtype == jnp.bfloat16
    assert logits_PV.dtype == jnp.float32
    assert {leaf.dtype for leaf in jax.tree.leaves((cache.prompt, cache.own))} == {jnp.dtype(jnp.bfloat16)}
    assert dparams.layers[0]["attention_norm"]["scale"].dtype == jnp.float32  # as the trainer has it


def test_sharded_decoding_equals_single_device():
    config = FAMILIES["qwen3"]
    params, tokens = params_of(config), random_tokens(4, WIDTH, seed=9)
    prompts_PS, lengths = random_tokens(4, PROMPT_ROOM), jnp.array([3, 5, 1, 6], jnp.int32)

    def both(params, prompts_PS, lengths, tokens):
        dparams = decoding.prepare(params, config=config)
        logits_PV, kept = decoding.prefill(dparams, prompts_PS, lengths, config=config)
        cache = decoding.empty_cache(config, 4, WIDTH, PROMPT_ROOM, OWN_ROOM)
        cache = cache._replace(prompt=kept, prompt_lengths=lengths)
        return logits_PV, *decoding.decode(dparams, tokens, cache, config=config)

    expected = jax.jit(both)(params, prompts_PS, lengths, tokens)
    made = mesh.make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    cache_shardings = rules.shardings(decoding.cache_dims(config), expected[2], made)
    with jax.set_mesh(made):
        run = jax.jit(both, out_shardings=(None, None, cache_shardings))
        found = run(params, prompts_PS, lengths, tokens)
    own_k = found[2].own[0]["k"]
    assert own_k.sharding.shard_shape(own_k.shape)[:3] == (1, WIDTH, 1)  # lanes over 4, K over 2
    chex.assert_trees_all_close(jax.device_get(found), jax.device_get(expected), atol=2e-5)
