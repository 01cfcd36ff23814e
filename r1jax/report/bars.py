"""The stages of a run side by side: accuracy with its intervals, length, format and language."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from r1jax.report import drawing
from r1jax.report.readings import RunReading, StageReading, largest_k

STAGES_IN_A_ROW = 3  # with more stages, accuracy takes a row of its own


def comparison(run: RunReading) -> Figure | None:
    """Bars of the scores of summary.json; None while no stage has been evaluated."""
    stages = [stage for stage in run.stages if stage.summary]
    figures = [stage.summary for stage in stages]
    scores = [f"{score}@{k}" for score in ("pass", "cons") if (k := largest_k(figures, score)) is not None]
    wanted = {
        "Accuracy": ("share of the questions", list(dict.fromkeys(["pass@1", *scores]))),
        "Mean length": ("tokens", ["mean_length_tokens"]),
        "Format kept": ("share of the samples", ["format_rate"]),
        "Language of the prompt": ("share of the words", ["language_consistency"]),
    }
    panels = {
        title: (unit, shown)
        for title, (unit, names) in wanted.items()
        if (shown := [name for name in names if any(one.get(name) is not None for one in figures)])
    }
    if not panels:
        return None
    first, *others = panels
    stacked = len(stages) > STAGES_IN_A_ROW and bool(others)
    mosaic = [[first] * len(others), others] if stacked else [[first, *others]]
    ratios = None if stacked else [1.2 + 0.5 * len(names) for _, names in panels.values()]
    figure = Figure(figsize=(13.0, 5.8 if stacked else 3.3), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.08)
    drawing.head(figure, run.name, "the stages compared, with 95 % intervals over questions")
    for title, axes in figure.subplot_mosaic(mosaic, width_ratios=ratios).items():
        _draw(axes, stages, title, *panels[title])
    return figure


def _draw(axes: Axes, stages: Sequence[StageReading], title: str, unit: str, names: Sequence[str]) -> None:
    """Grouped bars; a stage without a value leaves its place empty."""
    share = unit.startswith("share")
    width = 0.8 / len(names)
    highest = 0.0
    for number, name in enumerate(names):
        shown = [(place, stage.summary) for place, stage in enumerate(stages) if stage.summary.get(name) is not None]
        shift = (number - (len(names) - 1) / 2) * width
        colour = drawing.COLOURS[number]
        places = [place + shift for place, _ in shown]
        axes.bar(places, [one[name] for _, one in shown], width * 0.92, color=colour, label=name, alpha=0.88)
        for at, (_, figures) in zip(places, shown, strict=True):
            value = figures[name]
            low, high = figures.get(f"{name}_interval", (value, value))
            if high > low:
                axes.vlines(at, low, high, color=drawing.INK, linewidth=1.1)
            text = f"{100 * value:.0f}" if share else f"{value:.3g}"
            axes.annotate(
                text,
                (at, max(high, value)),
                (0, 2),
                textcoords="offset points",
                ha="center",
                fontsize=7.5,
                color=drawing.INK,
            )
            highest = max(highest, high)
    drawing.dress(axes, title, unit)
    if share:
        drawing.scale_share(axes, 1.0)
        axes.set_ylim(0, 1.28 if len(names) > 1 else 1.1)
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1.0])
    else:
        drawing.scale_linear(axes, 0.0, highest)
        axes.set_ylim(0, 1.1 * highest or 1.0)
    axes.set_xticks(range(len(stages)), [stage.name for stage in stages])
    axes.set_xlim(-0.6, len(stages) - 0.4)
    if len(names) > 1:
        axes.legend(frameon=False, fontsize=7.5, labelcolor=drawing.INK, loc="upper left", ncols=len(names))
