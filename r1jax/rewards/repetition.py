"""The repetition penalty (arXiv 2502.03373, appendix): the more n-grams of tokens occur again, the lower.

Deviation: the paper lays the penalty on the repeated tokens; here, as in its released code for whole
completions, it is one number, in proportion to the share of n-grams that are repeats.
"""

from __future__ import annotations

from collections.abc import Sequence

from r1jax.config import RewardsConfig
from r1jax.rewards.verdicts import Item, Reward, RewardError, Score, Status


def repetition_reward(config: RewardsConfig) -> Reward:
    """penalty (1 - different n-grams / n-grams), in [penalty, 0], of n = rewards.repetition.ngram tokens."""
    settings = config.repetition

    def score(items: Sequence[Item]) -> list[Score]:
        shares = [repeated_share(_tokens(item), settings.ngram) for item in items]
        return [Score(settings.penalty * share + 0.0, Status.SCORED) for share in shares]  # no -0.0

    return Reward(score, low=settings.penalty, high=0.0)


def _tokens(item: Item) -> Sequence[int]:
    if item.num_tokens > 0 and not item.tokens:
        raise RewardError(
            f"record {item.record.get('id')!r}: the repetition reward expects the token ids of the completion "
            f"(Item.tokens), found none for {item.num_tokens} tokens"
        )
    return item.tokens


def repeated_share(tokens: Sequence[int], ngram: int) -> float:
    """The share of n-grams that have occurred before, in [0, 1); 0.0 for fewer than `ngram` tokens.

    Exact, in time and memory of O(tokens log ngram): a gram of 2L tokens is known by the numbers of its two halves.
    """
    total = len(tokens) - ngram + 1
    if total < 1:
        return 0.0
    names: Sequence[int] = tokens
    length = 1
    while length < ngram:
        shift = min(length, ngram - length)  # the last halves overlap where `ngram` is no power of two
        numbers: dict[tuple[int, int], int] = {}
        names = [numbers.setdefault(pair, len(numbers)) for pair in zip(names, names[shift:], strict=False)]
        length += shift
    return 1.0 - len(set(names)) / total
