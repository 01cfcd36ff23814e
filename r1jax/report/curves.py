"""Curves of a run as PNG: one sheet a stage, drawn from its metrics or filters, and one that compares the stages."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from etils import epath
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from r1jax.report import drawing, panels
from r1jax.report.bars import comparison, filters_sheet
from r1jax.report.panels import Curve, Panel
from r1jax.report.readings import RunReading, StageReading

PANEL_INCHES = (4.0, 2.5)
COLUMNS = 4
HEAD_INCHES = 0.75  # with the titles of the first row
AROUND_INCHES = {"left": 0.65, "right": 0.1, "bottom": 0.3}  # room for the numbers of the axes
GAP_INCHES = {"width": 0.75, "height": 0.65}  # between panels: numbers and a title
BAND_POINTS = 400  # of a curve; a panel has fewer pixels


def plot(run: RunReading) -> list[epath.Path]:
    """Writes DIR/<stage>/curves.png for each stage with metrics or filters, and DIR/stages.png; returns their paths."""
    sheets = [
        (stage.folder / "curves.png", stage_sheet(stage, run.models) or filters_sheet(stage)) for stage in run.stages
    ]
    sheets.append((run.folder / "stages.png", comparison(run)))
    return [drawing.save(figure, path) for path, figure in sheets if figure is not None]


def stage_sheet(stage: StageReading, models: Collection[str] = ()) -> Figure | None:
    """The sheet of one stage: a panel for each group of metrics that it has; None when it has none."""
    shown = panels.panels_of(stage, models)
    if not shown:
        return None
    columns = min(COLUMNS, len(shown))
    rows = -(-len(shown) // columns)
    wide, high = PANEL_INCHES[0] * columns, PANEL_INCHES[1] * rows + HEAD_INCHES
    # Fixed margins: a solver for the layout takes a second a sheet.
    figure = Figure(figsize=(wide, high))
    left, right, bottom = AROUND_INCHES["left"], wide - AROUND_INCHES["right"], AROUND_INCHES["bottom"]
    panel_wide = (right - left - GAP_INCHES["width"] * (columns - 1)) / columns
    panel_high = (high - HEAD_INCHES - bottom - GAP_INCHES["height"] * (rows - 1)) / rows
    figure.subplots_adjust(
        left=left / wide,
        right=right / wide,
        bottom=bottom / high,
        top=1 - HEAD_INCHES / high,
        wspace=GAP_INCHES["width"] / panel_wide,
        hspace=GAP_INCHES["height"] / panel_high,
    )
    last = max(line["step"] for line in stage.lines)
    drawing.head(figure, stage.name, f"{last:,} steps")
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes, (panel, curves) in zip(grid.flat, shown, strict=False):
        draw_panel(axes, panel, curves, last_step=last)
    for axes in grid.flat[len(shown) :]:
        axes.set_axis_off()
    return figure


def draw_panel(axes: Axes, panel: Panel, curves: Sequence[Curve], *, last_step: int) -> None:
    """One chart: the moving level strong, the spread around it as a band, its end beside the name."""
    highest = max(max(curve.values) for curve in curves)
    # A seventh curve has the first one's colour: rewards beyond six are rare.
    for number, curve in enumerate(curves):
        colour = drawing.COLOURS[number % len(drawing.COLOURS)]
        line = curve.level
        places = panels.chosen_points(len(line), BAND_POINTS)
        if (band := panels.band(curve, places)) is not None:
            axes.plot(curve.steps, curve.values, color=colour, alpha=0.12, linewidth=0.7)
            lows, highs = zip(*band, strict=True)
            axes.fill_between([curve.steps[place] for place in places], lows, highs, color=colour, alpha=0.2, lw=0)
        marker = "o" if len(line) == 1 or not (curve.noisy or panel.exact) else None
        latest = panels.latest(curve, panel.scale)
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
