"""Panels as SVG for the page: sharp at any size, dark where the page is dark, and small."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from markupsafe import Markup
from matplotlib.ticker import MaxNLocator

from r1jax.report import drawing, panels
from r1jax.report.panels import Curve, Panel

WIDTH, HEIGHT = 300, 150
LEFT, RIGHT, TOP, BOTTOM = 44, 8, 8, 20  # room around the plot
POINTS = 110  # of a curve: more than that cannot be told apart at this width
COLOURS = 6  # of the page's style: c0 to c5


@dataclasses.dataclass(frozen=True)
class Legend:
    """A curve's name, its latest value as text, and the number of its colour."""

    label: str
    latest: str
    colour: int


@dataclasses.dataclass(frozen=True)
class Chart:
    """A panel for the page. `description` says in words what the picture shows."""

    title: str
    unit: str
    description: str
    legend: tuple[Legend, ...]
    svg: Markup
    machinery: bool


@dataclasses.dataclass(frozen=True)
class _Scale:
    """From values to pixels."""

    lowest: float
    highest: float
    last_step: int
    log: bool

    def x(self, step: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * step / max(1, self.last_step)

    def y(self, value: float) -> float:
        low, high, value = (math.log10(one) if self.log else one for one in (self.lowest, self.highest, value))
        share = (value - low) / (high - low)
        return HEIGHT - BOTTOM - (HEIGHT - TOP - BOTTOM) * min(max(share, 0.0), 1.0)


def chart(panel: Panel, curves: Sequence[Curve], last_step: int) -> Chart:
    """The panel with its curves: level, band where a curve is noisy, marks where it has few points."""
    places = [panels.chosen_points(len(curve.values), POINTS) for curve in curves]
    bands = [panels.band(curve, chosen) for curve, chosen in zip(curves, places, strict=True)]
    scale = _scale(panel, curves, bands, last_step)
    drawn = [_grid(scale, panel)]
    for number, (curve, chosen, band) in enumerate(zip(curves, places, bands, strict=True)):
        colour = number % COLOURS
        x = [scale.x(curve.steps[place]) for place in chosen]
        level = curve.level
        y = [scale.y(level[place]) for place in chosen]
        if band is not None:
            there = [(one, scale.y(low)) for one, (low, _) in zip(x, band, strict=True)]
            back = [(one, scale.y(high)) for one, (_, high) in zip(x, band, strict=True)]
            drawn.append(f'<path class="band c{colour}" d="{_path([*there, *reversed(back)])}Z"/>')
        drawn.append(f'<path class="curve c{colour}" d="{_path(list(zip(x, y, strict=True)))}"/>')
        if len(chosen) == 1 or not (curve.noisy or panel.exact):
            drawn += [
                f'<circle class="c{colour}" cx="{a:.1f}" cy="{b:.1f}" r="2.6"/>' for a, b in zip(x, y, strict=True)
            ]
    legend = tuple(
        Legend(curve.label, panels.latest(curve, panel.scale), number % COLOURS) for number, curve in enumerate(curves)
    )
    return Chart(
        title=panel.title,
        unit=panel.unit,
        description=f"{panel.title}. " + "; ".join(_told(curve, panel) for curve in curves),
        legend=legend,
        svg=Markup("".join(drawn)),
        machinery=panel.machinery,
    )


def _told(curve: Curve, panel: Panel) -> str:
    first = panels.latest(dataclasses.replace(curve, values=[curve.level[0]]), panel.scale)
    last = panels.latest(curve, panel.scale)
    return f"{curve.label}: {first} at step {curve.steps[0]:,}, {last} at step {curve.steps[-1]:,}"


def _scale(panel: Panel, curves: Sequence[Curve], bands: Sequence, last_step: int) -> _Scale:
    """Room for levels and bands; single values outside of the bands are not drawn."""
    levels = [value for curve in curves for value in curve.level]
    ends = [value for band in bands if band is not None for pair in band for value in pair]
    lowest, highest = min([*levels, *ends]), max([*levels, *ends])
    if panel.scale == "share":
        return _Scale(0.0, 1.0 if highest > 0.3 else max(0.05, 1.25 * highest), last_step, log=False)
    if panel.scale == "log" and lowest > 0:
        # A third of a decade at least, so that there are two labels.
        return _Scale(min(lowest, highest / 2.2), highest * 1.05, last_step, log=True)
    if highest - lowest <= 1e-6 * abs(highest):  # differences of rounding alone are none
        room = abs(highest) / 2 or 1.0
        return _Scale(lowest - room, highest + room, last_step, log=False)
    room = 0.04 * (highest - lowest)
    return _Scale(0.0 if 0 <= lowest < 0.4 * highest else lowest - room, highest + room, last_step, log=False)


def _grid(scale: _Scale, panel: Panel) -> str:
    """Horizontal lines with their values, and the steps below."""
    parts = []
    for value in _ticks(scale):
        at = scale.y(value)
        text = f"{100 * value:.3g}%" if panel.scale == "share" else drawing.short(value, digits=3)
        parts.append(f'<path class="grid" d="M{LEFT} {at:.1f}H{WIDTH - RIGHT}"/>')
        parts.append(f'<text x="{LEFT - 5}" y="{at + 3.5:.1f}" text-anchor="end">{text}</text>')
    ticks = [step for step in MaxNLocator(4, integer=True).tick_values(0, max(1, scale.last_step)) if step >= 0]
    for step in ticks:
        if step <= scale.last_step:
            at = min(scale.x(step), WIDTH - RIGHT - 6)
            label = drawing.short(float(step), digits=3)
            parts.append(f'<text x="{at:.1f}" y="{HEIGHT - 5}" text-anchor="middle">{label}</text>')
    return "".join(parts)


def _ticks(scale: _Scale) -> list[float]:
    if scale.log:
        decades = range(math.floor(math.log10(scale.lowest)), math.ceil(math.log10(scale.highest)) + 1)
        steps = (1,) if len(decades) > 4 else (1, 2, 5)
        found = [digit * 10.0**decade for decade in decades for digit in steps]
        inside = [value for value in found if scale.lowest <= value <= scale.highest]
        return inside[:: -(-len(inside) // 5)] if inside else []
    # Rounded: the locator's 0.30000000000000004 would be labelled so.
    ticks = [float(f"{value:.9g}") for value in MaxNLocator(4).tick_values(scale.lowest, scale.highest)]
    return [value for value in ticks if scale.lowest <= value <= scale.highest * (1 + 1e-9) + 1e-300]


def _path(points: Sequence[tuple[float, float]]) -> str:
    """Lines through the points, each relative to the one before, in tenths of a pixel: short texts."""
    tenths = [(round(10 * x), round(10 * y)) for x, y in points]
    text = f"M{tenths[0][0] / 10:g} {tenths[0][1] / 10:g}"
    steps = [
        f"{(b[0] - a[0]) / 10:g} {(b[1] - a[1]) / 10:g}" for a, b in zip(tenths, tenths[1:], strict=False) if a != b
    ]
    return text + ("l" + " ".join(steps) if steps else "")
