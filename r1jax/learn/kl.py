"""A KL coefficient that follows a target."""

from __future__ import annotations

import math


def adapted_coefficient(
    coefficient: float, measured: float, *, target: float, num_sequences: int, horizon: int
) -> float:
    """The coefficient after an update that saw `num_sequences` (Ziegler et al. 2019, section 2.2).

    beta <- beta (1 + e n / horizon), e = clip(measured / target - 1, -0.2, 0.2). Where `measured` is not finite (an
    update that was skipped, or had nothing to score) the coefficient stays.

    Args:
      measured, target: nats a token.
      horizon: sequences in which a KL far above its target raises the coefficient by the factor e^0.2 = 1.22 (by 1.2
        in one update of so many); one far below lowers it as much. More than 0.2 num_sequences, or the result is
        not positive.
    """
    if not math.isfinite(measured):
        return coefficient
    error = min(0.2, max(-0.2, measured / target - 1.0))
    return coefficient * (1.0 + error * num_sequences / horizon)
