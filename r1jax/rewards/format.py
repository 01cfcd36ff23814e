"""The format reward of R1-Zero (arXiv 2501.12948, section 2.2.2): thinking in tags, then the answer in tags.

1.0 for exactly one non-empty think block, then exactly one non-empty answer block, and nothing but whitespace
before, between or after; else 0.0. A tag in disguise (`< Think >`, `<think id=2>`) counts as a tag, so that a
second block cannot hide in one; a pair of unknown tags (`<final>..</final>`) fails too, except in fenced code,
which may hold any other markup. A lone `vector<int>` is no tag. Spaces of no width are no content.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

from r1jax.rewards.verdicts import Item, Score, Status

EXPECTED = ("<think>", "</think>", "<answer>", "</answer>")
DISGUISED = re.compile(r"<\s{0,8}/?\s{0,8}(?:think|answer)(?:[\s/][^<>]{0,96})?>", re.IGNORECASE)
ANY_TAG = re.compile(r"<(/?)([A-Za-z][\w-]{0,30})>")
FENCED_CODE = re.compile(r"```.*?```", re.DOTALL)
BLANK_LETTERS = frozenset("\u115f\u1160\u2800\u3164\uffa0")  # fillers: letters and signs that show nothing


def format_reward(items: Sequence[Item]) -> list[Score]:
    """1.0 or 0.0 for each completion; the end of a truncated one counts like any other end."""
    return [Score(float(keeps_format(item.completion)), Status.SCORED) for item in items]


def keeps_format(completion: str) -> bool:
    """Whether a completion is one think block and then one answer block, both with content."""
    tags = [(match.group(), match.start(), match.end()) for match in DISGUISED.finditer(completion)]
    if tuple(tag for tag, _, _ in tags) != EXPECTED:
        return False
    (_, think, think_open), (_, think_close, between), (_, answer, answer_open), (_, answer_close, end) = tags
    inside = (completion[think_open:think_close], completion[answer_open:answer_close])
    outside = (completion[:think], completion[between:answer], completion[end:])
    return (
        all(has_content(part) for part in inside)
        and not any(part.strip() for part in outside)
        and not any(_has_unknown_pair(part) for part in inside)
    )


def has_content(text: str) -> bool:
    """Whether anything in `text` is to be seen: whitespace, control characters and spaces of no width are not."""
    return any(unicodedata.category(sign)[0] not in "ZCM" and sign not in BLANK_LETTERS for sign in text)


def _has_unknown_pair(text: str) -> bool:
    tags = ANY_TAG.findall(FENCED_CODE.sub("", text))
    opened = {name.lower() for slash, name in tags if not slash}
    closed = {name.lower() for slash, name in tags if slash}
    return bool(opened & closed)
