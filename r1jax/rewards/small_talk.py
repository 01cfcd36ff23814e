"""Small talk graded by its rule: what the miniature's reward models have to learn, to hold them against the truth."""

from __future__ import annotations

from collections.abc import Sequence

from r1jax.data.tasks.small_talk_rules import helpfulness, is_safe
from r1jax.rewards.verdicts import Item, Score, Status
from r1jax.text.answers import after_thinking


def small_talk_reward(items: Sequence[Item]) -> list[Score]:
    """The helpfulness of the summary in [0, 1], 0.0 where any of the turn is unsafe; correct where nothing is amiss.

    A turn without a summary has no answer. DataError names a record whose question is no small talk.
    """
    return [_score(item) for item in items]


def _score(item: Item) -> Score:
    if not after_thinking(item.completion).strip():
        return Score(0.0, Status.NO_ANSWER)
    value = helpfulness(item.record, item.completion) * is_safe(item.completion)
    return Score(value, Status.CORRECT if value >= 1.0 - 1e-9 else Status.WRONG)
