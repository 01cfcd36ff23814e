"""Slots with a thread each: requests for workers in, outcomes out, in any order."""

from __future__ import annotations

import queue
from collections.abc import Sequence

from r1jax.config import RewardsConfig
from r1jax.rewards.slot import Outcome, Request, Slot
from r1jax.rewards.threads import Threads


class WorkerPool:
    """`config.workers` slots; a worker starts when its slot takes a first request."""

    def __init__(self, config: RewardsConfig, rewards: Sequence[str], outcomes: queue.SimpleQueue[Outcome]):
        self._slots = [Slot(config, rewards) for _ in range(config.workers)]
        self._threads = Threads("reward-slot", [slot.handle for slot in self._slots], outcomes)

    def put(self, request: Request) -> None:
        """Queues a request; waits while the queue is full."""
        self._threads.put(request)

    @property
    def ever_started(self) -> bool:
        """Whether any worker has ever come up."""
        return any(slot.ever_started for slot in self._slots)

    @property
    def respawns(self) -> int:
        """Workers that were killed at a deadline or died (recycled ones are not counted)."""
        return sum(slot.kills + slot.deaths for slot in self._slots)

    def close(self) -> None:
        """Kills all workers and waits until they are gone; requests without an outcome are dropped."""
        self._threads.tell_to_end()
        for slot in self._slots:
            slot.close()
        self._threads.join()
        for slot in self._slots:
            slot.end_worker()
