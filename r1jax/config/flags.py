"""The setter behind `--config.path.to.field=value`.

Values are read by the field's declared type:

| type | written as |
| --- | --- |
| int, float, str | `40`, `3e-4`, `any text` |
| bool | `true` or `false` |
| Literal | one of its options |
| anything that may be None | `none` |
| tuple | elements by commas; pairs by colons: `question:Question,answer:Answer` |
| Schedule | `0.7`, or held points `0:1.0,8200:0.7`, or `linear:0:1.0,100:0.0` |

A tuple of configs is entered by an element's `name` or index: `stages.zero.num_steps`,
`rewards.sets.default.rewards.0.weight`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
import typing
from collections.abc import Sequence
from typing import Any, Literal

from r1jax.config.checks import ConfigError
from r1jax.config.learn import Schedule
from r1jax.config.serialize import element_hints, without_none

_PREFIX = "config."
_BOOLS = {"true": True, "false": False}


def parse(argv: Sequence[str], prefix: str = _PREFIX) -> tuple[list[tuple[str, str]], list[str]]:
    """Takes `--config.path=value` (or arguments of another prefix) out of a command line.

    Returns the overrides as (path, value) in their order, and the arguments that are left for absl.
    Raises ConfigError where such an argument has no `=`. What follows a bare `--` is left alone.
    """
    overrides: list[tuple[str, str]] = []
    remaining: list[str] = []
    for index, argument in enumerate(argv):
        if argument == "--":
            remaining.extend(argv[index:])
            break
        bare = argument.lstrip("-")
        if argument == bare or not bare.startswith(prefix):
            remaining.append(argument)
            continue
        path, equals, value = bare.removeprefix(prefix).partition("=")
        if not equals:
            raise ConfigError(f"{argument}: expected --{prefix}{path}=value, found no '='")
        overrides.append((path, value))
    return overrides, remaining


def apply(config: Any, overrides: Sequence[tuple[str, str]]) -> Any:
    """The config with every (dotted path, text) set; of two for the same path the later one counts.

    All overrides are set at once, each dataclass being validated once, so that fields which depend on each
    other (`validation` and `validate_every`) may be given in any order.
    Raises ConfigError: unknown field (with the nearest name), value of another type, or whatever the config's
    own validation says.
    """
    tree: dict[str, Any] = {}
    for path, text in overrides:
        node = tree
        *parents, leaf = path.split(".")
        for name in parents:
            node = node.setdefault(name, {})
        node.setdefault(leaf, {})[_VALUE] = text
    return _rebuild(config, tree, "")


# The key of a path's own text, beside the names below it; no name of a path is empty.
_VALUE = ""


def _rebuild(config: Any, tree: dict[str, Any], path: str) -> Any:
    hints = typing.get_type_hints(type(config))
    names = [field.name for field in dataclasses.fields(config)]
    changes = {}
    for name, subtree in tree.items():
        at = _join(path, name)
        if name not in names:
            raise ConfigError(_unknown(at, name, names, "field", type(config).__name__))
        changes[name] = _changed(getattr(config, name), subtree, hints[name], at)
    return dataclasses.replace(config, **changes)


def _changed(value: Any, subtree: dict[str, Any], hint: Any, path: str) -> Any:
    if _VALUE in subtree:
        value = read(subtree[_VALUE], hint, path)
    below = {name: node for name, node in subtree.items() if name != _VALUE}
    if not below:
        return value
    first = next(iter(below))
    if dataclasses.is_dataclass(value):
        return _rebuild(value, below, path)
    if isinstance(value, tuple) and all(dataclasses.is_dataclass(element) for element in value):
        return _rebuild_elements(value, below, path)
    if value is None:
        raise ConfigError(
            f"--config.{_join(path, first)}: {path} is None here; give it a value in the config file first"
        )
    raise ConfigError(f"--config.{_join(path, first)}: {path} is {value!r}, which has no fields")


def _rebuild_elements(elements: tuple, tree: dict[str, Any], path: str) -> tuple:
    names = [getattr(element, "name", None) for element in elements]
    changed = list(elements)
    for name, subtree in tree.items():
        at = _join(path, name)
        if name in names:
            index = names.index(name)
        elif name.isdecimal() and int(name) < len(elements):
            index = int(name)
        else:
            known = [str(index) if one is None else one for index, one in enumerate(names)]
            raise ConfigError(_unknown(at, name, known, "element", path))
        changed[index] = _changed(changed[index], subtree, type(changed[index]), at)
    return tuple(changed)


def _unknown(path: str, name: str, names: Sequence[str], kind: str, owner: str) -> str:
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    hint = f"did you mean {near[0]!r}? " if near else ""
    return f"--config.{path}: {owner} has no {kind} {name!r}; {hint}It has: {', '.join(names)}"


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name


def read(text: str, hint: Any, path: str) -> Any:
    """The value that `text` writes for a field of type `hint`; ConfigError names `path` and the type."""
    inner, optional = without_none(hint)
    if optional and text.strip().lower() == "none":
        return None
    origin = typing.get_origin(inner)
    if origin is Literal:
        options = {str(option): option for option in typing.get_args(inner)}
        return _expect(options.get(text), f"one of {', '.join(options)}", text, path, optional)
    if origin is tuple:
        return _read_tuple(text, inner, path, ",")
    if inner is Schedule:
        return _read_schedule(text, path)
    if inner in _READERS:
        reader, expected = _READERS[inner]
        return _expect(reader(text), expected, text, path, optional)
    if dataclasses.is_dataclass(inner):
        fields = ", ".join(field.name for field in dataclasses.fields(inner))
        either = "'none' or its fields" if optional else "its fields"
        raise ConfigError(f"--config.{path}: expected {either} one by one ({fields}), found {text!r}")
    raise TypeError(f"config field {path} has a type that flags cannot set: {hint}")


def _read_bool(text: str) -> bool | None:
    return _BOOLS.get(text.strip().lower())


def _read_int(text: str) -> int | None:
    try:
        return int(text)
    except ValueError:
        return None


def _read_float(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


_READERS = {
    bool: (_read_bool, "true or false"),
    int: (_read_int, "an integer"),
    float: (_read_float, "a finite number"),
    str: (str, "text"),
}


def _expect(value: Any, expected: str, text: str, path: str, optional: bool) -> Any:
    if value is None:
        raise ConfigError(f"--config.{path}: expected {expected}{' or none' if optional else ''}, found {text!r}")
    return value


def _read_tuple(text: str, hint: Any, path: str, separator: str) -> tuple:
    parts = text.split(separator) if text else []
    hints = element_hints(hint, len(parts))
    if len(hints) != len(parts):
        raise ConfigError(f"--config.{path}: expected {len(hints)} values separated by {separator!r}, found {text!r}")
    return tuple(
        _read_tuple(part, hint, path, ":") if typing.get_origin(hint) is tuple else read(part, hint, path)
        for part, hint in zip(parts, hints, strict=True)
    )


def _read_schedule(text: str, path: str) -> Schedule:
    interpolation: Literal["hold", "linear"] = "linear" if text.startswith("linear:") else "hold"
    points = text.removeprefix("linear:")
    if ":" not in points:
        points = f"0:{points}"
    try:
        return Schedule(_read_tuple(points, tuple[tuple[int, float], ...], path, ","), interpolation)
    except ConfigError as error:
        raise ConfigError(
            f"--config.{path}: expected a number, or step:value points from step 0 on like 0:1.0,100:0.5 "
            f"(linear:0:1.0,100:0.5 to interpolate), found {text!r}"
        ) from error
