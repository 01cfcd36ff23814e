"""Programs graded by assertion files (HumanEval, MBPP): the test in one jail, the candidate in another.

The verdict is the exit code of the test's process, which the candidate reaches by plain data alone (proxy.py). Time
and memory that the test takes are the candidate's doing: it waits for the candidate, and holds what that returns.
"""

from __future__ import annotations

import ast
import functools
import warnings

from r1jax.config import CodeConfig
from r1jax.rewards.code import proxy
from r1jax.rewards.code.bundle import bundle
from r1jax.rewards.code.outcomes import LIMITS, Graded, failure_of, limits_of
from r1jax.rewards.code.tests import AssertionTests
from r1jax.rewards.verdicts import Status
from r1jax.sandbox import Job, Sandbox
from r1jax.sandbox.jobs import Result
from r1jax.sandbox.jobs import Status as Ended

COMMON = ("plain_data", "channel", "candidate")
OF_EXIT = {
    proxy.PASSED: Status.CORRECT,
    proxy.FAILED: Status.WRONG,
    proxy.BROKEN: Status.VERIFIER_ERROR,
    proxy.OVER_MEMORY: Status.OVER_LIMIT,
}


def grade_assertions(sandbox: Sandbox, program: str, tests: AssertionTests, config: CodeConfig) -> Graded:
    """The outcome of a test file on a program: passed where the file, and its `check`, ran to the end.

    Args:
      sandbox: with jails of this host (HTTP backends have no pairs: UserError).
      program: the candidate's source, prelude included; any text.
      tests: the test file. VERIFIER_ERROR where it does not compile, asserts nothing, or fails or ends before it
        has called the candidate.
      config: the limits of each of the two programs.
    """
    if (broken := fault_of(tests.program)) is not None:
        return Graded(0, 1, Status.VERIFIER_ERROR, broken)
    limits = limits_of(config)
    judge = f"judge({tests.program!r}, {tests.function!r}, {tests.prelude!r})"
    test, candidate = sandbox.run_pair(
        Job(source=f"{bundle((*COMMON, 'proxy'), 'judge')}{judge}\n", limits=limits),
        Job(source=f"{bundle(COMMON, 'serve')}serve({program!r})\n", limits=limits),
    )
    status = status_of(test, candidate)
    words = test.text() or test.detail
    if status is Status.OVER_LIMIT and candidate.status in LIMITS:
        words = candidate.detail
    return Graded(int(status is Status.CORRECT), 1, status, "" if status is Status.CORRECT else words)


@functools.lru_cache(maxsize=64)  # the completions of a group share one
def fault_of(program: str) -> str | None:
    """What makes a test program unfit to judge by, in words: it is no Python, or asserts and raises nothing."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # "\\d" in a text
            nodes = ast.walk(ast.parse(program))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:  # ValueError: NUL
        return f"the test program: {type(error).__name__}: {error}"
    return (
        None if any(isinstance(node, ast.Assert | ast.Raise) for node in nodes) else "no assertion in the test program"
    )


def status_of(test: Result, candidate: Result) -> Status:
    """The status of a pair of runs that have ended."""
    if Ended.INFRASTRUCTURE_ERROR in (test.status, candidate.status):
        return Status.INFRASTRUCTURE_ERROR
    if test.status is not Ended.FINISHED or test.exit_code not in OF_EXIT:
        return Status.OVER_LIMIT if test.status in LIMITS else failure_of(candidate)
    return OF_EXIT[test.exit_code]
