"""The hacking alarm: the reward model's score rises while fewer answers are right.

The paper saw it where preference rewards were used for too many steps, and so keeps them to the last 400 [N, v2].
Both trends are the slopes of least-squares lines over the last evaluations, and both must be beyond doubt. A sudden
collapse is no line (its interval holds 0), and is looked for apart: from some evaluation on all accuracies lie below
half of all before, and all scores above all before. The evaluations are a stage's validations: their lines in
metrics.jsonl have both figures where it has preferences.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from scipy import special

from r1jax.config import GrpoConfig
from r1jax.config.policies import LEAST_HACKING_WINDOW

DEFAULT_WINDOW: int = GrpoConfig.hacking_window
CONFIDENCE = 0.95
LEAST_COLLAPSED = 3  # evaluations after a collapse: fewer may be bad luck
LEAST_DROP = 0.05  # of the accuracy: half of next to nothing is noise
SCORE, ACCURACY = "validation/reward_model_score", "validation/pass@1"


@dataclasses.dataclass(frozen=True)
class Slope:
    """The slope of a least-squares line, a step, and its 95 % t-interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{100 * self.value:+.3g} per 100 steps ({100 * self.low:+.3g} to {100 * self.high:+.3g})"


@dataclasses.dataclass(frozen=True)
class HackingAlarm:
    """What the alarm says of the last evaluations.

    Attributes:
      fires: the score's interval lies above 0 and the accuracy's below, or the accuracy has collapsed.
      score, accuracy: their slopes; None while there are too few evaluations.
      message: a sentence for people.
    """

    fires: bool
    score: Slope | None
    accuracy: Slope | None
    message: str


def hacking_alarm(
    evaluations: Sequence[Mapping[str, float | None]],
    window: int,
    *,
    score: str = SCORE,
    accuracy: str = ACCURACY,
) -> HackingAlarm:
    """Whether over the last `window` evaluations the reward model is pleased more and more with worse answers.

    Args:
      evaluations: each with its `step`, the mean score of the reward model and the verifiable accuracy under the
        names `score` and `accuracy`. One without both (None, NaN) is passed over; of two at one step the later counts.
      window: how many, LEAST_HACKING_WINDOW at least: a line through fewer has an interval that says nothing.
    """
    if window < LEAST_HACKING_WINDOW:
        raise ValueError(f"window: expected {LEAST_HACKING_WINDOW} evaluations or more, found {window}")
    points = {
        one["step"]: (one[score], one[accuracy])
        for one in evaluations
        if _is_number(one.get(score)) and _is_number(one.get(accuracy))
    }
    steps = sorted(points)[-window:]
    if len(steps) < window:
        return HackingAlarm(
            False, None, None, f"{len(steps)} evaluations have both figures; the hacking alarm looks at {window}."
        )
    scores, accuracies = zip(*(points[step] for step in steps), strict=True)
    rising, falling = slope(steps, scores), slope(steps, accuracies)
    fires = rising.low > 0 and falling.high < 0
    since = collapse(scores, accuracies)
    if since is not None and not fires:
        return HackingAlarm(
            True,
            rising,
            falling,
            f"From step {steps[since]:g} to {steps[-1]:g} the accuracy is {max(accuracies[since:]):.3g} or less, "
            f"before {min(accuracies[:since]):.3g} or more; the reward model's score is {min(scores[since:]):.3g} "
            f"or more, before {max(scores[:since]):.3g} or less: the reward model is being hacked.",
        )
    judgement = "the reward model is being hacked" if fires else "no sign of hacking"
    return HackingAlarm(
        fires,
        rising,
        falling,
        f"Steps {steps[0]:g} to {steps[-1]:g}: the reward model's score moves by {rising}, the accuracy by {falling}: "
        f"{judgement}.",
    )


def collapse(scores: Sequence[float], accuracies: Sequence[float]) -> int | None:
    """Where the accuracy has fallen to less than half of what it was, and the score risen; None where nowhere.

    The first index from which on, LEAST_COLLAPSED times at least, all accuracies lie below half of all before and
    LEAST_DROP below them, and all scores above all before.
    """
    for since in range(1, len(scores) - LEAST_COLLAPSED + 1):
        before, after = min(accuracies[:since]), max(accuracies[since:])
        fallen = after < before / 2 and before - after >= LEAST_DROP
        if fallen and min(scores[since:]) > max(scores[:since]):
            return since
    return None


def slope(x: Sequence[float], y: Sequence[float]) -> Slope:
    """The least-squares slope of y over x (all different) with its interval; 0 without doubt where all y are equal.

    value +- t(0.975, n - 2) * sqrt(residual sum of squares / (n - 2) / sum of (x - mean)^2)
    """
    if len(x) < 3 or len(set(x)) < len(x):
        raise ValueError(f"slope: expected three different places or more, found {list(x)}")
    if min(y) == max(y):
        return Slope(0.0, 0.0, 0.0)
    dx, dy = (np.asarray(values, np.float64) - np.mean(values) for values in (x, y))
    value = float(dx @ dy / (dx @ dx))
    residual = dy - value * dx
    freedom = len(x) - 2
    error = math.sqrt(float(residual @ residual) / freedom / float(dx @ dx))
    reach = float(special.stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return Slope(value, value - reach, value + reach)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
