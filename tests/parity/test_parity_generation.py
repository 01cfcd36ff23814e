"""Prefill and decoding with the cache give the logits of whole forward passes, ours and those of transformers."""

import functools

import jax
import numpy as np
import pytest
from hf_folders import FAMILIES, SHARED
from parity_pairs import LOGITS_BOUND, our_logits, pair, rows_of

from r1jax.models import decoding

pytestmark = pytest.mark.slow
STEPS = 16
# For each lane: its prompt's length, and the sequences that its two slots go on with.
LANES = ((SHARED, (0, 1)), (30, (2, 2)), (600 - STEPS, (0, 0)))


@functools.cache
def _decoded(name):
    """The logits after each prompt [lanes, V], and after each decoded token [lanes, slots, STEPS, V]."""
    case = pair(name)
    lengths_P = np.array([length for length, _ in LANES], np.int32)
    prompts_PS = np.zeros((len(LANES), max(lengths_P)), np.int32)
    own_LWC = np.zeros((len(LANES), 2, STEPS), np.int32)
    for lane, (length, sequences) in enumerate(LANES):
        prompts_PS[lane, :length] = case.tokens[sequences[0]][:length]
        for slot, sequence in enumerate(sequences):
            own_LWC[lane, slot] = case.tokens[sequence][length : length + STEPS]
    config = case.config
    dparams = jax.jit(functools.partial(decoding.prepare, config=config))(case.params)
    after_prompt_PV, kept = jax.jit(functools.partial(decoding.prefill, config=config))(dparams, prompts_PS, lengths_P)
    cache = decoding.empty_cache(config, len(LANES), 2, prompts_PS.shape[1], STEPS)
    cache = cache._replace(prompt=kept, prompt_lengths=jax.numpy.asarray(lengths_P))
    step = jax.jit(functools.partial(decoding.decode, config=config), donate_argnums=2)
    after_own = []
    for t in range(STEPS):
        logits_LWV, cache = step(dparams, own_LWC[:, :, t], cache)
        after_own.append(np.asarray(logits_LWV))
    return np.asarray(after_prompt_PV), np.stack(after_own, axis=2)


def _worst(name, whole):
    """The largest difference of any logit from those of whole passes, `whole[sequence]` [length, V]."""
    case, (after_prompt_PV, after_own_LWCV) = pair(name), _decoded(name)
    worst = 0.0
    for lane, (length, sequences) in enumerate(LANES):
        for slot, sequence in enumerate(sequences):
            expected = whole[sequence][length - 1 : length + STEPS]
            found = np.concatenate([after_prompt_PV[None, lane], after_own_LWCV[lane, slot]])
            worst = max(worst, case.difference(found, expected))
    return worst


@pytest.mark.parametrize("name", FAMILIES)
def test_decoding_equals_our_whole_pass(name):
    case = pair(name)
    whole = our_logits(case.params, *rows_of([[one] for one in case.tokens], 600), config=case.config)
    worst = _worst(name, np.asarray(whole))
    print(f"{name}: decoding against our whole pass: {worst / LOGITS_BOUND:.2f} of the bound")
    assert worst <= LOGITS_BOUND


@pytest.mark.parametrize("name", FAMILIES)
def test_decoding_equals_their_whole_pass(name):
    worst = _worst(name, pair(name).logits)
    print(f"{name}: decoding against their whole pass: {worst / LOGITS_BOUND:.2f} of the bound")
    assert worst <= LOGITS_BOUND
