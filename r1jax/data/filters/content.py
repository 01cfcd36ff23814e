"""Filters on what a sample says: right, whole, in form, of a fitting length. A record in, a reason or None out."""

from __future__ import annotations

import re

from r1jax.config.filters import FiltersConfig
from r1jax.data.filters.turns import (
    lineage_of,
    response_of,
    scores_of,
    summary_of,
    thinking_of,
    tokens_of,
)
from r1jax.data.records import Record
from r1jax.text.answers import fast_equal, final_answer, last_boxed

# Also in disguise (`< Think >`, `<think id=2>`), so that a second block cannot hide in one.
TAG = re.compile(r"<\s{0,8}/?\s{0,8}think(?:ing)?(?:[\s/][^<>]{0,96})?>", re.IGNORECASE)
ANSWER_TAG = re.compile(r"</?answer>")


def correct(record: Record, config: FiltersConfig) -> str | None:
    """Every reward of `min_scores` that has scored the sample gives it enough, and one of them has."""
    scores = scores_of(record)
    known = [(name, least) for name, least in config.min_scores if name in scores]
    if not known:
        return f"not scored by {' or '.join(name for name, _ in config.min_scores)}"
    for name, least in known:
        if scores[name] is None:
            return f"{name} could not grade it"
        if scores[name] < least:
            return f"{name} {scores[name]:g}"
    return None


def finished(record: Record, config: FiltersConfig) -> str | None:
    """The length limit did not end it (`truncated`, of the record or its lineage), nor is its thinking left open."""
    if record.get("truncated", lineage_of(record).get("truncated")):
        return "truncated"
    return "the thinking is never closed" if thinking_of(record) and not _closed(response_of(record)) else None


def form(record: Record, config: FiltersConfig) -> str | None:
    """Exactly one thinking block, from the first sign on and not empty, and then a summary that is not."""
    response = response_of(record)
    tags = list(TAG.finditer(response))
    if not tags:
        if config.thinking == "required":
            return "no thinking"
        return None if response.strip() else "empty"
    if [tag.group() for tag in tags] != ["<think>", "</think>"]:
        return "not exactly one thinking block"
    opened, closed = tags
    if response[: opened.start()].strip():
        return "text before the thinking"
    if not response[opened.end() : closed.start()].strip():
        return "empty thinking"
    return None if ANSWER_TAG.sub("", response[closed.end() :]).strip() else "empty summary"


def length(record: Record, config: FiltersConfig) -> str | None:
    """`num_tokens`, `num_thinking_tokens` and `num_question_tokens` of the record within their limits.

    DataError where one that has a limit is not there.
    """
    for field, low, high in (
        ("num_tokens", config.min_tokens, config.max_tokens),
        ("num_thinking_tokens", config.min_thinking_tokens, config.max_thinking_tokens),
        ("num_question_tokens", None, config.max_question_tokens),
    ):
        if low is None and high is None:
            continue
        tokens = tokens_of(record, field)
        if low is not None and tokens < low:
            return f"{field} {tokens} below {low}"
        if high is not None and tokens > high:
            return f"{field} {tokens} above {high}"
    return None


def states_answer(record: Record, config: FiltersConfig) -> str | None:
    """The summary commits to an answer, and not plainly to another one than the gold or the thinking's last box.

    It looks at the text that is there now: a summary that was written after the grading has no score.
    """
    answer = final_answer(summary_of(record))
    if answer is None:
        return "no answer in the summary"
    gold, reached = record.get("answer"), last_boxed(thinking_of(record))
    if isinstance(gold, str) and fast_equal(gold, answer) is False:
        return f"the summary's answer is {answer[:40]!r}, not {gold[:40]!r}"
    if reached is not None and fast_equal(reached, answer) is False:
        return f"the summary's answer is {answer[:40]!r}, the thinking's {reached[:40]!r}"
    return None


def _closed(response: str) -> bool:
    return response.rfind("</think>") > response.rfind("<think>")
