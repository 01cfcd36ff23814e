"""Configs as JSON: written beside a run, read back, hashed, and compared field by field.

The JSON of a config follows its declared types (a float field set to `1` is written `1.0`), so that equal
configs have equal JSON whichever way they were made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import types
import typing
from collections.abc import Mapping
from typing import Any

from r1jax.config import (
    collecting,
    data,
    evaluation,
    filters,
    learn,
    mesh,
    model,
    model_parts,
    policies,
    reward_models,
    rewards,
    rollout,
    run,
    searching,
    stages,
)
from r1jax.config.checks import ConfigError

_CLASSES: dict[str, type] = {
    name: value
    for module in (
        *(model_parts, model, mesh, learn, rewards, rollout, data, filters, evaluation),
        *(stages, policies, reward_models, collecting, searching, run),
    )
    for name, value in vars(module).items()
    if dataclasses.is_dataclass(value)
}
_CLASS_KEY = "class"  # a keyword of Python, so never the name of a field


def to_json(config: Any) -> dict[str, Any]:
    """The config as nested dicts, lists, numbers, strings and None, with each dataclass's name as `class`."""
    hints = typing.get_type_hints(type(config))
    fields = {
        field.name: _value_to_json(getattr(config, field.name), hints[field.name])
        for field in dataclasses.fields(config)
    }
    return {_CLASS_KEY: type(config).__name__, **fields}


def from_json(value: Mapping[str, Any]) -> Any:
    """The config that `to_json` wrote; validated again.

    Raises ConfigError for a class or a field that this version does not know; a field that it lacks takes its
    default.
    """
    name = value.get(_CLASS_KEY)
    if name not in _CLASSES:
        raise ConfigError(f"config: expected a class of r1jax.config, found {name!r}: written by another version?")
    cls = _CLASSES[name]
    hints = typing.get_type_hints(cls)
    known = {field.name for field in dataclasses.fields(cls)}
    unknown = sorted(set(value) - known - {_CLASS_KEY})
    if unknown:
        raise ConfigError(f"config: {name} has no field {', '.join(unknown)}: written by another version?")
    return cls(**{field: _value_from_json(value[field], hints[field]) for field in value if field in known})


def fingerprint(value: Any) -> str:
    """16 hex digits that are the same for equal configs (or equal JSON values) in every process."""
    as_json = to_json(value) if dataclasses.is_dataclass(value) else value
    text = json.dumps(as_json, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def differences(before: Any, after: Any, path: str = "") -> list[str]:
    """What differs between two JSON values, one line a field: `stages.zero.num_steps: 90 -> 120`.

    Elements of lists are called by their `name` where they have one, else by their index.
    """
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        keys = [*before, *(key for key in after if key not in before)]
        return [
            line
            for key in keys
            for line in _member_differences(before, after, key, f"{path}.{key}" if path else str(key))
        ]
    if isinstance(before, list) and isinstance(after, list):
        return differences(_named(before), _named(after), path)
    same = type(before) is type(after) and before == after
    return [] if same else [f"{path}: {_short(before)} -> {_short(after)}"]


def _member_differences(before: Mapping, after: Mapping, key: str, path: str) -> list[str]:
    if key not in after:
        return [f"{path}: {_short(before[key])} -> absent"]
    if key not in before:
        return [f"{path}: absent -> {_short(after[key])}"]
    return differences(before[key], after[key], path)


def _named(values: list) -> dict[str, Any]:
    names = [value.get("name") if isinstance(value, Mapping) else None for value in values]
    if None in names or len(set(names)) != len(names):
        return {str(index): value for index, value in enumerate(values)}
    return dict(zip(names, values, strict=True))


def _short(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."


def without_none(hint: Any) -> tuple[Any, bool]:
    """A type without its None, and whether it had one: `int | None` -> (int, True).

    Of several dataclasses (`ModelConfig | PretrainedConfig`) the first stands for all: a value knows its own class.
    """
    if typing.get_origin(hint) not in (typing.Union, types.UnionType):
        return hint, False
    members = [member for member in typing.get_args(hint) if member is not type(None)]
    if len(members) > 1 and not all(dataclasses.is_dataclass(member) for member in members):
        raise TypeError(f"a config field holds one type, or dataclasses, or None, not {hint}")
    return members[0], len(members) < len(typing.get_args(hint))


def element_hints(hint: Any, count: int) -> tuple[Any, ...]:
    """The types of the `count` elements of a tuple: `tuple[int, ...]` or `tuple[int, float]`."""
    arguments = typing.get_args(hint)
    return arguments[:1] * count if arguments[-1] is Ellipsis else arguments


def _value_to_json(value: Any, hint: Any) -> Any:
    hint, _ = without_none(hint)
    if dataclasses.is_dataclass(value):
        return to_json(value)
    if isinstance(value, tuple):
        hints = element_hints(hint, len(value))
        return [_value_to_json(element, hint) for element, hint in zip(value, hints, strict=True)]
    if hint is float and value is not None:
        return float(value)
    return value


def _value_from_json(value: Any, hint: Any) -> Any:
    hint, _ = without_none(hint)
    if isinstance(value, Mapping):
        return from_json(value)
    if isinstance(value, list):
        hints = element_hints(hint, len(value))
        return tuple(_value_from_json(element, hint) for element, hint in zip(value, hints, strict=True))
    return value
