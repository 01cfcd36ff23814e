"""Records from JSONL and Parquet files, TFDS data sets and the generators of tasks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import overload

from r1jax.config import DataConfig
from r1jax.config.data import FIELDS
from r1jax.data import readers
from r1jax.data.readers import Row
from r1jax.data.records import DataError, Record
from r1jax.data.tasks import SPLITS, TASKS


def load(config: DataConfig) -> Sequence[Record]:
    """The records of a source, `config.skip` of them passed over, at most `config.limit`.

    Each has an `id` of its own (default: file name or data set, colon, number) and `rewards` (default:
    config.rewards); columns that config.columns does not name stay under their own names.

    Returns:
        A list; for `tfds` a sequence that reads a record when it is asked for.
    Raises:
        DataError: one line that names the file, line, column or record at fault.
    """
    return SOURCES[config.kind](config)


def _task(config: DataConfig) -> list[Record]:
    if config.name not in TASKS:
        raise DataError(f"data.name: expected a task ({', '.join(TASKS)}), found {config.name!r}")
    if config.split not in SPLITS:
        raise DataError(f"data.split: expected {', '.join(SPLITS)} for a task, found {config.split!r}")
    make = TASKS[config.name].make
    numbers = range(config.skip, config.skip + config.limit)
    return [{"rewards": config.rewards, **make(config.seed, number, config.split)} for number in numbers]


def _jsonl(config: DataConfig) -> list[Record]:
    return _listed(readers.jsonl_rows(config.path), config)


def _parquet(config: DataConfig) -> list[Record]:
    return _listed(readers.parquet_rows(config.path), config)


def _listed(rows: Iterator[Row], config: DataConfig) -> list[Record]:
    pattern = _answer_pattern(config)
    stop = None if config.limit is None else config.skip + config.limit
    records = [_record(row, config, pattern) for row in islice(rows, config.skip, stop)]
    if not records:
        raise DataError(f"data.path: {config.path} has no records after the first {config.skip} (data.skip)")
    seen: set[str] = set()
    for record in records:
        if record["id"] in seen:
            raise DataError(f"data.path: {config.path} has two records with the id {record['id']!r}")
        seen.add(record["id"])
    return records


def _tfds(config: DataConfig) -> Sequence[Record]:
    return TfdsRecords(readers.tfds_source(config.name, config.split, config.path), config)


class TfdsRecords(Sequence[Record]):
    """Records of a TFDS data source, read when they are asked for; the first at once, to check columns."""

    def __init__(self, source: Sequence[Record], config: DataConfig):
        stop = None if config.limit is None else config.skip + config.limit
        self._source = source
        self._config = config
        self._numbers = range(len(source))[config.skip : stop]
        self._pattern = _answer_pattern(config)
        if not self._numbers:
            raise DataError(f"tfds data set {config.name!r}: {len(source)} records, data.skip={config.skip}")
        self[0]

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> Record: ...
    @overload
    def __getitem__(self, index: slice) -> list[Record]: ...
    def __getitem__(self, index):
        if isinstance(index, slice):
            return [self[number] for number in range(len(self))[index]]
        number = self._numbers[index]
        name = f"{self._config.name}:{self._config.split}:{number}"
        return _record(Row(name, name, self._source[number]), self._config, self._pattern)


def _answer_pattern(config: DataConfig) -> re.Pattern | None:
    if config.answer_pattern is None:
        return None
    try:
        pattern = re.compile(config.answer_pattern)
    except re.error as error:
        raise DataError(f"data.answer_pattern: {config.answer_pattern!r} is no regex ({error})") from error
    if not pattern.groups:
        raise DataError(
            f"data.answer_pattern: expected a group for the answer, found none in {config.answer_pattern!r}"
        )
    return pattern


def _record(row: Row, config: DataConfig, pattern: re.Pattern | None) -> Record:
    """The record of a row: plain values, fields from their columns, the answer by the pattern, defaults."""
    record = {name: readers.plain(value) for name, value in row.columns.items()}
    for field, column in config.columns:
        if column not in row.columns:
            raise DataError(
                f"{row.place}: expected the column {column!r} (for {field}), found {', '.join(row.columns)}"
            )
        record[field] = readers.plain(row.columns[column])
    defaults = {"id": row.default_id, "rewards": config.rewards}
    record.update({field: value for field, value in defaults.items() if record.get(field) is None})
    for field in FIELDS:
        record.update({field: _text(record[field], field, row)} if record.get(field) is not None else {})
    if pattern is not None:
        if record.get("answer") is None:
            raise DataError(f"record {record['id']}: data.answer_pattern is set, but it has no answer")
        match = pattern.search(record["answer"])
        if match is None or match.group(1) is None:
            raise DataError(
                f"record {record['id']}: data.answer_pattern {config.answer_pattern!r} does not match its "
                f"answer, which ends in {record['answer'][-60:]!r}"
            )
        record["answer"] = match.group(1)
    return record


def _text(value: str | int | float, field: str, row: Row) -> str:
    """A field of ours as text; a number (an answer column often holds those) in its own spelling."""
    if isinstance(value, str):
        return value
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)
    raise DataError(f"{row.place}: expected text or a number as {field}, found {type(value).__name__}")


SOURCES: dict[str, Callable[[DataConfig], Sequence[Record]]] = {
    "jsonl": _jsonl,
    "parquet": _parquet,
    "tfds": _tfds,
    "task": _task,
}
