"""Programs that read and print, in real jails: what passes, what each failure is called, and what a test can see."""

import dataclasses

import pytest
from code_cases import CONFIG, needs_jail, stdio

from r1jax.errors import UserError
from r1jax.rewards.code.stdio import TOGETHER, grade_stdio
from r1jax.rewards.code.tests import MOST_CASE_BYTES, StdioTests, fingerprint, first_tests, num_tests, read_tests
from r1jax.rewards.verdicts import Status
from r1jax.sandbox import Result, Sandbox
from r1jax.sandbox import Status as Ended

FRACTION = dataclasses.replace(CONFIG, credit="fraction")
DOUBLE = "print(int(input()) * 2)"
CASES = (("1\n", "2\n"), ("2\n", "4\n"), ("3\n", "6\n"), ("50\n", "100\n"))


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(tested=True) as box:
        yield box


def grade(sandbox, program, tests, config=CONFIG):
    return grade_stdio(sandbox, program, read_tests({"id": "r", "tests": tests}), config)


def outcome(graded):
    return graded.passed, graded.total, graded.status


@needs_jail
def test_a_program_that_passes_every_test(sandbox):
    assert outcome(grade(sandbox, DOUBLE, stdio(*CASES))) == (4, 4, Status.CORRECT)


@needs_jail
@pytest.mark.parametrize(
    ("program", "status"),
    [
        ("print(3)", Status.WRONG),
        ("pass", Status.WRONG),
        ("print(int(input()) * 2)\nraise SystemExit(1)", Status.WRONG),
        ("print(int(input()) * 2, flush=True)\n1 / 0", Status.WRONG),
        ("print(int(input()) * 2, flush=True)\nimport os\nos.abort()", Status.WRONG),
        ("def", Status.WRONG),
        ("\ud800\0", Status.WRONG),
        ("while True:\n    pass", Status.OVER_LIMIT),
        ("print(int(input()) * 2, flush=True)\nwhile True:\n    pass", Status.OVER_LIMIT),
        ("x = bytearray(2**30)", Status.OVER_LIMIT),
        ("print(int(input()) * 2)\nprint(' ' * 3_000_000)", Status.OVER_LIMIT),
        ("print(int(input()) * 2)\nimport sys\nsys.stderr.write('x' * 3_000_000)", Status.OVER_LIMIT),
    ],
)
def test_what_a_failure_is_called(sandbox, program, status):
    config = dataclasses.replace(CONFIG, cpu_seconds=1.0) if "while" in program else CONFIG
    graded = grade(sandbox, program, stdio(*CASES), config)
    assert outcome(graded) == (0, 4, status), graded
    assert graded.detail


@needs_jail
def test_partial_credit_runs_every_test(sandbox):
    program = "n = int(input())\nprint(0 if n == 2 else 2 * n)\nn == 3 and 1 / 0"
    assert outcome(grade(sandbox, program, stdio(*CASES), FRACTION)) == (2, 4, Status.WRONG)
    hanging = f"{program}\nwhile n == 1:\n    pass"
    config = dataclasses.replace(FRACTION, cpu_seconds=1.0)
    assert outcome(grade(sandbox, hanging, stdio(*CASES), config)) == (1, 4, Status.OVER_LIMIT)
    whole = dataclasses.replace(CONFIG, stop_early=False)
    assert outcome(grade(sandbox, program, stdio(*CASES), whole)) == (2, 4, Status.WRONG)
    assert outcome(grade(sandbox, program, stdio(*CASES))) == (1, 4, Status.WRONG)  # stopped at the second


