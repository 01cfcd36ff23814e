"""Slots with a thread each: requests in, outcomes out, in any order."""

from __future__ import annotations

import dataclasses
import itertools
import queue
import threading
from collections.abc import Sequence

from r1jax.config import RewardsConfig
from r1jax.rewards.slot import Outcome, Request, Slot, WorkerStartError


class WorkerPool:
    """`config.workers` slots; a worker starts when its slot takes a first request."""

    def __init__(self, config: RewardsConfig, rewards: Sequence[str]):
        self._slots = [Slot(config, rewards) for _ in range(config.workers)]
        self._requests: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._numbers = itertools.count()
        # Daemons: an interpreter that ends without close() is not held up, and its end is the workers' end.
        self._threads = [
            threading.Thread(target=self._serve, args=(slot,), name=f"reward-slot-{number}", daemon=True)
            for number, slot in enumerate(self._slots)
        ]
        for thread in self._threads:
            thread.start()

    def put(self, message: dict, control: dict | None = None) -> int:
        """Queues a request and returns its number."""
        number = next(self._numbers)
        self._requests.put(Request(number, message, control))
        return number

    def get(self, block: bool) -> Outcome:
        """The next outcome; queue.Empty when there is none and `block` is False.

        Its error is a WorkerStartError when no worker has ever come up: then the installation is at fault, and
        grading cannot go on.
        """
        outcome = self._outcomes.get(block=block)
        if outcome.failed == "start" and not any(slot.ever_started for slot in self._slots):
            return dataclasses.replace(outcome, error=WorkerStartError(outcome.detail))
        return outcome

    @property
    def respawns(self) -> int:
        """Workers that were killed at a deadline or died (recycled ones are not counted)."""
        return sum(slot.kills + slot.deaths for slot in self._slots)

    def close(self) -> None:
        """Kills all workers and waits until they are gone; requests without an outcome are dropped."""
        while not self._requests.empty():
            try:
                self._requests.get_nowait()
            except queue.Empty:  # a slot was quicker
                break
        for slot in self._slots:
            self._requests.put(None)
            slot.close()
        for thread in self._threads:
            thread.join()

    def _serve(self, slot: Slot) -> None:
        try:
            while (request := self._requests.get()) is not None:
                try:
                    outcome = slot.handle(request)
                except Exception as error:  # a bug: it belongs to whoever waits for the outcome
                    outcome = Outcome(request.number, error=error)
                self._outcomes.put(outcome)
        finally:
            slot.end_worker()
