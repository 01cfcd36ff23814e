"""The figures of a run in the terminal, printed at its end; up to three scores fit a terminal of 80 columns."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from r1jax.report.grids import Cell, Grid, grids, protocol


def render(
    summary: Mapping[str, Any],
    console: Console | None = None,
    *,
    students: Mapping[str, str] = MappingProxyType({}),
) -> None:
    """Prints the tables of a summary.json: scores, benchmarks, reward models, kept records.

    Args:
      summary: {"stages": {name: figures}}.
      console: where to; None: standard output.
      students: the stages that are about a student, with its name: their scores stand apart.
    """
    console = console or Console()
    for number, grid in enumerate(grids(summary, students)):
        if number:
            console.print()
        console.print(_table(grid))
    note = protocol(summary)
    if note:
        console.print(Text(f"\n{note}", style="dim"))


def _table(grid: Grid) -> Table:
    """Columns close together: with intervals they are wider than their figures."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column(grid.heading, style="bold cyan", overflow="fold")
    for heading in grid.columns:
        table.add_column(heading, justify="right", overflow="fold")
    for _, label, cells in grid.rows:
        table.add_row(Text(label), *map(_text, cells))
    return table


def _text(cell: Cell) -> Text:
    text = Text(cell.text, style="dim" if cell.text == "-" else "")
    if cell.range is not None:
        text.append(f"\n{cell.range}", style="dim")
    return text
