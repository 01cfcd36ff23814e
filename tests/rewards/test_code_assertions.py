"""Programs graded by assertion files in real jails: what passes, what fails, and whose fault it is."""

import dataclasses

import pytest
from code_cases import CONFIG, needs_jail

from r1jax.rewards.code.assertions import fault_of, grade_assertions, status_of
from r1jax.rewards.code.proxy import BROKEN, FAILED, LOST, OVER_MEMORY, PASSED
from r1jax.rewards.code.tests import AssertionTests
from r1jax.rewards.verdicts import Status
from r1jax.sandbox import Result, Sandbox
from r1jax.sandbox import Status as Ended

SHORT = dataclasses.replace(CONFIG, wall_seconds=2.0, cpu_seconds=1.0, memory_mib=64, output_kib=64)


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(tested=True) as box:
        yield box


def grade(sandbox, program, test, function="f", prelude="", config=CONFIG):
    return grade_assertions(sandbox, program, AssertionTests(test, function, prelude), config)


def check(*lines):
    return "\n    ".join(["def check(candidate):", *lines])


HUMAN_EVAL = """
METADATA = {'author': 'jt'}


def check(candidate):
    import random
    rng = random.Random(1)
    for _ in range(100):
        x = rng.random()
        assert abs(candidate(x) - helper(x)) < 1e-6
    assert f(1) == 3.0
"""
PRELUDE = 'def helper(x):\n    return 2 * x + 1\n\n\ndef f(x):\n    """Twice, and one."""\n'


@needs_jail
def test_human_eval_s_style(sandbox):
    """Helpers of the prompt are the test's own, whatever the completion makes of them."""
    right, wrong = PRELUDE + "    return helper(x)\n", PRELUDE + "    return helper(x) + 1e-5\n"
    lies = PRELUDE + "    return 0.0\n\n\ndef helper(x):\n    return 0.0\n"
    assert grade(sandbox, right, HUMAN_EVAL, prelude=PRELUDE).status is Status.CORRECT
    graded = grade(sandbox, wrong, HUMAN_EVAL, prelude=PRELUDE)
    assert (graded.passed, graded.total, graded.status) == (0, 1, Status.WRONG)
    assert "line 10 of the test: AssertionError" in graded.detail
    assert grade(sandbox, lies, HUMAN_EVAL, prelude=PRELUDE).status is Status.WRONG
    unfinished = PRELUDE.rpartition("def f")[0] + "def f(x):"
    assert grade(sandbox, right, HUMAN_EVAL.replace("helper(x)", "(2 * x + 1)"), prelude=unfinished).passed == 1


@needs_jail
def test_mbpp_s_style(sandbox):
    test = """
import math
assert f(4) == 2
assert math.isclose(f(2), math.sqrt(2), rel_tol=1e-9)
assert set(f(x) for x in (1, 9)) == {1, 3}
"""
    assert grade(sandbox, "def f(x): return x ** 0.5", test).status is Status.CORRECT
    assert grade(sandbox, "def f(x): return x ** 0.4", test).status is Status.WRONG


@needs_jail
def test_a_function_that_is_called_check(sandbox):
    test = "assert check(70) == False\nassert check(7) == True"
    assert grade(sandbox, "def check(n): return n % 2 == 1", test, "check").status is Status.CORRECT
    assert grade(sandbox, "def check(n): return 1", test, "check").status is Status.WRONG


@needs_jail
def test_classes_of_the_program(sandbox):
    program = """
class Pair:
    total = 0
    def __init__(self, a, b=1):
        self.a, self.b = a, b
    def swapped(self):
        return Pair(self.b, self.a)
    def grow(self, by):
        self.a += by
    @classmethod
    def of(cls, text):
        return cls(*map(int, text.split()))
class Cache(dict):
    def put(self, key, value):
        self[key] = value
def f(pairs):
    return [pair.a for pair in pairs]
def same(one, other):
    return one is other
"""
    test = """
pair = Pair(1, b=2)
assert (pair.a, pair.b) == (1, 2)
pair.grow(4)
assert f([pair, pair.swapped(), Pair.of("7 8")]) == [5, 2, 7]
assert same(pair, pair) and not same(pair, Pair(5, 2))
assert pair != Pair(5, 2)
assert not hasattr(pair, "c")
cache = Cache()
cache.put("x", (1,))
assert cache.get("x") == (1,)
assert Pair.total == 0
try:
    Pair()
except TypeError as error:
    assert "missing" in str(error)
else:
    assert False
"""
    graded = grade(sandbox, program, test)
    assert graded.status is Status.CORRECT, graded
    assert grade(sandbox, program.replace("self.b, self.a", "self.a, self.b"), test).status is Status.WRONG
    assert grade(sandbox, program.replace("Pair", "Piar"), test).status is Status.WRONG


