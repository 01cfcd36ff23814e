"""Sums over sequences inside packed rows."""

import jax.numpy as jnp
import numpy as np

from r1jax.learn.segments import count_sequences, sequence_shares, sequence_sums

SEGMENTS = jnp.asarray([[1, 1, 2, 2, 2, 0], [1, 2, 3, 0, 0, 0]])
MASK = jnp.asarray([[0, 1, 1, 1, 0, 1], [1, 0, 1, 1, 1, 1]], jnp.float32)


def test_sums_stay_within_a_sequence_and_are_zero_at_padding():
    values = jnp.asarray([[1, 2, 3, 4, 5, 6], [7, 8, 9, 1, 1, 1]], jnp.float32)
    expected = [[3, 3, 12, 12, 12, 0], [7, 8, 9, 0, 0, 0]]
    np.testing.assert_array_equal(sequence_sums(values, SEGMENTS), expected)


def test_shares_are_one_over_the_scored_tokens_of_the_sequence():
    mask = MASK * (SEGMENTS > 0)
    # Row 0: one scored token of sequence 1, two of sequence 2. Row 1: sequences 1 and 3 have one, 2 has none.
    expected = [[0, 1, 0.5, 0.5, 0, 0], [1, 0, 1, 0, 0, 0]]
    np.testing.assert_array_equal(sequence_shares(mask, SEGMENTS), expected)


def test_a_sequence_without_a_scored_token_and_padding_do_not_count():
    assert count_sequences(MASK * (SEGMENTS > 0), SEGMENTS) == 4
    assert count_sequences(MASK, SEGMENTS) == 4
