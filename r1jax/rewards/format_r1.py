"""The format rewards after R1-Zero: thinking, then a summary for the reader, without answer tags.

Two spellings of one idea (arXiv 2501.12948, section 2.3.1): `<think>`...`</think>` and the summary, as the
released models write it, and the paper's |special_token|<reasoning_process>|special_token|<summary>.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from r1jax.rewards.format import has_content
from r1jax.rewards.verdicts import Item, Score, Status

THINK_TAG = re.compile(r"<\s{0,8}/?\s{0,8}think(?:[\s/][^<>]{0,96})?>", re.IGNORECASE)  # in disguise too
SPECIAL_TOKEN = "|special_token|"  # the paper's placeholder


def format_r1_reward(items: Sequence[Item]) -> list[Score]:
    """1.0 for one non-empty think block from the start and a non-empty summary after it, else 0.0.

    The completion begins with the forced prefix (`Item.completion`), so a `<think>` that was forced counts.
    """
    return [Score(float(keeps_r1_format(item.completion)), Status.SCORED) for item in items]


def format_cold_start_reward(items: Sequence[Item]) -> list[Score]:
    """1.0 for special token, non-empty reasoning, special token, non-empty summary; else 0.0.

    The special token is the placeholder of the paper; for another, a function of the user's own calls
    `keeps_cold_start_format` with it.
    """
    return [Score(float(keeps_cold_start_format(item.completion)), Status.SCORED) for item in items]


def keeps_r1_format(completion: str) -> bool:
    """Whether nothing stands before the one think block, and something in it and after it."""
    tags = list(THINK_TAG.finditer(completion))
    if [tag.group() for tag in tags] != ["<think>", "</think>"]:
        return False
    opening, closing = tags
    return (
        not completion[: opening.start()].strip()
        and has_content(completion[opening.end() : closing.start()])
        and has_content(completion[closing.end() :])
    )


def keeps_cold_start_format(completion: str, special_token: str = SPECIAL_TOKEN) -> bool:
    """Whether `special_token` stands first and once more, with something after each, and no think tag anywhere."""
    if completion.count(special_token) != 2:
        return False
    before, reasoning, summary = completion.split(special_token)
    return not before.strip() and has_content(reasoning) and has_content(summary) and not THINK_TAG.search(completion)