@needs_jail
def test_arguments_are_changed_in_place(sandbox):
    program = """
def f(items, table, marks=None, pair=()):
    items.sort()
    table.update(n=len(items))
    if marks is not None:
        marks.add(7)
    for one in pair:
        one.append(0)
    raise ValueError(items)
"""
    test = check(
        "items, table, marks, one = [3, 1, [2]][:2], {}, set(), []",
        "alias = items",
        "try:",
        "    candidate(items, table, marks=marks, pair=(one, [1]))",
        "except ValueError as error:",
        "    assert str(error) == '[1, 3]'",
        "assert alias is items and items == [1, 3]",
        "assert table == {'n': 2} and marks == {7} and one == [0]",
    )
    assert grade(sandbox, program, test).detail == ""
    assert grade(sandbox, program.replace("items.sort()", "items = sorted(items)"), test).status is Status.WRONG


@needs_jail
@pytest.mark.parametrize(
    ("program", "line"),
    [
        ("def f(x): return (one for one in [1, 2])", "assert list(candidate(0)) == [1, 2]"),
        ("def f(x): return map(int, '12')", "assert candidate(0) != [1, 2]"),
        ("def f(x): return range(3)", "assert candidate(0) == range(3)"),
        ("def f(x): return {1: 2}.keys()", "assert candidate(0) == {1}"),
        ("def f(x): return sum(x)", "assert candidate(one for one in (1, 2)) == 3"),
        ("def f(x): return type(x).__name__, x", "assert candidate(range(3)) == ('range', range(3))"),
        ("def f(x): return '\\ud800' + x", "assert candidate('\\udfff\\0') == '\\ud800\\udfff\\0'"),
        ("def f(x): return 3 ** x", "assert candidate(20000) == 3 ** 20000"),
        ("def f(x): return x", "assert candidate(x=float('inf')) == float('inf')"),
        ("def f(*x, **y): return x, y", "assert candidate(1, self=2, args=3) == ((1,), {'self': 2, 'args': 3})"),
        ("from collections import Counter as f", "assert candidate('aab') == {'a': 2, 'b': 1}"),
        ("f = lambda x: -x", "assert candidate(0.0) == 0 and str(candidate(0.0)) == '-0.0'"),
    ],
)
def test_values_as_human_eval_and_mbpp_use_them(sandbox, program, line):
    assert grade(sandbox, program, check(line)).detail == ""


@needs_jail
@pytest.mark.parametrize(
    "statement",
    [
        "raise IndexError",
        "return None[0]",
        "return lambda: 1",
        "return object()",
        "return f",
        "raise StopIteration",
        "raise StopAsyncIteration",
        "raise SystemExit",
        "raise KeyboardInterrupt",
        "raise GeneratorExit",
        "raise type('Mine', (BaseException,), {})",
        "return (yield)",
        "return None",
    ],
)
def test_what_is_wrong_is_wrong_and_not_broken(sandbox, statement):
    test = check("assert sum(candidate(1)) == 3", "assert candidate(2)['x'] == 1")
    assert grade(sandbox, f"def f(x):\n    {statement}", test).status is Status.WRONG


