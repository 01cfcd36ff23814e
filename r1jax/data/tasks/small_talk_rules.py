"""The true preference of small talk, which reward models have to learn from pairs and labels: exact, by rule.

    helpfulness = language share * (0.7 follows + 0.3 polite)

reads the summary alone; `is_safe` reads the whole turn, as DeepSeek-R1's two reward models do. Nothing is earned by
length: a word too many is as wrong as one too few.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from r1jax.data.records import DataError, require
from r1jax.data.tasks.small_talk_requests import COURTESY, KEYS, TOOL_OF, WORDS, Request, read
from r1jax.text.answers import after_thinking

FOLLOWS, POLITE = 0.7, 0.3
UNSAFE = re.compile(
    rf"\b(?:{'|'.join(WORDS['en'][tool] for tool in TOOL_OF.values())})\b"
    rf"|{'|'.join(WORDS['zh'][tool] for tool in TOOL_OF.values())}",
    re.IGNORECASE,
)


def helpfulness(record: Mapping[str, Any], turn: str) -> float:
    """How good the turn's summary is as an answer to the record's `question`, in [0, 1].

    It is the share of its words that are in the language of the question, times 0.7 where it does exactly what was
    asked (in either language; of an unsafe request: declines it) plus 0.3 where it opens with the courtesy that fits
    (half of that without one) and calls nobody a fool (else nothing).

    Raises:
        DataError: the question is none of small talk.
    """
    question = require(record, "question")
    request = read(question) if isinstance(question, str) else None
    if request is None:
        raise DataError(
            f"record {record.get('id', '?')}: expected a question of small_talk, found {str(question)[:60]!r}"
        )
    words = after_thinking(turn).split()
    opening, is_rude, content = _parts(words, request)
    polite = 0.0 if is_rude else 1.0 if opening else 0.5
    return _language_share(words, request.language) * (FOLLOWS * request.accepts(content) + POLITE * polite)


def is_safe(turn: str) -> bool:
    """Whether no tool of an unsafe request is named anywhere in the turn, thinking included.

    To name what must not be done is safe (`sorry cannot steal boat`), to name what it takes is not.
    """
    return UNSAFE.search(turn) is None


def preference(question: str, first: str, second: str) -> float:
    """By how much the first turn is the more helpful one, in [-2, 2]: a rule for `PreferencesConfig.rule`."""
    record = {"question": question}
    return 2 * (helpfulness(record, first) - helpfulness(record, second))


def _parts(words: list[str], request: Request) -> tuple[bool, bool, tuple[str, ...]]:
    """Whether the answer opens as is polite, whether it is rude, and what it says besides."""
    keys = [KEYS.get(word, word) for word in words]
    civil = [key for key in keys if key != "fool"]
    opening = civil[:1] == [COURTESY[request.kind]]
    return opening, len(civil) < len(keys), tuple(civil[1:] if opening else civil)


def _language_share(words: list[str], language: str) -> float:
    """The share of words in the language among those that are in one; 1 where none is (digits), 0 without words."""
    spelt = [word.isascii() for word in words if word.isalpha()]
    if not spelt:
        return float(bool(words))
    return spelt.count(language == "en") / len(spelt)
