"""The tables of a run, for the terminal and the page alike: scores, benchmarks, reward models, kept records.

Stages stand in rows, so that before stands above after.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from r1jax.report.readings import is_finite, largest_k, records_of

SHARES = re.compile(r"(pass|cons|best)@\d+(/.+)?|.*_(rate|share|accuracy)|language_consistency|published/.+")
MOST_ACCURACIES = 3  # of a search, beside its counts: the page has all
JUDGED = re.compile(r"(reward_model|best@\d+)/(.+)")
Write = Callable[[float], str]
Column = tuple[str, str, Write]  # key of the figures, heading, how a value is written


@dataclasses.dataclass(frozen=True)
class Cell:
    """A figure as text, with its 95 % interval as text, and both as shares in [0, 1] where they are shares."""

    text: str = "-"
    range: str | None = None
    share: float | None = None
    low: float | None = None
    high: float | None = None


@dataclasses.dataclass(frozen=True)
class Grid:
    """A table. `heading` says what its rows are; `rows` are (name of a stage, label, cells)."""

    heading: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, str, tuple[Cell, ...]], ...]


def per_cent(value: float) -> str:
    """0.8512 -> 85.1 %."""
    return f"{100 * value:.1f} %"


def whole(value: float) -> str:
    """1434.0 -> 1,434."""
    return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """95.0 -> 1m 35s."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours}h {minutes:02d}m"
    return f"{minutes}m {rest:02d}s" if minutes else f"{rest}s"


def number(value: float) -> str:
    """1.23456 -> 1.23."""
    return f"{value:.3g}"


TIME: Column = ("seconds", "time", duration)


def grids(summary: Mapping[str, Any], students: Mapping[str, str] = MappingProxyType({})) -> list[Grid]:
    """The tables that a summary.json ({"stages": {name: figures}}) has something for.

    `students` are the stages that are about a student, with its name: their scores stand apart.
    """
    stages = dict(summary["stages"])
    data = {name: figures for name, figures in stages.items() if records_of(figures) is not None}
    models = {name: figures for name, figures in stages.items() if "held_out_accuracy" in figures}
    policies = {name: figures for name, figures in stages.items() if name not in data and name not in models}
    judged = _judged_columns(policies)
    found = [
        *(_grid(heading, some, _score_columns(policies)) for heading, some in apart(policies, students).items()),
        _grid("stage", {name: one for name, one in policies.items() if any(map(JUDGED.fullmatch, one))}, judged),
        _benchmarks(policies),
        _grid("reward model", models, _model_columns()),
        _grid("data", data, _data_columns(data)),
    ]
    return [grid for grid in found if grid is not None]


