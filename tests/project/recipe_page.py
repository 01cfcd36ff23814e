"""docs/recipe.md as data: its rows, the stages that it names, and what a config has at the field of a row."""

from __future__ import annotations

import dataclasses
import pathlib
import re
import typing
from collections.abc import Iterator
from typing import Any

from r1jax import config as configs
from r1jax.config import RunConfig, Schedule, StageConfig, flags
from r1jax.config.serialize import without_none

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "recipe.md"
COLUMNS = 5  # id, value, what, source, field
NOT_STATED = "not stated"
_NUMBER = re.compile(r"(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(e-?\d+)?( %)?")
_BRACES = re.compile(r"(.*)\{([^{}]+)\}(.*)")


@dataclasses.dataclass(frozen=True)
class Row:
    """A line of a table; `fields` are the paths behind the braces of its last cell."""

    id: str
    value: str
    what: str
    source: str
    fields: tuple[str, ...]

    @property
    def values(self) -> tuple[float | str, ...]:
        """The numbers (a percentage as a share) or the one text of the value; () where it is not stated."""
        if self.value == NOT_STATED:
            return ()
        if self.value.startswith("`"):
            if self.value.count("`") != 2 or not self.value.endswith("`"):
                raise ValueError(f"{self.id}: expected one text in backquotes, found {self.value}")
            return (self.value.strip("`"),)
        return tuple(_number(self.id, part) for part in re.split(r" / | to ", self.value))


def rows(text: str) -> list[Row]:
    """Every row of every table with an id in its first column; ValueError says which line is none."""
    sets = {name: ",".join(members) for name, members in _sets(text).items()}
    found = []
    for line in text.splitlines():
        cells = _cells(line)
        if not cells or not re.fullmatch(r"`[\w-]+(\.[\w-]+)+`", cells[0]):
            continue
        if len(cells) != COLUMNS:
            raise ValueError(f"expected {COLUMNS} cells, found {len(cells)}: {line}")
        field = cells[4]
        if field != "-" and not re.fullmatch(r"`[^`]+`", field):
            raise ValueError(f"expected a field in backquotes or -, found {field}: {line}")
        fields = () if field == "-" else tuple(_expanded(field.strip("`"), sets))
        found.append(Row(cells[0].strip("`"), *cells[1:4], fields))
    return found


def stages(text: str) -> dict[str, type[StageConfig]]:
    """The classes of the stages of the first table, by name."""
    return {name.strip("`"): getattr(configs, cls.strip("`")) for name, _, cls in _stage_lines(text)}


def hint_at(path: str, stage_classes: dict[str, type[StageConfig]]) -> Any:
    """The declared type of a field, from RunConfig or the class that the path begins with; KeyError: there is none."""
    first, _, rest = path.partition(".")
    if dataclasses.is_dataclass(getattr(configs, first, None)):
        return _hint(getattr(configs, first), rest.split("."), stage_classes)
    return _hint(RunConfig, path.split("."), stage_classes)


def value_at(config: Any, path: str) -> Any:
    """What a config has there; LookupError where it lacks a stage, a set or a reward of that name."""
    for name in path.split("."):
        if isinstance(config, tuple):
            named = {one.name: one for one in config}
            config = named[name]
        elif config is None:
            raise LookupError(f"{path}: nothing above {name}")
        else:
            config = getattr(config, name)
    return config


def read(row: Row, hint: Any) -> Any:
    """The row's one value, read as the command line reads a value of that type."""
    (value,) = row.values
    return flags.read(value if isinstance(value, str) else f"{value:g}", hint, row.id)


def chosen_numbers(config: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """The numbers and schedules of a dataclass that are not their field's default, by path below it."""
    for field in dataclasses.fields(config):
        value, at = getattr(config, field.name), f"{path}.{field.name}" if path else field.name
        if isinstance(value, Schedule) or (isinstance(value, int | float) and not isinstance(value, bool)):
            if value != field.default:
                yield at, value
        elif dataclasses.is_dataclass(value):
            yield from chosen_numbers(value, at)


def _hint(cls: Any, names: list[str], stage_classes: dict[str, type[StageConfig]]) -> Any:
    hint = typing.get_type_hints(cls)[names[0]]
    below = names[1:]
    if not below:
        return hint
    inner, _ = without_none(hint)
    if typing.get_origin(inner) is tuple:
        element = typing.get_args(inner)[0]
        return _hint(stage_classes[below[0]] if element is StageConfig else element, below[1:], stage_classes)
    return _hint(inner, below, stage_classes)


def _number(name: str, text: str) -> float:
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{name}: expected a number, a percentage or text in backquotes, found {text!r}")
    number = float(text.removesuffix(" %").replace(",", ""))
    return number / 100 if text.endswith(" %") else number


def _expanded(path: str, sets: dict[str, str]) -> Iterator[str]:
    """`a.{b,c}.d` -> a.b.d, a.c.d; the name of a set stands for its members."""
    match = _BRACES.fullmatch(path)
    if match is None:
        yield path
        return
    before, inside, after = match.groups()
    for name in sets.get(inside, inside).split(","):
        yield from _expanded(f"{before}{name}{after}", sets)


def _sets(text: str) -> dict[str, list[str]]:
    sets: dict[str, list[str]] = {}
    for name, group, _ in _stage_lines(text):
        sets.setdefault(group.strip("`"), []).append(name.strip("`"))
    return sets


def _stage_lines(text: str) -> Iterator[list[str]]:
    table = text.partition("| stage | set | class |")[2].partition("\n\n")[0]
    for line in table.splitlines()[2:]:
        yield _cells(line)[:3]


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")] if line.startswith("|") else []
