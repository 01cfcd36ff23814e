"""The scores of steps as one number. Each score is the probability that the solution comes out right from there."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

COMBINATIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "min": min,  # as Math-Shepherd (arXiv:2312.08935)
    "product": math.prod,  # as Lightman et al. 2023 (arXiv:2305.20050)
    "mean": lambda scores: math.fsum(scores) / len(scores),
    "last": lambda scores: scores[-1],
}


def combined(scores: Sequence[float], how: str) -> float:
    """One number of the scores of a solution's steps, at least one, in their order. `how` is one of COMBINATIONS."""
    return float(COMBINATIONS[how](scores))


def probability(logit: float) -> float:
    """The logistic function, without overflow."""
    if logit >= 0:
        return 1.0 / (1.0 + math.exp(-logit))
    odds = math.exp(logit)
    return odds / (1.0 + odds)
