"""A mark of a data set between stages: another one where a record has been changed, added, dropped or moved."""

from __future__ import annotations

import hashlib
import os
import time

from etils import epath

from r1jax.workdir.files import is_remote

# A plan asks for the marks of all that a stage's sources have read, again and again; a data set may have gigabytes. So
# a local file is read again only where its clock or size has moved; one that was written just now may move once more
# within a tick of that clock.
SETTLED_SECONDS = 2.0
_known: dict[str, tuple[tuple[int, ...], str]] = {}


def data_mark(path: epath.PathLike) -> str | None:
    """16 hex digits of the file's lines, blank ones and the ends of lines aside; None where there is no file."""
    path = epath.Path(path)
    if not path.exists():
        return None
    if is_remote(path):
        return _read(path)
    name, stat = os.path.abspath(path), os.stat(path)
    state = (stat.st_dev, stat.st_ino, stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)
    known_state, mark = _known.get(name, (None, ""))
    if known_state == state:
        return mark
    mark = _read(path)
    if time.time() - stat.st_ctime > SETTLED_SECONDS:
        _known[name] = state, mark
    return mark


def _read(path: epath.Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        for line in file:
            if stripped := line.strip():
                digest.update(stripped + b"\n")
    return digest.hexdigest()[:16]
