"""One uniform, one token: the inverse of the cumulative distribution, with its filters."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.config import SamplingConfig
from r1jax.sampler.rule import draw, keep_top, rule_arguments

TENTHS = np.log([0.1, 0.2, 0.3, 0.4])


def drawn(logits, uniforms, temperature=1.0, top_p=None, top_k=None):
    logits = jnp.broadcast_to(jnp.asarray(logits, jnp.float32), (len(uniforms), len(logits)))
    sampling = SamplingConfig(temperature=temperature, top_p=top_p, top_k=top_k)
    tokens, logps = jax.jit(draw)(logits, jnp.float32(uniforms), *rule_arguments(sampling, logits.shape[-1]))
    return np.asarray(tokens), np.asarray(logps)


def grid(count):
    return (np.arange(count) + 0.5) / count


def test_the_uniform_picks_the_interval_that_holds_it():
    # Intervals: [0, .1) [.1, .3) [.3, .6) [.6, 1).
    tokens, logps = drawn(TENTHS, [0.0, 0.09, 0.11, 0.29, 0.31, 0.59, 0.61, 0.999])
    assert tokens.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    np.testing.assert_allclose(logps, TENTHS[tokens], atol=1e-6)


def test_temperature_sharpens_draws_and_log_probs():
    # T = 1/2 squares the probabilities: 1, 4, 9, 16 thirtieths; boundaries at .0333, .1667, .4667.
    tokens, logps = drawn(TENTHS, [0.03, 0.04, 0.16, 0.17, 0.46, 0.47], temperature=0.5)
    assert tokens.tolist() == [0, 1, 1, 2, 2, 3]
    np.testing.assert_allclose(logps, np.log(np.array([1, 4, 9, 16]) / 30)[tokens], atol=1e-6)


def test_top_k_draws_from_the_k_best_and_records_the_unfiltered_log_prob():
    # .3 and .4 are left: the boundary is .3 / .7 = .4286.
    tokens, logps = drawn(TENTHS, [0.0, 0.42, 0.43, 0.999], top_k=2)
    assert tokens.tolist() == [2, 2, 3, 3]
    np.testing.assert_allclose(logps, TENTHS[tokens], atol=1e-6)


@pytest.mark.parametrize(
    ("top_p", "top_k", "support"),
    [
        (0.35, None, {3}),  # nothing weighs more than .4
        (0.45, None, {2, 3}),  # .4 < .45, but .7 >= .45
        (0.75, None, {1, 2, 3}),  # .7 < .75, but .9 >= .75
        (0.95, None, {0, 1, 2, 3}),
        (0.75, 3, {2, 3}),  # of .9 that is left: .7 >= .675
        (None, 1, {3}),
        (1.0, 4, {0, 1, 2, 3}),
    ],
)
def test_filters_leave_the_right_support(top_p, top_k, support):
    tokens, _ = drawn(TENTHS, grid(1000), top_p=top_p, top_k=top_k)
    assert set(tokens.tolist()) == support


def test_tokens_tied_at_the_threshold_all_stay():
    tokens, _ = drawn([1.0, 0.0, 1.0, 0.0], grid(100), top_k=1)
    assert np.bincount(tokens, minlength=4).tolist() == [50, 0, 50, 0]


def test_temperature_0_takes_the_first_of_the_most_likely_whatever_the_uniform_and_filters():
    logits = np.log([0.2, 0.35, 0.35, 0.1])
    tokens, logps = drawn(logits, grid(10), temperature=0.0, top_p=0.5, top_k=3)
    assert tokens.tolist() == [1] * 10
    np.testing.assert_allclose(logps, np.log(0.35), atol=1e-6)  # recorded at temperature 1


@pytest.mark.parametrize("vocab", [5, 128, 300])
def test_every_token_is_drawn_as_often_as_it_is_likely(vocab):
    logits = np.random.default_rng(vocab).normal(size=vocab) * 2
    tokens, _ = drawn(logits, grid(20_000))
    expected = 20_000 * np.exp(logits) / np.exp(logits).sum()
    # A grid of uniforms meets an interval as often as it is long, give or take one at its ends, and rounding.
    assert np.abs(np.bincount(tokens, minlength=vocab) - expected).max() < 1.1


@pytest.mark.parametrize("seed", range(4))
def test_filters_agree_with_sorting(seed):
    generator = np.random.default_rng(seed)
    weights = np.exp(generator.normal(size=(8, 300)) * 4).astype(np.float32)
    weights /= weights.max(axis=-1, keepdims=True)
    top_p, top_k = generator.uniform(0.2, 0.99), int(generator.integers(2, 200))
    kept = np.asarray(jax.jit(keep_top)(weights, jnp.float32(top_p), jnp.int32(top_k))) > 0
    for row in range(8):
        order = np.argsort(-weights[row])[:top_k]
        mass = weights[row][order].astype(np.float64)
        heavier = np.cumsum(mass) - mass
        clear = np.abs(heavier - top_p * mass.sum()) > 1e-5 * mass.sum()  # not decided by rounding
        assert (kept[row][order] == (heavier < top_p * mass.sum()))[clear].all()
        assert kept[row].sum() <= top_k


def test_a_token_without_probability_is_never_drawn():
    logits = np.full(300, -np.inf)
    logits[[7, 130, 131]] = [0.0, 1.0, -1.0]
    for filters in ({}, {"top_p": 0.999}, {"top_k": 200}):
        tokens, logps = drawn(logits, [*grid(500), 1 - 2.0**-24], **filters)
        assert set(tokens.tolist()) == {7, 130, 131}
        assert np.isfinite(logps).all()


def test_rows_draw_by_themselves():
    generator = np.random.default_rng(0)
    logits, uniforms = generator.normal(size=(6, 40)).astype(np.float32), grid(6)
    arguments = rule_arguments(SamplingConfig(temperature=0.8, top_p=0.9, top_k=20), 40)
    together = draw(jnp.asarray(logits), jnp.float32(uniforms), *arguments)[0]
    alone = [drawn(logits[row], uniforms[row : row + 1], 0.8, 0.9, 20)[0][0] for row in range(6)]
    assert together.tolist() == alone


def test_filters_that_are_off_keep_everything():
    temperature, top_p, top_k = rule_arguments(SamplingConfig(temperature=1.0, top_p=None), 40)
    assert (float(temperature), float(top_p), int(top_k)) == (1.0, 1.0, 40)
    assert int(rule_arguments(SamplingConfig(top_k=1000), 40)[2]) == 40
