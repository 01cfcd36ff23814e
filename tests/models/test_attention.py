"""Attention against numbers worked by hand and against a plain NumPy loop, in both settings."""

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.models import attention
from r1jax.models.attention import CacheLengths

attend = jax.jit(attention.attend, static_argnames="scale")
attend_cached = jax.jit(attention.attend_cached)


def test_two_positions_by_hand():
    # One head of width 1. q = (., ln 3), k = (1, 0), v = (4, 8), scale 1: scores of position 1 are ln 3 and
    # 0, weights 3/4 and 1/4, output 0.75 * 4 + 0.25 * 8 = 5. Position 0 sees itself: 4.
    q = jnp.array([0.0, np.log(3.0)]).reshape(1, 2, 1, 1)
    k = jnp.array([1.0, 0.0]).reshape(1, 2, 1, 1)
    v = jnp.array([4.0, 8.0]).reshape(1, 2, 1, 1)
    ones = jnp.ones((1, 2), jnp.int32)
    np.testing.assert_allclose(attend(q, k, v, ones, scale=1.0).ravel(), [4.0, 5.0], rtol=1e-6)
    # In segments of their own each sees itself alone.
    np.testing.assert_allclose(attend(q, k, v, jnp.array([[1, 2]]), scale=1.0).ravel(), [4.0, 8.0], rtol=1e-6)


def _reference(q_BTNH, k_BTKH, v_BTKH, segments_BT):
    B, T, N, H = q_BTNH.shape
    share = N // k_BTKH.shape[2]
    out = np.zeros((B, T, N, H))
    for b, t, n in np.ndindex(B, T, N):
        seen = [s for s in range(t + 1) if segments_BT[b, s] == segments_BT[b, t]]
        scores = np.array([q_BTNH[b, t, n] @ k_BTKH[b, s, n // share] for s in seen]) / np.sqrt(H)
        weights = np.exp(scores - scores.max())
        out[b, t, n] = (weights / weights.sum()) @ v_BTKH[b, seen, n // share]
    return out


def _random(*shape, seed):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def test_grouped_heads_and_segments_equal_a_plain_loop():
    q, k, v = _random(2, 6, 6, 4, seed=0), _random(2, 6, 2, 4, seed=1), _random(2, 6, 2, 4, seed=2)
    segments_BT = np.array([[1, 1, 2, 2, 2, 0], [1, 1, 1, 1, 1, 1]])
    found = attend(q, k, v, jnp.asarray(segments_BT), scale=4**-0.5)
    expected = _reference(*(np.asarray(x, np.float64) for x in (q, k, v)), segments_BT)
    np.testing.assert_allclose(found, expected, atol=1e-5)


def test_scores_far_apart_overflow_nothing():
    q, k, v = _random(3, 1, 4, 2, 4, seed=3) * 100
    assert np.isfinite(attend(q, k, v, jnp.ones((1, 4), jnp.int32), scale=0.5)).all()


def test_cached_attention_equals_a_plain_loop_at_the_last_position():
    # Two lanes of two slots; prompts of 3 and 2 tokens in room for 4, own parts of 1 to 3 in room for 5.
    prompt_lengths, own_lengths = np.int32([3, 2]), np.int32([[1, 3], [2, 1]])
    L, W, K, N, H, S, C = 2, 2, 2, 4, 4, 4, 5
    prompt_k, prompt_v = _random(L, K, H, S, seed=4), _random(L, K, S, H, seed=5)
    own_k, own_v = _random(L, W, K, H, C, seed=6), _random(L, W, K, C, H, seed=7)
    q = _random(L, W, N, H, seed=8)
    lengths = CacheLengths(jnp.asarray(prompt_lengths), jnp.asarray(own_lengths))
    found = attend_cached(q, {"k": prompt_k, "v": prompt_v}, {"k": own_k, "v": own_v}, lengths)
    for lane, slot in np.ndindex(L, W):
        p, o = prompt_lengths[lane], own_lengths[lane, slot]
        k_TKH = np.concatenate(
            [
                prompt_k[lane, :, :, :p].transpose(2, 0, 1),
                own_k[lane, slot, :, :, :o].transpose(2, 0, 1),
            ]
        )
        v_TKH = np.concatenate([prompt_v[lane, :, :p].transpose(1, 0, 2), own_v[lane, slot, :, :o].transpose(1, 0, 2)])
        q_TNH = np.zeros((p + o, N, H), np.float32)
        q_TNH[-1] = q[lane, slot]
        whole = _reference(q_TNH[None], k_TKH[None], v_TKH[None], np.ones((1, p + o)))
        np.testing.assert_allclose(found[lane, slot], whole[0, -1], atol=1e-5)
