"""Where a record stands in a data set that people may have edited: a line written by hand has no id to look for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from etils import epath

from r1jax.config import DataConfig
from r1jax.data.records import DataError
from r1jax.data.stage_files import BYTE_ORDER_MARK
from r1jax.errors import UserError
from r1jax.stages.context import RunContext


@contextlib.contextmanager
def named_line(number: int, data: DataConfig, run: RunContext) -> Iterator[None]:
    """Puts file and line before what is said of a record of an earlier stage's data set.

    Args:
      number: of the record, from 0, in `run.load(data)`.
    Raises:
      DataError: for a UserError about the record; that of a source of the user's own is left as it is.
    """
    try:
        yield
    except UserError as error:
        if data.kind != "stage":
            raise
        path = run.workdir.stage(data.name).data_file(data.path)
        raise DataError(f"{path}:{_line(path, data.skip + number)}: {error}") from error


def _line(path: epath.Path, number: int) -> int:
    """The line, from 1, of a record: those that are empty hold none, as `stage_files.read` has it."""
    lines = path.read_bytes().removeprefix(BYTE_ORDER_MARK).split(b"\n")
    return [line for line, text in enumerate(lines, start=1) if text.strip()][number]
