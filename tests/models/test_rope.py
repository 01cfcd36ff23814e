"""Frequencies against numbers worked by hand, and what rotation keeps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.config import RopeConfig
from r1jax.models import rope


def test_plain_frequencies():
    # Head width 4, theta 100: pairs 0 and 1 turn by 100^(-0/4) = 1 and 100^(-2/4) = 1/10 radians a position.
    np.testing.assert_allclose(rope.frequencies(RopeConfig(theta=100.0), 4), [1.0, 0.1], rtol=1e-7)


def test_linear_scaling_divides_every_frequency():
    config = RopeConfig(theta=100.0, scaling="linear", factor=4.0)
    np.testing.assert_allclose(rope.frequencies(config, 4), [0.25, 0.025], rtol=1e-7)


def test_llama3_scaling_keeps_fast_pairs_slows_slow_ones_and_mixes_between():
    # Head width 8, theta 10^4: frequencies 1, 10^-1, 10^-2, 10^-3.
    # Turns within 1000 original positions: 1000 f / 2 pi = 159.15, 15.915, 1.5915, 0.15915.
    # low 1, high 4: the first two are above 4 turns and kept; the last is below 1 and divided by 8: 1.25e-4.
    # The third: share kept = (1.59155 - 1) / (4 - 1) = 0.197183, so
    # 0.197183 * 0.01 + 0.802817 * 0.01 / 8 = 0.00197183 + 0.00100352 = 0.00297535.
    config = RopeConfig(
        theta=1e4,
        scaling="llama3",
        factor=8.0,
        low_freq_factor=1.0,
        high_freq_factor=4.0,
        original_max_positions=1000,
    )
    expected = [1.0, 0.1, 0.00297535, 1.25e-4]
    np.testing.assert_allclose(rope.frequencies(config, 8), expected, rtol=1e-5)


def test_yarn_keeps_fast_pairs_slows_slow_ones_and_mixes_between():
    # Width 8, theta 10^4: frequencies 1, 0.1, 0.01, 0.001. Of 2000 original positions the pair that turns b times is
    # 4 ln(2000 / (2 pi b)) / ln(10^4): for b = 32 it is 0.99770, for b = 1 it is 2.50285. Truncated: from 0 to 3, so
    # pairs are slowed by 0, 1/3, 2/3, 1 of the way to a tenth.
    config = RopeConfig(theta=1e4, scaling="yarn", factor=10.0, original_max_positions=2000)
    expected = [1.0, 0.1 * (2 / 3 + 1 / 30), 0.01 * (1 / 3 + 2 / 30), 1e-4]
    np.testing.assert_allclose(rope.frequencies(config, 8), expected, rtol=1e-6)
    # Not truncated: pair 1 is (1 - 0.99770) / (2.50285 - 0.99770) = 0.001528 of the way, pair 2 0.66591.
    exact = dataclasses.replace(config, truncate=False)
    expected = [1.0, 0.1 * (1 - 0.9 * 0.001528), 0.01 * (1 - 0.9 * 0.66591), 1e-4]
    np.testing.assert_allclose(rope.frequencies(exact, 8), expected, rtol=1e-4)


def test_yarn_grows_heads_and_latent_attention_its_scores():
    # 0.1 ln 40 + 1 = 1.368888; with 0.7 in front of the logarithm 1.258221.
    config = RopeConfig(scaling="yarn", factor=40.0)
    assert rope.head_growth(config) == pytest.approx(1.368888, rel=1e-6)
    assert rope.softmax_growth(config) == 1.0
    deepseek = dataclasses.replace(config, mscale=0.7, mscale_all_dim=1.0)
    assert rope.head_growth(deepseek) == pytest.approx(1.258221 / 1.368888, rel=1e-6)
    assert rope.softmax_growth(deepseek) == pytest.approx(1.368888**2, rel=1e-6)
    assert rope.head_growth(dataclasses.replace(config, attention_factor=1.1)) == 1.1
    assert rope.head_growth(RopeConfig(scaling="linear", factor=40.0)) == 1.0
    cos, sin = rope.rotations(jnp.arange(3), config, 8)
    np.testing.assert_allclose(cos**2 + sin**2, np.full((3, 4), 1.368888**2), rtol=1e-5)


def test_neighbours_turn_as_halves_do_once_dims_are_sorted():
    x = jax.random.normal(jax.random.key(0), (5, 2, 8))
    rotation = rope.rotations(jnp.arange(5), RopeConfig(theta=50.0), 8)
    sorted_x = jnp.concatenate([x[..., 0::2], x[..., 1::2]], axis=-1)
    found = rope.rotate(x, rotation, neighbours=True)
    np.testing.assert_array_equal(found, rope.rotate(sorted_x, rotation))


def test_a_quarter_turn_swaps_the_halves_of_a_head():
    # Head (a, b, c, d), pairs (a, c) and (b, d). One position turns both by pi / 2: (a, c) -> (-c, a).
    rotation = (jnp.zeros((1, 2)), jnp.ones((1, 2)))
    turned = rope.rotate(jnp.array([[[1.0, 2.0, 3.0, 4.0]]]), rotation)
    np.testing.assert_allclose(turned, [[[-3.0, -4.0, 1.0, 2.0]]])


def test_products_depend_on_the_distance_of_positions_alone():
    config, width = RopeConfig(theta=50.0), 8
    q, k = jax.random.normal(jax.random.key(0), (2, 1, 1, width))

    def product(q_position: int, k_position: int) -> float:
        turned = [
            rope.rotate(x, rope.rotations(jnp.array([position]), config, width))
            for x, position in ((q, q_position), (k, k_position))
        ]
        return float(jnp.sum(turned[0] * turned[1]))

    assert abs(product(9, 4) - product(25, 20)) < 1e-5
    assert abs(product(9, 4) - product(9, 5)) > 1e-3
