"""A mark of a data set between stages: another one where a record has been changed, added, dropped or moved."""

from __future__ import annotations

import hashlib

from etils import epath


def data_mark(path: epath.PathLike) -> str | None:
    """16 hex digits of the file's lines, blank ones and the ends of lines aside; None where there is no file."""
    path = epath.Path(path)
    if not path.exists():
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for line in file:
            if stripped := line.strip():
                digest.update(stripped + b"\n")
    return digest.hexdigest()[:16]
