"""A workdir as the report sees it: stages in order, their metrics lines, their scores.

Reads manifest.json, summary.json and the metrics.jsonl of each stage, also of a run that is still going.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from etils import epath

from r1jax.errors import UserError


class ReportError(UserError):
    """A workdir that cannot be reported on; its text is one line for the user."""


@dataclasses.dataclass(frozen=True)
class StageReading:
    """One stage: its lines of metrics.jsonl, and its entries of manifest and summary ({} if none yet)."""

    name: str
    folder: epath.Path
    lines: tuple[Mapping[str, Any], ...]
    manifest: Mapping[str, Any]
    summary: Mapping[str, Any]

    def series(self, metric: str) -> tuple[list[int], list[float]]:
        """Steps and finite values of one metric, in the order written."""
        points = [(line["step"], line[metric]) for line in self.lines if is_finite(line.get(metric))]
        return [step for step, _ in points], [float(value) for _, value in points]


@dataclasses.dataclass(frozen=True)
class RunReading:
    """A workdir: its folder's name, its stages in the order of the run, and what the manifest says of it."""

    name: str
    folder: epath.Path
    stages: tuple[StageReading, ...]

    @property
    def summary(self) -> dict[str, Any]:
        """As summary.json: {"stages": {name: figures}}, stages in the order of the run."""
        return {"stages": {stage.name: stage.summary for stage in self.stages if stage.summary}}


def read(workdir: epath.PathLike) -> RunReading:
    """Reads a workdir; ReportError when there is none, or a file of it is broken."""
    folder = epath.Path(workdir)
    if not folder.is_dir():
        raise ReportError(f"report: expected the workdir of a run, found no folder {folder}")
    manifest = _read_json(folder / "manifest.json").get("stages", {})
    summary = _read_json(folder / "summary.json").get("stages", {})
    found = sorted(one.name for one in folder.iterdir() if (one / "metrics.jsonl").exists())
    # The manifest and the summary are in the order of the run; folders alone have none.
    names = list(dict.fromkeys([*manifest, *summary, *found]))
    if not names:
        raise ReportError(f"report: expected stages in {folder}, found none; is it the --workdir of a run?")
    stages = [
        StageReading(
            name=name,
            folder=folder / name,
            lines=read_lines(folder / name / "metrics.jsonl"),
            manifest=manifest.get(name, {}),
            summary=summary.get(name, {}),
        )
        for name in names
    ]
    return RunReading(folder.name, folder, tuple(stages))


def read_lines(path: epath.Path) -> tuple[Mapping[str, Any], ...]:
    """The lines of a metrics.jsonl, () if there is none. A last line that is being written is left out."""
    if not path.exists():
        return ()
    texts = path.read_text().splitlines()
    lines = []
    for number, text in enumerate(texts, start=1):
        try:
            line = json.loads(text)
        except json.JSONDecodeError as error:
            if number == len(texts):
                break
            raise ReportError(f"{path}:{number}: expected a JSON object, found {text[:40]!r}") from error
        if not isinstance(line, dict) or not isinstance(line.get("step"), int):
            raise ReportError(f"{path}:{number}: expected a JSON object with a step, found {text[:40]!r}")
        lines.append(line)
    return tuple(lines)


def largest_k(figures: Sequence[Mapping[str, Any]], score: str) -> int | None:
    """The largest k of `pass@k` or `cons@k` among the figures of some stages; None when there is none."""
    found = [
        int(match[1]) for one in figures for key in one if (match := re.fullmatch(rf"{re.escape(score)}@(\d+)", key))
    ]
    return max(found, default=None)


def is_finite(value: object) -> bool:
    """Whether a value of a metrics line is a number that can be drawn."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _read_json(path: epath.Path) -> dict[str, Any]:
    if not path.exists():
        return {}
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise ReportError(f"{path}: expected JSON, found an error at line {error.lineno}") from error