@needs_jail
def test_a_test_leaves_nothing_to_the_next(sandbox):
    """A program that counts its runs, or keeps a server running, finds itself alone each time."""
    program = """
import os, time
input()
print(len(os.listdir(".")) + len(os.listdir("/tmp")))
open("count", "w").write("x"), open("/tmp/count", "w").write("x")
if os.fork() == 0:
    while True:
        print("late", flush=True), time.sleep(0.01)
"""
    graded = grade(sandbox, program, stdio(("1", "1"), ("2", "1"), ("3", "1")))
    # What the child prints while its parent ends is output like any other; nobody waits for it.
    assert graded.status is Status.CORRECT or "late" in graded.detail, graded
    program = program.replace('print("late", flush=True), time.sleep(0.01)', "time.sleep(600)")
    assert outcome(grade(sandbox, program, stdio(("1", "1"), ("2", "1"), ("3", "1")))) == (3, 3, Status.CORRECT)


@needs_jail
def test_an_expected_output_is_nowhere_inside(sandbox):
    search = """
import gc, os, sys
seen = [repr(thing) for thing in gc.get_objects() if isinstance(thing, (dict, list, tuple, str, bytes))]
seen += [repr(os.environ), repr(sys.argv)]
seen += [repr(open(os.path.join(folder, name), "rb").read()) for folder, _, names in os.walk("/tmp") for name in names]
print(any("arbez" in text[::-1] for text in seen), "arbez" in sys.stdin.read()[::-1])
"""
    for checker in (None, "import sys\nsys.exit(open('output.txt').read() != 'False False\\n')"):
        tests = stdio(("a", "zebra"), ("b", "zebra"), checker=checker)
        graded = grade(sandbox, search, tests, dataclasses.replace(CONFIG, stop_early=False))
        if checker is None:
            assert outcome(graded) == (0, 2, Status.WRONG)
            assert "False False" in graded.detail
        else:
            assert outcome(graded) == (2, 2, Status.CORRECT)
    assert "False True" in grade(sandbox, search, stdio(("zebra", "x"))).detail  # it finds what is there


@needs_jail
def test_outputs_are_compared_as_the_record_says(sandbox):
    program = "print(1 / 3, '  a ')"
    for compare, wanted, right in (
        ("exact", "0.3333333333333333   a \n", True),
        ("exact", "0.3333333333333333 a\n", False),
        ("tokens", "0.3333333333333333 a\n", True),
        ("tokens", "0.33333334 a\n", False),
        ("numbers", "0.33333334 a\n", True),
    ):
        graded = grade(sandbox, program, stdio(("", wanted), compare=compare))
        assert (graded.status is Status.CORRECT) is right, (compare, wanted)
        as_config = grade(sandbox, program, stdio(("", wanted)), dataclasses.replace(CONFIG, compare=compare))
        assert as_config.status is graded.status


@needs_jail
def test_a_long_expected_output_may_be_printed(sandbox):
    config = dataclasses.replace(CONFIG, output_kib=1)
    assert grade(sandbox, "print('7' * 5000)", stdio(("", "7" * 5000)), config).status is Status.CORRECT
    assert grade(sandbox, "print('7' * 50000)", stdio(("", "7" * 5000)), config).status is Status.OVER_LIMIT
    assert grade(sandbox, "print('7' * 5000)", stdio(("", "7")), config).status is Status.OVER_LIMIT


# Checkers.


CHECKER = """
import sys
number = int(open("input.txt").read())
factors = open("output.txt").read().split()
assert open("expected.txt").read()
left, right = map(int, factors)
sys.exit(not (left > 1 and right > 1 and left * right == number))
"""


@needs_jail
@pytest.mark.parametrize(
    ("printed", "status"),
    [
        ("3 5", Status.CORRECT),
        ("5 3", Status.CORRECT),
        ("1 15", Status.WRONG),
        ("", Status.WRONG),  # the checker fails on it, and not on the expected output
        ("a b", Status.WRONG),
        ("3 5 1", Status.WRONG),
        ("3 " + "9" * 5000, Status.WRONG),
    ],
)
def test_a_checker_judges_in_the_place_of_a_comparison(sandbox, printed, status):
    graded = grade(sandbox, f"print({printed!r})", stdio(("15", "3 5"), checker=CHECKER))
    assert graded.status is status, graded


