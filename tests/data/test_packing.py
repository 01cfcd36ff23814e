"""Packing puts every position somewhere once, and takes it back from there."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.data.packing import micro_batches, pack, training_sequence, unpack
from r1jax.data.records import DataError


def sequence_of(length: int, first: int = 1) -> dict[str, np.ndarray]:
    token_ids = np.arange(first, first + length + 1, dtype=np.int32)
    return {"tokens": token_ids[:-1], "targets": token_ids[1:], "mask": np.ones(length, np.float32)}


def test_a_sequence_scores_the_response_alone():
    # prompt 5 6 7, response 8 9: positions read 5 6 7 8 and predict 6 7 8 9; 8 and 9 are the response.
    sequence = training_sequence([5, 6, 7], [8, 9], old_logps=np.array([-0.5, -0.25]), advantages=2.0)
    np.testing.assert_array_equal(sequence["tokens"], [5, 6, 7, 8])
    np.testing.assert_array_equal(sequence["targets"], [6, 7, 8, 9])
    np.testing.assert_array_equal(sequence["mask"], [0, 0, 1, 1])
    np.testing.assert_array_equal(sequence["old_logps"], [0, 0, -0.5, -0.25])
    np.testing.assert_array_equal(sequence["advantages"], [0, 0, 2, 2])
    assert sequence["tokens"].dtype == sequence["targets"].dtype == np.int32
    assert sequence["mask"].dtype == sequence["old_logps"].dtype == np.float32


def test_a_sequence_refuses_empty_parts_and_values_that_do_not_fit():
    with pytest.raises(DataError, match="prompt and of response, found 0 and 1"):
        training_sequence([], [1])
    with pytest.raises(DataError, match="found 2 and 0"):
        training_sequence([1, 2], [])
    with pytest.raises(DataError, match=r"2 values of old_logps, .* found shape \(3,\)"):
        training_sequence([1], [2, 3], old_logps=np.zeros(3))


def test_rows_are_filled_longest_first_and_tightest_first():
    # 6 opens row 0 (2 free), 5 opens row 1 (3 free), 3 goes to row 1, 2 to row 0, 1 to a new row 2.
    sequences = [sequence_of(length, 10 * length) for length in (2, 6, 1, 5, 3)]
    rows, placement = pack(sequences, row_tokens=8, packed=True)
    np.testing.assert_array_equal(placement.rows, [0, 0, 2, 1, 1])
    np.testing.assert_array_equal(placement.starts, [6, 0, 0, 0, 5])
    np.testing.assert_array_equal(
        rows["tokens"],
        [[60, 61, 62, 63, 64, 65, 20, 21], [50, 51, 52, 53, 54, 30, 31, 32], [10, 0, 0, 0, 0, 0, 0, 0]],
    )
    np.testing.assert_array_equal(rows["segments"][0], [1, 1, 1, 1, 1, 1, 2, 2])
    np.testing.assert_array_equal(rows["positions"][1], [0, 1, 2, 3, 4, 0, 1, 2])
    np.testing.assert_array_equal(rows["segments"][2], [1, 0, 0, 0, 0, 0, 0, 0])
    np.testing.assert_array_equal(rows["mask"][2], [1, 0, 0, 0, 0, 0, 0, 0])


def test_without_packing_each_sequence_has_its_row_in_order():
    rows, placement = pack([sequence_of(2), sequence_of(4)], row_tokens=5, packed=False)
    np.testing.assert_array_equal(placement.rows, [0, 1])
    np.testing.assert_array_equal(rows["segments"], [[1, 1, 0, 0, 0], [1, 1, 1, 1, 0]])


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 20), min_size=1, max_size=60), st.booleans(), st.integers(1, 5))
def test_everything_packed_comes_back_through_micro_batches(lengths, packed, micro_batch_rows):
    sequences = [sequence_of(length, 100 * number) for number, length in enumerate(lengths, start=1)]
    rows, placement = pack(sequences, row_tokens=20, packed=packed)
    assert (rows["segments"] > 0).sum() == sum(lengths)
    if packed:
        # Any two rows of a best fit hold more than one row's worth, or they would have been one.
        assert len(rows["tokens"]) <= 2 * sum(lengths) / 20 + 1
    batches = micro_batches(rows, micro_batch_rows=micro_batch_rows)
    for name in ("tokens", "targets", "mask"):
        for found, sequence in zip(unpack(batches[name], placement), sequences, strict=True):
            np.testing.assert_array_equal(found, sequence[name])
    for found, sequence in zip(unpack(rows["positions"], placement), sequences, strict=True):
        np.testing.assert_array_equal(found, np.arange(len(sequence["tokens"])))


def test_segments_of_a_row_are_numbered_in_the_order_in_which_they_stand():
    rows, _ = pack([sequence_of(length) for length in (3, 1, 2, 4)], row_tokens=10, packed=True)
    np.testing.assert_array_equal(rows["segments"], [[1, 1, 1, 1, 2, 2, 2, 3, 3, 4]])


def test_micro_batches_are_padded_to_the_capacity():
    rows, _ = pack([sequence_of(4) for _ in range(5)], row_tokens=4, packed=False)
    batches = micro_batches(rows, micro_batch_rows=2, capacity=4)
    assert batches["num_micro"] == 3
    assert batches["num_micro"].dtype == np.int32
    assert batches["tokens"].shape == batches["segments"].shape == (4, 2, 4)
    np.testing.assert_array_equal(batches["mask"].sum(axis=(1, 2)), [8, 8, 4, 0])
    with pytest.raises(DataError, match="capacity of at least 3 .* found 2"):
        micro_batches(rows, micro_batch_rows=2, capacity=2)


def test_what_cannot_be_packed_is_named():
    with pytest.raises(DataError, match=r"batch.row_tokens: expected at least 9, .* sequence 1, found 8"):
        pack([sequence_of(3), sequence_of(9)], row_tokens=8, packed=True)
    with pytest.raises(DataError, match="at least one sequence"):
        pack([], row_tokens=8, packed=True)
    with pytest.raises(DataError, match="arrays tokens, targets, mask of sequence 1, found tokens"):
        pack([sequence_of(3), {"tokens": np.arange(3)}], row_tokens=8, packed=True)
    with pytest.raises(DataError, match="one length above 0 of sequence 0"):
        pack([{**sequence_of(3), "mask": np.ones(2, np.float32)}], row_tokens=8, packed=True)
