"""What the training loops draw from: packed documents, and endless reshuffled batches that resume exactly.

The one file of this package that loads jax (through grain).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import grain
import numpy as np

from r1jax.data.packing import Arrays, pack
from r1jax.data.records import DataError, require
from r1jax.text.tokenizer import Tokenizer


def documents(records: Iterable[Mapping[str, Any]], tokenizer: Tokenizer, *, row_tokens: int) -> Arrays:
    """The `text` of the records as packed rows [R, row_tokens] for next-token training.

    Each document is its tokens and end-of-text, a segment of its own, all of its targets scored. One longer
    than a row goes on in another segment, whose first token is the last target before: no target is lost.

    Returns:
        tokens, targets, segments, positions int32 [R, T]; mask float32 [R, T].
    """
    sequences = []
    for record in records:
        text_ids = tokenizer.encode(require(record, "text"))
        if tokenizer.adds_bos and text_ids[:1] != [tokenizer.bos_id]:
            text_ids = [tokenizer.bos_id, *text_ids]
        token_ids = np.asarray([*text_ids, tokenizer.eos_id], np.int32)
        for start in range(0, len(token_ids) - 1, row_tokens):
            piece = token_ids[start : start + row_tokens + 1]
            mask = np.ones(len(piece) - 1, np.float32)
            sequences.append({"tokens": piece[:-1], "targets": piece[1:], "mask": mask})
    rows, _ = pack(sequences, row_tokens=row_tokens, packed=True)
    return rows


class Epochs(Iterator[Any]):
    """Batches without end; see `epochs`."""

    def __init__(self, dataset: grain.MapDataset, settings: dict[str, int]):
        # Elements are in memory or read from one file: threads would cost more than they hide.
        options = grain.ReadOptions(num_threads=0, prefetch_buffer_size=0)
        self._iterator = iter(dataset.to_iter_dataset(options))
        self._settings = settings

    def __next__(self) -> Any:
        return next(self._iterator)

    def get_state(self) -> dict[str, Any]:
        """A JSON-able dict from which `set_state` goes on with the batch that would have come next."""
        return {"grain": self._iterator.get_state(), **self._settings}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken; DataError when the data, seed or batches are not the same."""
        for name, value in self._settings.items():
            if state[name] != value:
                raise DataError(f"data iterator: the saved state has {name} {state[name]}, this run {value}")
        self._iterator.set_state(state["grain"])


def epochs(
    elements: Sequence[Any] | Arrays,
    *,
    seed: int,
    batch_size: int,
    shard_index: int = 0,
    shard_count: int = 1,
) -> Epochs:
    """Batches of `elements` without end, all elements once an epoch, in a new order each epoch.

    A batch may reach over the end of an epoch. The order depends on the seed and the number of elements.

    Args:
        elements: a sequence of anything, or a dict of arrays with one leading dim, of the same size.
        seed: of the orders.
        batch_size: elements of a batch over all shards; a multiple of shard_count.
        shard_index, shard_count: this process and how many there are. The shards' batches make up the batch
            that a single process would draw.
    Returns:
        An iterator of lists of batch_size / shard_count elements, or of dicts of arrays with that leading
        size; with get_state and set_state.
    """
    arrays = elements if isinstance(elements, dict) else None
    count = len(elements) if arrays is None else len(next(iter(arrays.values())))
    if not count:
        raise DataError("data: expected at least one record, found none")
    if batch_size % shard_count:
        raise DataError(f"batch: expected a multiple of {shard_count} processes, found {batch_size}")
    if arrays is not None and any(len(array) != count for array in arrays.values()):
        sizes = {name: len(array) for name, array in arrays.items()}
        raise DataError(f"data: expected arrays with one leading size, found {sizes}")

    def batch(indices: Sequence[int]) -> Any:
        if arrays is None:
            return [elements[int(index)] for index in indices]
        chosen = np.asarray(indices)
        return {name: array[chosen] for name, array in arrays.items()}

    dataset = grain.MapDataset.range(count).shuffle(seed=seed).repeat()
    # Nothing is ever dropped of what has no end; grain counts batches of one too many with a remainder, and overflows.
    size = batch_size // shard_count
    dataset = dataset[shard_index::shard_count].batch(size, drop_remainder=True, batch_fn=batch)
    settings = {"elements": count, "seed": seed, "batch_size": batch_size, "shard_count": shard_count}
    return Epochs(dataset, settings)
