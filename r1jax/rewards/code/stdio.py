"""Tests of programs that read and print: all of one completion in one jail, what they print compared outside.

No program ever has an expected output, and none has anything of another test's. A checker, the record's own program
that judges outputs, runs in another jail, after the candidate's has ended. It reads what a candidate has made: where
it fails on that and not on the expected output, the candidate is to blame.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from r1jax.config import CodeConfig
from r1jax.rewards.code.compare import same_output
from r1jax.rewards.code.outcomes import Graded, failure_of, limits_of
from r1jax.rewards.code.tests import MOST_CASE_BYTES, StdioCase, StdioTests
from r1jax.rewards.verdicts import MASKED, Status
from r1jax.sandbox import Job, Limits, Result, Sandbox
from r1jax.sandbox.jobs import MIB, as_bytes

INPUT, OUTPUT, EXPECTED = "input.txt", "output.txt", "expected.txt"  # of a checker
WRONG_OUTPUT = 1  # its exit code, without a word on the standard error: Python's tracebacks have the same
SPACING = 2  # an output may be so many times as long as the expected one and still be the same
TOGETHER = 32  # tests of one jail: what they print is kept until the last has ended, and may be a megabyte each
DETAIL_CHARS = 200

Outcome = tuple[Status, str]  # of one test, and why


def grade_stdio(sandbox: Sandbox, program: str, tests: StdioTests, config: CodeConfig) -> Graded:
    """Runs `program` on every case and judges what it prints. One that does not end with exit code 0 has failed.

    VERIFIER_ERROR where the tests have neither an output nor a checker; UserError where the sandbox cannot run such
    programs.
    """
    if tests.checker is None and not any(case.output.strip() for case in tests.cases):
        return Graded(0, len(tests.cases), Status.VERIFIER_ERROR, "no case has an output: to print nothing would pass")
    judge = _compared if tests.checker is None else _checked
    outcomes: list[Outcome] = []
    for first in range(0, len(tests.cases), TOGETHER):
        some = dataclasses.replace(tests, cases=tests.cases[first : first + TOGETHER])
        outcomes += judge(sandbox, program, some, config)
        if any(_is_over(status, config) for status, _ in outcomes):
            break
    passed = sum(status is Status.CORRECT for status, _ in outcomes)
    if passed == len(tests.cases):
        return Graded(passed, len(tests.cases), Status.CORRECT)
    failures = [outcome for outcome in outcomes if outcome[0] is not Status.CORRECT]
    # A share cannot be told where one test cannot; that not all have passed can, by any other that failed.
    first = [outcome for outcome in failures if (outcome[0] in MASKED) == (config.credit == "fraction")]
    return Graded(passed, len(tests.cases), *(first or failures)[0])


def _compared(sandbox: Sandbox, program: str, tests: StdioTests, config: CodeConfig) -> list[Outcome]:
    """The outcomes of the tests that were run, by comparison with the expected outputs."""
    outcomes: list[Outcome] = []

    def judged(result: Result) -> bool:
        outcomes.append(_comparison(result, tests.cases[len(outcomes)], tests, config))
        return _is_over(outcomes[-1][0], config)

    sandbox.run_batch(_jobs(program, tests, config), until=judged)
    return outcomes


def _comparison(result: Result, case: StdioCase, tests: StdioTests, config: CodeConfig) -> Outcome:
    if not result.ok:
        return _bad_end(result)
    if same_output(as_bytes(case.output), result.stdout, tests.compare or config.compare, config.tolerance):
        return Status.CORRECT, ""
    return Status.WRONG, f"expected {case.output[:DETAIL_CHARS]!r}, found {result.stdout[:DETAIL_CHARS]!r}"


def _checked(sandbox: Sandbox, program: str, tests: StdioTests, config: CodeConfig) -> list[Outcome]:
    """The outcomes of the tests that were run, by the record's checker."""

    def is_over(result: Result) -> bool:
        return not result.ok and _is_over(failure_of(result), config)

    def checkers_is_over(result: Result) -> bool:
        return not result.ok and _is_over(Status.WRONG, config)

    results = sandbox.run_batch(_jobs(program, tests, config), until=is_over)
    printed = {number: result.stdout for number, result in enumerate(results) if result.ok}
    checkers = [_checker(tests, tests.cases[number], output, config) for number, output in printed.items()]
    words = dict(zip(printed, sandbox.run_batch(checkers, until=checkers_is_over), strict=False))
    outcomes = []
    for number, result in enumerate(results):
        if not result.ok:
            outcomes.append(_bad_end(result))
        elif number in words:  # else the checkers before it have ended the matter
            outcomes.append(_word(sandbox, words[number], tests, tests.cases[number], config))
    return outcomes


def _word(sandbox: Sandbox, said: Result, tests: StdioTests, case: StdioCase, config: CodeConfig) -> Outcome:
    """What a checker's end means."""
    if said.ok:
        return Status.CORRECT, ""
    detail = f"checker: {said.status.value}: {said.detail}; {_last_words(said.stderr or said.stdout)}"
    if _is_verdict(said):
        return Status.WRONG, detail
    failure = failure_of(said)
    if failure is not Status.INFRASTRUCTURE_ERROR:
        control = sandbox.run(_checker(tests, case, as_bytes(case.output), config))
        if not _is_verdict(control):
            failure = failure_of(control)
            failure = failure if failure is Status.INFRASTRUCTURE_ERROR else Status.VERIFIER_ERROR
    return failure, detail


def _is_verdict(said: Result) -> bool:
    """Whether a checker has come to its own end. Of the expected output it may say what it likes: it works."""
    return said.ok or (said.exit_code == WRONG_OUTPUT and not said.stderr)


def _is_over(status: Status, config: CodeConfig) -> bool:
    """Whether tests that are left cannot change the score, after one that failed so."""
    if status is Status.CORRECT:
        return False
    return status in MASKED or (config.credit == "all" and config.stop_early)


def _bad_end(result: Result) -> Outcome:
    return failure_of(result), f"{result.status.value}: {result.detail}; {_last_words(result.stderr)}"


def _last_words(text: bytes) -> str:
    return text[-DETAIL_CHARS:].decode(errors="replace").strip()


def _jobs(program: str, tests: StdioTests, config: CodeConfig) -> Sequence[Job]:
    return [Job(source=program, stdin=case.input, limits=_limits(case, tests, config)) for case in tests.cases]


def _limits(case: StdioCase, tests: StdioTests, config: CodeConfig) -> Limits:
    """The config's, with room for what is expected: else nobody could pass."""
    limits = limits_of(config)
    most = max(limits.output_bytes, SPACING * len(as_bytes(case.output)))
    # A checker's jail takes the output, too.
    return dataclasses.replace(limits, output_bytes=most if tests.checker is None else min(most, MOST_CASE_BYTES))


def _checker(tests: StdioTests, case: StdioCase, output: bytes, config: CodeConfig) -> Job:
    files = {INPUT: as_bytes(case.input), OUTPUT: output, EXPECTED: as_bytes(case.output)}
    room = sum(map(len, files.values())) + MIB  # their pages are whole
    limits = limits_of(config)
    more = {"file_bytes": limits.file_bytes + room, "memory_bytes": limits.memory_bytes + room}
    return Job(source=tests.checker, files=files, limits=dataclasses.replace(limits, **more))
