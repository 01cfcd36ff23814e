"""Answers that are scored, in packed rows: both of a pair in one row, each a segment of its own. NumPy only.

An answer is the tokens of a question, of what is read of the answer, and the end-of-text token, where its score
is read. A unit is what must not be parted: the two answers of a pair, or one answer alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from r1jax.data.packing import Arrays, pack


def scored_unit(answers: Sequence[tuple[Sequence[int], int]]) -> Arrays:
    """The positions of the answers of a unit, one answer after the other.

    Args:
        answers: of each its token ids, at least one, and its sign: 1 (chosen, or label 1) or -1 (rejected, or label 0).
    Returns:
        tokens, starts int32 [n] (at each position, where in the unit its answer begins), signs float32 [n] (at the last
        token of each answer; 0 elsewhere).
    """
    tokens, starts, signs = [], [], []
    for token_ids, sign in answers:
        starts += [len(tokens)] * len(token_ids)
        tokens += token_ids
        signs += [0] * (len(token_ids) - 1) + [sign]
    return {
        "tokens": np.asarray(tokens, np.int32),
        "starts": np.asarray(starts, np.int32),
        "signs": np.asarray(signs, np.float32),
    }


def pack_scored(units: Sequence[Arrays], *, row_tokens: int, packed: bool) -> Arrays:
    """Rows [R, row_tokens] of units, as `packing.pack` lays them out.

    Returns:
        tokens, segments, positions (of each answer) and pairs (which number the units of a row from 1; 0 is padding)
        int32; signs and mask (1 where a score is read) float32.
    Raises:
        DataError: no units, or one longer than a row.
    """
    rows, _ = pack(units, row_tokens=row_tokens, packed=packed)
    pairs, starts = rows.pop("segments"), rows.pop("starts")
    real = pairs > 0
    positions = np.where(real, rows["positions"] - starts, 0).astype(np.int32)
    segments = np.where(real, np.cumsum(real & (positions == 0), axis=1), 0).astype(np.int32)
    mask = np.abs(rows["signs"])
    return rows | {"pairs": pairs, "positions": positions, "segments": segments, "mask": mask}
