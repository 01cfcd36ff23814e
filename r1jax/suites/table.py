"""A suite's figures in the terminal: ours first, then those of others, a column a benchmark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from r1jax.suites.suite import PAIRWISE

_NAME_CHARS, _COLUMN_CHARS = 30, 15  # by which a table is cut into several that fit the terminal


def render(results: Mapping[str, Mapping[str, Any]], ours: str, console: Console | None = None) -> None:
    """Prints figures of benchmarks, as `Results` holds them, under the name `ours`, with a line a protocol.

    `console`: where to; None: standard output.
    """
    console = console or Console()
    names = [name for name in results if name != PAIRWISE]
    at_once = max(1, (console.width - _NAME_CHARS) // _COLUMN_CHARS)
    for start in range(0, len(names), at_once):
        shown = {name: results[name] for name in names[start : start + at_once]}
        console.print(_table(shown, ours))
        console.print()
    for name in names:
        console.print(Text(f"{name}: {protocol(results[name])}", style="dim"), soft_wrap=True)
    if PAIRWISE in results:
        console.print(Text(f"{PAIRWISE}: {comparison(results[PAIRWISE])}"), soft_wrap=True)
    if names:
        note = "95 % intervals over questions. Figures of others are published ones, by protocols of their own."
        console.print(Text(note, style="dim"), soft_wrap=True)


def per_cent(share: float) -> str:
    """0.8512 -> 85.1 %."""
    return f"{100 * share:.1f} %"


def _table(results: Mapping[str, Mapping[str, Any]], ours: str) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in results:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_row(Text(f"{ours}, pass@1", style="bold cyan"), *(_ours(one, "pass@1") for one in results.values()))
    majorities = [_ours(one, f"cons@{one['k']}") for one in results.values()]
    if any(text.plain != "-" for text in majorities):
        table.add_row(Text(f"{ours}, cons@k", style="bold cyan"), *majorities)
    for whose in others(list(results.values())):
        cells = [one.get("published", {}).get(whose) for one in results.values()]
        table.add_row(whose, *("-" if share is None else per_cent(share) for share in cells))
    return table


def others(results: Sequence[Mapping[str, Any]]) -> list[str]:
    """Whose figures are published for any of the benchmarks, in the order of the first that has them."""
    return list(dict.fromkeys(whose for one in results for whose in one.get("published", {})))


def _ours(figures: Mapping[str, Any], key: str) -> Text:
    if key not in figures:  # no majority of programs
        return Text("-")
    text = Text(per_cent(figures[key]), style="bold")
    low, high = figures[f"{key}_interval"]
    text.append(f"\n{100 * low:.1f}-{100 * high:.1f}", style="dim")
    return text


def protocol(figures: Mapping[str, Any]) -> str:
    """How figures were taken, and what went wrong, in a line."""
    parts = [f"{figures['num_prompts']:,} questions x k={figures['k']}", *_draws(figures)]
    for key, words in (
        ("truncation_rate", "cut at the limit"),
        ("no_answer_rate", "without an answer"),
        ("masked_rate", "not graded"),
    ):
        if figures.get(key):
            parts.append(f"{per_cent(figures[key])} {words}")
    return ", ".join(parts)


def comparison(figures: Mapping[str, Any]) -> str:
    """A comparison in a line."""
    low, high = figures["win_rate_interval"]
    counts = [f"{figures[key]} {key}" for key in ("won", "tied", "lost", "unjudged") if figures[key] or key == "won"]
    parts = [
        f"win rate {per_cent(figures['win_rate'])} ({100 * low:.1f}-{100 * high:.1f}) against {figures['reference']}",
        f"{figures['num_prompts']:,} questions: {', '.join(counts)}",
        f"summaries of {figures['mean_summary_chars']:,.0f} characters, theirs of "
        f"{figures['mean_reference_summary_chars']:,.0f}",
        f"judge {figures['judge']}, {figures['votes']} votes; {', '.join(_draws(figures))}",
    ]
    return "; ".join(parts)


def _draws(figures: Mapping[str, Any]) -> list[str]:
    greedy = figures["temperature"] == 0
    parts = ["greedy" if greedy else f"temperature {figures['temperature']:g}"]
    for key, label in (("top_p", "top-p"), ("top_k", "top-k")):
        if not greedy and figures.get(key) is not None:
            parts.append(f"{label} {figures[key]:g}")
    return [*parts, f"at most {figures['max_tokens']:,} tokens", f"template {figures['template']}"]
