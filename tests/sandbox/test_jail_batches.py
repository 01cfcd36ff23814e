"""Several programs in one jail, and two programs joined by pipes: what they get of each other."""

import dataclasses
import sys

import pytest
from jail_marks import PATIENT, SMALL, needs_jail, python

from r1jax.sandbox import Sandbox, Status, bubblewrap, local_backends

pytestmark = needs_jail


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(tested=True) as box:
        yield box


def changed(**limits):
    return dataclasses.replace(SMALL, **limits)


# Several programs of one completion.


def test_a_batch_gives_results_in_order(sandbox):
    jobs = [python(f"print({number})", stdin=str(number)) for number in range(5)]
    assert [result.text() for result in sandbox.run_batch(jobs)] == [f"{number}\n" for number in range(5)]
    assert sandbox.run_batch([]) == []


def test_a_program_finds_nothing_of_the_one_before(sandbox):
    leave = """
import os, time
for name in ("x.py", "/tmp/y", "sitecustomize.py", "collections.py", "d/e/f"):
    os.makedirs(os.path.dirname(name) or ".", exist_ok=True)
    open(name, "w").write("print('hijacked')")
os.symlink("/usr", "link")
if os.fork() == 0:
    time.sleep(600)
"""
    look = """
import collections, os, json
print(os.listdir("/tmp"), os.listdir("."))
try:
    os.kill(-1, 0)
    print("a process is left")
except ProcessLookupError:
    print("alone")
"""
    results = sandbox.run_batch([python(leave), python(look), python(leave), python(look)])
    assert [result.text() for result in results[1::2]] == ["['work'] []\nalone\n"] * 2
    assert all(result.ok for result in results)


def test_a_program_knows_nothing_of_the_next(sandbox):
    """The driver gets a program after the end of the one before: it is not in the memory that a fork copies."""
    search = """
import gc
words = (repr(thing) for thing in gc.get_objects() if isinstance(thing, (dict, list, tuple)))
print(any("arbez" in word[::-1] for word in words))
"""
    other = python("print(1)", stdin="zebra", files={"zebra": "zebra"})
    assert sandbox.run_batch([python(search), other])[0].text() == "False\n"
    assert sandbox.run(python(search, files={"zebra": ""})).text() == "True\n"  # it would find it


@pytest.mark.parametrize(
    "fault",
    [
        "while True:\n    pass",
        "x = bytearray(2**30)",
        "import os\nos.kill(0, 9)",
        "import os\nos.chmod('/tmp/work', 0)",
    ],
)
def test_the_next_program_runs_whatever_the_one_before_did(sandbox, fault):
    job = python(fault, changed(wall_seconds=0.5))
    first, second, third, fourth = sandbox.run_batch([job, python("print(2)"), job, python("print(4)")])
    assert (second.text(), fourth.text()) == ("2\n", "4\n"), (first, third)


def test_a_batch_is_cheaper_than_its_programs():
    with Sandbox(tested=True) as sandbox:
        started = []
        backend = sandbox._backend
        make, backend._jail = backend._jail, lambda *a: started.append(1) or make(*a)
        sandbox.run_batch([python("print(1)")] * 4)
        assert len(started) == 1


def test_a_batch_ends_with_the_result_that_is_waited_for(sandbox):
    seen = []
    jobs = [python(f"print({number}, flush=True)\n1 / ({number} != 2)") for number in range(5)]
    results = sandbox.run_batch(jobs, until=lambda result: seen.append(result) or not result.ok)
    assert [result.text() for result in results] == ["0\n", "1\n", "2\n"]
    assert seen == results
    assert len(sandbox.run_batch(jobs[:2], until=lambda result: not result.ok)) == 2


def test_a_batch_ends_with_a_jail_that_cannot_be_had(sandbox, monkeypatch):
    monkeypatch.setattr(bubblewrap, "command", lambda **_: ["/bin/sh", "-c", "exit 1"])
    bad = lambda result: result.status is Status.INFRASTRUCTURE_ERROR  # noqa: E731
    assert len(sandbox.run_batch([python("1")] * 3, until=bad)) == 1
    assert len(sandbox.run_batch([python("1")] * 3)) == 3


# Two programs joined.


def ended_with_the_first(result):
    return (result.status, result.exit_code, result.signal) == (Status.FINISHED, None, None)


def test_two_joined_programs_talk_bytes(sandbox):
    first = python("import os\nos.write(4, b'abc')\nprint(os.read(3, 9))")
    second = python("import os, time\nos.write(4, os.read(3, 9)[::-1])\ntime.sleep(600)")
    results = sandbox.run_pair(first, second)
    assert (results[0].ok, results[0].text()) == (True, "b'cba'\n")
    assert ended_with_the_first(results[1])
    assert results[0].wall_seconds < 10


@pytest.mark.parametrize(
    ("fault", "status"),
    [
        ("1 / 0", Status.FINISHED),
        ("raise SystemExit(3)", Status.FINISHED),
        ("x = bytearray(2**30)", Status.OVER_MEMORY),
        ("x = b'x' * 2**27\nimport os\nos.abort()", Status.CRASHED),
        ("import os, time\nos.close(4)\ntime.sleep(600)", Status.OVER_TIME),
        ("import os, time\nos.close(4)\ntime.sleep(0.3)\nprint(5)", Status.FINISHED),
        ("print('x' * 10**7, flush=True)", Status.OVER_OUTPUT),
    ],
)
def test_a_joined_program_sees_the_end_of_the_other(sandbox, fault, status):
    first = python("import os\nprint(os.read(3, 9))")
    for _ in range(3):  # whichever of the two ends is told first
        second = python(fault, dataclasses.replace(PATIENT, wall_seconds=1.0))
        results = sandbox.run_pair(first, second)
        assert results[0].text() == "b''\n"
        assert results[1].status is status, results
        assert not ended_with_the_first(results[1])


@pytest.mark.parametrize(
    "waiting",
    [
        "import os\nos.read(3, 9)",  # would end at an end of file
        "import os\nwhile True:\n    os.write(4, b'x' * 4096)",  # would end by a broken pipe
        "import os, sys\nsys.stdin.read()\nos.read(3, 9)",
        "import os\nif os.fork():\n    os.read(3, 9)\nos.close(4)\nos.read(3, 9)",
    ],
)
@pytest.mark.parametrize("end", ["", "1 / 0", "import os\nos.close(3)\nos.close(4)", "import os\nos.abort()"])
def test_a_joined_program_never_ends_by_itself_because_of_the_first(sandbox, waiting, end):
    results = sandbox.run_pair(python(end), python(waiting))
    assert ended_with_the_first(results[1]), results
    assert "ended with" in results[1].detail
    assert not results[1].ok


def test_a_joined_program_that_is_silent_costs_the_other_its_time(sandbox):
    first, second = (
        python("import os\nos.read(3, 9)", changed(wall_seconds=0.5)),
        python("import time\ntime.sleep(600)"),
    )
    results = sandbox.run_pair(first, second)
    assert results[0].status is Status.OVER_TIME
    assert ended_with_the_first(results[1])


def test_imports_of_a_batch_are_of_the_standard_library():
    assert set(local_backends.COMMON_IMPORTS) <= sys.stdlib_module_names