def apart(stages: Mapping[str, Any], students: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The run's own stages under "stage", then those of each student under its name."""
    found: dict[str, dict[str, Any]] = {"stage": {}}
    for name, value in stages.items():
        heading = f"student {students[name]}" if name in students else "stage"
        found.setdefault(heading, {})[name] = value
    return found


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


def cell(figures: Mapping[str, Any], key: str, write: Write) -> Cell:
    """One figure; a dash where there is none."""
    value = figures.get(key)
    if not is_finite(value):
        return Cell()
    share = SHARES.fullmatch(key) is not None
    interval = figures.get(f"{key}_interval")
    if not isinstance(interval, list | tuple) or len(interval) != 2 or not all(map(is_finite, interval)):
        return Cell(write(value), share=float(value) if share else None)
    low, high = map(float, interval)
    if not share:
        return Cell(write(value), f"{low:.3g} to {high:.3g}")
    return Cell(write(value), f"{100 * low:.1f}-{100 * high:.1f}", float(value), low, high)


def _grid(heading: str, stages: Mapping[str, Mapping[str, Any]], columns: Iterable[Column]) -> Grid | None:
    """The columns that any of the stages has; None without one."""
    shown = [column for column in columns if any(is_finite(one.get(column[0])) for one in stages.values())]
    if not shown:
        return None
    rows = tuple((name, name, tuple(cell(one, key, write) for key, _, write in shown)) for name, one in stages.items())
    return Grid(heading, tuple(heading for _, heading, _ in shown), rows)


def _score_columns(stages: Mapping[str, Mapping[str, Any]]) -> list[Column]:
    return [
        *((key, key, per_cent) for key in best_scores(stages.values())),
        ("mean_length_tokens", "tokens", lambda value: f"{value:.1f}"),
        ("format_rate", "format", per_cent),
        ("language_consistency", "language", per_cent),
        TIME,
    ]


def best_scores(figures: Iterable[Mapping[str, Any]]) -> list[str]:
    """pass@1, and pass@k and cons@k of the largest k among the figures."""
    figures = list(figures)
    largest = [f"{score}@{k}" for score in ("pass", "cons") if (k := largest_k(figures, score)) is not None]
    return list(dict.fromkeys(["pass@1", *largest]))


def _judged_columns(stages: Mapping[Any, Mapping[str, Any]]) -> list[Column]:
    """What reward models say of the samples of an evaluation: the mean score, and the accuracy of the best by it."""
    keys = sorted({key for figures in stages.values() for key in figures if JUDGED.fullmatch(key)})
    found = []
    for key in keys:
        what, model = JUDGED.fullmatch(key).groups()
        found.append((key, f"{model} score", number) if what == "reward_model" else (key, f"{what} {model}", per_cent))
    return found


def _model_columns() -> list[Column]:
    return [
        ("held_out_accuracy", "held out", per_cent),
        ("held_out_longer_accuracy", "by length", per_cent),
        ("held_out_margin", "margin", number),
        ("held_out_loss", "loss", number),
        TIME,
    ]


def _data_columns(stages: Mapping[str, Mapping[str, Any]]) -> list[Column]:
    """Kept records first, then what they are of, and how well a search did."""
    others = dict.fromkeys(key for figures in stages.values() for key, value in figures.items() if is_finite(value))
    shares = [key for key in others if key.endswith("_accuracy")]
    return [
        ("records", "kept", whole),
        ("seen", "seen", whole),
        ("general", "general", whole),
        ("prompts", "prompts", whole),
        *((key, key.removesuffix("_accuracy").replace("_", " "), per_cent) for key in shares[:MOST_ACCURACIES]),
        TIME,
    ]


def written(key: str) -> Write:
    """How a figure that goes by this key is written: shares in per cent, counts as counts."""
    return per_cent if SHARES.fullmatch(key) else lambda value: whole(value) if value == int(value) else number(value)


def _benchmarks(stages: Mapping[str, Mapping[str, Any]]) -> Grid | None:
    """A row for each benchmark of each stage, the figures of others beside ours."""
    every = {
        (name, benchmark): dict(figures)
        for name, stage in stages.items()
        for benchmark, figures in stage.get("benchmarks", {}).items()
    }
    for figures in every.values():
        figures |= {f"published/{whose}": value for whose, value in figures.get("published", {}).items()}
    if not every:
        return None
    whose = dict.fromkeys(key for figures in every.values() for key in figures if key.startswith("published/"))
    columns = [
        *((key, key, per_cent) for key in best_scores(every.values())),
        *((key, key.removeprefix("published/"), per_cent) for key in whose),
        ("mean_length_tokens", "tokens", lambda value: f"{value:.1f}"),
        *(column for column in _judged_columns(every) if column[0].startswith("reward_model/")),
    ]
    shown = [column for column in columns if any(is_finite(one.get(column[0])) for one in every.values())]
    rows = tuple(
        (name, f"{name}: {benchmark}", tuple(cell(figures, key, write) for key, _, write in shown))
        for (name, benchmark), figures in every.items()
    )
    return Grid("benchmark", tuple(heading for _, heading, _ in shown), rows)
