"""What can be wrong with a folder of weights."""

from __future__ import annotations

from r1jax.errors import UserError


class WeightsError(UserError):
    """A folder of weights that cannot be read, does not fit its model or cannot be written; one line for the user."""
