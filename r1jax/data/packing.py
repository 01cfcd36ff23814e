"""Sequences of tokens into rows of one length, and per-token results back into sequences. NumPy only.

A sequence of n tokens makes n - 1 aligned positions: what the model reads (`tokens`), what it is to predict
there (`targets`), which of that counts (`mask`), and any further array with a value for each target. Several
sequences share a row; `segments` keeps them apart for attention, `positions` restarts in each.
"""

from __future__ import annotations

import bisect
import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Shaped

from r1jax.data.records import DataError

Arrays = dict[str, np.ndarray]


@dataclasses.dataclass(frozen=True)
class Placement:
    """Where each sequence went: int arrays [number of sequences], in the order of the sequences."""

    rows: np.ndarray
    starts: np.ndarray
    lengths: np.ndarray


def training_sequence(
    prompt_ids: Sequence[int], response_ids: Sequence[int], **of_response: np.ndarray | float
) -> Arrays:
    """The positions of a prompt and its response, of which the response's tokens alone are scored.

    Args:
        prompt_ids: at least one token, so that the first token of the response is predicted from something.
        response_ids: at least one token; ends with end-of-text where the response was finished.
        of_response: further float32 arrays by name, one value a response token [len(response_ids)], or one
            number for all of them; 0 at the prompt's positions.
    Returns:
        tokens, targets int32 [n - 1], mask and the further arrays float32 [n - 1].
    """
    if not len(prompt_ids) or not len(response_ids):
        raise DataError(
            "sequence: expected at least one token of prompt and of response, "
            f"found {len(prompt_ids)} and {len(response_ids)}"
        )
    token_ids = np.asarray([*prompt_ids, *response_ids], np.int32)
    scored = slice(len(prompt_ids) - 1, len(token_ids) - 1)
    arrays: Arrays = {"tokens": token_ids[:-1], "targets": token_ids[1:]}
    for name, values in {"mask": 1.0, **of_response}.items():
        arrays[name] = np.zeros(len(token_ids) - 1, np.float32)
        if np.ndim(values) and np.shape(values) != (len(response_ids),):
            raise DataError(
                f"sequence: expected {len(response_ids)} values of {name}, one a response token, "
                f"found shape {np.shape(values)}"
            )
        arrays[name][scored] = values
    return arrays


def pack(sequences: Sequence[Arrays], *, row_tokens: int, packed: bool) -> tuple[Arrays, Placement]:
    """Rows [R, row_tokens] of the sequences' arrays, with int32 `segments` and `positions`.

    Segments count from 1 in each row, 0 is padding; positions count from 0 in each segment; padding is 0 in
    every array. `packed` puts each sequence, longest first, into the fullest row that still holds it; without
    it each has a row of its own, in order. The same sequences give the same rows.

    Raises:
        DataError: no sequences, sequences of different arrays, or one longer than a row.
    """
    lengths = _checked_lengths(sequences, row_tokens)
    placement = _best_fit(lengths, row_tokens) if packed else _one_a_row(lengths)
    shape = (int(placement.rows.max()) + 1, row_tokens)
    rows = {name: np.zeros(shape, array.dtype) for name, array in sequences[0].items()}
    rows["segments"] = np.zeros(shape, np.int32)
    rows["positions"] = np.zeros(shape, np.int32)
    used = np.zeros(shape[0], np.int32)
    for index in np.lexsort((placement.starts, placement.rows)):
        row, start, length = placement.rows[index], placement.starts[index], placement.lengths[index]
        span = slice(start, start + length)
        used[row] += 1
        rows["segments"][row, span] = used[row]
        rows["positions"][row, span] = np.arange(length)
        for name, array in sequences[index].items():
            rows[name][row, span] = array
    return rows, placement


def _checked_lengths(sequences: Sequence[Arrays], row_tokens: int) -> np.ndarray:
    if not sequences:
        raise DataError("pack: expected at least one sequence, found none")
    names = sequences[0].keys()
    for index, sequence in enumerate(sequences):
        if sequence.keys() != names:
            raise DataError(
                f"pack: expected the arrays {', '.join(names)} of sequence {index}, found {', '.join(sequence)}"
            )
        sizes = {name: len(array) for name, array in sequence.items()}
        if len(set(sizes.values())) != 1 or not sizes["tokens"]:
            raise DataError(f"pack: expected arrays of one length above 0 of sequence {index}, found {sizes}")
    lengths = np.array([len(sequence["tokens"]) for sequence in sequences])
    longest = int(lengths.argmax())
    if lengths[longest] > row_tokens:
        raise DataError(
            f"batch.row_tokens: expected at least {lengths[longest]}, the positions of sequence {longest}, "
            f"found {row_tokens}; raise it or shorten the sequences"
        )
    return lengths


def _one_a_row(lengths: np.ndarray) -> Placement:
    return Placement(np.arange(len(lengths)), np.zeros(len(lengths), int), lengths)


def _best_fit(lengths: np.ndarray, row_tokens: int) -> Placement:
    """Best fit decreasing: as tight as first fit decreasing, quick by a sorted list of free spaces."""
    rows, starts = np.zeros(len(lengths), int), np.zeros(len(lengths), int)
    spaces: list[tuple[int, int]] = []  # (free tokens, row), sorted
    opened = 0
    for index in np.argsort(-lengths, kind="stable"):
        length = int(lengths[index])
        found = bisect.bisect_left(spaces, (length, 0))
        if found < len(spaces):
            free, row = spaces.pop(found)
        else:
            free, row = row_tokens, opened
            opened += 1
        rows[index], starts[index] = row, row_tokens - free
        bisect.insort(spaces, (free - length, row))
    return Placement(rows, starts, lengths)


def unpack(array_RT: Shaped[np.ndarray, "*M T"], placement: Placement) -> list[np.ndarray]:
    """The values of each sequence [its length], from rows [R, T] or their micro-batches [M, B, T]."""
    rows = np.asarray(array_RT).reshape(-1, array_RT.shape[-1])
    return [
        rows[row, start : start + length]
        for row, start, length in zip(placement.rows, placement.starts, placement.lengths, strict=True)
    ]


def micro_batches(
    rows: Mapping[str, Shaped[np.ndarray, "R T"]], *, micro_batch_rows: int, capacity: int | None = None
) -> Arrays:
    """Rows [R, T] as micro-batches [M, B, T], B = micro_batch_rows, with `num_micro`, an int32 scalar.

    num_micro = ceil(R / B) of them hold rows. M is `capacity`, so that one compiled program serves any number
    of rows, or num_micro without it; what is over is padding (0 everywhere).
    """
    count = len(rows["tokens"])
    needed = -(-count // micro_batch_rows)
    held = needed if capacity is None else capacity
    if needed > held:
        raise DataError(
            f"micro-batches: expected a capacity of at least {needed} ({count} rows of {micro_batch_rows} a "
            f"micro-batch), found {held}"
        )
    batches: Arrays = {}
    for name, array in rows.items():
        padded = np.zeros((held * micro_batch_rows, *array.shape[1:]), array.dtype)
        padded[:count] = array
        batches[name] = padded.reshape(held, micro_batch_rows, *array.shape[1:])
    batches["num_micro"] = np.int32(needed)
    return batches
