"""The one way a config says that a value is wrong."""

from __future__ import annotations

from typing import Any

from r1jax.errors import UserError


class ConfigError(UserError):
    """A config or command line that cannot be run; its text is one line for the user."""


def check(holds: bool, field: str, expected: str, found: Any) -> None:
    """Raises ConfigError naming the field, what was expected and what was found."""
    if not holds:
        raise ConfigError(f"{field}: expected {expected}, found {found!r}")
