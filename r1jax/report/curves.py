"""Curves of a run as PNG: one sheet a stage, drawn from its metrics, and one that compares the stages."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

import numpy as np
from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from r1jax.report import drawing
from r1jax.report.bars import comparison
from r1jax.report.readings import StageReading, read

PANEL_INCHES = (4.0, 2.5)
COLUMNS = 4
HEAD_INCHES = 0.5


@dataclasses.dataclass(frozen=True)
class Panel:
    """One small chart.

    Attributes:
      title: what it shows.
      unit: of the vertical axis.
      metrics: (name in metrics.jsonl, label) of each curve; a name that ends in `*` is all that begin so, the
        rest of their names being added to the label.
      scale: of the vertical axis; a share is drawn in per cent.
      style: noisy values are averaged, few ones are marked, exact ones are left alone.
    """

    title: str
    unit: str
    metrics: tuple[tuple[str, str], ...]
    scale: Literal["linear", "log", "share"] = "linear"
    style: Literal["noisy", "few", "exact"] = "noisy"


@dataclasses.dataclass(frozen=True)
class Curve:
    """One metric of a stage."""

    label: str
    steps: list[int]
    values: list[float]


PANELS = (
    Panel("Reward", "mean of the rollout", (("reward", "total"), ("reward/*", ""))),
    Panel(
        "Validation",
        "share of the questions",
        (("validation/pass@1", "pass@1"), ("validation/cons@*", "cons@"), ("gate/accuracy", "gate")),
        scale="share",
        style="few",
    ),
    Panel("Completion length", "tokens", (("completion_tokens", "mean"),)),
    Panel("Entropy", "nats a token", (("entropy", "entropy"),)),
    Panel("KL to the reference", "nats a token", (("kl", "KL"),)),
    Panel("Loss", "nats", (("loss", "loss"),)),
    Panel("Token accuracy", "share of the targets", (("accuracy", "accuracy"),), scale="share"),
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
    Panel("Reflection words", "a completion", (("reflection_words", "wait, but, check ..."),)),
    Panel("Gradient norm", "before clipping", (("grad_norm", "gradient"),), scale="log"),
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
    ),
    Panel("Learning rate", "", (("learning_rate", "learning rate"),), style="exact"),
    Panel(
        "Grading",
        "seconds a sample",
        (("grading/seconds_p50", "median"), ("grading/seconds_p95", "95th centile")),
    ),
    Panel("Speed", "tokens a second", (("tokens_per_second", "tokens a second"),)),
    Panel("Time of a step", "seconds", (("seconds", "seconds"),)),
)


def plot(workdir: epath.PathLike) -> list[epath.Path]:
    """Writes DIR/<stage>/curves.png for each stage with metrics, and DIR/stages.png; returns their paths."""
    run = read(workdir)
    sheets = [(stage.folder / "curves.png", stage_sheet(stage)) for stage in run.stages]
    sheets.append((run.folder / "stages.png", comparison(run)))
    return [drawing.save(figure, path) for path, figure in sheets if figure is not None]


def stage_sheet(stage: StageReading) -> Figure | None:
    """The sheet of one stage: a panel for each group of metrics that it has; None when it has none."""
    panels = [(panel, curves) for panel in PANELS if (curves := curves_of(panel, stage))]
    if not panels:
        return None
    columns = min(COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    size = (PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows + HEAD_INCHES)
    figure = Figure(figsize=size, layout="constrained")
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.08)
    last = max(line["step"] for line in stage.lines)
    drawing.head(figure, stage.name, f"{last:,} steps")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (panel, curves) in zip(grid.flat, panels, strict=False):
        draw_panel(axes, panel, curves, last_step=last)
    for axes in grid.flat[len(panels) :]:
        axes.set_axis_off()
    return figure


def draw_panel(axes: Axes, panel: Panel, curves: Sequence[Curve], *, last_step: int) -> None:
    """One chart: raw values faint, their moving average strong, its end beside the name."""
    highest = max(max(curve.values) for curve in curves)
    # A seventh curve has the first one's colour: rewards beyond six are rare.
    for number, curve in enumerate(curves):
        colour = drawing.COLOURS[number % len(drawing.COLOURS)]
        line = smooth(curve.values) if panel.style == "noisy" else curve.values
        if panel.style == "noisy":
            axes.plot(curve.steps, curve.values, color=colour, alpha=0.22, linewidth=0.9)
        marker = "o" if panel.style == "few" or len(line) == 1 else None
        latest = _latest(line[-1], panel.scale)
        label = f"{curve.label} {latest}"
        axes.plot(curve.steps, line, color=colour, linewidth=1.9, marker=marker, markersize=4, label=label)
        if len(curves) == 1:
            axes.set_title(latest, loc="right", fontsize=9, color=colour)
    drawing.dress(axes, panel.title, panel.unit)
    if panel.scale == "share":
        drawing.scale_share(axes, highest)
    elif panel.scale == "log" and all(min(curve.values) > 0 for curve in curves):
        drawing.scale_log(axes)
    else:
        drawing.scale_linear(axes, min(min(curve.values) for curve in curves), highest)
    axes.set_xlim(-0.02 * last_step, 1.02 * last_step + 1)
    axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: drawing.short(value)))
    if len(curves) > 1:
        drawing.legend(axes, columns=1 if len(curves) <= 3 else 2)


def _latest(value: float, scale: str) -> str:
    value = round(value, 9) + 0.0  # a moving average leaves -1e-18, which would read -0.0
    if scale == "share":
        return f"{value:.0%}" if value > 0.1 else f"{value:.1%}"
    return drawing.short(value, digits=3)


def curves_of(panel: Panel, stage: StageReading) -> list[Curve]:
    """The curves of a panel that the stage has values for."""
    names = sorted({name for line in stage.lines for name in line})
    found = []
    for wanted, label in panel.metrics:
        stem = wanted.removesuffix("*")
        for name in names:
            if name == wanted or (wanted != stem and name.startswith(stem)):
                steps, values = stage.series(name)
                if steps:
                    found.append(Curve(label + name[len(stem) :], steps, values))
    return found


def smooth(values: Sequence[float]) -> list[float]:
    """At each point the straight line fitted to a twentieth of the curve around it.

    A line rather than a mean, so that a trend is not bent where the window is cut, at both ends.
    """
    y = np.asarray(values, np.float64)
    count = len(y)
    half = count // 40
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
