"""By what the weights in a folder are known again, without reading them all.

Of safetensors: the files' names, sizes and headers, config.json, and samples of the data. Names, sizes and headers
alone would not do: two trainings of one model, written by one program, have the same. 64 samples of 4 KiB a file hold
more than 100,000 numbers, of which a training changes many; of a folder of 600 GB they are some 40 MB.

Of checkpoints: the newest one's step and its metadata, which say when it was saved, to the nanosecond.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import BinaryIO

from etils import epath

_SAMPLES, _SAMPLE_BYTES = 64, 4096
_MAX_HEADER_BYTES = 100_000_000  # of the format; a number above it is of no such file
_STEP_MARKER = "_CHECKPOINT_METADATA"  # Orbax puts this file into the folder of every step


def weights_mark(folder: epath.PathLike) -> str | None:
    """16 hex digits that differ, as good as always, for other weights; None where no weights are found.

    Args:
      folder: with safetensors, or with checkpoints, or one of these (local or `gs://`): what a run's `weights` is.
        A copy has the same mark wherever it lies.
    """
    folder = epath.Path(folder)
    if not folder.is_dir():
        return None
    tensors = sorted(folder.glob("*.safetensors*"), key=lambda file: file.name)
    parts = list(_of_tensors(folder, tensors) if tensors else _of_checkpoints(folder))
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "little"))
        digest.update(part)
    return digest.hexdigest()[:16] if parts else None


def _of_tensors(folder: epath.Path, files: list[epath.Path]) -> Iterator[bytes]:
    config = folder / "config.json"
    yield config.read_bytes() if config.exists() else b""
    for file in files:
        yield file.name.encode()
        size = file.stat().length
        yield size.to_bytes(8, "little")
        with file.open("rb") as opened:
            yield from _header_and_samples(opened, size)


def _header_and_samples(file: BinaryIO, size: int) -> Iterator[bytes]:
    header = min(int.from_bytes(file.read(8), "little"), _MAX_HEADER_BYTES)
    yield file.read(header)
    start = min(8 + header, size)
    if size - start <= _SAMPLES * _SAMPLE_BYTES:
        yield file.read()
        return
    for number in range(_SAMPLES):
        file.seek(start + (size - start - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
        yield file.read(_SAMPLE_BYTES)


def _of_checkpoints(folder: epath.Path) -> Iterator[bytes]:
    """Those of the step that a run restores from `folder`, as `checkpoint.find_checkpoint` has it."""
    newest = folder
    if not (folder / _STEP_MARKER).exists():
        root = folder / "checkpoints" if (folder / "checkpoints").exists() else folder
        steps = [child for child in root.iterdir() if child.name.isdigit() and (child / _STEP_MARKER).exists()]
        if not steps:
            return
        newest = max(steps, key=lambda child: int(child.name))
    yield newest.name.encode()
    yield (newest / _STEP_MARKER).read_bytes()
