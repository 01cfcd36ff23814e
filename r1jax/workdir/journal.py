"""What a step was trained on, written before its update, so that a resumed run trains on the very same.

Verdicts depend on wall clocks (a grader may hit its deadline once and not again); parameters must not. A run
that resumes from the checkpoint of step n replays the entries from n on and samples anew only where there is
none.
"""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from etils import epath

from r1jax.workdir.files import write_atomic

_INFO = "info.json"  # the entry's JSON part, beside its arrays in the archive


class Entry(NamedTuple):
    """The arrays of an entry by name, and its JSON part."""

    arrays: dict[str, np.ndarray]
    info: Any


class Journal:
    """One `.npz` file a step (a rollout is entered under the step it begins with)."""

    def __init__(self, folder: epath.PathLike):
        self.folder = epath.Path(folder)

    def write(self, step: int, arrays: Mapping[str, np.ndarray], info: Any = None) -> None:
        """Writes the entry of `step` (replacing one that is there); it is on disk when this returns.

        Raises ValueError for an array that NumPy's format does not hold (objects, bfloat16).
        """
        for name, array in arrays.items():
            if np.asarray(array).dtype.kind not in "biufcSU":
                raise ValueError(
                    f"journal array {name}: expected numbers or text of NumPy's own dtypes, "
                    f"found {np.asarray(array).dtype}"
                )
        buffer = io.BytesIO()
        text = np.frombuffer(json.dumps(info).encode(), np.uint8)
        np.savez(buffer, **{_INFO: text, **arrays})
        write_atomic(self._path(step), buffer.getvalue())

    def read(self, step: int) -> Entry | None:
        """The entry of `step`; None where there is none, or only a damaged one (its checksums are read)."""
        path = self._path(step)
        if not path.exists():
            return None
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
        except (zipfile.BadZipFile, zlib.error, ValueError, EOFError):
            return None  # a disk that lost its content at a power cut: the step is sampled again
        return Entry(arrays, json.loads(arrays.pop(_INFO).tobytes()))

    def steps(self) -> list[int]:
        """The steps that have an entry, ascending."""
        if not self.folder.exists():
            return []
        stems = [path.stem for path in self.folder.iterdir() if path.suffix == ".npz"]
        return sorted(int(stem) for stem in stems if stem.isdecimal())

    def prune(self, before: int) -> None:
        """Removes the entries of steps below `before`: the newest checkpoint that is known to be whole."""
        for step in self.steps():
            if step < before:
                self._path(step).unlink()

    def clear(self) -> None:
        """Removes all entries: those of another config, or of a stage begun again."""
        for step in self.steps():
            self._path(step).unlink()

    def _path(self, step: int) -> epath.Path:
        return self.folder / f"{step:08d}.npz"