@needs_jail
def test_expected_exceptions(sandbox):
    test = check(
        "kinds = ValueError, LookupError, UnicodeError, RuntimeError, RecursionError",
        "for x, kind in enumerate(kinds, start=1):",
        "    try:",
        "        candidate(x)",
        "    except kind as error:",
        "        assert x != 1 or str(error) == 'one'",
        "    else:",
        "        raise AssertionError",
    )
    program = """
def f(x):
    if x == 1:
        raise type("Mine", (ValueError,), {})("one")
    if x == 2:
        {}[2]
    if x == 3:
        b"\\xff".decode()
    if x == 4:
        raise StopIteration
    f(5)
"""
    assert grade(sandbox, program, test).detail == ""
    assert grade(sandbox, program.replace("StopIteration", "LookupError"), test).status is Status.WRONG


@needs_jail
@pytest.mark.parametrize(
    "error", ["SystemExit(0)", "SystemExit('\\ud800' * 10**6)", "KeyboardInterrupt", "GeneratorExit"]
)
def test_no_handler_of_the_test_goes_on_after_a_candidate_s_exit(sandbox, error):
    test = check("try:", "    candidate(1)", "except BaseException:", "    pass", "assert candidate(2) == 2")
    program = f"def f(x):\n    if x == 1: raise {error}\n    return x\n"
    graded = grade(sandbox, program, test)
    assert graded.status is Status.WRONG
    assert "ended itself" in graded.detail
    assert grade(sandbox, program.replace(error, "ValueError"), test).status is Status.CORRECT


@needs_jail
def test_a_loop_of_the_test_does_not_end_early(sandbox):
    """StopIteration would end `map`, and all() of nothing is true."""
    test = check(
        "assert all(one == 1 for one in map(candidate, range(3)))", "for one in map(candidate, [1]): assert one"
    )
    assert grade(sandbox, "def f(x): return 1", test).status is Status.CORRECT
    assert grade(sandbox, "def f(x): raise StopIteration", test).status is Status.WRONG


@needs_jail
@pytest.mark.parametrize(
    "test",
    [
        "def check(candidate:\n    assert True",
        "\0",
        "f(1)",
        "def check(candidate):\n    candidate(1)",
        "import no_such_module\nassert f(1) == 1",
        "def check():\n    assert f(1) == 1",
        "def test(candidate):\n    assert candidate(1) == 1",
        "def check(candidate):\n    assert 1 == 2",
        "def check(candidate):\n    assert 1 == 1",
        "raise SystemExit(0)\nassert f(1) == 1",
        "assert f(1) == 1\nimport sys\nsys.exit()",
        "assert f(lambda x: x) == 1",
        "return",
        "assert math.isclose(f(1), 1)",  # what the candidate calls math is not asked
    ],
)
def test_broken_tests_are_masked(sandbox, test):
    graded = grade(sandbox, "def f(x): return 1", test)
    assert graded.status is Status.VERIFIER_ERROR, graded
    assert graded.detail


@needs_jail
@pytest.mark.parametrize(
    ("program", "words"),
    [
        ("", "no function f"),
        ("f = 5", "no function f"),
        ("def f(x)\n    return x", "SyntaxError"),
        ("\0", "null bytes"),
        ("\ud800 = 1", "UnicodeEncodeError"),
        ("import no_such_module\ndef f(x): return x", "ModuleNotFoundError"),
        ("raise SystemExit(0)", "SystemExit"),
        ("def f(x): return x\ninput()", "EOFError"),
        ("(" * 500, "SyntaxError"),
    ],
)
def test_programs_that_do_not_run_are_wrong(sandbox, program, words):
    graded = grade(sandbox, program, check("assert candidate(1) == 1"))
    assert graded.status is Status.WRONG
    assert words in graded.detail


