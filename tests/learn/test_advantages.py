"""Rewards to advantages: worked by hand."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.learn.advantages import group_advantages, kl_penalty, overlong_penalty
from r1jax.learn.kl import adapted_coefficient

EPSILON = 1e-4


def advantages_of(rewards, groups, scaling="group", **arguments):
    return group_advantages(rewards, groups, scaling=scaling, epsilon=EPSILON, **arguments)


def test_group_of_two_is_scaled_by_its_own_std():
    # Mean 0.5, std (ddof 0) 0.5.
    found = advantages_of([1.0, 0.0], [7, 7])
    np.testing.assert_allclose(found.values, np.array([0.5, -0.5]) / (0.5 + EPSILON), rtol=1e-6)


def test_masked_sample_is_in_neither_mean_nor_std():
    # Of 1, 0, 0.5: mean 0.5, std sqrt((0.25 + 0.25 + 0) / 3).
    found = advantages_of([1.0, None, 0.0, 0.5], [0, 0, 0, 0])
    std = math.sqrt(0.5 / 3)
    np.testing.assert_allclose(found.values, np.array([0.5, 0, -0.5, 0]) / (std + EPSILON), rtol=1e-6)
    assert found.valid.tolist() == [True, False, True, True]
    assert found.metrics["masked_samples"] == 1


def test_group_left_with_one_valid_sample_is_dropped():
    found = advantages_of([1.0, None, 1.0, 0.0], [0, 0, 1, 1])
    assert found.valid.tolist() == [False, False, True, True]
    assert found.values[0] == 0
    assert (found.metrics["groups"], found.metrics["dropped_groups"]) == (1, 1)
    # The dropped group's reward is not in the mean either.
    assert found.metrics["reward"] == 0.5


def test_std_below_the_epsilon_is_zero_variance_whatever_the_scaling():
    # 0.1 + 0.2 and 0.3 differ by rounding: their std is not 0, and dividing by it would make advantages of +-1.
    for scaling in ("group", "batch", "none"):
        found = advantages_of([0.1 + 0.2, 0.3, 1.0, 0.0], [0, 0, 1, 1], scaling)
        assert not found.values[:2].any()
        assert found.values[2:].all()
        assert found.metrics["zero_variance_share"] == 0.5


def test_batch_scaling_divides_by_the_std_of_all_valid_rewards():
    # Rewards 1, 0, 4, 2: mean 1.75, std sqrt((0.5625 + 3.0625 + 5.0625 + 0.0625) / 4).
    found = advantages_of([1.0, 0.0, 4.0, 2.0, None], [0, 0, 1, 1, 1], "batch")
    std = math.sqrt(8.75 / 4)
    np.testing.assert_allclose(found.values, np.array([0.5, -0.5, 1, -1, 0]) / (std + EPSILON), rtol=1e-6)


def test_no_scaling_is_the_difference_to_the_mean():
    np.testing.assert_allclose(advantages_of([3.0, 1.0], [0, 0], "none").values, [1, -1])


def test_nothing_valid_gives_no_advantage_and_no_reward():
    found = advantages_of([None, None], [0, 0])
    assert not found.valid.any()
    assert math.isnan(found.metrics["reward"])


@given(
    st.lists(st.tuples(st.floats(-5, 5), st.booleans(), st.integers(0, 3)), min_size=2, max_size=24),
    st.sampled_from(["group", "batch", "none"]),
    st.randoms(),
)
def test_each_group_sums_to_zero_in_any_order(samples, scaling, random):
    def values_of(samples):
        rewards = [None if masked else reward for reward, masked, _ in samples]
        return advantages_of(rewards, [group for *_, group in samples], scaling)

    found = values_of(samples)
    for group in range(4):
        rows = [i for i, sample in enumerate(samples) if sample[2] == group]
        assert abs(found.values[rows].sum(dtype=np.float64)) < 1e-3
    order = list(range(len(samples)))
    random.shuffle(order)
    shuffled = values_of([samples[i] for i in order])
    np.testing.assert_allclose(shuffled.values, found.values[order], rtol=1e-4, atol=1e-4)


def test_a_reward_that_is_not_finite_is_an_error_that_names_it():
    with pytest.raises(ValueError, match="found nan at completion 1"):
        advantages_of([1.0, math.nan], [0, 0])


def test_lengths_that_differ_are_an_error():
    with pytest.raises(ValueError, match="found 2 rewards, 1 groups"):
        advantages_of([1.0, 0.0], [0])


def test_overlong_penalty_falls_linearly_over_the_last_tokens():
    # Limit 100, the last 20: free up to 80, half at 90, -1 at 100.
    penalties = [overlong_penalty(n, max_new_tokens=100, overlong_tokens=20) for n in (0, 80, 85, 90, 100)]
    assert penalties == [0.0, 0.0, -0.25, -0.5, -1.0]


def test_kl_in_the_reward_is_k1_summed_over_the_tokens():
    # (-1 - -2) + (-3 - -2.5) = 0.5; times 0.1.
    found = kl_penalty(np.array([-1.0, -3.0]), np.array([-2.0, -2.5]), coefficient=0.1)
    assert found == pytest.approx(-0.05)


@pytest.mark.parametrize(("measured", "expected"), [(0.06, 1.0), (0.066, 1.01), (0.6, 1.02), (0.0, 0.98)])
def test_adapted_coefficient_follows_the_target_within_its_bounds(measured, expected):
    # Errors 0, 0.1, 9 (cut to 0.2), -1 (cut to -0.2); 100 of 1,000 sequences.
    found = adapted_coefficient(1.0, measured, target=0.06, num_sequences=100, horizon=1000)
    assert found == pytest.approx(expected)


def test_a_kl_that_was_not_measured_leaves_the_coefficient_as_it_is():
    for measured in (math.nan, math.inf):
        assert adapted_coefficient(0.3, measured, target=0.06, num_sequences=100, horizon=1000) == 0.3