@needs_jail
def test_a_checker_sees_only_programs_that_ended_well(sandbox):
    program = "n = int(input())\nprint(3, n // 3, flush=True)\nn == 15 and 1 / 0"
    tests = stdio(("15", "3 5"), ("21", "3 7"), ("27", "3 9"), checker=CHECKER)
    assert outcome(grade(sandbox, program, tests, FRACTION)) == (2, 3, Status.WRONG)
    assert outcome(grade(sandbox, program, tests)) == (0, 3, Status.WRONG)
    assert outcome(grade(sandbox, program.replace("n == 15", "n == 0"), tests)) == (3, 3, Status.CORRECT)
    assert outcome(grade(sandbox, program.replace("n == 15", "n == 27"), tests)) == (2, 3, Status.WRONG)


@needs_jail
@pytest.mark.parametrize(
    "checker", ["1 / 0", "def", "import sys\nsys.exit(2)", "import os\nos.abort()", "open('gone.txt')"]
)
def test_a_broken_checker_is_not_the_candidates_fault(sandbox, checker):
    graded = grade(sandbox, "print(3, 5)", stdio(("15", "3 5"), checker=checker))
    assert outcome(graded) == (0, 1, Status.VERIFIER_ERROR), graded
    assert "checker" in graded.detail
    # A program that fails by itself has failed whatever the checker is.
    assert grade(sandbox, "1 / 0", stdio(("15", "3 5"), checker=checker)).status is Status.WRONG


@needs_jail
def test_a_checker_that_rejects_the_expected_output_is_none_to_be_crashed(sandbox):
    """Where a right answer could not be told, a crash of the checker must not be a way out of being graded."""
    tests = stdio(("15", "none given"), checker=CHECKER.replace("assert", "if factors[0] == 'none': sys.exit(1)\n#"))
    for printed, status in (("3 5", Status.CORRECT), ("2 2", Status.WRONG), ("a b", Status.WRONG), ("", Status.WRONG)):
        assert grade(sandbox, f"print({printed!r})", tests).status is status, printed


@needs_jail
def test_what_makes_a_checker_exceed_its_limits_is_over_limit(sandbox):
    checker = "n = int(open('output.txt').read())\nx = bytes(n)\nwhile n > 10:\n    pass"
    config = dataclasses.replace(CONFIG, cpu_seconds=1.0)
    tests = stdio(("", "3"), checker=checker)
    assert grade(sandbox, "print(3)", tests, config).status is Status.CORRECT
    assert grade(sandbox, "print(11)", tests, config).status is Status.OVER_LIMIT
    assert grade(sandbox, "print(2**40)", tests, config).status is Status.OVER_LIMIT


@needs_jail
def test_a_checker_gets_bytes_as_they_were_printed(sandbox):
    checker = "import sys\nsys.exit(open('output.txt', 'rb').read() != bytes(range(256)))"
    program = "import sys\nsys.stdout.buffer.write(bytes(range(256)))"
    assert grade(sandbox, program, stdio(("", "x"), checker=checker)).status is Status.CORRECT


@needs_jail
def test_what_programs_of_contests_rely_on(sandbox):
    memo = """
import functools, sys, threading
sys.setrecursionlimit(10**6)
@functools.cache
def f(n):
    return n and 1 + f(n - 1)
"""
    thread = "threading.stack_size(2**28)\nthreading.Thread(target=lambda: print(f(int(input())))).start()"
    for program, given, wanted in (
        (f"{memo}print(f(int(input())))", "50000\n", "50000"),
        (f"{memo}{thread}", "50000", "50000"),
        ("print(int(input()) + 1)", "9" * 10_000, "1" + "0" * 10_000),
        ("import os\nprint(sum(map(int, os.read(0, os.fstat(0).st_size).split())))", "1\r\n2", "3\r\n"),
        ("import sys\nsys.stdout.write(str(len(sys.stdin.buffer.read())))", "x" * 2**20, str(2**20)),
        (
            "if __name__ == '__main__':\n    try:\n        while True: print(input())\n    except EOFError: pass",
            "a\nb",
            "a\nb",
        ),
    ):
        graded = grade(sandbox, program, stdio((given, wanted)))
        assert graded.status is Status.CORRECT, (program, graded)