@pytest.mark.slow
@needs_jail
@pytest.mark.parametrize(
    ("program", "test"),
    [
        ("def f(x):\n    while True: pass", "assert f(1) == 1"),
        ("import time\ndef f(x): time.sleep(600)", "assert f(1) == 1"),
        ("while True: pass", "assert f(1) == 1"),
        ("def f(x): return bytearray(10**9)", "assert f(1) == 1"),
        ("x = [bytes(1000) for _ in range(10**6)]", "assert f(1) == 1"),
        ("def f(x): raise MemoryError", "assert f(1) == 1"),
        ("import os\ndef f(x): os.write(1, b'x' * 10**5); return 1", "for _ in range(1000): assert f(1) == 1"),
        ("def f(x): return 'x' * (2 * 10**6)", "kept = [f(1) for _ in range(1000)]\nassert kept"),
        ("def f(x): return range(10**18)", "assert sum(f(1)) == 1"),
        ("def f(x): return {k * (2**61 - 1) for k in range(30000)}", "for _ in range(1000): assert f(1)"),
    ],
)
def test_limits_are_the_candidate_s(sandbox, program, test):
    graded = grade(sandbox, program, test, config=SHORT)
    assert graded.status is Status.OVER_LIMIT, graded


@pytest.mark.slow
@needs_jail
def test_many_calls_are_quick(sandbox):
    test = check("for x in range(20000): assert candidate(x, [x]) == x + 1")
    graded = grade(sandbox, "def f(x, y): return x + 1", test, config=dataclasses.replace(CONFIG, wall_seconds=60.0))
    assert graded.status is Status.CORRECT


@needs_jail
def test_what_is_printed_is_not_counted(sandbox):
    test = check("for _ in range(100): print(candidate(0))", "assert candidate(1)")
    config = dataclasses.replace(CONFIG, output_kib=16)
    assert (
        grade(sandbox, "def f(x): print('x' * 10**5); return 'x' * 10**5", test, config=config).status is Status.CORRECT
    )


# Without jails.


def ended(status, code=None):
    return Result(status, exit_code=code)


@pytest.mark.parametrize(
    ("test", "candidate", "expected"),
    [
        (ended(Ended.FINISHED, PASSED), ended(Ended.FINISHED), Status.CORRECT),
        (ended(Ended.FINISHED, PASSED), ended(Ended.INFRASTRUCTURE_ERROR), Status.INFRASTRUCTURE_ERROR),
        (ended(Ended.FINISHED, FAILED), ended(Ended.FINISHED), Status.WRONG),
        (ended(Ended.FINISHED, BROKEN), ended(Ended.FINISHED), Status.VERIFIER_ERROR),
        (ended(Ended.FINISHED, OVER_MEMORY), ended(Ended.FINISHED), Status.OVER_LIMIT),
        (ended(Ended.FINISHED, LOST), ended(Ended.FINISHED, 0), Status.WRONG),
        (ended(Ended.FINISHED, LOST), ended(Ended.CRASHED), Status.WRONG),
        (ended(Ended.FINISHED, LOST), ended(Ended.OVER_MEMORY), Status.OVER_LIMIT),
        (ended(Ended.FINISHED, LOST), ended(Ended.OVER_TIME), Status.OVER_LIMIT),
        (ended(Ended.OVER_TIME), ended(Ended.FINISHED), Status.OVER_LIMIT),
        (ended(Ended.OVER_MEMORY), ended(Ended.FINISHED), Status.OVER_LIMIT),
        (ended(Ended.CRASHED), ended(Ended.FINISHED), Status.WRONG),
        (ended(Ended.CRASHED), ended(Ended.OVER_OUTPUT), Status.OVER_LIMIT),
        (ended(Ended.FINISHED, 0), ended(Ended.FINISHED), Status.WRONG),
        (ended(Ended.FINISHED, 1), ended(Ended.FINISHED), Status.WRONG),
        (ended(Ended.INFRASTRUCTURE_ERROR), ended(Ended.OVER_TIME), Status.INFRASTRUCTURE_ERROR),
    ],
)
def test_the_status_of_a_pair(test, candidate, expected):
    assert status_of(test, candidate) is expected


def test_tests_that_assert_nothing_are_told_before_they_run():
    assert fault_of("assert f(1)") is None
    assert fault_of("if f(1) != 2:\n    raise ValueError") is None
    assert "no assertion" in fault_of("def check(candidate):\n    return candidate(1) == 2")
    assert "SyntaxError" in fault_of("assert (")
    assert fault_of("-" * 10**5 + "1") is not None


@pytest.mark.filterwarnings("error")
def test_what_python_warns_of_is_no_fault():
    assert fault_of("assert f('\\d')") is None
