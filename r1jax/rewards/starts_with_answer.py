"""Whether a completion begins with the gold, word by word: for a base model that knows no format yet."""

from __future__ import annotations

from collections.abc import Sequence

from r1jax.rewards.verdicts import Item, Score, Status, require_field


def starts_with_answer_reward(items: Sequence[Item]) -> list[Score]:
    """1.0 where the first words of the completion are those of the record's `answer`, else 0.0."""
    return [_score(item) for item in items]


def _score(item: Item) -> Score:
    gold = str(require_field(item, "answer", "starts_with_answer")).split()
    if not gold:
        return Score(None, Status.VERIFIER_ERROR)
    words = item.completion.split()[: len(gold)]
    if not words:
        return Score(0.0, Status.NO_ANSWER)
    right = words == gold
    return Score(float(right), Status.CORRECT if right else Status.WRONG, " ".join(words))
