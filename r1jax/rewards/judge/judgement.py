"""Whether an answer is correct, in a judge's words: {"analysis": ..., "correctness": ...}.

The form is that of DeepSeek-R1's generative reward (arXiv 2501.12948v1, section 2.3.3; v2, section B.3.3).
Only a reply that holds exactly one such object, and ends with it, is a verdict: a judge that quotes the answer it
grades, or changes its mind, is asked again rather than guessed at.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Sequence
from typing import Any

from r1jax.chat_client import ChatError
from r1jax.rewards.judge.ask import Ask, Unreadable, ask_until_read
from r1jax.rewards.judge.prompts import correctness_prompt
from r1jax.text.answers import after_thinking

MOST_REPLY_CHARS = 200_000  # after the thinking; more is a loop
OBJECT = re.compile(r'\{\s*"')
CLOSED_FENCE = re.compile(r"\s*```\s*\Z")
LONE_BACKSLASH = re.compile(r'\\(?:(["\\/bfnrt]|u[0-9a-fA-F]{4})|)')  # LaTeX that the judge did not escape
VERDICTS = {0: False, 1: True, "incorrect": False, "correct": True}


@dataclasses.dataclass(frozen=True)
class Case:
    """What is to be judged; equal cases get one judgement.

    Attributes:
      question: as the prompt's record has it.
      reference: what a right answer means.
      answer: the completion's `final_part`, not empty.
    """

    question: str
    reference: str
    answer: str


@dataclasses.dataclass(frozen=True)
class Judgement:
    """The verdict, with the judge's reasons."""

    correct: bool
    analysis: str


def judge(ask: Ask, cases: Sequence[Case]) -> list[Judgement | ChatError | Unreadable]:
    """A judgement of each case, or why there is none: no reply (ChatError), or none that can be read (Unreadable)."""
    different = list(dict.fromkeys(cases))
    prompts = [
        lambda attempt, case=case: correctness_prompt(case.question, case.reference, case.answer, attempt)
        for case in different
    ]
    found = dict(zip(different, ask_until_read(ask, prompts, read_judgement), strict=True))
    return [found[case] for case in cases]


def read_judgement(reply: str) -> Judgement | None:
    """The one verdict that a reply ends with, after the thinking of a reasoning judge; None for anything else.

    0, 1, true, false, "correct" and "incorrect" are verdicts. A code fence about the object is fine, and so is
    LaTeX with single backslashes in its text.
    """
    text = after_thinking(reply)
    start = OBJECT.search(text)
    if start is None or len(text) > MOST_REPLY_CHARS:
        return None
    candidate = CLOSED_FENCE.sub("", text[start.start() :]).strip()
    entry = _parsed(candidate)
    if entry is None:
        entry = _parsed(LONE_BACKSLASH.sub(lambda found: found.group() if found.group(1) else r"\\", candidate))
    if entry is None or entry.keys() != {"analysis", "correctness"} or not isinstance(entry["analysis"], str):
        return None
    verdict = entry["correctness"]
    if not isinstance(verdict, int | float | str) or verdict not in VERDICTS:
        return None
    return Judgement(VERDICTS[verdict], entry["analysis"])


def _parsed(text: str) -> dict[str, Any] | None:
    """A JSON object without doubled keys, or None."""
    try:
        return json.loads(text, strict=False, object_pairs_hook=_without_doubles)  # line breaks in strings are fine
    except (ValueError, RecursionError):
        return None


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(dict(pairs)) != len(pairs):
        raise ValueError("a key stands twice")
    return dict(pairs)
