"""What a record is: a plain JSON-able dict with an `id`, fields of r1jax.config.data.FIELDS and free keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from r1jax.errors import UserError

Record = dict[str, Any]


class DataError(UserError):
    """Data that cannot be used as it is; its text is one line for the user."""


def require(record: Mapping[str, Any], field: str) -> Any:
    """The value of `field`; DataError names the record and the fields it has when it is absent or None."""
    value = record.get(field)
    if value is None:
        present = ", ".join(key for key, found in record.items() if found is not None) or "none"
        raise DataError(f"record {record.get('id', '?')}: expected the field {field!r}, found {present}")
    return value
