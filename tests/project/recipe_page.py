"""docs/recipe.md as data: its rows, the stages that it names, what a run has at their fields, and where they differ."""

from __future__ import annotations

import dataclasses
import decimal
import pathlib
import re
import typing
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from r1jax import config as configs
from r1jax.config import DataConfig, RunConfig, Schedule, StageConfig, flags
from r1jax.config.serialize import without_none
from r1jax.models.presets import PRESETS

PAGE = pathlib.Path(__file__).resolve().parents[2] / "docs" / "recipe.md"
COLUMNS = 5  # id, value, what, source, field
NOT_STATED = "not stated"
_NUMBER = re.compile(r"(\d{1,3}(?:,\d{3})+|\d+)(\.\d+)?(e-?\d+)?( %)?")
_QUOTED = re.compile(r"`([^`]+)`|``((?:[^`]|```)+)``")  # in two of them where three stand in the text
_BRACES = re.compile(r"(.*)\{([^{}]+)\}(.*)")
_OF_THE_MACHINE = re.compile(  # how and where it runs, seeds, which lines of a file, how intervals are drawn
    r"mesh\.\w+|logging\.\w+|model\.\w+|seed|rewards\.(workers|recycle_after|worker_memory_mib|deadline_seconds)"
    r"|rewards\.code\.\w+|rewards\.judge\.(concurrency|timeout_seconds|tries)"
    r"|.*\.teacher\.\w+|.*\.sampler\.\w+|.*\.batch\.(row_tokens|micro_batch_rows)"
    r"|.*\.(checkpoint_every|keep_checkpoints|batch_prompts|max_bad_steps|bootstrap_resamples|choose_seed)"
    r"|.*\.(data|evaluation_sets\.\d+)\.(seed|skip)|.*\.filters\.min_scores"
)


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
            text = _QUOTED.fullmatch(self.value)
            if text is None:
                raise ValueError(f"{self.id}: expected one text in backquotes, found {self.value}")
            return (text[1] or text[2],)
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
    """The declared type of a field of a run; KeyError: there is none."""
    return _hint(RunConfig, path.split("."), stage_classes)


def read(row: Row, hint: Any, place: int = 0) -> Any:
    """What the row says of its field at `place`, read as the command line reads a value of that type.

    Of as many values as fields each has its own. Figures to stand beside ours are a tuple of shares.
    """
    values = row.values
    if len(values) == len(row.fields) > 1:
        values = values[place : place + 1]
    (value,) = values
    if hint == _PUBLISHED:
        return (value,)
    return flags.read(value.replace("\\n", "\n") if isinstance(value, str) else f"{value:g}", hint, row.id)


def said_of(config: RunConfig, text: str, rows: Iterable[Row]) -> dict[str, tuple[str, Any]]:
    """What rows say of a run, of its stages and reward sets those that it has: path -> (id, value); of two the later
    counts.
    """
    classes, said = stages(text), {}
    there = {f"stages.{one.name}" for one in config.stages} | {
        f"rewards.sets.{one.name}" for one in config.rewards.sets
    }
    bare = {f"stages.{one.name}.benchmarks" for one in config.stages if not one.benchmarks}
    for row in rows:
        if not _about(row, config):
            continue
        for place, path in enumerate(row.fields):
            root = path.split(".")[: 3 if path.startswith("rewards.") else 2]
            lacking = path.startswith(("stages.", "rewards.sets.")) and ".".join(root) not in there
            if not lacking and ".".join(path.split(".")[:3]) not in bare:
                said[path] = row.id, read(row, hint_at(path, classes), place)
    return said


def _about(row: Row, config: RunConfig) -> bool:
    """Whether a row is about runs of any model, or of this one's."""
    models = [name for name in PRESETS if row.id.endswith(f".{name}")]
    return not models or config.model.preset in models


@dataclasses.dataclass(frozen=True)
class Leaf:
    """A value of a config."""

    value: Any

    @property
    def number(self) -> bool:
        """Whether it is a number, a schedule or figures of a paper."""
        numeric = isinstance(self.value, int | float) and not isinstance(self.value, bool)
        return numeric or isinstance(self.value, Schedule) or _figures(self.value) is not None


