"""Threads that take requests from a bounded queue and give outcomes, in any order.

A slot of the worker pool is served by one of them; a reward that waits for others has some of its own.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence

from r1jax.rewards.slot import Outcome, Request
from r1jax.rewards.verdicts import Reward, checked_scores

MOST_QUEUED = 4096  # requests that no thread has taken; then `put` waits


class Threads:
    """One thread for each of `handlers`, which they serve requests with.

    They are daemons: an interpreter that ends without close() is not held up, and with it the workers end.
    """

    def __init__(
        self,
        name: str,
        handlers: Sequence[Callable[[Request], Outcome]],
        outcomes: queue.SimpleQueue[Outcome],
    ):
        self._requests: queue.Queue[Request | None] = queue.Queue(MOST_QUEUED)
        self._outcomes = outcomes
        self._threads = [
            threading.Thread(target=self._serve, args=(handler,), name=f"{name}-{number}", daemon=True)
            for number, handler in enumerate(handlers)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, request: Request) -> None:
        """Queues a request; waits while MOST_QUEUED are in the queue."""
        self._requests.put(request)

    def tell_to_end(self) -> None:
        """Drops what no thread has taken; each thread ends when it comes back from its handler."""
        with contextlib.suppress(queue.Empty):
            while True:
                self._requests.get_nowait()
        for _ in self._threads:
            self._requests.put(None)

    def join(self, end: float | None = None) -> int:
        """Waits for their end, at most until `time.monotonic()` is `end`; the number of those that still run."""
        for thread in self._threads:
            thread.join(None if end is None else max(0.0, end - time.monotonic()))
        return sum(thread.is_alive() for thread in self._threads)

    def _serve(self, handle: Callable[[Request], Outcome]) -> None:
        while (request := self._requests.get()) is not None:
            try:
                outcome = handle(request)
            except BaseException as error:  # it belongs to whoever waits for the outcome, SystemExit too
                outcome = Outcome(request.number, error=error)
            self._outcomes.put(outcome)


def handler_of(name: str, reward: Reward) -> Callable[[Request], Outcome]:
    """What grades an item in this process; the exceptions of the reward are left to `Threads`."""

    def handle(request: Request) -> Outcome:
        start = time.monotonic()
        (score,) = checked_scores(name, reward, [request.message["item"]])
        return Outcome(request.number, result=score.to_json(), seconds=time.monotonic() - start)

    return handle
