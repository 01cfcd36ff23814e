"""Rewards that are graded apart from the caller's thread: what is sent there, and what comes of it.

An isolated reward first tries its quick way. What that leaves is sent once for all items of a key. Which failure of a
worker means what:

| what happened                                       | status               | value                |
| --------------------------------------------------- | -------------------- | -------------------- |
| deadline, memory or a death, the gold alone is fine | over_limit           | the reward's lowest  |
| an exception, the gold alone is fine                | wrong                | the reward's lowest  |
| the gold does not parse, or fails alone             | verifier_error       | none: masked         |
| a worker does not start again                       | infrastructure_error | none: masked         |
| no worker has ever started                          | raises WorkerStartError                     |

A reward sees to its own exceptions first: what math-verify swallows (see `maths`) is no failure here. Whatever a reward
in a thread raises is raised in the caller.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

from r1jax.rewards.pending import Pending
from r1jax.rewards.runners import Runners
from r1jax.rewards.slot import Outcome
from r1jax.rewards.verdicts import Item, Reward, Score, Status

REMEMBERED = 8192  # results of workers that are kept: wrong answers repeat within a group
MOST_LOGGED_CHARS = 300  # of one: an exception's text may hold the whole completion
LOGGED_FAILURES = 20  # a line each, then silence: the service's `health` has the rates

log = logging.getLogger("r1jax.rewards")


class Apart:
    """Scores items by rewards that are isolated or run in threads, one item at a time.

    Each score goes to `deliver(item, reward, score, seconds)`; before an exception goes to the caller of
    `Runners.take`, the items that it leaves without a score go to `drop`.
    """

    def __init__(
        self,
        runners: Runners,
        rewards: Mapping[str, Reward],
        deliver: Callable[[Pending, str, Score, float], None],
        drop: Callable[[Iterable[Pending]], None],
    ):
        self._runners = runners
        self._rewards = rewards
        self._deliver = deliver
        self._drop = drop
        self._waiting: dict[Hashable, list[Pending]] = {}  # items of a key that is being graded
        self._remembered: dict[Hashable, Score] = {}
        self._failures = 0

    def score(self, name: str, pending: Pending) -> None:
        """Scores an item by that reward, at once or later."""
        start = time.monotonic()
        isolation = self._rewards[name].isolation
        own_key = None
        if isolation is not None:
            score = isolation.quick(pending.item)
            if score is not None:
                self._deliver(pending, name, score, time.monotonic() - start)
                return
            pending.in_worker = True
            own_key = isolation.key(pending.item)
        key = (name, object() if own_key is None else own_key)
        if key in self._remembered:
            self._deliver(pending, name, self._remembered[key], time.monotonic() - start)
        elif key in self._waiting:
            self._waiting[key].append(pending)
        else:
            try:
                self._waiting[key] = [pending]
                self._runners.score(
                    name, pending.item, lambda outcome: self._take_score(key, own_key is not None, outcome)
                )
            except BaseException:
                self._waiting.pop(key, None)
                raise

    def close(self) -> None:
        """Forgets the items on their way."""
        self._waiting.clear()

    def _take_score(self, key: tuple[str, Hashable], shared: bool, outcome: Outcome) -> None:
        name, waiting = key[0], self._waiting.pop(key)
        if outcome.error is not None:
            self._drop(waiting)
            raise outcome.error
        score = score_of(outcome, self._rewards[name])
        if outcome.failed is not None:
            self._log_failure(name, waiting[0].item, score, outcome)
        if shared and score.value is not None:
            remember(self._remembered, key, score)
        for pending in waiting:
            self._deliver(pending, name, score, outcome.seconds)

    def _log_failure(self, name: str, item: Item, score: Score, outcome: Outcome) -> None:
        self._failures += 1
        if self._failures <= LOGGED_FAILURES:
            words = (outcome.detail.strip().splitlines() or [""])[-1]
            log.warning(
                "%s, record %r: %s (%s)", name, item.record.get("id"), score.status.value, words[:MOST_LOGGED_CHARS]
            )


def score_of(outcome: Outcome, reward: Reward) -> Score:
    """What an outcome means: the table at the head of this file."""
    if outcome.failed is None:
        return Score.from_json(outcome.result)
    if outcome.failed == "start":
        return Score(None, Status.INFRASTRUCTURE_ERROR)
    if outcome.failed == "grader" or reward.isolation.control is None:
        return Score(None, Status.VERIFIER_ERROR)
    return Score(reward.low, Status.WRONG if outcome.failed == "crash" else Status.OVER_LIMIT)


def remember(store: dict[Hashable, Any], key: Hashable, value: Any) -> None:
    """Keeps the latest REMEMBERED entries."""
    store[key] = value
    if len(store) > REMEMBERED:
        store.pop(next(iter(store)))
