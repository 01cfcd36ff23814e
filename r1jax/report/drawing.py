"""How charts look: colours, axes, numbers, and the way to a file."""

from __future__ import annotations

import io

from etils import epath
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter, PercentFormatter

INK, FAINT, GRID = "#1f2430", "#79808f", "#e6e8ee"
# Okabe and Ito's colours, which colour-blind readers tell apart, in an order that keeps neighbours distinct.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#a35f92", "#d55e00", "#56b4e9")
DPI = 130


def dress(axes: Axes, title: str, unit: str) -> None:
    """Title at the left, unit along the axis, horizontal grid lines and nothing else."""
    axes.set_title(title, loc="left", fontsize=10, fontweight="bold", color=INK)
    axes.set_ylabel(unit, fontsize=8, color=FAINT)
    axes.tick_params(which="both", labelsize=8, colors=FAINT, length=0)
    axes.grid(axis="y", color=GRID, linewidth=0.8)
    axes.set_axisbelow(True)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(GRID)


def scale_linear(axes: Axes, lowest: float, highest: float) -> None:
    """Few ticks with short numbers; values that differ by rounding alone are drawn as equal."""
    if highest - lowest <= 1e-6 * abs(highest):
        room = abs(highest) / 2 or 1.0
        axes.set_ylim(lowest - room, highest + room)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def scale_log(axes: Axes) -> None:
    """A logarithmic axis whose labels read as numbers, also within one decade."""
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0), numticks=6))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))
    axes.yaxis.set_minor_formatter(NullFormatter())


def scale_share(axes: Axes, highest: float) -> None:
    """From 0 to 100 per cent, or to a little above the highest value when all are small."""
    top = 1.0 if highest > 0.3 else max(0.05, 1.25 * highest)
    axes.set_ylim(-0.015 * top, 1.05 * top)
    axes.yaxis.set_major_locator(MaxNLocator(5))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0, decimals=0 if top > 0.05 else 1))


def legend(axes: Axes, columns: int) -> None:
    """A legend without a frame, where the curves leave room."""
    axes.legend(frameon=False, fontsize=7.5, labelcolor=INK, handlelength=1.1, ncols=columns)


def head(figure: Figure, name: str, note: str) -> None:
    """The line above a sheet."""
    # A layout engine keeps room for the line only where it may place it.
    fixed = {"y": 1 - 0.12 / figure.get_figheight(), "va": "top"} if figure.get_layout_engine() is None else {}
    figure.suptitle(f"{name}   ·   {note}", x=0.008, ha="left", fontsize=12.5, color=INK, **fixed)
    figure.set_facecolor("white")


def short(value: float, digits: int = 4) -> str:
    """A number of few characters: 12k, 1.5M, 0.25, 3e-06."""
    for size, divisor, letter in ((1e9, 1e9, "G"), (1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= size:
            return f"{value / divisor:.{min(digits, 3)}g}{letter}"
    return f"{value:.0f}" if abs(value) >= 1000 else f"{value:.{digits}g}"


def save(figure: Figure, path: epath.Path) -> epath.Path:
    """Writes a PNG, also to a bucket; returns its path. No window system and no global state are used."""
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_figure(buffer, format="png", dpi=DPI)
    path.write_bytes(buffer.getvalue())
    return path
