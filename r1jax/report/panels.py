"""What the curves show: small charts of metrics, each with its curves, their moving level and their spread."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Literal

import numpy as np

from r1jax.report import drawing
from r1jax.report.readings import StageReading

SPREAD = (10, 90)  # centiles of the values around a point, between which the band lies


@dataclasses.dataclass(frozen=True)
class Panel:
    """One small chart.

    Attributes:
      title: what it shows.
      unit: of the vertical axis.
      metrics: (name in metrics.jsonl, label) of each curve; a name that ends in `*` is all that begin so, the
        rest of their names being added to the label.
      scale: of the vertical axis; a share is drawn in per cent.
      exact: drawn as it is: nothing about it is noisy.
      machinery: about how the run goes rather than what it learns.
      of_models: the panel of the rewards that reward models give, whose scale is their own; no other shows them.
    """

    title: str
    unit: str
    metrics: tuple[tuple[str, str], ...]
    scale: Literal["linear", "log", "share"] = "linear"
    exact: bool = False
    machinery: bool = False
    of_models: bool = False


@dataclasses.dataclass(frozen=True)
class Curve:
    """One metric of a stage; `noisy` values are averaged, the few of a validation are marked."""

    label: str
    steps: list[int]
    values: list[float]
    noisy: bool = True

    @property
    def level(self) -> list[float]:
        """The values, or their moving level."""
        return smooth(self.values) if self.noisy else self.values


PANELS = (
    Panel("Reward", "mean of the rollout", (("reward", "total"), ("reward/*", ""))),
    Panel(
        "Validation",
        "share of the questions",
        (("validation/pass@1", "pass@1"), ("validation/cons@*", "cons@")),
        scale="share",
    ),
    Panel(
        "Preference scores",
        "of reward models",
        (("reward/*", ""), ("validation/reward_model/*", "validation: ")),
        of_models=True,
    ),
    Panel("Completion length", "tokens", (("completion_tokens", "mean"),)),
    Panel("Entropy", "nats a token", (("entropy", "entropy"),)),
    Panel("KL to the reference", "nats a token", (("kl", "KL"),)),
    Panel("Distance to the teacher", "nats a token", (("reverse_kl", "reverse KL"),)),
    Panel("Loss", "nats", (("loss", "loss"), ("validation/loss", "held out"))),
    Panel(
        "Accuracy", "share of what is scored", (("accuracy", "training"), ("validation/accuracy", "held out")), "share"
    ),
    Panel(
        "Language of the prompt",
        "share of the words",
        (("language_share", "rollouts"), ("validation/language_consistency", "validation")),
        scale="share",
    ),
    Panel(
        "Groups without a signal",
        "share of the groups",
        (
            ("zero_variance_share", "all equal"),
            ("all_right_share", "right"),
            ("all_wrong_share", "wrong"),
        ),
        scale="share",
    ),
    Panel(
        "Cut or not graded",
        "share of the samples",
        (("truncated_share", "cut at the limit"), ("masked_share", "not graded")),
        scale="share",
    ),
    Panel(
        "Without an answer",
        "share of the samples",
        (("no_answer_share", "rollouts"), ("validation/no_answer_rate", "validation")),
        scale="share",
    ),
    Panel("Reflection words", "a completion", (("reflection_words", "wait, but, check ..."),)),
    Panel("Gradient norm", "before clipping", (("grad_norm", "gradient"),), scale="log", machinery=True),
    Panel(
        "Clipped tokens",
        "share of the tokens",
        (("clip_low_share", "below"), ("clip_high_share", "above")),
        scale="share",
    ),
    Panel(
        "Sampler against trainer",
        "nats, absolute",
        (("mismatch", "mean"), ("mismatch_max", "largest")),
        scale="log",
        machinery=True,
    ),
    Panel("Learning rate", "", (("learning_rate", "learning rate"),), exact=True, machinery=True),
    Panel(
        "Grading",
        "seconds a sample",
        (("grading/seconds_p50", "median"), ("grading/seconds_p95", "95th centile")),
        machinery=True,
    ),
    Panel("Speed", "tokens a second", (("tokens_per_second", "tokens a second"),), machinery=True),
    Panel("Time of a step", "seconds", (("seconds", "seconds"),), machinery=True),
)


def panels_of(stage: StageReading, models: Collection[str] = ()) -> list[tuple[Panel, list[Curve]]]:
    """The panels that the stage has values for. `models`: the reward models whose scores are among its rewards."""
    return [(panel, curves) for panel in PANELS if (curves := curves_of(panel, stage, models))]


def curves_of(panel: Panel, stage: StageReading, models: Collection[str] = ()) -> list[Curve]:
    """The curves of a panel that the stage has values for."""
    names = sorted({name for line in stage.lines for name in line})
    found = []
    for wanted, label in panel.metrics:
        stem = wanted.removesuffix("*")
        for name in names:
            if name.startswith("reward/") and (name.removeprefix("reward/") in models) != panel.of_models:
                continue
            if name == wanted or (wanted != stem and name.startswith(stem)):
                steps, values = stage.series(name)
                if steps:
                    few = name.startswith("validation/")
                    found.append(Curve(label + name[len(stem) :], steps, values, noisy=not (few or panel.exact)))
    return found


def latest(curve: Curve, scale: str) -> str:
    """The end of a curve's level as text."""
    value = round(curve.level[-1], 9) + 0.0  # a moving average leaves -1e-18, which would read -0.0
    if scale == "share":
        return f"{value:.0%}" if value > 0.1 else f"{value:.1%}"
    return drawing.short(value, digits=3)


def half_window(count: int) -> int:
    """How many values on either side belong to a point's window: a twentieth of the curve together."""
    return count // 40


def smooth(values: Sequence[float]) -> list[float]:
    """At each point the straight line fitted to a twentieth of the curve around it.

    A line rather than a mean, so that a trend is not bent where the window is cut, at both ends.
    """
    y = np.asarray(values, np.float64)
    count = len(y)
    half = half_window(count)
    if half == 0:
        return y.tolist()
    at = np.arange(count)
    first, last = np.maximum(at - half, 0), np.minimum(at + half, count - 1)

    def mean(terms: np.ndarray) -> np.ndarray:
        sums = np.concatenate([[0.0], np.cumsum(terms)])
        return (sums[last + 1] - sums[first]) / (last + 1 - first)

    middle, level = mean(at), mean(y)
    # Both deviations are taken from the centre of the whole curve: long runs lose no digits.
    x, z = at - at.mean(), y - y.mean()
    slope = (mean(x * z) - mean(x) * mean(z)) / (mean(x * x) - mean(x) ** 2)
    return (level + slope * (at - middle)).tolist()


def chosen_points(count: int, most: int) -> list[int]:
    """At most `most` places out of `count`, evenly spread, with the first and the last."""
    if count <= most:
        return list(range(count))
    return [round(place * (count - 1) / (most - 1)) for place in range(most)]


def band(curve: Curve, places: Sequence[int]) -> list[tuple[float, float]] | None:
    """At each of `places` the SPREAD of the values in the window of `smooth`; None where there is no window.

    The band holds the curve's level, which at the ends of a steep curve may leave the centiles.
    """
    half = half_window(len(curve.values))
    if half == 0 or not curve.noisy:
        return None
    level, values = curve.level, np.asarray(curve.values, np.float64)
    found = []
    for place in places:
        low, high = np.percentile(values[max(0, place - half) : place + half + 1], SPREAD)
        found.append((min(float(low), level[place]), max(float(high), level[place])))
    return found
