"""Length shaping (the cosine reward of arXiv 2502.03373): the answer's verdict, scaled by the length in tokens.

With the usual values a right answer is worth more the shorter it is, and a wrong one costs less the longer it is:
what cannot be solved at once is worth further thinking.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from r1jax.config import ConfigError, CosineConfig, RewardsConfig
from r1jax.rewards.verdicts import MASKED, Item, Reward, RewardError, Score, Status


def cosine_length_reward(config: RewardsConfig) -> Reward:
    """A reward for a set that has a judging one (maths, code, ...), whose verdict it scales.

    Wrong is whatever is not correct: no answer and an answer over its limits too. Where the judging reward could
    not tell, neither can this one. ConfigError for values that are no range.
    """
    settings = config.cosine
    values = (
        settings.correct_short,
        settings.correct_long,
        settings.wrong_short,
        settings.wrong_long,
        settings.exceeded,
    )
    if not all(map(math.isfinite, values)) or min(values) == max(values):
        raise ConfigError(f"rewards.cosine: expected finite values that are not all equal, found {values}")

    def score(items: Sequence[Item]) -> list[Score]:
        return [_score(item, settings) for item in items]

    return Reward(score, low=min(values), high=max(values), after_judging=True)


def _score(item: Item, settings: CosineConfig) -> Score:
    if item.judged is None or item.judged is Status.SCORED:
        raise RewardError(
            f"record {item.record.get('id')!r}: the cosine_length reward expects a reward in its set that judges the "
            f"answer (maths, choice, code, ...), found none"
        )
    if item.judged in MASKED:
        return Score(None, item.judged)
    return Score(shaped(item.judged is Status.CORRECT, item.num_tokens, item.truncated, settings), Status.SCORED)


def shaped(correct: bool, num_tokens: int, truncated: bool, settings: CosineConfig) -> float:
    """The value of a completion of `num_tokens` tokens."""
    if truncated or num_tokens > settings.max_tokens:
        return settings.exceeded
    short, long = (
        (settings.correct_short, settings.correct_long) if correct else (settings.wrong_short, settings.wrong_long)
    )
    progress = min(max(num_tokens / settings.max_tokens, 0.0), 1.0)
    value = long + (short - long) * (1.0 + math.cos(math.pi * progress)) / 2  # CosFn of the paper
    return min(max(value, min(short, long)), max(short, long))  # rounding must not leave the declared range