# No jail.


def test_tests_without_an_output_are_no_tests():
    for blank in ("", " \n"):
        assert outcome(grade(None, "pass", stdio(("1", blank), ("2", "")))) == (0, 2, Status.VERIFIER_ERROR)


@pytest.mark.parametrize("fields", [{}, {"checker": "pass"}])
def test_no_more_outputs_are_kept_than_those_of_some_tests(fields):
    class Endless(Broken):
        def run_batch(self, jobs, *, until=None):
            most.append(len(jobs))
            return super().run_batch(jobs, until=until)

    most = []
    tests = stdio(*(("1", "2") for _ in range(100)), **fields)
    assert outcome(grade(Endless(*[RIGHT] * 200), DOUBLE, tests)) == (100, 100, Status.CORRECT)
    assert max(most) == TOGETHER
    most.clear()
    wrong = [Result(Ended.FINISHED, exit_code=1)] * 200
    assert outcome(grade(Endless(*[RIGHT] * (2 * TOGETHER), *wrong), DOUBLE, tests))[2] is Status.WRONG
    assert sum(most) < 100  # the first failure is the last


class Broken:
    """A sandbox that has a jail for the first jobs only."""

    def __init__(self, *results):
        self.results = list(results)

    def run_batch(self, jobs, *, until=None):
        results = []
        for _ in jobs:
            results.append(
                self.results.pop(0) if self.results else Result(Ended.INFRASTRUCTURE_ERROR, detail="no jail")
            )
            if until is not None and until(results[-1]):
                break
        return results

    def run(self, job):
        return self.run_batch([job])[0]


RIGHT, BAD = Result(Ended.FINISHED, b"2", exit_code=0), Result(Ended.FINISHED, b"9", exit_code=0)
SAME = (("1", "2"), ("1", "2"), ("1", "2"))


@pytest.mark.parametrize(
    ("results", "config", "expected"),
    [
        ((), CONFIG, (0, Status.INFRASTRUCTURE_ERROR)),
        ((RIGHT,), CONFIG, (1, Status.INFRASTRUCTURE_ERROR)),
        ((RIGHT, BAD), CONFIG, (1, Status.WRONG)),  # what is known by then is enough
        ((RIGHT, BAD), dataclasses.replace(CONFIG, stop_early=False), (1, Status.WRONG)),
        ((RIGHT, BAD), FRACTION, (1, Status.INFRASTRUCTURE_ERROR)),  # the share is not known
        ((RIGHT, RIGHT, BAD), FRACTION, (2, Status.WRONG)),
    ],
)
def test_a_jail_that_cannot_be_had_is_no_verdict(results, config, expected):
    graded = grade(Broken(*results), DOUBLE, stdio(*SAME), config)
    assert (graded.passed, graded.status) == expected


def test_a_jail_that_a_checker_cannot_have_is_no_verdict():
    tests = stdio(("1", "2"), checker="pass")
    odd = Result(Ended.FINISHED, exit_code=7)
    for results in ((RIGHT,), (RIGHT, odd)):  # the checker's own, and that of its control
        assert grade(Broken(*results), DOUBLE, tests).status is Status.INFRASTRUCTURE_ERROR
    assert grade(Broken(RIGHT, odd, odd), DOUBLE, tests).status is Status.VERIFIER_ERROR
    assert grade(Broken(RIGHT, odd, RIGHT), DOUBLE, tests).status is Status.WRONG
    assert grade(Broken(RIGHT, RIGHT), DOUBLE, tests).status is Status.CORRECT


