"""The resolved config as text for people: indented, a line a field, what differs from the defaults told apart."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping
from typing import Any

INDENT = "  "
CLASS_KEY = "class"


@dataclasses.dataclass(frozen=True)
class ConfigLine:
    """A line of the text; `is_default` where the field has the value that it has if nothing is said."""

    text: str
    is_default: bool = False


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the config: its path, the class, and its lines."""

    path: str
    kind: str
    lines: tuple[ConfigLine, ...]


def sections(config_json: Mapping[str, Any], config: Any = None) -> list[Section]:
    """The whole of config.json: one section for the run's plain fields, one for each part, one for each stage.

    `config` is the same config as dataclasses, which know their defaults; None: no line is told to be a default.
    """
    plain, parts = [], []
    for key, value in _fields(config_json):
        inside = getattr(config, key, None)
        if isinstance(value, Mapping):
            parts.append(_section(key, value, inside))
        elif isinstance(value, list) and value and all(isinstance(one, Mapping) and "name" in one for one in value):
            members = inside if inside is not None else [None] * len(value)
            parts += [_section(f"{key}.{one['name']}", one, member) for one, member in zip(value, members, strict=True)]
        else:
            plain.append(ConfigLine(f"{key}: {_text(value)}", _is_default(config, key)))
    return [Section("run", str(config_json.get(CLASS_KEY, "")), tuple(plain)), *parts]


def _section(path: str, value: Mapping[str, Any], config: Any) -> Section:
    return Section(path, str(value.get(CLASS_KEY, "")), tuple(_lines(value, config, "")))


def _lines(value: Mapping[str, Any], config: Any, indent: str) -> Iterator[ConfigLine]:
    for key, inner in _fields(value):
        default = _is_default(config, key)
        inside = getattr(config, key, None)
        if isinstance(inner, Mapping):
            yield ConfigLine(f"{indent}{key}: {inner.get(CLASS_KEY, '')}".rstrip(), default)
            yield from _dimmed(_lines(inner, inside, indent + INDENT), default)
        elif isinstance(inner, list) and inner and all(isinstance(one, Mapping) for one in inner):
            yield ConfigLine(f"{indent}{key}:", default)
            members = inside if inside is not None else [None] * len(inner)
            for one, member in zip(inner, members, strict=True):
                yield ConfigLine(f"{indent}{INDENT}- {one.get(CLASS_KEY, '')}".rstrip(" "), default)
                yield from _dimmed(_lines(one, member, indent + 2 * INDENT), default)
        else:
            yield ConfigLine(f"{indent}{key}: {_text(inner)}", default)


def _fields(value: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    return ((key, inner) for key, inner in value.items() if key != CLASS_KEY)


def _dimmed(lines: Iterator[ConfigLine], default: bool) -> Iterator[ConfigLine]:
    """The lines below a field that is a default as a whole are defaults too, whatever their own are."""
    return (dataclasses.replace(line, is_default=line.is_default or default) for line in lines)


def _is_default(config: Any, key: str) -> bool:
    if not dataclasses.is_dataclass(config):
        return False
    field = next((one for one in dataclasses.fields(config) if one.name == key), None)
    if field is None or field.default is dataclasses.MISSING:
        return False
    return getattr(config, key) == field.default


def _text(value: Any) -> str:
    """Strings that need no quotes have none; lists stand on one line."""
    if isinstance(value, str) and value and value.isprintable() and value == value.strip():
        return value
    if isinstance(value, list):
        return "[" + ", ".join(_text(one) for one in value) + "]"
    return json.dumps(value, ensure_ascii=False)
