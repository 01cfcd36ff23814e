"""Rows as they stand in JSONL, Parquet and CSV files and in TFDS data sets, with the place to name in an error."""

from __future__ import annotations

import csv
import gzip
import importlib
import io
import json
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from etils import epath

from r1jax.data.records import DataError, Record

JSONL_SUFFIXES = (".jsonl", ".jsonl.gz")
PARQUET_SUFFIXES = (".parquet",)
CSV_SUFFIXES = (".csv", ".tsv")
SUFFIXES = {"jsonl": JSONL_SUFFIXES, "parquet": PARQUET_SUFFIXES, "csv": CSV_SUFFIXES}  # by data.kind
WILDCARDS = frozenset("*?[")

# Catalogue names that tfds finds only once their own module was imported (otherwise it asks for TensorFlow).
BUILDER_MODULES = {"gsm8k": "tensorflow_datasets.text.gsm8k.gsm8k"}


class Row(NamedTuple):
    """`place` tells the user where it is; `default_id` names the record that has no id of its own."""

    place: str
    default_id: str
    columns: Record


def files(path: str, suffixes: Sequence[str]) -> list[epath.Path]:
    """The files that `path` means (a file, a folder, a glob), sorted; DataError when there are none."""
    root = epath.Path(path)
    if root.is_dir():
        found = [file for file in root.iterdir() if file.name.endswith(tuple(suffixes))]
    elif root.exists():
        found = [root]
    else:
        wild = next((number for number, part in enumerate(root.parts) if WILDCARDS & set(part)), None)
        if wild is None:
            raise DataError(f"data.path: {path} does not exist")
        found = list(epath.Path(*root.parts[:wild]).glob("/".join(root.parts[wild:])))
    if not found:
        raise DataError(f"data.path: {path} has no file that ends in {' or '.join(suffixes)}")
    return sorted(found)


def _stem(file: epath.Path) -> str:
    return file.name.split(".")[0]


def jsonl_rows(path: str) -> Iterator[Row]:
    """The objects of JSONL files (.gz too), one a line; empty lines are passed over.

    Raises:
        DataError: path:line of a line that is no JSON object.
    """
    for file in files(path, JSONL_SUFFIXES):
        index = 0
        with file.open("rb") as raw, gzip.open(raw) if file.suffix == ".gz" else raw as lines:
            for number, line in enumerate(lines, start=1):
                if not line.strip():
                    continue
                try:
                    columns = json.loads(line)
                except ValueError as error:
                    raise DataError(f"{file}:{number}: not JSON ({error})") from error
                if not isinstance(columns, dict):
                    raise DataError(f"{file}:{number}: expected a JSON object, found {type(columns).__name__}")
                yield Row(f"{file}:{number}", f"{_stem(file)}:{index}", columns)
                index += 1


def parquet_rows(path: str) -> Iterator[Row]:
    """The rows of Parquet files."""
    from pyarrow import ArrowException, parquet  # not needed by any other source

    for file in files(path, PARQUET_SUFFIXES):
        index = 0
        with file.open("rb") as raw:
            try:
                for batch in parquet.ParquetFile(raw).iter_batches():
                    for columns in batch.to_pylist():
                        yield Row(f"{file} row {index}", f"{_stem(file)}:{index}", columns)
                        index += 1
            except ArrowException as error:
                raise DataError(f"{file}: not a readable Parquet file ({first_line(error)})") from error


def csv_rows(path: str, *, header: bool) -> Iterator[Row]:
    """The rows of CSV files, and of TSV files, whose cells are parted by tabs and never quoted; all cells are texts.

    `header`: whether the first line names the columns; else they are called "0", "1" and so on.

    Raises:
        DataError: path:line of a row with more or fewer cells than there are names, or that cannot be read.
    """
    for file in files(path, CSV_SUFFIXES):
        form = {"delimiter": "\t", "quoting": csv.QUOTE_NONE} if file.suffix == ".tsv" else {"strict": True}
        with file.open("rb") as raw, io.TextIOWrapper(raw, encoding="utf-8-sig", newline="") as text:
            lines = csv.reader(text, **form)
            names = None
            index = 0
            try:
                for cells in filter(None, lines):
                    if names is None:
                        names = cells if header else [str(number) for number in range(len(cells))]
                        if header:
                            continue
                    if len(cells) != len(names):
                        raise DataError(
                            f"{file}:{lines.line_num}: expected {len(names)} cells ({', '.join(names)[:80]}), "
                            f"found {len(cells)}"
                        )
                    place = f"{file}:{lines.line_num}"
                    yield Row(place, f"{_stem(file)}:{index}", dict(zip(names, cells, strict=True)))
                    index += 1
            except (csv.Error, UnicodeDecodeError) as error:
                raise DataError(f"{file}:{lines.line_num}: not readable as CSV in UTF-8 ({error})") from error


def tfds_source(name: str, split: str, data_dir: str | None) -> Sequence[Record]:
    """A TFDS data set of random access, downloaded and prepared as array_record where it is not there yet.

    Text comes as bytes, numbers as NumPy scalars. TensorFlow is not needed.

    Raises:
        DataError: unknown name or split, a format without random access, or a failed download.
    """
    import tensorflow_datasets as tfds  # takes a second: for this source alone

    base_name = name.split("/")[0].split(":")[0]
    if base_name in BUILDER_MODULES:
        importlib.import_module(BUILDER_MODULES[base_name])
    try:
        builder = tfds.builder(name, data_dir=data_dir)
        if not builder.is_prepared():
            builder = tfds.builder(name, data_dir=data_dir, file_format="array_record")
            builder.download_and_prepare()
        return builder.as_data_source(split=split)
    except (ValueError, NotImplementedError, AssertionError, ImportError, OSError) as error:
        where = "" if data_dir is None else f" in {data_dir}"
        raise DataError(f"tfds data set {name!r}, split {split!r}{where}: {first_line(error)}") from error


def cell(columns: Record, name: str) -> Any:
    """A column's value, or of a column of lists and objects a place inside: `messages.0.content`.

    LookupError where it has none.
    """
    if name in columns:
        return columns[name]
    value: Any = columns
    for part in name.split("."):
        if isinstance(value, list | tuple) and part.isdecimal():
            value = value[int(part)]
        elif isinstance(value, dict):
            value = value[part]
        else:
            raise LookupError(name)
    return value


def first_line(error: Exception) -> str:
    """The first line of an error's text, or its class where it has none."""
    text = str(error).strip()
    return text.splitlines()[0] if text else type(error).__name__


def plain(value: Any) -> Any:
    """A value as JSON has it: bytes become text, NumPy values numbers and lists, the rest its text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, bytes):
        return value.decode()
    if hasattr(value, "tolist"):  # NumPy scalars and arrays
        return plain(value.tolist())
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    return str(value)  # dates, decimals
