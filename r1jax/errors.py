"""The one kind of error that is the user's to mend; commands print it as one line, without a traceback."""

from __future__ import annotations


class UserError(ValueError):
    """Bad input: the text says what was expected, what was found and what to do."""
