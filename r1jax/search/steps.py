"""How a solution falls into steps, as text and as tokens; nothing is lost: the steps joined are the solution.

A step ends with a text such as "\\n\\n" or ";" after something that is not blank: blank text before it belongs to the
step that follows, blank text behind the last one to that. What stands after the last end is a step, too.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence

from r1jax.text.tokenizer import Tokenizer

Decode = Callable[[Sequence[int]], str]
FIRST_LOOK = 16  # tokens


def step_ends(text: str, end: str) -> list[int]:
    """Where each step of `text` ends, in characters; the last one is the length of the text. [] of an empty text."""
    ends = list(_ends(text, end))
    if ends and not text[ends[-1] :].strip():
        ends.pop()
    return [*ends, len(text)] if text else []


def split_text(text: str, end: str) -> list[str]:
    """The steps of `text`: joined they are the text."""
    ends = step_ends(text, end)
    return [text[start:stop] for start, stop in zip([0, *ends], ends, strict=False)]


def prefixes(text: str, end: str) -> list[str]:
    """The text up to the end of each step; the last one is the text itself. An empty text is a step of its own."""
    return [text[:stop] for stop in step_ends(text, end)] or [text]


def first_step(ids: Sequence[int], decode: Decode, end: str) -> int | None:
    """How many of the tokens `ids` the first step takes; None where it does not end among them.

    A step ends with the token with which its text holds the end: what this token says beyond it belongs to the step.
    """
    near = FIRST_LOOK  # a step is short and what follows may be long: it is not decoded for each of its steps
    while near < len(ids) and not _has_end(decode(ids[:near]), end):
        near *= 2
    if near >= len(ids) and not _has_end(decode(ids), end):
        return None
    within = range(1, min(near, len(ids)) + 1)
    return 1 + bisect.bisect_left(within, True, key=lambda count: _has_end(decode(ids[:count]), end))


def step_tokens(ids: Sequence[int], decode: Decode, end: str) -> list[int]:
    """How many tokens each step of `ids` has; their sum is the number of tokens. Blank rests join the last step."""
    counts: list[int] = []
    rest = list(ids)
    while rest and (count := first_step(rest, decode, end)) is not None:
        counts.append(count)
        rest = rest[count:]
    if rest and counts and not decode(rest).strip():
        counts[-1] += len(rest)
    elif rest:
        counts.append(len(rest))
    return counts


def ending_ids(tokenizer: Tokenizer, end: str) -> tuple[int, ...]:
    """The tokens that hold a step's end by themselves; none, where the end is written with several tokens."""
    return tuple(token for token in range(tokenizer.vocab_size) if end in tokenizer.decode([token]))


def _has_end(text: str, end: str) -> bool:
    return next(_ends(text, end), None) is not None


def _ends(text: str, end: str) -> Iterator[int]:
    """Where the end of a step ends, one by one; in one pass, for a text may be nothing but line breaks."""
    start = at = 0
    while (found := text.find(end, at)) >= 0:
        said = text[at:found].strip() or (at > start and end.strip())  # an end with nothing before it is text as well
        at = found + len(end)
        if said:
            yield at
            start = at
