"""Data sets between stages: DIR/<stage>/data.jsonl, a record a line, for programs to write and people to edit.

Question and response stand first in a line, id and lineage last. What a person changes is what the next stage
takes: fields of ours may be edited, fields of theirs added, lines dropped, moved or written by hand. A line without
an id gets one of its content; a broken line is named by its number.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from etils import epath

from r1jax.config.data import TEXT_FIELDS
from r1jax.data.records import DataError, Record
from r1jax.workdir.files import utf8, write_atomic_pieces

FIRST = ("question", "response", "chosen", "rejected", "label", "delta", "votes", "answer", "language", "rewards")
LAST = ("id", "lineage")
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors leave it


def write(path: epath.PathLike, records: Iterable[Record]) -> None:
    """Writes the records, atomically: FIRST, then other fields by name, then LAST.

    Text stays readable; a lone surrogate, which has no UTF-8, is written as JSON's escape of it. Raises ValueError
    for NaN and infinity, which JSON lacks.
    """
    lines = (json.dumps(_ordered(record), ensure_ascii=False, allow_nan=False) + "\n" for record in records)
    write_atomic_pieces(epath.Path(path), map(utf8, lines))


def read(path: epath.PathLike) -> list[Record]:
    """The records of the file, in its order, each with an `id` of its own; empty lines are passed over.

    Raises:
        DataError: one line that names the file and the line that is no JSON object, has no text where text must
          be, or an id that stood before; a file without records, or none at all.
    """
    path = epath.Path(path)
    if not path.exists() or path.is_dir():
        found = "a folder" if path.exists() else "no such file"
        raise DataError(f"{path}: expected the data set of a finished stage, found {found}")
    records: list[Record] = []
    line_of: dict[str, int] = {}
    with path.open("rb") as file:  # a line at a time: the whole may be as large as the memory
        for number, line in enumerate(file, start=1):
            text = line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line
            if not text.strip():
                continue
            place = f"{path}:{number}"
            record = _parsed(text.removesuffix(b"\n"), place)
            if record.get("id") is None:
                record["id"] = _new_id(record, line_of)
            if record["id"] in line_of:
                raise DataError(
                    f"{place}: expected an id of its own, found {record['id']!r}, which line "
                    f"{line_of[record['id']]} has; change it, or leave it out"
                )
            line_of[record["id"]] = number
            records.append(record)
    if not records:
        raise DataError(f"{path}: expected records, found none")
    return records


def fingerprint(records: Sequence[Record]) -> str:
    """16 hex digits that are the same for the same records in the same order, however a file spells them."""
    digest = hashlib.sha256()
    for record in records:
        digest.update(json.dumps(record, sort_keys=True, separators=(",", ":")).encode("ascii") + b"\n")
    return digest.hexdigest()[:16]


def _ordered(record: Record) -> Record:
    between = sorted(set(record) - set(FIRST) - set(LAST))
    return {field: record[field] for field in (*FIRST, *between, *LAST) if field in record}


def _parsed(line: bytes, place: str) -> Record:
    try:
        record = json.loads(line.decode("utf-8"), parse_constant=_refuse)
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: expected UTF-8, found byte {error.object[error.start]:#04x}") from error
    except json.JSONDecodeError as error:
        found = f"{error.msg} at column {error.colno}"
        raise DataError(f"{place}: expected a JSON object on one line, found {found}") from error
    except (ValueError, RecursionError) as error:
        raise DataError(f"{place}: expected a JSON object on one line, found {error}") from error
    if not isinstance(record, dict):
        raise DataError(f"{place}: expected a JSON object, found {type(record).__name__}")
    for field in TEXT_FIELDS:
        value = record.get(field)
        if isinstance(value, int | float) and not isinstance(value, bool):
            record[field] = str(value)  # people write "answer": 72
        elif not (value is None or isinstance(value, str)):
            raise DataError(f"{place}: expected text as {field}, found {type(value).__name__}")
    lineage = record.get("lineage")
    if not (lineage is None or isinstance(lineage, dict)):
        raise DataError(f"{place}: expected an object as lineage, found {type(lineage).__name__}")
    return record


def _refuse(constant: str) -> Any:
    raise ValueError(f"{constant}, which is no JSON")


def _new_id(record: Record, taken: dict[str, int]) -> str:
    """Of the content, so that lines above it may come and go; a copy of a line gets a number to it."""
    name = f"hand:{fingerprint([record])[:12]}"
    copies = 1
    while (f"{name}.{copies}" if copies > 1 else name) in taken:
        copies += 1
    return f"{name}.{copies}" if copies > 1 else name
