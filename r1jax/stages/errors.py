"""How a stage ends before its end."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType

from r1jax.errors import UserError

EXIT_PREEMPTED = 75  # EX_TEMPFAIL: saved; the same command goes on from there


class TrainingError(UserError):
    """A run that cannot go on."""


class Preempted(SystemExit):
    """SIGTERM was answered: the state is saved and the same command goes on from it."""

    def __init__(self) -> None:
        super().__init__(EXIT_PREEMPTED)


@contextlib.contextmanager
def preemptible() -> Iterator[None]:
    """SIGTERM raises Preempted wherever it comes: around what can be made again.

    Loops that end a step or a batch first have handlers of their own inside.
    """
    came = False

    def on_sigterm(signum: int, frame: FrameType | None) -> None:
        nonlocal came
        if not came:
            came = True
            raise Preempted

    previous = signal.signal(signal.SIGTERM, on_sigterm)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
    if came:
        raise Preempted  # what was raised before was lost, as in the end of an object
