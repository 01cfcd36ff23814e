"""How often a trace looks back at itself: the reflective words whose growth the paper plots [Nature version]."""

from __future__ import annotations

import re

from r1jax.text.answers import thinking

ENGLISH = ("wait", "mistake", "however", "but", "retry", "error", "verify", "wrong", "evaluate", "check")
CHINESE = ("等等", "错误", "然而", "但是", "重试", "验证", "不对", "检查")

_WORDS = re.compile(rf"\b(?:{'|'.join(ENGLISH)})\b|{'|'.join(CHINESE)}", re.IGNORECASE)


def count_reflection_words(completion: str) -> int:
    """The number of reflective words of either language in the thinking; in all of it where no tag tells it apart."""
    trace = thinking(completion)
    return len(_WORDS.findall(completion if trace is None else trace))
