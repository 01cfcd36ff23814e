"""N-grams of words, as 64-bit numbers: what repetition, near duplicates and decontamination compare.

A word is a run of letters and digits, a maths sign (47 + 8 is another question than 47 - 8), or one character of
a script that is written without spaces; case, width, accents' spelling and punctuation make no difference. All
numbers are the same in every process and on every machine. Whole arrays at a time, since data sets are long.
"""

from __future__ import annotations

import functools
import re
import unicodedata

import numpy as np

# Thai, Lao, Burmese, Khmer, kana, Han.
SPACELESS = (
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"
    r"\U00020000-\U0003134f]+"
)
SIGN = r"[-+*/=<>^%]"
SPELLINGS = str.maketrans("−–×·⋅÷∶", "--***//")  # of the signs
THOUSANDS = re.compile(r",(?<=[0-9],)(?=[0-9]{3}(?![0-9]))")
LONGEST_WORD = 32  # an endless run of letters (haha...) is many words, and so its repetition shows
# To sort the marks on one letter takes Unicode's normal forms the square of their number.
MARKS = re.compile(r"(?:[^\w\s]|[\uff9e\uff9f]){33,}")
MOST_MARKS = 32
MOST_CHARACTERS = 1 << 22  # of a text; NFKC makes eighteen of some single ones
MOST_KEPT_POWERS = 16  # bits of their number
BASE = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
MIXING = tuple((np.uint64(a), np.uint64(b)) for a, b in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)))
LAST_SHIFT = np.uint64(31)

GAP, ALONE, OPERATOR, DIGIT, LETTER = range(5)  # kinds of characters


def word_hashes(text: str) -> np.ndarray:
    """A number for each word of any text, lone surrogates and all: uint64 [words]. In linear time.

    What follows the first four million characters is not looked at.
    """
    if not text.isascii():
        text = unicodedata.normalize("NFKC", MARKS.sub(lambda run: run.group()[:MOST_MARKS], text))
        text = text.translate(SPELLINGS)
    folded = THOUSANDS.sub("", text.casefold())[:MOST_CHARACTERS]
    codes = characters(folded)
    kinds = _kinds()[codes.view(np.int64)]
    if "-" in folded:  # that of "twenty-five" is no sign
        kinds[(codes == ord("-")) & (_before(kinds) == LETTER) & (_after(kinds) == LETTER)] = GAP
    if "**" in folded:  # is emphasis
        kinds[(codes == ord("*")) & ((_before(codes) == ord("*")) | (_after(codes) == ord("*")))] = GAP
    in_word = kinds >= DIGIT
    starts = in_word & (_before(kinds) < DIGIT) | (kinds == ALONE)
    starts |= (kinds == OPERATOR) & (codes != _before(codes))
    ends = (kinds != GAP) & (_after(starts, fill=True) | (_after(kinds) == GAP))
    return _spans(codes, *_short_spans(np.flatnonzero(starts), np.flatnonzero(ends) + 1))


def characters(text: str) -> np.ndarray:
    """The numbers of its characters: uint64 [len(text)]."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.uint64)


def _short_spans(starts: np.ndarray, ends: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The spans cut into pieces of at most LONGEST_WORD."""
    if not len(starts) or (ends - starts).max() <= LONGEST_WORD:
        return starts, ends
    pieces = -(-(ends - starts) // LONGEST_WORD)
    number = np.arange(pieces.sum()) - np.repeat(np.cumsum(pieces) - pieces, pieces)  # of a piece in its span
    starts = np.repeat(starts, pieces) + LONGEST_WORD * number
    return starts, np.minimum(starts + LONGEST_WORD, np.repeat(ends, pieces))


def ngram_hashes(words: np.ndarray, n: int) -> np.ndarray:
    """A number for each run of `n` words (or characters), in order: uint64 [words - n + 1], empty for fewer."""
    return _spans(words, slice(0, max(0, len(words) - n + 1)), slice(n, None))


def ngram_set(words: np.ndarray, n: int) -> np.ndarray:
    """The different n-grams, sorted; where there are fewer than `n` words, the one of them all."""
    return distinct(ngram_hashes(words, max(1, min(n, len(words)))))


def distinct(hashes: np.ndarray) -> np.ndarray:
    """The different ones, sorted (ten times as fast as np.unique on what a text has)."""
    ordered = np.sort(hashes)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])] if len(ordered) else ordered


def jaccard(one: np.ndarray, other: np.ndarray) -> float:
    """The share of common members among all of two sets (sorted, without doubles); 1 for two empty ones."""
    union = len(distinct(np.concatenate((one, other))))
    return (len(one) + len(other) - union) / union if union else 1.0


def mixed(values: np.ndarray) -> np.ndarray:
    """A one-to-one map of uint64 whose every bit depends on all bits (the end of splitmix64)."""
    for shift, factor in MIXING:
        values = (values ^ (values >> shift)) * factor
    return values ^ (values >> LAST_SHIFT)


def _spans(values: np.ndarray, starts: np.ndarray | slice, ends: np.ndarray | slice) -> np.ndarray:
    """A number for each span values[start:end]: a polynomial modulo 2**64 by prefix sums, whatever the lengths.

    Slices stand for the starts and ends of spans that begin at one place after another.
    """
    bits = max(12, len(values).bit_length())
    powers, inverses = _kept_powers(bits) if bits <= MOST_KEPT_POWERS else _powers(bits)
    sums = np.zeros(len(values) + 1, np.uint64)
    np.cumsum((values + np.uint64(1)) * powers[: len(values)], out=sums[1:])
    return mixed((sums[ends] - sums[starts]) * inverses[starts])


def _powers(bits: int) -> tuple[np.ndarray, np.ndarray]:
    """The powers 0 .. 2**bits - 1 of BASE, and of its inverse."""
    every = []
    for base in (BASE, pow(BASE, -1, 1 << 64)):
        factors = np.full(1 << bits, base, np.uint64)
        factors[0] = 1
        every.append(np.cumprod(factors))
    return every[0], every[1]


_kept_powers = functools.cache(_powers)


@functools.cache
def _kinds() -> np.ndarray:
    """The kind of every character: uint8 [0x110000]."""
    characters = "".join(map(chr, range(0x110000)))
    kinds = np.zeros(len(characters), np.uint8)
    for pattern, kind in ((r"[^\W_]+", LETTER), (r"\d+", DIGIT), (SPACELESS, ALONE), (SIGN, OPERATOR)):
        for run in re.finditer(pattern, characters):
            kinds[run.start() : run.end()] = kind
    return kinds


def _before(values: np.ndarray) -> np.ndarray:
    """What stands before each, 0 (no character, a gap) before the first."""
    shifted = np.zeros_like(values)
    shifted[1:] = values[:-1]
    return shifted


def _after(values: np.ndarray, *, fill: bool = False) -> np.ndarray:
    """What stands after each, `fill` after the last."""
    shifted = np.full_like(values, fill)
    shifted[:-1] = values[1:]
    return shifted
