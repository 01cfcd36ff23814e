"""Frequencies against numbers worked by hand, and what rotation keeps."""

import jax
import jax.numpy as jnp
import numpy as np

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
