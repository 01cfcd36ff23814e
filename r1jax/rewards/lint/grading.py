"""How the lint asks a reward: as a run does, but so that an exception or a hang is a finding and not the end."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import gc
import itertools
import re
import signal
import threading
import time
import zlib
from collections.abc import Iterator, Sequence

from r1jax.config import RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.errors import UserError
from r1jax.rewards.lint.probes import Probe
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Reward, RewardError, Score, Status, checked_scores

PIECES = re.compile(r"\w{1,4}|\W", re.DOTALL)  # about as long as a tokenizer's
VOCABULARY = 100_000
GROUP_SECONDS = 4.0  # for a pair of completions, by a reward that runs in this process
BATCH_SECONDS = 60.0


class Hang(Exception):
    """A reward that runs in this process did not come back in time."""


Outcome = Score | Exception


def item_of(probe: Probe, completion: str, right: bool, *, group: int = 0, truncated: bool = False) -> Item:
    """A completion with the facts that a run knows of it; `right`: what a judging reward says, for those after it."""
    tokens = tuple(
        zlib.crc32(piece.encode(errors="surrogatepass")) % VOCABULARY for piece in PIECES.findall(completion)
    )
    judged = Status.CORRECT if right else Status.WRONG
    return Item(probe.record, completion, group, len(tokens), truncated, tokens, judged)


@functools.lru_cache(maxsize=256)
def tokens_of(text: str) -> tuple[int, ...]:
    """Ids of something like a tokenizer's pieces."""
    return tuple(map(_token, PIECES.findall(text)))


@functools.lru_cache(maxsize=VOCABULARY)
def _token(piece: str) -> int:
    return zlib.crc32(piece.encode(errors="surrogatepass")) % VOCABULARY


class Grader:
    """Asks one reward. A context manager: rewards that a run isolates get their workers."""

    def __init__(self, name: str, reward: Reward, config: RewardsConfig):
        self._name = name
        self._reward = reward
        sets = (RewardSetConfig("default", (RewardConfig(name),)),)
        self._config = dataclasses.replace(config, sets=sets)
        self._service: RewardService | None = None

    def __enter__(self) -> Grader:
        if self._reward.isolation is not None:
            self._service = RewardService(self._config).__enter__()
        return self

    def __exit__(self, *exception) -> None:
        if self._service is not None:
            self._service.close()

    @property
    def here(self) -> bool:
        """Whether the reward runs in this process and thread."""
        return self._reward.isolation is None and self._reward.threads == 0

    def ask(self, items: Sequence[Item]) -> list[Outcome]:
        """A score, or what was raised in its place, for each; items of one group are scored together."""
        try:
            return self._scores(items, BATCH_SECONDS)
        except Exception:  # by which of them?
            groups = itertools.groupby(items, key=lambda item: item.group)
            return [outcome for _, group in groups for outcome in self._ask_group(list(group))]

    def seconds(self, item: Item) -> float:
        """CPU time of one item, for a reward that runs here; Hang after GROUP_SECONDS.

        Without the garbage collector, whose time grows with all that the process holds besides.
        """
        collecting = gc.isenabled()
        gc.disable()
        try:
            start = time.process_time()
            self._scores([item], GROUP_SECONDS)
            return time.process_time() - start
        finally:
            if collecting:
                gc.enable()

    def _ask_group(self, items: Sequence[Item]) -> list[Outcome]:
        try:
            return self._scores(items, GROUP_SECONDS)
        except Exception as error:
            if len(items) == 1:
                return [error]
        # Which of the group raised? The others are told so, too.
        return [outcome for item in items for outcome in self._ask_group([item])]

    def _scores(self, items: Sequence[Item], limit_seconds: float) -> list[Score]:
        if self._service is not None:
            records = [dataclasses.replace(item, record=_without_set(item.record)) for item in items]
            return [verdict.scores[self._name] for verdict in self._service.score(records)]
        if not self.here:  # it sees to its own deadlines, one item at a time
            return [score for item in items for score in checked_scores(self._name, self._reward, [item])]
        with time_limit(limit_seconds):
            return checked_scores(self._name, self._reward, items)


def is_refusal(outcome: Outcome) -> bool:
    """Whether a reward said, as it should, that a record is none of its own."""
    return isinstance(outcome, UserError) and not isinstance(outcome, RewardError)


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raises Hang in the body after `seconds` of CPU, or ten times as long on the clock: other programs may be running.

    Only in a main thread, and only where Python itself computes.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def ring(number: int, frame: object) -> None:
        raise Hang(f"it did not come back within {seconds:g} s")

    clocks = ((signal.ITIMER_PROF, signal.SIGPROF, seconds), (signal.ITIMER_REAL, signal.SIGALRM, 10 * seconds))
    before = [(number, signal.signal(number, ring)) for _, number, _ in clocks]
    for clock, _, limit in clocks:
        signal.setitimer(clock, limit)
    try:
        yield
    finally:
        for clock, _, _ in clocks:
            signal.setitimer(clock, 0)
        for number, handler in before:
            signal.signal(number, handler)


def _without_set(record):
    return {field: value for field, value in record.items() if field != "rewards"}
