"""What a stage takes from earlier ones: fields that name stages, wherever in its config they stand."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, Literal

from r1jax.config.data import DataConfig

Leaves = Literal["policy", "reward_model", "data"]  # what a stage leaves for later ones

_LEAVES = "leaves"


def names_stages(default: Any = dataclasses.MISSING, *, leaves: Leaves = "policy") -> Any:
    """A field that holds the name of an earlier stage that leaves this, or a tuple of such names.

    That of a policy may also be a folder.
    """
    return dataclasses.field(default=default, metadata={_LEAVES: leaves})


def references(config: Any) -> Iterator[str]:
    """Every name of a stage in a config: in fields of `names_stages`, and of data that a stage has left."""
    for name, _ in wanted(config):
        yield name


def wanted(config: Any) -> Iterator[tuple[str, Leaves]]:
    """As `references`, each name with what its stage must leave."""
    if isinstance(config, DataConfig) and config.kind == "stage":
        yield config.name, "data"
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        if (leaves := field.metadata.get(_LEAVES)) and value is not None:
            for name in (value,) if isinstance(value, str) else value:
                yield name, leaves
        for one in _configs(value):
            yield from wanted(one)


def stage_data(config: Any) -> Iterator[DataConfig]:
    """Every source in a config that is the data set of an earlier stage."""
    if isinstance(config, DataConfig) and config.kind == "stage":
        yield config
    for field in dataclasses.fields(config):
        for one in _configs(getattr(config, field.name)):
            yield from stage_data(one)


def _configs(value: Any) -> Iterator[Any]:
    for one in value if isinstance(value, tuple) else (value,):
        if dataclasses.is_dataclass(one):
            yield one
