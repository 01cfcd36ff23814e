"""Rules of the user's own in stages that leave data: `module:function`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from r1jax.config import ConfigError


def rule_of(name: str, field: str) -> Callable[..., Any]:
    """The function of that name; ConfigError says what is wrong with it. `field` is where the config has it."""
    expected = f"{field}: expected module:function"
    module_name, colon, attribute = name.partition(":")
    if not colon or not all(part.isidentifier() for part in module_name.split(".")):
        raise ConfigError(f"{expected} with the module's full name, found {name!r}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, what it imports is not
        raise ConfigError(f"{expected} of a module that can be imported, found {name!r}: {error}") from error
    found = vars(module).get(attribute)
    if not callable(found):
        raise ConfigError(f"{expected}, a function called {attribute!r} in {module_name}, found {found!r}")
    return found
