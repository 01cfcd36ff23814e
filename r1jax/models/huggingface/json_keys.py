"""A JSON object of which every key must be accounted for: what a strict reader of `config.json` asks its values of."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable
from typing import Any

from r1jax.config.checks import ConfigError, check


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _same(a: Any, b: Any) -> bool:
    """Equal, and neither a truth value where the other is a number."""
    return a == b and isinstance(a, bool) == isinstance(b, bool)


class Keys:
    """The keys of one object, each marked as read when it is asked for; `finish` raises for those that are left.

    Every method raises ConfigError with the key's full name, what was expected and what was found. A number that may
    be absent may also be null: both give the default.

    Args:
      values: the object.
      prefix: the object's own name with a dot, for messages ("rope_scaling.").
    """

    def __init__(self, values: dict[str, Any], prefix: str = ""):
        self._values, self._prefix = values, prefix
        self._asked: set[str] = set()

    def __contains__(self, name: str) -> bool:
        return name in self._values

    def raw(self, name: str) -> Any:
        """The value as it stands; None where the key is absent."""
        self._asked.add(name)
        return self._values.get(name)

    def integer(self, name: str, default: int | None = None) -> int:
        """An integer; the key must be there unless it has a default."""
        return self._typed(name, _is_integer, "an integer", default)

    def integer_or_none(self, name: str) -> int | None:
        """An integer or null; absent is neither."""
        check(name in self, self._prefix + name, "an integer or null", None)
        value = self.raw(name)
        check(value is None or _is_integer(value), self._prefix + name, "an integer or null", value)
        return value

    def number(self, name: str, default: float | None = None) -> float:
        """A finite number; the key must be there unless it has a default."""
        return float(self._typed(name, _is_number, "a number", default))

    def number_or_none(self, name: str) -> float | None:
        """A finite number; None where the key is absent or null."""
        return None if self.raw(name) is None else self.number(name)

    def flag(self, name: str, default: bool | None = None) -> bool:
        """true or false, never null; the key must be there unless it has a default."""
        absent = default if name not in self else None
        return self._typed(name, lambda value: isinstance(value, bool), "true or false", absent)

    def text(self, name: str) -> str:
        """A string."""
        return self._typed(name, lambda value: isinstance(value, str), "a string", None)

    def object(self, name: str) -> Keys | None:
        """The keys of an object; None where the key is absent, null or the object empty."""
        value = self.raw(name)
        check(value is None or isinstance(value, dict), self._prefix + name, "an object or null", value)
        return Keys(value, f"{self._prefix}{name}.") if value else None

    def alias(self, name: str, other: str) -> str:
        """Whichever of two names for the same number the object has; having both, they must agree."""
        if name in self and other in self:
            self.only(other, self._values[name])
        return other if other in self and name not in self else name

    def only(self, *names_and_values: Any) -> None:
        """A key (the first argument) that may be absent, or have one of the values after it; no other is supported."""
        name, *allowed = names_and_values
        if name in self:
            value = self.raw(name)
            expected = " or ".join(repr(choice) for choice in allowed)
            holds = any(_same(value, choice) for choice in allowed)
            check(holds, self._prefix + name, f"{expected} (no other value is supported)", value)
        self._asked.add(name)

    def skip(self, known: Callable[[str], bool]) -> None:
        """Leaves out the keys for which `known` is true, whatever they say."""
        self._asked.update(name for name in self._values if known(name))

    def finish(self) -> None:
        """Raises ConfigError for a key that nothing has asked for: to overlook one could change the mathematics."""
        for name in sorted(self._values.keys() - self._asked):
            near = difflib.get_close_matches(name, self._asked, n=1, cutoff=0.75)
            hint = f"did you mean {near[0]!r}?" if near else "remove it if it changes nothing that is computed"
            raise ConfigError(
                f"{self._prefix}{name}: expected a key that this model_type is known to have, found "
                f"{self._values[name]!r}; {hint}"
            )

    def _typed(self, name: str, holds: Callable[[Any], bool], expected: str, default: Any) -> Any:
        value = self.raw(name)
        if value is None and default is not None:
            return default
        check(holds(value), self._prefix + name, expected, value)
        return value
