"""Files that a killed process cannot leave half written, on a local disk or in a bucket (`gs://...`)."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from etils import epath

from r1jax.errors import UserError


class WorkdirError(UserError):
    """The files of a run cannot be used as asked; one line for the user."""


def is_remote(path: epath.Path) -> bool:
    """Whether the path lies in a bucket, where a write is atomic by itself and nothing can be appended."""
    return "://" in os.fspath(path)


def absolute(path: epath.PathLike) -> epath.Path:
    """The path from the root on (epath's own `resolve` takes the name of a bucket for a folder)."""
    path = epath.Path(path)
    return path if is_remote(path) else epath.Path(os.path.abspath(path))


def write_atomic(path: epath.Path, content: bytes) -> None:
    """Writes the file so that readers, also after a kill, see either the old or the new one whole."""
    write_atomic_pieces(path, [content])


def write_atomic_pieces(path: epath.Path, pieces: Iterable[bytes]) -> None:
    """The same of a file of any size, a piece at a time (in a bucket of one that fits into memory)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_remote(path):
        path.write_bytes(b"".join(pieces))
        return
    temporary = path.parent / f".{path.name}.tmp"
    with open(temporary, "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())  # else a power cut may keep the rename and lose the content
    os.replace(temporary, path)


def write_json(path: epath.Path, value: Any) -> None:
    """`value` as indented JSON, written atomically."""
    write_atomic(path, utf8(json.dumps(value, indent=2, ensure_ascii=False) + "\n"))


def write_lines(path: epath.Path, records: Iterable[Mapping[str, Any]]) -> None:
    """The records as JSON lines, written atomically."""
    write_atomic_pieces(path, (utf8(json.dumps(record, ensure_ascii=False) + "\n") for record in records))


def utf8(text: str) -> bytes:
    """JSON as bytes; half of a surrogate pair, which others' texts may hold and UTF-8 may not, as JSON's escape."""
    return text.encode("utf-8", "backslashreplace")


def read_json(path: epath.Path) -> Any | None:
    """The JSON value of the file, None where there is no file. WorkdirError where it is not JSON."""
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text())
    except json.JSONDecodeError as error:
        raise WorkdirError(f"{path}: expected JSON, found {error.msg} at line {error.lineno}") from error
    except UnicodeDecodeError as error:
        raise WorkdirError(f"{path}: expected JSON, found what is no text") from error


class StepLines:
    """A JSONL file whose every line is an object with an integer `step`, such as metrics.jsonl.

    A line is on disk (in the operating system's hands) when `append` returns. In a bucket the whole object is
    written again instead.
    """

    def __init__(self, path: epath.PathLike):
        self.path = epath.Path(path)

    def append(self, *records: Mapping[str, Any]) -> None:
        """Adds a line for each record. Raises ValueError for one without `step`, or with NaN or infinity."""
        for record in records:
            if not isinstance(record.get("step"), int):
                raise ValueError(f"{self.path.name}: expected a record with an integer step, found {record}")
        text = utf8("".join(json.dumps(record, ensure_ascii=False, allow_nan=False) + "\n" for record in records))
        if is_remote(self.path):
            before = self.path.read_bytes() if self.path.exists() else b""
            write_atomic(self.path, before + text)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with open(self.path, "ab") as file:
            file.write(text)

    def read(self) -> list[dict[str, Any]]:
        """All records, without a torn last line. WorkdirError for any other line that is not a record."""
        return [record for record, _ in self._lines()]

    def truncate(self, step: int) -> None:
        """Drops the lines of steps above `step`, and a torn last line; what is kept keeps its bytes."""
        if not self.path.exists():
            return
        kept = b"".join(line for record, line in self._lines() if record["step"] <= step)
        if kept != self.path.read_bytes():
            write_atomic(self.path, kept)

    def _lines(self) -> Iterator[tuple[dict[str, Any], bytes]]:
        if not self.path.exists():
            return
        # Split at newlines alone: str.splitlines would also cut at characters that samples may hold.
        *whole, _torn = self.path.read_bytes().split(b"\n")
        for number, line in enumerate(whole, start=1):
            try:
                record = json.loads(line)
                record["step"] + 0
            except (ValueError, KeyError, TypeError) as error:
                raise WorkdirError(
                    f"{self.path}:{number}: expected a JSON object with a step, found {line[:60]!r}"
                ) from error
            yield record, line + b"\n"