def leaves(config: Any, path: str = "") -> Iterator[tuple[str, Leaf]]:
    """Every value of a config by its path; what stands in a tuple of configs by its name or its index."""
    for field in dataclasses.fields(config):
        value, at = getattr(config, field.name), f"{path}.{field.name}" if path else field.name
        if dataclasses.is_dataclass(value) and not isinstance(value, Schedule):
            yield from leaves(value, at)
        elif isinstance(value, tuple) and value and all(map(dataclasses.is_dataclass, value)):
            for name, element in _elements(value):
                yield from leaves(element, f"{at}.{name}")
        else:
            yield at, Leaf(value)


def to_hold(found: Mapping[str, Leaf], said: Mapping[str, tuple[str, Any]]) -> list[str]:
    """The numbers of a run that the page has to have: those that change what is learnt or measured, told or left at
    their default; or on the page anyway.
    """
    return [
        path
        for path, leaf in found.items()
        if leaf.number and (path in said or not (of_the_machine(path) or of_no_use(path, found)))
    ]


def of_the_machine(path: str) -> bool:
    """Whether a field tells a run about devices and files, of which the paper has no number."""
    return _OF_THE_MACHINE.fullmatch(path) is not None


def of_no_use(path: str, found: Mapping[str, Leaf]) -> bool:
    """Whether a number says how something is done that the run does not do."""
    section, _, field = path.rpartition(".")
    if field in ("decay_start", "final_ratio"):
        return found[f"{section}.decay"].value == "none"
    if field == "kl_horizon":
        return found[f"{section}.kl_target"].value is None
    if field == "window_words":
        return not found[f"{section}.tell_latin_apart"].value
    return section in ("rewards.cosine", "rewards.repetition")


def departures(found: Mapping[str, Leaf], said: Mapping[str, tuple[str, Any]]) -> list[str]:
    """Where the values of a run and the page differ, a line each: the path, and what is wrong there."""
    wrong = [f"{path}: not on the page" for path in to_hold(found, said) if path not in said]
    for path, (row, value) in said.items():
        if path not in found:
            wrong.append(f"{path}: {row} is about what the run lacks")
            continue
        held = found[path].value
        if (_figures(held) if path.endswith(".published") else held) != value:
            wrong.append(f"{path}: {row} says {value}, found {held}")
    return wrong


def changed(value: Any) -> Any:
    """Another value than a number, schedule or figures of a paper, of the same type."""
    if isinstance(value, Schedule):
        return Schedule(tuple((step, 2 * one + 1) for step, one in value.points), value.interpolation)
    if isinstance(value, tuple):
        return tuple((whose, share / 2) for whose, share in value)
    return 2 * value + 1


_PUBLISHED = typing.get_type_hints(configs.BenchmarkConfig)["published"]


def _figures(value: Any) -> tuple[float, ...] | None:
    """The shares of figures of a paper; None for anything else."""
    if not isinstance(value, tuple) or not value or not all(isinstance(one, tuple) and len(one) == 2 for one in value):
        return None
    shares = tuple(share for _, share in value)
    return shares if all(isinstance(share, float) for share in shares) else None


def _elements(elements: tuple) -> Iterator[tuple[str, Any]]:
    """The elements of a tuple of configs with their names, or, where they have none, their places."""
    for place, element in enumerate(elements):
        name = getattr(element, "name", None)
        yield name if name is not None and not isinstance(element, DataConfig) else str(place), element


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
    number = decimal.Decimal(text.removesuffix(" %").replace(",", ""))
    return float(number / 100 if text.endswith(" %") else number)


def _expanded(path: str, sets: dict[str, str]) -> Iterator[str]:
    """`a.{b,c}.d` -> a.b.d, a.c.d; the names of sets stand for their members."""
    match = _BRACES.fullmatch(path)
    if match is None:
        yield path
        return
    before, inside, after = match.groups()
    members = [one for name in inside.split(",") for one in sets.get(name, name).split(",")]
    yield from (path for name in members for path in _expanded(f"{before}{name}{after}", sets))


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
