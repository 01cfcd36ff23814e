"""benchmarks-<step>.json: the figures of one checkpoint, written benchmark by benchmark, so that a kill loses one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etils import epath

from r1jax.suites import protocol
from r1jax.workdir.files import WorkdirError, read_json, write_json


class Results:
    """The file, as {name of the benchmark: its figures, "published" ones and "protocol" among them}."""

    def __init__(self, path: epath.PathLike):
        self.path = epath.Path(path)

    def beside(self, name: str) -> epath.Path:
        """The file for what was sampled in a benchmark: benchmarks-<step>-<name>.jsonl."""
        return self.path.parent / f"{self.path.name.removesuffix('.json')}-{name}.jsonl"

    def all(self) -> dict[str, dict[str, Any]]:
        """What has been finished so far. WorkdirError for a file that is something else."""
        found = read_json(self.path)
        if found is None:
            return {}
        if not isinstance(found, dict) or not all(isinstance(one, dict) for one in found.values()):
            raise WorkdirError(f"{self.path}: expected an object of benchmarks; remove it, or put back what was there")
        return found

    def of_protocol(self, name: str, wanted: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[str]]:
        """The figures of a benchmark where they are of this protocol, else None and how those that are there differ."""
        found = self.all().get(name)
        if found is None:
            return None, []
        differs = protocol.changes(found.get("protocol", {}), wanted)
        return (None, differs) if differs else (found, [])

    def write(self, name: str, figures: Mapping[str, Any]) -> None:
        """Adds the figures of a benchmark, or replaces them."""
        write_json(self.path, self.all() | {name: dict(figures)})
