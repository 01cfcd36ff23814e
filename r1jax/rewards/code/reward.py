"""The `code` reward: what a record's tests say of a completion's program.

It runs in reward workers, each with a sandbox of its own, which wait while programs run. A worker's deadline is
behind all limits of the programs: what is too slow is ended by the sandbox and is the policy's fault; no worker is
lost over it.
"""

from __future__ import annotations

import collections
import hashlib
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from r1jax.config import RewardsConfig
from r1jax.config.rewards import MOST_DEADLINE_SECONDS
from r1jax.errors import UserError
from r1jax.rewards.code.assertions import grade_assertions
from r1jax.rewards.code.calls import grade_calls
from r1jax.rewards.code.outcomes import Graded
from r1jax.rewards.code.program import extract_program
from r1jax.rewards.code.stdio import grade_stdio
from r1jax.rewards.code.tests import (
    AssertionTests,
    CallTests,
    CodeTests,
    StdioTests,
    fingerprint,
    first_tests,
    num_tests,
    read_tests,
)
from r1jax.rewards.verdicts import MASKED, Isolation, Item, Reward, Score, Status
from r1jax.sandbox import Sandbox

GRADERS: dict[type, Callable[..., Graded]] = {
    StdioTests: grade_stdio,
    CallTests: grade_calls,
    AssertionTests: grade_assertions,
}
# Generous, since the deadline is only there for a worker that hangs: jails start slowly on a busy host.
SLACK_SECONDS = 120.0
RUNS_OF_A_TEST = 3  # in the limits of one program: a candidate, a checker, and the checker on the expected output
SLACK_OF_A_TEST_SECONDS = 5.0
TRIES_OF_A_SERVICE = 3  # of an HTTP backend, each with its waiting time
WAIT_OF_A_SERVICE_SECONDS = 25.0
RECENT = 64  # records whose tests are kept as they were read: the completions of a group share one


def code_reward(config: RewardsConfig) -> Reward:
    """The reward with the settings `config.code`, run as `config.sandbox` says.

    1.0 where the program passes every test of the record; else 0.0, or with credit="fraction" the share that it
    passes. Programs over a limit are wrong (`over_limit`); masked are a host without jails and tests that are broken
    themselves. UserError for a record whose `tests` are missing or wrong. Its `prepare` raises SandboxUnavailable
    where the host does not isolate.
    """
    reward = _CodeReward(config)
    isolation = Isolation(
        warm_up=reward.warm_up, quick=reward.quick_score, control=None, key=reward.key, seconds=reward.seconds
    )
    return Reward(reward.score, low=0.0, high=1.0, isolation=isolation, prepare=reward.prepare)


class _CodeReward:
    """The reward's functions, with the settings and, in a worker, the sandbox that they share."""

    def __init__(self, config: RewardsConfig):
        self._config = config
        self._sandbox: Sandbox | None = None
        self._recent: collections.OrderedDict[int, tuple[Any, CodeTests, str]] = collections.OrderedDict()

    def prepare(self) -> Mapping[str, Any]:
        """Tries the sandbox; what a manifest says of it."""
        with self._new_sandbox(tested=False) as sandbox:
            return sandbox.stamp

    def warm_up(self) -> None:
        """Opens the sandbox of a worker, whose settings `prepare` has tried; it lives as long as the process."""
        self._sandbox = self._new_sandbox(tested=True).__enter__()

    def quick_score(self, item: Item) -> Score | None:
        """The score of a completion without a program, and None for others."""
        self._known(item)  # a record is told to be wrong whatever its completions are
        return Score(0.0, Status.NO_ANSWER) if extract_program(item.completion) is None else None

    def key(self, item: Item) -> Hashable:
        """What the score depends on, in few bytes: a service remembers thousands."""
        program = extract_program(item.completion) or ""
        return hashlib.blake2b(program.encode("utf-8", "surrogatepass")).digest(), self._known(item)[1]

    def seconds(self, item: Item) -> float:
        """More than the tests of an item can take."""
        each = RUNS_OF_A_TEST * (self._config.code.wall_seconds + SLACK_OF_A_TEST_SECONDS)
        if self._config.sandbox.url is not None:
            each = TRIES_OF_A_SERVICE * (each + RUNS_OF_A_TEST * WAIT_OF_A_SERVICE_SECONDS)
        return min(SLACK_SECONDS + num_tests(self._known(item)[0]) * each, MOST_DEADLINE_SECONDS)

    def score(self, items: Sequence[Item]) -> list[Score]:
        """A score for each item, one after another."""
        if self._sandbox is not None:
            return [self._score(item, self._sandbox) for item in items]
        with self._new_sandbox(tested=False) as sandbox:
            return [self._score(item, sandbox) for item in items]

    def _score(self, item: Item, sandbox: Sandbox) -> Score:
        tests = self._read(item)
        program = extract_program(item.completion, tests.prelude)
        if program is None:
            return Score(0.0, Status.NO_ANSWER)
        try:
            graded = GRADERS[type(tests)](sandbox, program, tests, self._config.code)
        except UserError as error:  # of the sandbox, which knows of no records
            raise UserError(f"record {item.record.get('id')!r}: {error}") from error
        if graded.status in MASKED:
            return Score(None, graded.status)
        if self._config.code.credit == "fraction":
            return Score(graded.passed / graded.total, graded.status)
        return Score(float(graded.status is Status.CORRECT), graded.status)

    def _known(self, item: Item) -> tuple[CodeTests, str]:
        """The tests of an item that count, and what tells them from others; the last ones are kept as read."""
        raw = item.record.get("tests")
        known = self._recent.get(id(raw))
        if known is None or known[0] is not raw:
            known = self._recent[id(raw)] = raw, self._read(item), fingerprint(item.record)
        self._recent.move_to_end(id(raw))
        if len(self._recent) > RECENT:
            self._recent.popitem(last=False)
        return known[1:]

    def _read(self, item: Item) -> CodeTests:
        """The tests of an item that count; UserError names the record."""
        tests = first_tests(read_tests(item.record), self._config.code.most_tests)
        if isinstance(tests, AssertionTests) and self._config.sandbox.url is not None:
            raise UserError(
                f"record {item.record.get('id')!r}: tests of kind assertions call a program from another jail, which "
                f"no HTTP service offers: expected rewards.sandbox.backend=bubblewrap, found "
                f"{self._config.sandbox.backend}"
            )
        return tests

    def _new_sandbox(self, tested: bool) -> Sandbox:
        settings = self._config.sandbox
        return Sandbox(
            settings.backend, url=settings.url, unsafe=settings.unsafe, cgroup=settings.cgroup, tested=tested
        )
