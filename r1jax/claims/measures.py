"""Figures out of the folder of a run, for the measures of claims: each is there, or a one-line error says where not."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from r1jax.claims.claim import ClaimError, Pair, Runs
from r1jax.workdir import Workdir

Figure = Callable[[Runs], float]


def evaluated(run: str, stage: str, figure: str) -> Figure:
    """A figure of the final evaluation of a stage, such as `pass@1` (summary.json)."""
    return lambda runs: _evaluated(_run(runs, run), stage, figure)


def at_the_end(run: str, stage: str, metric: str, *, last: int = 1) -> Figure:
    """The mean of the last values of a metric in a stage's metrics.jsonl."""
    return lambda runs: float(np.mean([value for _, value in _series(_run(runs, run), stage, metric)[-last:]]))


def at_the_start(run: str, stage: str, metric: str, *, first: int = 1) -> Figure:
    """The mean of its first values."""
    return lambda runs: float(np.mean([value for _, value in _series(_run(runs, run), stage, metric)[:first]]))


def mean_over_steps(run: str, stage: str, metric: str) -> Figure:
    """The mean over all values of a metric: of an accuracy, how early it was high."""
    return lambda runs: float(np.mean([value for _, value in _series(_run(runs, run), stage, metric)]))


def paired(treatment: Figure, control: Figure) -> Callable[[Runs], Pair]:
    """The measure of a claim that compares two figures."""
    return lambda runs: Pair(treatment(runs), control(runs))


def _run(runs: Runs, name: str) -> Workdir:
    if name not in runs:
        raise ClaimError(f"claims: expected a run {name!r} of every seed, found {', '.join(runs) or 'none'}")
    return runs[name]


def _evaluated(workdir: Workdir, stage: str, figure: str) -> float:
    stages = workdir.summary()["stages"]
    if stage not in stages:
        found = ", ".join(stages) or "none"
        raise ClaimError(f"{workdir.path}/summary.json: expected the stage {stage!r}, found {found}; finish the run")
    value = stages[stage].get(figure)
    if not isinstance(value, int | float):
        raise ClaimError(f"{workdir.path}/summary.json: expected a number {figure!r} of {stage}, found {value!r}")
    return float(value)


def _series(workdir: Workdir, stage: str, metric: str) -> list[tuple[int, float]]:
    """Steps and values where the metric has one."""
    lines = workdir.stage(stage).metrics.read()
    found = [(line["step"], line[metric]) for line in lines if line.get(metric) is not None]
    if not found:
        raise ClaimError(f"{workdir.stage(stage).metrics.path}: expected values of {metric!r}, found none")
    return found
