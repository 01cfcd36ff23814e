"""The reward service: completions in as they finish, verdicts out in any order.

Rewards without isolation run at once, in the caller's process. The others are decided at once where strings
and numbers suffice, and else by worker processes that can be killed (see `slot` for deadlines and faults), so
that grading overlaps with sampling. Which failure means what:

| what happened                                       | status               | value                |
| --------------------------------------------------- | -------------------- | -------------------- |
| deadline, memory or a death, the gold alone is fine | over_limit           | the reward's lowest  |
| an exception, the gold alone is fine                | wrong                | the reward's lowest  |
| the gold does not parse, or fails alone             | verifier_error       | none: masked         |
| a worker does not start again                       | infrastructure_error | none: masked         |
| no worker has ever started                          | raises WorkerStartError                     |

A reward sees to its own exceptions first: what math-verify swallows (see `maths`) is no failure here.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import queue
import time
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from typing import Any

from r1jax.config import RewardsConfig
from r1jax.rewards import maths, routing
from r1jax.rewards.health import Health
from r1jax.rewards.pool import WorkerPool
from r1jax.rewards.slot import Outcome
from r1jax.rewards.verdicts import Item, Reward, Score, Status, Verdict, checked_scores

REMEMBERED = 8192  # results of workers that are kept: wrong answers repeat within a group
LOGGED_FAILURES = 20  # a line each, then silence: `health` has the rates

log = logging.getLogger("r1jax.rewards")


@dataclasses.dataclass(eq=False)  # hashed by identity
class _Pending:
    """An item on its way: the scores so far (in the set's order), and what it has cost."""

    key: Hashable
    reward_set: str
    scores: dict[str, Score | None]
    seconds: float = 0.0
    in_worker: bool = False
    verdict: Verdict | None = None
    dropped: bool = False  # nobody waits for it any more


class RewardService:
    """Scores items by the reward set that their record names. To be used by one thread, as a context manager.

    ConfigError at once for a reward that does not exist.
    """

    def __init__(self, config: RewardsConfig):
        self._config = config
        self._sets = routing.resolve_sets(config)
        self._pool: WorkerPool | None = None
        self._closed = False
        self._on_outcome: dict[int, Callable[[Outcome], None]] = {}
        self._waiting: dict[Hashable, list[_Pending]] = {}  # items of a key that is being graded
        self._remembered: dict[Hashable, Score] = {}
        self._same: dict[tuple[str, str], bool] = {}  # what `equivalent` has found out
        self._unfinished: set[_Pending] = set()
        self._ready: collections.deque[_Pending] = collections.deque()
        self._health = Health()
        self._failures = 0

    def __enter__(self) -> RewardService:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Ends all workers; items without a verdict are dropped."""
        self._closed = True
        if self._pool is not None:
            self._pool.close()
        for abandoned in (self._on_outcome, self._waiting, self._unfinished):
            abandoned.clear()

    def weights_at(self, step: int) -> dict[str, dict[str, float]]:
        """Reward set -> reward -> weight in force at `step`; `Verdict.total` takes those of its set."""
        return routing.weights_at(self._config, step)

    # Scoring.

    def submit(self, key: Hashable, item: Item) -> None:
        """Takes one item; `results` gives its verdict back under `key`."""
        self.submit_batch([(key, item)])

    def submit_batch(self, items: Iterable[tuple[Hashable, Item]]) -> None:
        """Takes items together: a reward of the caller's process is called once with all of its set.

        A reward that compares completions (within `Item.group`) needs its group submitted so. An exception
        drops the whole batch: UserError for a record that lacks a field, RewardError for a reward that breaks
        its contract, whatever a reward in this process raises. (What was graded by then counts in `health`.)
        """
        self._take(items)

    def _take(self, items: Iterable[tuple[Hashable, Item]]) -> list[_Pending]:
        self._require_open()
        of_set: dict[str, list[tuple[_Pending, Item]]] = {}
        taken = []
        for key, item in items:
            name = routing.set_of(item.record, self._sets)
            taken.append(_Pending(key, name, dict.fromkeys(self._sets[name])))
            of_set.setdefault(name, []).append((taken[-1], item))
        self._unfinished.update(taken)
        try:
            for name, members in of_set.items():
                self._score_members(name, members)
        except Exception:
            self._drop(taken)
            raise
        return taken

    def results(self, block: bool) -> Iterator[tuple[Hashable, Verdict]]:
        """Verdicts that are ready, in any order; with `block` all of those submitted.

        Raises RewardError for a reward that breaks its contract, WorkerStartError when no worker can start:
        the item that showed it is dropped.
        """
        while True:
            while self._ready:
                pending = self._ready.popleft()
                yield pending.key, pending.verdict
            if not self._unfinished or not self._take_outcome(block):
                return

    def score(self, items: Sequence[Item]) -> list[Verdict]:
        """The verdicts of `items`, in their order, as one batch; raises as `submit_batch` and `results` do."""
        mine = self._take((None, item) for item in items)
        try:
            for pending in mine:
                while pending in self._unfinished:
                    self._take_outcome(block=True)
            return [pending.verdict for pending in mine]
        finally:
            self._drop(mine)  # their verdicts are given here or, after an exception, not at all

    def equivalent(self, pairs: Sequence[tuple[str, str]]) -> list[bool | None]:
        """Whether the two answers of each pair are equal, either taken for the gold; None: cannot tell."""
        left_over: set[tuple[str, str]] = set()
        found: dict[tuple[str, str], bool | None] = {}

        def store(pair: tuple[str, str], outcome: Outcome) -> None:
            if outcome.error is not None:
                raise outcome.error
            left_over.discard(pair)
            found[pair] = outcome.result
            if outcome.failed is None:
                _remember(self._same, pair, outcome.result)

        sorted_pairs = [(min(pair), max(pair)) for pair in pairs]
        for pair in dict.fromkeys(sorted_pairs):
            found[pair] = self._same[pair] if pair in self._same else maths.fast_equal(*pair)
            if found[pair] is None:
                left_over.add(pair)
                message = {"operation": "equivalent", "reward": "maths", "pair": pair}
                self._ask(message, None, lambda outcome, p=pair: store(p, outcome))
        while left_over:
            self._take_outcome(block=True)
        return [found[pair] for pair in sorted_pairs]

    def health(self) -> dict[str, float]:
        """How grading goes: the figures of `Health.figures`, `respawns` of workers, and items `waiting`."""
        return self._health.figures() | {
            "respawns": 0 if self._pool is None else self._pool.respawns,
            "waiting": len(self._unfinished),
        }

    # One reward of one item.

    def _score_members(self, reward_set: str, members: Sequence[tuple[_Pending, Item]]) -> None:
        for name, reward in self._sets[reward_set].items():
            if reward.isolation is None:
                self._score_here(name, reward, members)
            else:
                for pending, item in members:
                    self._score_apart(name, reward, pending, item)

    def _score_here(self, name: str, reward: Reward, members: Sequence[tuple[_Pending, Item]]) -> None:
        start = time.monotonic()
        scores = checked_scores(name, reward, [item for _, item in members])
        seconds = (time.monotonic() - start) / len(members)
        for (pending, _), score in zip(members, scores, strict=True):
            self._deliver(pending, name, score, seconds)

    def _score_apart(self, name: str, reward: Reward, pending: _Pending, item: Item) -> None:
        start = time.monotonic()
        score = reward.isolation.quick(item)
        if score is not None:
            self._deliver(pending, name, score, time.monotonic() - start)
            return
        pending.in_worker = True
        own_key = reward.isolation.key(item)
        key = (name, object() if own_key is None else own_key)
        if key in self._remembered:
            self._deliver(pending, name, self._remembered[key], time.monotonic() - start)
        elif key in self._waiting:
            self._waiting[key].append(pending)
        else:
            message = {"operation": "score", "reward": name, "item": dataclasses.asdict(item)}
            control = message | {"operation": "control"} if reward.isolation.control is not None else None
            shared = own_key is not None
            self._ask(message, control, lambda outcome: self._take_score(key, shared, reward, item, outcome))
            self._waiting[key] = [pending]

    def _take_score(
        self, key: tuple[str, Hashable], shared: bool, reward: Reward, item: Item, outcome: Outcome
    ) -> None:
        name, waiting = key[0], self._waiting.pop(key)
        if outcome.error is not None:
            self._drop(waiting)
            raise outcome.error
        score = score_of(outcome, reward)
        if outcome.failed is not None:
            self._log_failure(name, item, score, outcome)
        if shared and score.value is not None:
            _remember(self._remembered, key, score)
        for pending in waiting:
            self._deliver(pending, name, score, outcome.seconds)

    def _deliver(self, pending: _Pending, name: str, score: Score, seconds: float) -> None:
        pending.scores[name] = score
        pending.seconds += seconds
        if pending.dropped or any(one is None for one in pending.scores.values()):
            return
        self._unfinished.discard(pending)
        pending.verdict = Verdict(pending.scores, pending.reward_set)
        self._ready.append(pending)
        self._health.record(pending.verdict, pending.seconds, pending.in_worker)

    def _drop(self, items: Iterable[_Pending]) -> None:
        for pending in items:
            pending.dropped = True
            self._unfinished.discard(pending)
        self._ready = collections.deque(pending for pending in self._ready if not pending.dropped)

    # Workers.

    def _require_open(self) -> None:
        if self._closed:
            raise RuntimeError("the reward service is closed")

    def _ask(self, message: dict, control: dict | None, on_outcome: Callable[[Outcome], None]) -> None:
        self._require_open()
        if self._pool is None:
            isolated = {
                name
                for rewards in self._sets.values()
                for name, reward in rewards.items()
                if reward.isolation is not None
            }
            self._pool = WorkerPool(self._config, sorted(isolated))
        self._on_outcome[self._pool.put(message, control)] = on_outcome

    def _take_outcome(self, block: bool) -> bool:
        """Handles the next outcome; False when there is none yet."""
        try:
            outcome = self._pool.get(block)
        except queue.Empty:
            return False
        self._on_outcome.pop(outcome.number)(outcome)
        return True

    def _log_failure(self, name: str, item: Item, score: Score, outcome: Outcome) -> None:
        self._failures += 1
        if self._failures <= LOGGED_FAILURES:
            words = (outcome.detail.strip().splitlines() or [""])[-1]
            log.warning("%s, record %r: %s (%s)", name, item.record.get("id"), score.status.value, words)


def score_of(outcome: Outcome, reward: Reward) -> Score:
    """What an outcome means: the table at the head of this file."""
    if outcome.failed is None:
        return Score.from_json(outcome.result)
    if outcome.failed == "start":
        return Score(None, Status.INFRASTRUCTURE_ERROR)
    if outcome.failed == "grader" or reward.isolation.control is None:
        return Score(None, Status.VERIFIER_ERROR)
    return Score(reward.low, Status.WRONG if outcome.failed == "crash" else Status.OVER_LIMIT)


def _remember(store: dict[Hashable, Any], key: Hashable, value: Any) -> None:
    """Keeps the latest REMEMBERED entries."""
    store[key] = value
    if len(store) > REMEMBERED:
        store.pop(next(iter(store)))
