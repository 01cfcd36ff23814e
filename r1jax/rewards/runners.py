"""Whatever grades apart from the caller's thread: worker processes, and threads for rewards that wait for others.

Each comes up with its first request. Their outcomes are handled in the caller's thread, one at a time.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import queue
import time
from collections.abc import Callable, Mapping

from r1jax.config import RewardsConfig
from r1jax.config.rewards import MOST_DEADLINE_SECONDS
from r1jax.rewards.pool import WorkerPool
from r1jax.rewards.slot import Outcome, Request, WorkerStartError
from r1jax.rewards.threads import Threads, handler_of
from r1jax.rewards.verdicts import Item, Reward

CLOSE_SECONDS = 5.0  # that threads have to come back; one that waits for longer ends when it does

log = logging.getLogger("r1jax.rewards")
Then = Callable[[Outcome], None]


class Runners:
    """Takes requests, and calls `then` with the outcome of each from `take`. For one thread."""

    def __init__(self, config: RewardsConfig, rewards: Mapping[str, Reward]):
        self._config = config
        self._rewards = rewards
        self._outcomes: queue.SimpleQueue[Outcome] = queue.SimpleQueue()
        self._numbers = itertools.count()
        self._then: dict[int, Then] = {}
        self._pool: WorkerPool | None = None
        self._threads: dict[str, Threads] = {}

    def score(self, name: str, item: Item, then: Then) -> None:
        """Asks for the score of an item by a reward with `isolation` or `threads`; waits while a queue is full."""
        isolation = self._rewards[name].isolation
        if isolation is not None and not isolation.tokens:
            item = dataclasses.replace(item, tokens=())
        message = {"operation": "score", "reward": name, "item": item}
        if isolation is None:
            self._send(self._threads_of(name), message, then)
            return
        seconds = 0.0 if isolation.seconds is None else isolation.seconds(item)
        control = None if isolation.control is None else message | {"operation": "control"}
        self._send(self._workers(), message, then, control, seconds)

    def equivalent(self, pair: tuple[str, str], then: Then) -> None:
        """Asks a worker whether two answers are equal in maths."""
        self._send(self._workers(), {"operation": "equivalent", "reward": "maths", "pair": pair}, then)

    def take(self, block: bool) -> bool:
        """Handles the next outcome; False when there is none yet and `block` is False.

        A start that has failed is an error when no worker has ever come up: then the installation is at fault, and
        grading cannot go on.
        """
        try:
            outcome = self._outcomes.get(block=block)
        except queue.Empty:
            return False
        if outcome.failed == "start" and not self._pool.ever_started:
            outcome = dataclasses.replace(outcome, error=WorkerStartError(outcome.detail))
        then = self._then.pop(outcome.number, None)
        if then is not None:  # else an interrupt has left nobody who waits for it
            then(outcome)
        return True

    def forget(self) -> None:
        """Nothing that is under way is called back any more."""
        self._then.clear()

    @property
    def respawns(self) -> int:
        """Workers that were killed at a deadline or died."""
        return 0 if self._pool is None else self._pool.respawns

    def close(self) -> None:
        """Ends all workers and threads; nothing is called back any more.

        A thread that waits for others ends where its reward's `close` sees to that; else, after CLOSE_SECONDS, it is
        left to end by itself.
        """
        self.forget()
        for threads in self._threads.values():
            threads.tell_to_end()
        if self._pool is not None:
            self._pool.close()
        for reward in self._rewards.values():
            if reward.close is not None:
                reward.close()
        end = time.monotonic() + CLOSE_SECONDS
        for name, threads in self._threads.items():
            waiting = threads.join(end)
            if waiting:
                log.warning("%s: %d threads still wait; they end with what they wait for", name, waiting)
        self._threads.clear()

    def _workers(self) -> WorkerPool:
        if self._pool is None:
            isolated = sorted(name for name, reward in self._rewards.items() if reward.isolation is not None)
            self._pool = WorkerPool(self._config, isolated, self._outcomes)
        return self._pool

    def _threads_of(self, name: str) -> Threads:
        if name not in self._threads:
            reward = self._rewards[name]
            handlers = [handler_of(name, reward)] * reward.threads
            self._threads[name] = Threads(f"reward-{name}", handlers, self._outcomes)
        return self._threads[name]

    def _send(
        self,
        place: WorkerPool | Threads,
        message: dict,
        then: Then,
        control: dict | None = None,
        seconds: float = 0.0,
    ) -> None:
        deadline = min(max(self._config.deadline_seconds, seconds), MOST_DEADLINE_SECONDS)
        request = Request(next(self._numbers), message, control, deadline)
        self._then[request.number] = then
        try:
            place.put(request)
        except BaseException:
            self._then.pop(request.number, None)
            raise
