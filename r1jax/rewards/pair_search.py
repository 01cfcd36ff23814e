"""Pair search: two of the listed numbers that have the sum asked for (the miniature's task B)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from r1jax.rewards.verdicts import Item, Score, Status, require_integer, require_integers
from r1jax.text.answers import final_answer

MOST_DIGITS = 18  # longer than any number of the task, and far from the size at which int() refuses
# Two numbers, with nothing but brackets and one joining sign or word about them.
PAIR = re.compile(
    r"[\s(\[{]*([0-9]+)(?:\s*(?:[,，、;+&]|\band\b|\bplus\b|和|加)\s*|\s+)([0-9]+)[\s)\]}.]*", re.IGNORECASE
)


def pair_search_reward(items: Sequence[Item]) -> list[Score]:
    """1.0 where the answer names two numbers of the record's `numbers` with the sum `target`, else 0.0.

    A number may be named twice only if it is listed twice. UserError names a record whose numbers are no integers.
    """
    return [_score(item) for item in items]


def _score(item: Item) -> Score:
    numbers = require_integers(item, "numbers", "pair_search")
    target = require_integer(item, "target", "pair_search")
    answer = final_answer(item.completion)
    if answer is None:
        return Score(0.0, Status.NO_ANSWER)
    right = is_solution(answer, numbers, target)
    return Score(float(right), Status.CORRECT if right else Status.WRONG, answer)


def is_solution(answer: str, numbers: Sequence[int], target: int) -> bool:
    """Whether `answer` names two of the listed numbers, at different places, with that sum."""
    match = PAIR.fullmatch(answer)
    if match is None or max(map(len, match.groups())) > MOST_DIGITS:
        return False
    first, second = (int(number) for number in match.groups())
    left = list(numbers)
    if first not in left:
        return False
    left.remove(first)
    return second in left and first + second == target
