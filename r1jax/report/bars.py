"""Bars: the stages of a run side by side, and what the filters of a stage have left."""

from __future__ import annotations

from collections.abc import Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from r1jax.report import drawing
from r1jax.report.readings import RunReading, StageReading, largest_k

STAGES_IN_A_ROW = 3  # with more stages, accuracy takes a row of its own
SLANTED_FROM = 5  # with more stages, their names no longer stand side by side


def comparison(run: RunReading) -> Figure | None:
    """Bars of the scores of summary.json; None while no stage has been evaluated."""
    stages = [stage for stage in run.stages if "pass@1" in stage.summary]
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
    many = len(stages) > SLANTED_FROM
    height = 5.8 + 1.4 * many if stacked else 3.3
    figure = Figure(figsize=(13.0, height), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.1, w_pad=0.08)
    drawing.head(figure, run.name, "the stages compared, with 95 % intervals over questions")
    for title, axes in figure.subplot_mosaic(mosaic, width_ratios=ratios).items():
        _draw(axes, stages, title, *panels[title])
    return figure


def filters_sheet(stage: StageReading) -> Figure | None:
    """What each filter of a stage that leaves data has left of the records; None where it had none."""
    if not stage.filters:
        return None
    names = [str(count["filter"]) for count in stage.filters]
    kept = [count["seen"] - count["dropped"] for count in stage.filters]
    figure = Figure(figsize=(8.0, 1.3 + 0.32 * len(names)), layout="constrained")
    drawing.head(figure, stage.name, "what each step has left of the records")
    axes = figure.subplots()
    places = range(len(names))
    axes.barh(places, [count["seen"] for count in stage.filters], color=drawing.COLOURS[4], alpha=0.35)
    axes.barh(places, kept, color=drawing.COLOURS[0], alpha=0.88)
    for place, count in enumerate(stage.filters):
        text = f"{kept[place]:,}" + (f"  (-{count['dropped']:,})" if count["dropped"] else "")
        axes.annotate(text, (count["seen"], place), (4, 0), textcoords="offset points", va="center", fontsize=7.5)
    drawing.dress(axes, "Left after each filter", "")
    axes.grid(visible=False, axis="y")
    axes.set_yticks(places, names)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.2 * max(count["seen"] for count in stage.filters) or 1.0)
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
                fontsize=7.5 if len(stages) <= SLANTED_FROM else 6,
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
    slant = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if len(stages) > SLANTED_FROM else {}
    axes.set_xticks(range(len(stages)), [stage.name for stage in stages], **slant)
    axes.set_xlim(-0.6, len(stages) - 0.4)
    if len(names) > 1:
        axes.legend(frameon=False, fontsize=7.5, labelcolor=drawing.INK, loc="upper left", ncols=len(names))
