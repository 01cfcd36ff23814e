"""Figures out of the folder of a run, for the measures of claims: each is there, or a one-line error says where not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from r1jax.claims.claim import ClaimError, Pair, Runs
from r1jax.workdir import Workdir

Figure = Callable[[Runs], float]


def evaluated(run: str, stage: str, figure: str) -> Figure:
    """A figure of the final evaluation of a stage, such as `pass@1` (summary.json)."""
    where = f"summary.json, {stage}"
    return lambda runs: _number(_summary(_run(runs, run), stage), figure, f"{_run(runs, run).path}/{where}")


def at_the_end(run: str, stage: str, metric: str, *, last: int = 1) -> Figure:
    """The mean of the last values of a metric in a stage's metrics.jsonl."""
    return lambda runs: float(np.mean([value for _, value in _series(_run(runs, run), stage, metric)[-last:]]))


def at_the_start(run: str, stage: str, metric: str, *, first: int = 1) -> Figure:
    """The mean of its first values."""
    return lambda runs: float(np.mean([value for _, value in _series(_run(runs, run), stage, metric)[:first]]))


def at_step(run: str, stage: str, metric: str, step: int) -> Figure:
    """The value of a metric at that step."""

    def figure(runs: Runs) -> float:
        found = dict(_series(_run(runs, run), stage, metric))
        if step not in found:
            path = _run(runs, run).stage(stage).metrics.path
            raise ClaimError(f"{path}: expected {metric!r} at step {step}, found steps {', '.join(map(str, found))}")
        return float(found[step])

    return figure


def mean_over_steps(run: str, stage: str, metric: str, *, until: float = float("inf")) -> Figure:
    """The mean over the values of a metric, up to a step: of an accuracy, how early it was high."""

    def figure(runs: Runs) -> float:
        series = _series(_run(runs, run), stage, metric)
        values = [value for step, value in series if step <= until]
        if not values:
            path = _run(runs, run).stage(stage).metrics.path
            raise ClaimError(f"{path}: expected {metric!r} up to step {until}, found step {series[0][0]} as the first")
        return float(np.mean(values))

    return figure


def on_benchmark(run: str, stage: str, benchmark: str, figure: str) -> Figure:
    """A figure of one of the stage's benchmarks."""

    def value(runs: Runs) -> float:
        workdir = _run(runs, run)
        benchmarks = _summary(workdir, stage).get("benchmarks", {})
        if benchmark not in benchmarks:
            found = ", ".join(benchmarks) or "none"
            raise ClaimError(
                f"{workdir.path}/summary.json: expected the benchmark {benchmark!r} of {stage}, found {found}"
            )
        return _number(benchmarks[benchmark], figure, f"{workdir.path}/summary.json, {benchmark} of {stage}")

    return value


def handed_on(run: str, stage: str, figure: str) -> Figure:
    """A figure that a stage which leaves data has handed on (its outputs in manifest.json)."""

    def value(runs: Runs) -> float:
        workdir = _run(runs, run)
        return _number(workdir.outputs(stage), figure, f"{workdir.path}/manifest.json, outputs of {stage}")

    return value


def paired(treatment: Figure, control: Figure) -> Callable[[Runs], Pair]:
    """The measure of a claim that compares two figures."""
    return lambda runs: Pair(treatment(runs), control(runs))


def _run(runs: Runs, name: str) -> Workdir:
    if name not in runs:
        raise ClaimError(f"claims: expected a run {name!r} of every seed, found {', '.join(runs) or 'none'}")
    return runs[name]


def _summary(workdir: Workdir, stage: str) -> Mapping[str, Any]:
    stages = workdir.summary()["stages"]
    if stage not in stages:
        found = ", ".join(stages) or "none"
        raise ClaimError(f"{workdir.path}/summary.json: expected the stage {stage!r}, found {found}; finish the run")
    return stages[stage]


def _number(figures: Mapping[str, Any], name: str, where: str) -> float:
    value = figures.get(name)
    if not isinstance(value, int | float):
        raise ClaimError(f"{where}: expected a number {name!r}, found {value!r}; run the stage again with this version")
    return float(value)


def _series(workdir: Workdir, stage: str, metric: str) -> list[tuple[int, float]]:
    """Steps and values where the metric has one."""
    lines = workdir.stage(stage).metrics.read()
    found = [(line["step"], line[metric]) for line in lines if line.get(metric) is not None]
    if not found:
        raise ClaimError(f"{workdir.stage(stage).metrics.path}: expected values of {metric!r}, found none")
    return found
