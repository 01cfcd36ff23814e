"""Near duplicates: MinHash finds candidates in near-linear time, the exact Jaccard similarity decides.

Sets of word n-grams; signatures after Broder 1997, cut into bands (Leskovec et al., Mining of Massive Datasets,
section 3.4). Of a pair as similar as the threshold one in a thousand at most is missed; no pair below it is named.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np

from r1jax.data.filters.ngrams import jaccard, mixed, ngram_set, word_hashes

NUM_HASHES = 128
MOST_MISSED = 1e-3
BLOCK = 2048  # n-grams hashed at once, for the memory's sake
MOST_ALIKE = 16  # texts that one band compares with: thousands that are alike, but no duplicates, cost no square


def near_duplicates(texts: Sequence[str], *, threshold: float, n: int) -> list[int | None]:
    """For each text the index of an earlier, kept one that it is a near duplicate of; None where it is kept.

    Args:
      texts: raw.
      threshold: the Jaccard similarity of n-gram sets from which on a text is a duplicate, in (0, 1].
      n: words of an n-gram; of a shorter text all its words are one.
    """
    if len(texts) < 2:
        return [None] * len(texts)
    rows = _rows(threshold)
    sets = [ngram_set(word_hashes(text), n) for text in texts]
    signatures = np.stack([_signature(one) for one in sets])
    bands: dict[tuple[int, bytes], list[int]] = {}
    duplicate_of: list[int | None] = []
    for index, grams in enumerate(sets):
        keys = [
            (start, signatures[index, start : start + rows].tobytes())
            for start in range(0, NUM_HASHES - rows + 1, rows)
        ]
        candidates = sorted({one for key in keys for one in bands.get(key, ())})
        original = next((one for one in candidates if _similar(sets[one], grams, threshold)), None)
        duplicate_of.append(original)
        if original is None:
            for key in keys:
                kept = bands.setdefault(key, [])
                if len(kept) < MOST_ALIKE:
                    kept.append(index)
    return duplicate_of


def _similar(one: np.ndarray, other: np.ndarray, threshold: float) -> bool:
    sizes = sorted((len(one), len(other)))
    return sizes[0] >= threshold * sizes[1] and jaccard(one, other) >= threshold


@functools.cache
def _rows(threshold: float) -> int:
    """The rows of a band: as many as MOST_MISSED allows, for each spares candidates below the threshold."""
    fitting = [rows for rows in range(1, NUM_HASHES + 1) if _missed(threshold, rows) <= MOST_MISSED]
    return max(fitting, default=1)


def _missed(similarity: float, rows: int) -> float:
    """The chance that two such texts have no band in common."""
    return (1 - similarity**rows) ** (NUM_HASHES // rows)


def _signature(grams: np.ndarray) -> np.ndarray:
    """The least value of the set's members under each hash function (32 bits are quicker): uint32 [NUM_HASHES]."""
    factors_K1 = _factors()[:, None]
    values = (grams >> np.uint64(32)).astype(np.uint32)
    least = np.full(NUM_HASHES, np.iinfo(np.uint32).max, np.uint32)
    for start in range(0, len(values), BLOCK):
        least = np.minimum(least, (factors_K1 * values[start : start + BLOCK]).min(axis=1))
    return least


@functools.cache
def _factors() -> np.ndarray:
    """Odd, so that each is a one-to-one map modulo 2**32."""
    return (mixed(np.arange(1, NUM_HASHES + 1, dtype=np.uint64)) >> np.uint64(32)).astype(np.uint32) | np.uint32(1)
