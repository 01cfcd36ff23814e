"""What the filters read of a record: the thinking and the summary of its turn, its scores, its prompt."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from r1jax.data.records import DataError, Record, require
from r1jax.text.answers import after_thinking, thinking
from r1jax.text.language import LANGUAGES, detect_target


def response_of(record: Record) -> str:
    """The whole turn of the assistant, thinking included."""
    return _text(record, "response")


def thinking_of(record: Record) -> str:
    """The thinking of the turn, "" where it has none."""
    return _parts(response_of(record))[0]


def summary_of(record: Record) -> str:
    """What follows the thinking."""
    return _parts(response_of(record))[1]


def question_of(record: Record) -> str:
    return _text(record, "question")


def scores_of(record: Record) -> Mapping[str, float | None]:
    """Reward -> value, None where it could not tell."""
    scores = lineage_of(record).get("scores")
    if scores is None:
        return {}
    if not isinstance(scores, Mapping):
        raise _wrong(record, "lineage.scores as an object of reward: number", scores)
    for score in scores.values():
        if not (score is None or isinstance(score, int | float)):
            raise _wrong(record, "numbers (or null) in lineage.scores", score)
    return scores


def prompt_of(record: Record) -> str:
    """What the samples of one prompt share: lineage.prompt_id, else the question itself."""
    prompt = lineage_of(record).get("prompt_id")
    return question_of(record) if prompt is None else str(prompt)


def target_of(record: Record) -> str:
    """The language that the turn should be in: the record's, else its question's."""
    language = record.get("language")
    if language is None:
        return detect_target(question_of(record))
    if language not in LANGUAGES:
        raise _wrong(record, f"a language out of {', '.join(LANGUAGES)} (or the language filters off)", language)
    return language


def tokens_of(record: Record, field: str) -> int:
    """A count of tokens that the record or its lineage carries; lengths are never counted in characters."""
    count = lineage_of(record).get(field) if record.get(field) is None else record[field]
    if count is None:
        count = require(record, field)  # which says what there is
    if not isinstance(count, int):
        raise _wrong(record, f"a whole number as {field}", count)
    return count


def lineage_of(record: Record) -> Mapping[str, Any]:
    lineage = record.get("lineage")
    if lineage is None:
        return {}
    if not isinstance(lineage, Mapping):
        raise _wrong(record, "lineage as an object", lineage)
    return lineage


def _text(record: Record, field: str) -> str:
    text = require(record, field)
    if not isinstance(text, str):
        raise _wrong(record, f"text as {field}", text)
    return text


def _wrong(record: Record, expected: str, found: Any) -> DataError:
    return DataError(f"record {record.get('id', '?')}: expected {expected}, found {str(found)[:60]!r}")


@functools.lru_cache(maxsize=2)  # one filter after another reads the same turn
def _parts(response: str) -> tuple[str, str]:
    return thinking(response) or "", after_thinking(response)
