"""report.html: scores, curves and the doctor's findings of a run in one file that needs no other."""

from __future__ import annotations

import base64
import importlib.resources
import re
from collections.abc import Mapping
from typing import Any

import jinja2
from etils import epath

from r1jax import doctor
from r1jax.report import curves, table
from r1jax.report.readings import RunReading, StageReading, is_finite, read

SHARES = re.compile(r"(pass|cons)@\d+|format_rate|language_consistency|truncation_rate|no_answer_rate")
DETAILS = (
    ("truncation_rate", "cut at the limit", table.per_cent),
    ("no_answer_rate", "without an answer", table.per_cent),
    ("masked_rate", "not graded", table.per_cent),
    ("reflection_words", "reflection words a completion", lambda value: f"{value:.2f}"),
)


def write(workdir: epath.PathLike) -> epath.Path:
    """Draws the curves of a workdir and writes DIR/report.html with them; returns its path.

    Works on a run that is still going. Raises ReportError when there is nothing to report on.
    """
    images = {path: _embed(path) for path in curves.plot(workdir)}
    run = read(workdir)
    text = importlib.resources.files("r1jax.report").joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    path = run.folder / "report.html"
    path.write_text(environment.from_string(text).render(**_content(run, images)))
    return path


def _content(run: RunReading, images: Mapping[epath.Path, str]) -> dict[str, Any]:
    """What the template asks for."""
    shown = table.columns(run.summary)
    seconds = sum(stage.summary.get("seconds", 0.0) for stage in run.stages)
    return {
        "name": run.name,
        "folder": str(run.folder),
        "seconds": table.duration(seconds) if seconds else None,
        "protocol": [line for line in table.protocol(run.summary).splitlines() if line],
        "columns": [heading for _, heading, _ in shown],
        "rows": [
            {"name": name, "cells": [_cell(figures, key, write_value) for key, _, write_value in shown]}
            for name, figures in run.summary["stages"].items()
        ],
        "comparison": images.get(run.folder / "stages.png"),
        "stages": [_stage(stage, images.get(stage.folder / "curves.png")) for stage in run.stages],
    }


def _stage(stage: StageReading, image: str | None) -> dict[str, Any]:
    seconds = stage.summary.get("seconds", stage.manifest.get("seconds"))
    return {
        "name": stage.name,
        "status": stage.manifest.get("status"),
        "error": stage.manifest.get("error"),
        "time": table.duration(seconds) if is_finite(seconds) else None,
        "figures": _figures(stage.summary),
        "findings": doctor.diagnose(stage.lines),
        "image": image,
    }


def _figures(summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """pass@k for all k, and the rates that the table has no room for."""
    tries = [(key, table.per_cent) for key in summary if re.fullmatch(r"pass@\d+", key)]
    wanted = [*((key, key, write_value) for key, write_value in tries), *DETAILS]
    return [(label, write_value(summary[key])) for key, label, write_value in wanted if is_finite(summary.get(key))]


def _cell(figures: Mapping[str, Any], key: str, write_value) -> dict[str, Any]:
    value = figures.get(key)
    if not is_finite(value):
        return {"text": "-", "range": None, "share": None}
    low, high = figures.get(f"{key}_interval", (None, None))
    return {
        "text": write_value(value),
        "range": None if low is None else f"{100 * low:.1f} to {100 * high:.1f}",
        "share": round(float(value), 4) if SHARES.fullmatch(key) else None,
    }


def _embed(path: epath.Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
