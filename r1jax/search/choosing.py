"""One answer out of several solutions: the one with the best score, or the one with the most votes, maybe weighted.

What comes back is how often the choice is right: 1, 0, or between where several are level and each is as likely.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from r1jax.text.answers import canonical_key, fast_equal

Pair = tuple[str, str]
Equivalent = Callable[[Sequence[Pair]], Sequence[bool | None]]
LEVEL = 1e-9  # sums of weights nearer than this (relative) are level: they depend on the order of adding


def best_is_right(scores: Sequence[float | None], correct: Sequence[bool]) -> float | None:
    """The share of right ones among those with the highest score; None where nothing has a score."""
    known = [(score, right) for score, right in zip(scores, correct, strict=True) if score is not None]
    if not known:
        return None
    highest = max(score for score, _ in known)
    level = [right for score, right in known if score == highest]
    return sum(level) / len(level)


def answer_classes(
    answers: Sequence[Sequence[str | None]], equivalent: Equivalent | None = None
) -> list[list[list[int]]]:
    """For each question, its answers' numbers, those that mean the same together; None joins no class.

    Args:
      answers: of each question.
      equivalent: says of pairs of answers whether they are the same (`RewardService.equivalent`); asked once, of all
        pairs that text and plain numbers leave open. Without it these are taken for different.
    """
    spelled = [_by_spelling(question) for question in answers]
    open_pairs = [
        (first, other)
        for groups in spelled
        for number, first in enumerate(groups)
        for other in list(groups)[number + 1 :]
        if fast_equal(first, other) is None
    ]
    replies = equivalent(open_pairs) if equivalent is not None and open_pairs else [None] * len(open_pairs)
    same = dict(zip(open_pairs, replies, strict=True))
    return [_merged(groups, same) for groups in spelled]


def vote_is_right(
    classes: Sequence[Sequence[int]], weights: Sequence[float | None], correct: Sequence[bool]
) -> float | None:
    """The share of right ones in the class with the most weight, by weight; the mean of several that are level.

    With all weights 1 it is a majority vote (`scoring.cons_at_k`). None as a weight casts no vote; None comes back
    where nobody votes.
    """
    voting = [[(weights[one], correct[one]) for one in members if weights[one] is not None] for members in classes]
    sums = [math.fsum(weight for weight, _ in votes) for votes in voting]
    most = max(sums, default=0.0)
    if most <= 0:
        return None
    shares = [
        math.fsum(weight for weight, right in votes if right) / total
        for votes, total in zip(voting, sums, strict=True)
        if total >= most * (1 - LEVEL)
    ]
    return sum(shares) / len(shares)


def weighted_votes(
    answers: Sequence[Sequence[str | None]],
    weights: Sequence[Sequence[float | None]],
    correct: Sequence[Sequence[bool]],
    *,
    equivalent: Equivalent | None = None,
) -> list[float | None]:
    """For each question how often the answer with the most weight is right.

    Args:
      answers: None casts no vote.
      weights: 0 or more, such as a reward model's probability; None casts no vote.
      correct: whether each is right.
    """
    return [
        vote_is_right(classes, weight, right)
        for classes, weight, right in zip(answer_classes(answers, equivalent), weights, correct, strict=True)
    ]


def _by_spelling(answers: Sequence[str | None]) -> dict[str, list[int]]:
    """Answer (the first in the alphabet of its key) -> who gave it; the most frequent first, in any order of giving."""
    by_key: dict[str, list[int]] = {}
    for number, answer in enumerate(answers):
        if answer is not None:
            by_key.setdefault(canonical_key(answer), []).append(number)
    ordered = sorted(by_key, key=lambda key: (-len(by_key[key]), key))
    return {min(answers[one] for one in by_key[key]): by_key[key] for key in ordered}


def _merged(groups: dict[str, list[int]], same: dict[Pair, bool | None]) -> list[list[int]]:
    """Each group joins the first class whose first answer it equals."""
    classes: dict[str, list[int]] = {}
    for answer, members in groups.items():
        home = next((first for first in classes if fast_equal(first, answer) or same.get((first, answer))), None)
        if home is None:
            classes[answer] = list(members)
        else:
            classes[home] += members
    return list(classes.values())
