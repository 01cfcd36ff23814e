"""What grading a program comes to, whatever the kind of its tests.

A grader is `grade(sandbox, program, tests, config: CodeConfig) -> Graded`, where `program` has the prelude in it and
`tests` are those that count (the first `most_tests`).
"""

from __future__ import annotations

import dataclasses

from r1jax.config import CodeConfig
from r1jax.rewards.verdicts import Status
from r1jax.sandbox import Limits, Result
from r1jax.sandbox.jobs import MIB
from r1jax.sandbox.jobs import Status as Ended

LIMITS = frozenset({Ended.OVER_TIME, Ended.OVER_MEMORY, Ended.OVER_OUTPUT})


@dataclasses.dataclass(frozen=True)
class Graded:
    """The outcome of one program on the tests of one record.

    Attributes:
      passed: tests that it passed, of those that were run.
      total: tests of the record (the first `most_tests`), run or not.
      status: CORRECT: all passed. OVER_LIMIT: the first test that failed was ended at a limit of time, memory or
        output. WRONG: it failed otherwise. INFRASTRUCTURE_ERROR: no jail. VERIFIER_ERROR: a checker or a test
        program that is itself broken.
      detail: the failure in words, for a log.
    """

    passed: int
    total: int
    status: Status
    detail: str = ""

    def __post_init__(self):
        if not 0 <= self.passed <= self.total or self.total == 0:
            raise ValueError(f"graded: expected 0 <= passed <= total and a test, found {self.passed} of {self.total}")
        if (self.status is Status.CORRECT) != (self.passed == self.total):
            raise ValueError(f"graded: {self.passed} of {self.total} passed is not {self.status.value}")


def limits_of(config: CodeConfig) -> Limits:
    """The limits of one program, in the sandbox's terms."""
    return Limits(
        wall_seconds=config.wall_seconds,
        cpu_seconds=config.cpu_seconds,
        memory_bytes=config.memory_mib * MIB,
        processes=config.processes,
        output_bytes=int(config.output_kib * 1024),
        file_bytes=int(config.file_mib * MIB),
    )


def failure_of(result: Result) -> Status:
    """The status of a test whose candidate came to a bad end, or to a good one with a wrong output."""
    if result.status is Ended.INFRASTRUCTURE_ERROR:
        return Status.INFRASTRUCTURE_ERROR
    return Status.OVER_LIMIT if result.status in LIMITS else Status.WRONG
