"""Packed documents, and batches that resume exactly and shard without loss."""

import json

import numpy as np
import pytest

from r1jax.data.iterators import documents, epochs
from r1jax.data.records import DataError
from r1jax.text.tokenizer import Tokenizer

WORDS = tuple("abcdefghijkl")


def drawn(iterator, count):
    return [next(iterator) for _ in range(count)]


def test_an_epoch_has_every_element_once_in_an_order_of_its_own():
    iterator = epochs(list("abcdefgh"), seed=1, batch_size=4)
    first, second = (sum(drawn(iterator, 2), []) for _ in range(2))
    assert sorted(first) == sorted(second) == list("abcdefgh")
    assert first != second
    assert first == sum(drawn(epochs(list("abcdefgh"), seed=1, batch_size=4), 2), [])
    assert first != sum(drawn(epochs(list("abcdefgh"), seed=2, batch_size=4), 2), [])


def test_a_batch_may_reach_over_the_end_of_an_epoch():
    batches = drawn(epochs(list("abc"), seed=0, batch_size=2), 3)
    assert sorted(batches[0] + batches[1][:1]) == sorted(batches[1][1:] + batches[2]) == list("abc")


def test_a_resumed_iterator_goes_on_with_the_next_batch():
    iterator = epochs(list(range(10)), seed=3, batch_size=4)
    drawn(iterator, 4)
    state = json.loads(json.dumps(iterator.get_state()))
    expected = drawn(iterator, 5)
    other = epochs(list(range(10)), seed=3, batch_size=4)
    other.set_state(state)
    assert drawn(other, 5) == expected


def test_a_state_of_other_data_is_refused():
    state = epochs(list(range(10)), seed=3, batch_size=4).get_state()
    with pytest.raises(DataError, match="saved state has elements 10, this run 11"):
        epochs(list(range(11)), seed=3, batch_size=4).set_state(state)
    with pytest.raises(DataError, match="saved state has batch_size 4, this run 5"):
        epochs(list(range(10)), seed=3, batch_size=5).set_state(state)


def test_the_shards_draw_together_what_one_process_draws():
    whole = drawn(epochs(list(range(10)), seed=3, batch_size=6), 5)
    shards = [
        drawn(epochs(list(range(10)), seed=3, batch_size=6, shard_index=index, shard_count=3), 5) for index in range(3)
    ]
    for batch, *parts in zip(whole, *shards, strict=True):
        assert all(len(part) == 2 for part in parts)
        assert sorted(sum(parts, [])) == sorted(batch)
    with pytest.raises(DataError, match="multiple of 4 processes, found 6"):
        epochs(list(range(10)), seed=3, batch_size=6, shard_count=4)


def test_arrays_come_as_arrays():
    rows = {"tokens": np.arange(12).reshape(4, 3), "mask": np.arange(4.0)}
    batch = next(epochs(rows, seed=0, batch_size=4))
    np.testing.assert_array_equal(batch["tokens"][:, 0] / 3, batch["mask"])
    np.testing.assert_array_equal(np.sort(batch["mask"]), np.arange(4.0))
    with pytest.raises(DataError, match="one leading size"):
        epochs({"tokens": np.zeros((4, 3)), "mask": np.zeros(3)}, seed=0, batch_size=4)
    with pytest.raises(DataError, match="at least one record"):
        epochs([], seed=0, batch_size=4)


def test_documents_share_rows_and_end_with_end_of_text():
    tokenizer = Tokenizer.from_texts_wordlevel(WORDS)
    a, b, c, d = tokenizer.encode("a b c d")
    rows = documents([{"text": "a b c"}, {"text": "d"}], tokenizer, row_tokens=5)
    # a b c eos makes 3 positions, d eos makes 1; both fit a row of 5.
    np.testing.assert_array_equal(rows["tokens"], [[a, b, c, d, 0]])
    np.testing.assert_array_equal(rows["targets"], [[b, c, tokenizer.eos_id, tokenizer.eos_id, 0]])
    np.testing.assert_array_equal(rows["segments"], [[1, 1, 1, 2, 0]])
    np.testing.assert_array_equal(rows["positions"], [[0, 1, 2, 0, 0]])
    np.testing.assert_array_equal(rows["mask"], [[1, 1, 1, 1, 0]])


def test_a_document_longer_than_a_row_loses_no_target():
    tokenizer = Tokenizer.from_texts_wordlevel(WORDS)
    ids = [*tokenizer.encode(" ".join(WORDS)), tokenizer.eos_id]
    rows = documents([{"text": " ".join(WORDS)}], tokenizer, row_tokens=5)
    # 13 tokens, 12 targets: rows of 5, 5 and 2.
    np.testing.assert_array_equal(rows["targets"][rows["mask"] > 0], ids[1:])
    np.testing.assert_array_equal(rows["tokens"][rows["mask"] > 0], ids[:-1])


def test_a_record_without_text_is_named():
    with pytest.raises(DataError, match="record x1: expected the field 'text', found id, question"):
        documents([{"id": "x1", "question": "?"}], Tokenizer.from_texts_wordlevel(WORDS), row_tokens=5)


def test_documents_begin_with_the_token_that_the_model_expects():
    class WithBos:
        adds_bos, bos_id, eos_id = True, 1, 2

        def encode(self, text):
            return [int(word) for word in text.split()]

    rows = documents([{"text": "7 8"}, {"text": "1 7"}], WithBos(), row_tokens=5)
    # bos 7 8 eos, and 1 7 eos, which has its bos already.
    np.testing.assert_array_equal(rows["tokens"], [[1, 7, 8, 1, 7]])
    np.testing.assert_array_equal(rows["targets"], [[7, 8, 2, 7, 2]])
