"""The folder of one stage."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etils import epath

from r1jax.workdir.files import StepLines, read_json, write_json
from r1jax.workdir.journal import Journal


class StageFolder:
    """Where a stage writes. Nothing is created before it is written."""

    def __init__(self, path: epath.PathLike):
        self.path = epath.Path(path)
        self.name = self.path.name
        self.metrics = StepLines(self.path / "metrics.jsonl")
        self.samples = StepLines(self.path / "samples.jsonl")
        self.journal = Journal(self.path / "journal")
        self.checkpoints = self.path / "checkpoints"
        self.tensorboard = self.path / "tb"

    def data_file(self, name: str | None = None) -> epath.Path:
        """The data set that the stage leaves, or another file of records in its folder."""
        return self.path / (name or "data.jsonl")

    def truncate(self, step: int) -> None:
        """For a run that resumes after `step` updates: drops what was written about later ones.

        Journal entries from `step` on stay: they are what the resumed run replays.
        """
        self.metrics.truncate(step)
        self.samples.truncate(step)
        self.journal.prune(before=step)

    def write_evaluation(self, values: Mapping[str, Any]) -> None:
        """Writes eval.json."""
        write_json(self.path / "eval.json", dict(values))

    def write_benchmarks(self, values: Mapping[str, Mapping[str, Any]]) -> None:
        """Writes benchmarks.json: {name of the benchmark: its figures}."""
        write_json(self.path / "benchmarks.json", {name: dict(figures) for name, figures in values.items()})

    def read_benchmarks(self) -> dict[str, dict[str, Any]]:
        """benchmarks.json, {} before there is one."""
        return read_json(self.path / "benchmarks.json") or {}

    def read_evaluation(self) -> dict[str, Any] | None:
        """eval.json, None before there is one."""
        return read_json(self.path / "eval.json")
