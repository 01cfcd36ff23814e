"""A KL coefficient that follows a target."""

from __future__ import annotations


def adapted_coefficient(
    coefficient: float, measured: float, *, target: float, num_sequences: int, horizon: int
) -> float:
    """The coefficient after an update that saw `num_sequences` (Ziegler et al. 2019, section 2.2).

    beta <- beta (1 + e n / horizon), e = clip(measured / target - 1, -0.2, 0.2).

    Args:
      measured, target: nats a token.
      horizon: sequences over which a constant error of 1 would double the coefficient.
    """
    error = min(0.2, max(-0.2, measured / target - 1.0))
    return coefficient * (1.0 + error * num_sequences / horizon)