# The tests of a record.


def test_tests_are_read():
    tests = read_tests({"tests": stdio(("a", "b"), compare="numbers", prelude="x = 1\n")})
    assert isinstance(tests, StdioTests)
    assert (tests.cases[0].input, tests.cases[0].output, tests.compare) == ("a", "b", "numbers")
    assert num_tests(first_tests(read_tests({"tests": stdio(*CASES)}), 3)) == 3
    assert num_tests(first_tests(read_tests({"tests": stdio(*CASES)}), None)) == 4
    program = {"kind": "assertions", "program": "assert f(1)", "function": "f"}
    assert num_tests(first_tests(read_tests({"tests": program}), 1)) == 1
    call = read_tests(
        {"tests": {"kind": "calls", "function": "A.f", "cases": [{"kwargs": {"x": 1}, "expected": None}]}}
    )
    assert (call.cases[0].args, call.cases[0].kwargs, call.cases[0].expected) == ((), {"x": 1}, None)


def test_equal_tests_have_equal_fingerprints():
    one, other = stdio(("a", "b")), stdio(("a", "c"))
    assert fingerprint({"id": 1, "tests": one}) == fingerprint({"id": 2, "tests": dict(reversed(one.items()))})
    assert fingerprint({"id": 1, "tests": one}) != fingerprint({"id": 1, "tests": other})


@pytest.mark.parametrize(
    ("tests", "field"),
    [
        (None, "tests"),
        ("print(1)", "tests"),
        ({}, "tests.kind"),
        ({"kind": ["stdio"]}, "tests.kind"),
        ({"kind": "junit"}, "tests.kind"),
        (stdio(), "tests.cases"),
        (stdio(("a", "b")) | {"cases": {"0": 1}}, "tests.cases"),
        (stdio(("a", "b")) | {"cases": ["a"]}, r"tests.cases\[0\]"),
        (stdio(("a", "b"), ("a", None)), r"tests.cases\[1\].output"),
        (stdio((1, "b")), r"tests.cases\[0\].input"),
        (stdio(("a", "b"), compare="close"), "tests.compare"),
        (stdio(("a", "b"), compare=[]), "tests.compare"),
        (stdio(("a", "b"), checker=" "), "tests.checker"),
        (stdio(("a", "b"), chekcer="x"), "tests no fields but kind, cases, compare, checker, prelude, found"),
        (stdio(("a", "b"), prelude=3), "tests.prelude"),
        ({"kind": "calls", "function": "f", "cases": [{"args": [1]}]}, r"tests.cases\[0\].expected"),
        ({"kind": "calls", "function": "f", "cases": [{"args": 1, "expected": 1}]}, r"tests.cases\[0\].args"),
        ({"kind": "calls", "function": "f", "cases": [{"kwargs": [1], "expected": 1}]}, r"tests.cases\[0\].kwargs"),
        ({"kind": "calls", "function": "a.b.c", "cases": [{"expected": 1}]}, "tests.function"),
        ({"kind": "calls", "function": "f(1)", "cases": [{"expected": 1}]}, "tests.function"),
        ({"kind": "assertions", "function": "f", "program": ""}, "tests.program"),
        ({"kind": "assertions", "function": "a.b", "program": "assert 1"}, "tests.function"),
        ({"kind": "assertions", "program": "assert 1"}, "tests.function"),
        (stdio(("a" * (MOST_CASE_BYTES + 1), "b")), r"tests.cases\[0\].input"),
    ],
)
def test_tests_that_make_no_sense_are_said_with_record_and_field(tests, field):
    with pytest.raises(UserError, match=rf"record 'r7': the code reward expects in {field} ") as caught:
        read_tests({"id": "r7", "tests": tests})
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)
