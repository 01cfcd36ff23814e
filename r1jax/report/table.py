"""The scores of a run as a table in the terminal: a row a stage, so that before stands above after."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from r1jax.report.readings import is_finite, largest_k


def per_cent(value: float) -> str:
    """0.8512 -> 85.1 %."""
    return f"{100 * value:.1f} %"


def duration(seconds: float) -> str:
    """95.0 -> 1m 35s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


def columns(summary: Mapping[str, Any]) -> list[tuple[str, str, Callable[[float], str]]]:
    """(key of the summary, heading, how a value is written) of what these stages have."""
    figures = list(summary["stages"].values())
    scores = [f"{score}@{k}" for score in ("pass", "cons") if (k := largest_k(figures, score)) is not None]
    wanted = [
        *((key, key, per_cent) for key in dict.fromkeys(["pass@1", *scores])),
        ("mean_length_tokens", "tokens", lambda value: f"{value:.1f}"),
        ("format_rate", "format", per_cent),
        ("language_consistency", "language", per_cent),
        ("seconds", "time", duration),
    ]
    return [column for column in wanted if any(is_finite(one.get(column[0])) for one in figures)]


def render(summary: Mapping[str, Any], console: Console | None = None) -> None:
    """Prints the table of a summary.json; up to three scores fit a terminal of 80 columns.

    Args:
      summary: {"stages": {name: figures}}.
      console: where to; None: standard output.
    """
    console = console or Console()
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    shown = columns(summary)
    table.add_column("stage", style="bold cyan", no_wrap=True)
    for _, heading, _ in shown:
        table.add_column(heading, justify="right", no_wrap=True)
    for name, figures in summary["stages"].items():
        table.add_row(name, *(_cell(figures, key, write) for key, _, write in shown))
    console.print(table)
    note = protocol(summary)
    if note:
        console.print(Text(f"\n{note}", style="dim"))


def protocol(summary: Mapping[str, Any]) -> str:
    """How the scores were taken, in one line; one for each protocol where stages differ."""
    lines: dict[str, list[str]] = {}
    for name, figures in summary["stages"].items():
        if "k" in figures:
            parts = [f"{figures['num_prompts']} questions x {figures['k']} samples"]
            for key, text in (
                ("temperature", "temperature {}"),
                ("top_p", "top-p {}"),
                ("top_k", "top-k {}"),
            ):
                if figures.get(key) is not None:
                    parts.append(text.format(f"{figures[key]:g}"))
            if "max_tokens" in figures:
                parts.append(f"at most {figures['max_tokens']:,} tokens")
            lines.setdefault(", ".join(parts), []).append(name)
    if len(lines) == 1:
        return f"{next(iter(lines))}; 95 % intervals over questions"
    return "\n".join(f"{', '.join(names)}: {line}" for line, names in lines.items())


def _cell(figures: Mapping[str, Any], key: str, write: Callable[[float], str]) -> Text:
    if not is_finite(figures.get(key)):
        return Text("-", style="dim")
    text = Text(write(figures[key]))
    if f"{key}_interval" in figures:
        low, high = figures[f"{key}_interval"]
        text.append(f"\n{100 * low:.1f}-{100 * high:.1f}", style="dim")
    return text
