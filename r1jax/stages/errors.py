"""How a stage ends before its end."""

from __future__ import annotations

from r1jax.errors import UserError

EXIT_PREEMPTED = 75  # EX_TEMPFAIL: saved; the same command goes on from there


class TrainingError(UserError):
    """A run that cannot go on."""


class Preempted(SystemExit):
    """SIGTERM was answered: the state is saved and the same command goes on from it."""

    def __init__(self) -> None:
        super().__init__(EXIT_PREEMPTED)
