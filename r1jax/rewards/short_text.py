"""Short text: the final answer is one of the accepted texts, once both are in normal form.

The normal form follows SQuAD's (arXiv 1606.05250: case, articles, punctuation, whitespace) with what it gets
wrong mended: signs that carry meaning stay ("C++", "50%"), "3.5km" is "3.5 km", an article is one only before a word
("type A"), and full-width forms and Chinese punctuation are those of ASCII. Numbers are compared as numbers. An
answer that holds more than the accepted text is wrong: "Paris or London" is no "Paris".
"""

from __future__ import annotations

import functools
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from r1jax.errors import UserError
from r1jax.rewards.verdicts import Item, Score, Status, require_field
from r1jax.text.answers import ASCII, LONGEST_ANSWER_CHARS, NUMBER_KEY, canonical_key, final_answer, unwrapped

# NFKC would make "102" of 10², and "31/2" of 3½.
RAISED = {ord(sign): f"^{digit}" for digit, sign in enumerate("⁰¹²³⁴⁵⁶⁷⁸⁹")}
PARTS = re.compile("(?<=[0-9])(?=[\u00bc-\u00be\u2150-\u215e])")
SPELLINGS = str.maketrans({**dict.fromkeys("‐‑‒–—―−", "-"), "⁄": "/", "&": " and "})

ARTICLE = re.compile(r"\b(?:[Tt]he|THE|an?)\s+(?=\w)|\A(?:An?|AN)\s+(?=\w)")
THOUSANDS = re.compile(r"(?<=[0-9]),(?=[0-9]{3}(?![0-9]))")
KEPT = re.compile(r"(?<=[0-9])[.,:/-](?=[0-9])|(?<!\w)[-.](?=\.?[0-9])|[%#@]")  # signs of numbers and names
IN_WORDS = ".'’‘`\""  # U.S. and US, O'Hara and OHara are one word each
BEFORE_UNIT = re.compile(r"(?<=[0-9]) (?=[^\W\d_]|[%°])")
BETWEEN_HAN = re.compile("(?<=[\u3400-\u9fff]) (?=[\u3400-\u9fff])")


def short_text_reward(items: Sequence[Item]) -> list[Score]:
    """1.0 where the final answer is the record's `answer`, or one of its `answers`, else 0.0.

    The answer is that of `r1jax.text.answers.final_answer`: answer tag or last box, never the thinking. A gold
    of nothing but whitespace cannot tell; UserError names a record whose golds are no texts or numbers.
    """
    return [_score(item) for item in items]


def _score(item: Item) -> Score:
    accepted = accepted_texts(item)
    answer = final_answer(item.completion)
    if not all(one.strip() for one in accepted):
        return Score(None, Status.VERIFIER_ERROR, answer)
    if answer is None:
        return Score(0.0, Status.NO_ANSWER)
    right = any(same_text(one, answer) for one in accepted)
    return Score(float(right), Status.CORRECT if right else Status.WRONG, answer)


def accepted_texts(item: Item) -> tuple[str, ...]:
    """The accepted answers as texts (data sets have numbers there too): `answers` where the record has them."""
    field = "answer" if item.record.get("answers") is None else "answers"
    answer: Any = require_field(item, field, "short_text")
    accepted = answer if isinstance(answer, list | tuple) else [answer]
    if not accepted or any(isinstance(one, bool) or not isinstance(one, str | int | float) for one in accepted):
        raise UserError(
            f"record {item.record.get('id')!r}: the short_text reward expects the field {field!r} to be a text or a "
            f"list of accepted texts, found {answer!r}"
        )
    return tuple(map(str, accepted))


def same_text(accepted: str, answer: str) -> bool:
    """Whether two short texts say the same; of longer ones than LONGEST_ANSWER_CHARS, whether they are the same."""
    if max(len(accepted), len(answer)) > LONGEST_ANSWER_CHARS:
        return accepted.strip() == answer.strip()
    numbers = _number(accepted), _number(answer)
    if None not in numbers:
        return numbers[0] == numbers[1]
    return _normal_gold(accepted) == normal_text(answer)


def normal_text(text: str) -> str:
    """The normal form of a short text; one that has nothing but punctuation keeps it."""
    text = unwrapped(text.translate(ASCII))
    text = unicodedata.normalize("NFKC", PARTS.sub(" ", text.translate(RAISED)))
    text = THOUSANDS.sub("", ARTICLE.sub("", text.translate(SPELLINGS))).casefold()
    kept = {match.start() for match in KEPT.finditer(text)}
    signs = "".join(
        sign if place in kept or not unicodedata.category(sign).startswith("P") else "" if sign in IN_WORDS else " "
        for place, sign in enumerate(text)
    )
    return BETWEEN_HAN.sub("", BEFORE_UNIT.sub("", " ".join(signs.split()))) or " ".join(text.split())


@functools.lru_cache(maxsize=4096)  # the completions of a group share them
def _normal_gold(text: str) -> str:
    return normal_text(text)


def _number(text: str) -> str | None:
    key = canonical_key(text)
    return key if NUMBER_KEY.fullmatch(key) else None
