"""Programs in real jails: what works there, how they end, what one leaves to the next, and what is left after all."""

import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pytest
from jail_marks import PATIENT, SMALL, HostBefore, jailed_processes, needs_jail, python, runs_alone

from r1jax.sandbox import Job, Sandbox, Status, bubblewrap
from r1jax.sandbox.jobs import MIB

pytestmark = needs_jail
WAIT_SECONDS = 20.0
PARENT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background it is ignored
import sys
from r1jax.sandbox import Job, Limits, Sandbox
with Sandbox(tested=True) as sandbox:
    print("open", flush=True)
    source = "import os, time\\nos.fork()\\nos.fork()\\ntime.sleep(600)"
    sandbox.run(Job(source=source, limits=Limits(wall_seconds=600)))
"""


# What is written to a socket and not read is the kernel's: in no process's memory.
SOCKETS = """
import os, socket, time
for _ in range(20):
    if os.fork() == 0:
        kept = [end for _ in range(25) for end in socket.socketpair()]
        for end in kept:
            end.setblocking(False)
            try:
                end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 2**24)
                os._exit(print("a longer buffer", flush=True))
            except OSError:
                pass
            try:
                while end.send(bytes(2**16)):
                    pass
            except BlockingIOError:
                pass
        time.sleep(10)
time.sleep(10)
"""


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(tested=True) as box:
        yield box


def changed(**limits):
    return dataclasses.replace(SMALL, **limits)


UNHURRIED = changed(wall_seconds=20.0, cpu_seconds=10.0)  # a busy machine starts an interpreter slowly


# What works inside.


@pytest.mark.parametrize(
    ("source", "printed"),
    [
        ("import sys\nprint(sys.stdin.read())", "in"),
        ("print(input())", "in"),
        (
            "import collections, re, heapq, decimal, fractions, json\nprint(decimal.Decimal(1) / 3)",
            "0.3333333333333333333333333333",
        ),
        (
            "import hashlib, sqlite3, zlib, ssl, bz2, lzma, ctypes, uuid\nprint(hashlib.sha256(b'').hexdigest()[:8])",
            "e3b0c442",
        ),
        ("import threading\nt = threading.Thread(target=print, args=(1,))\nt.start()\nt.join()", "1"),
        ("import subprocess, sys\nprint(subprocess.check_output([sys.executable, '-c', 'print(6*7)']).decode())", "42"),
        ("import tempfile\nwith tempfile.TemporaryFile() as f:\n    f.write(b'abc')\n    print(f.tell())", "3"),
        ("import asyncio\nasync def f():\n    await asyncio.sleep(0)\n    return 5\nprint(asyncio.run(f()))", "5"),
        (
            "import signal, time\nsignal.signal(14, lambda *_: print('rang'))\n"
            "signal.setitimer(0, 0.05)\ntime.sleep(0.2)",
            "rang",
        ),
        (
            "from concurrent.futures import ThreadPoolExecutor\nprint(list(ThreadPoolExecutor(4).map(abs, [-1, 2])))",
            "[1, 2]",
        ),
        ("import atexit\natexit.register(print, 'bye')", "bye"),
        ("import random\nprint(0 <= random.random() < 1, random.SystemRandom().random() < 1)", "True True"),
        ("class A:\n    pass\nprint(A.__module__, __name__, A().__class__)", "__main__ __main__ <class '__main__.A'>"),
        ("import pickle\nclass A:\n    pass\nprint(type(pickle.loads(pickle.dumps(A()))).__name__)", "A"),
        ("from dataclasses import dataclass\n@dataclass\nclass P:\n    x: int\nprint(P(1))", "P(x=1)"),
        ("print('\u00e9\u4e2d')", "\u00e9\u4e2d"),
        (
            "import os\nprint(os.getcwd(), os.path.expanduser('~'), sorted(os.listdir('.')))",
            "/tmp/work /tmp/work ['a']",
        ),
        ("print(open('a/b.txt').read())", "content"),
        ("import os\nprint(len(os.sched_getaffinity(0)) >= 1)", "True"),
        ("import os\nprint(open(os.devnull, 'w').write('x'), len(open('/dev/urandom', 'rb').read(8)))", "1 8"),
        (
            "import subprocess, sys\n"
            "print(subprocess.run([sys.executable, '-c', ''], stdin=subprocess.DEVNULL).returncode)",
            "0",
        ),
        ("print(1)\nexit()\nprint(2)", "1"),
        ("print(1)\nquit(0)\nprint(2)", "1"),
        ("import os\nprint(os.path.basename(__file__))", "program.py"),
    ],
)
def test_an_ordinary_program_works(sandbox, source, printed):
    result = sandbox.run(python(source, stdin="in", files={"a/b.txt": "content"}))
    assert result.ok, (result, result.stderr)
    assert result.text().strip() == printed


def test_a_command_line_runs_on_the_files_of_its_job(sandbox):
    files = {"main.py": "import sys, helper\nprint(sys.argv, helper.x)", "helper.py": "x = 3"}
    result = sandbox.run(Job(argv=("python3", "main.py", "-v"), files=files, limits=PATIENT))
    assert (result.text(), result.stderr) == ("['main.py', '-v'] 3\n", b"")


def test_megabytes_go_in_and_out(sandbox):
    data = os.urandom(3 * MIB)
    limits = dataclasses.replace(PATIENT, output_bytes=4 * MIB)
    job = python("import sys\nsys.stdout.buffer.write(sys.stdin.buffer.read()[::-1])", limits, stdin=data)
    result = sandbox.run(job)
    assert result.stdout == data[::-1]
    assert not result.stdout_cut


@pytest.mark.parametrize("text", ["print('\ud800' == chr(0xd800))", "x = '\0'", "\x00", "def"])
def test_a_source_that_does_not_parse_is_the_program_s_fault(sandbox, text):
    result = sandbox.run(python(text))
    assert (result.status, result.exit_code) == (Status.FINISHED, 1), result
    assert b"Error" in result.stderr


def test_what_a_result_says_of_cost(sandbox):
    result = sandbox.run(python("import time\nx = b'x' * 50_000_000\ny = sum(range(10**6))\ntime.sleep(0.2)"))
    assert result.ok
    assert 0.2 < result.wall_seconds < 10
    assert 0 < result.cpu_seconds < result.wall_seconds
    assert 50_000_000 < result.peak_memory_bytes < 100_000_000


# How programs end.


@pytest.mark.parametrize(
    ("source", "limits", "status"),
    [
        ("import sys\nsys.exit(3)", UNHURRIED, Status.FINISHED),
        ("while True:\n    pass", changed(wall_seconds=0.3), Status.OVER_TIME),
        ("while True:\n    pass", changed(cpu_seconds=0.3, wall_seconds=20), Status.OVER_TIME),
        ("x = bytearray(2**30)", UNHURRIED, Status.OVER_MEMORY),
        (SOCKETS, UNHURRIED, Status.OVER_MEMORY),
        ("print('x' * 10**7)", UNHURRIED, Status.OVER_OUTPUT),
        ("import ctypes\nctypes.string_at(0)", UNHURRIED, Status.CRASHED),
        ("open('f', 'wb').write(bytes(2 * 8 * 2**20))", UNHURRIED, Status.FINISHED),  # an OSError
    ],
)
def test_the_statuses(sandbox, source, limits, status):
    result = sandbox.run(python(source, limits))
    assert result.status is status, (result, result.stderr)
    assert not result.ok
    assert result.wall_seconds < 10
    assert b"longer buffer" not in result.stdout


def test_output_is_kept_up_to_the_limit(sandbox):
    result = sandbox.run(
        python("import sys\nsys.stderr.write('e' * 10)\nprint('x' * 5000)", changed(output_bytes=1000))
    )
    assert (result.stdout, result.stdout_cut) == (b"x" * 1000, True)
    assert not result.stderr_cut


def test_output_before_the_deadline_is_kept(sandbox):
    result = sandbox.run(
        python("print('early', flush=True)\nwhile True:\n    pass", changed(wall_seconds=2.0, cpu_seconds=10.0))
    )
    assert (result.status, result.text()) == (Status.OVER_TIME, "early\n")


def test_a_process_that_keeps_the_output_open_holds_nobody_up(sandbox):
    result = sandbox.run(python("import os, time\nprint(1, flush=True)\nos.fork() or time.sleep(600)"))
    assert (result.ok, result.text()) == (True, "1\n")
    assert result.wall_seconds < 10


def test_processes_are_counted_by_jail():
    source = """
import os, time
children = 0
try:
    while True:
        os.fork() or time.sleep(60)
        children += 1
except OSError:
    print(children, flush=True)
time.sleep(0.5)
"""
    results = []

    def run():
        with Sandbox(tested=True) as mine:
            results.append(mine.run(python(source, dataclasses.replace(PATIENT, processes=6))))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.text() for result in results] == ["5\n", "5\n"]


# What is left.


def test_nothing_is_left(sandbox):
    before = HostBefore()
    sandbox.run_batch(
        [python("import os\nos.fork()\nos.fork()"), python("while True:\n    pass", changed(wall_seconds=0.2))]
    )
    sandbox.run_pair(python("1"), python("import time\ntime.sleep(600)"))
    before.assert_as_before()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_no_jail_outlives_its_parent(number):
    before = jailed_processes()
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env
    )
    assert parent.stdout.readline() == b"open\n"
    wait_for(lambda: len(jailed_processes() - before) >= 6)  # the parent, bubblewrap, the driver and four
    jailed = jailed_processes() - before - {parent.pid}
    parent.send_signal(number)
    parent.communicate(timeout=WAIT_SECONDS)
    wait_for(lambda: not any(is_alive(process) for process in jailed))


def wait_for(condition):
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"it has not come about in {WAIT_SECONDS} s"
        time.sleep(0.02)


def is_alive(process):
    try:
        return pathlib.Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_a_jail_that_does_not_come_up_is_no_verdict_on_the_program(sandbox, monkeypatch):
    monkeypatch.setattr(bubblewrap, "command", lambda **_: ["/bin/sh", "-c", "echo no room >&2; exit 1"])
    before = HostBefore()
    result = sandbox.run(python("print(1)"))
    assert (result.status, result.detail) == (Status.INFRASTRUCTURE_ERROR, "no room")
    before.assert_as_before()
    monkeypatch.setattr(bubblewrap, "command", lambda **_: ["/nonexistent/bwrap"])
    assert sandbox.run_pair(python("1"), python("1"))[1].status is Status.INFRASTRUCTURE_ERROR
    before.assert_as_before()


def test_a_sandbox_on_one_core_gives_its_programs_one():
    with Sandbox(tested=True, core=1) as sandbox:
        result = sandbox.run(python("import os\nprint(len(os.sched_getaffinity(0)))"))
    assert result.text() == "1\n"


def test_every_check_of_the_self_test_passes_here():
    with Sandbox() as sandbox:
        assert sandbox.report.isolated
        assert len(sandbox.report.checks) >= 8
        assert set(sandbox.stamp["isolated"].values()) == {True}
        assert "network" in sandbox.report.table()


def test_a_caller_under_limits_of_its_own_can_run_programs():
    """A reward's worker is one: its limits are inherited, and nobody inside may raise them."""
    code = """
import resource
from r1jax.sandbox import Job, Sandbox
with Sandbox(tested=True) as sandbox:
    resource.setrlimit(resource.RLIMIT_AS, (300 * 2**20, 300 * 2**20))
    resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
    print(sandbox.run(Job(source="print(4)")).text())
    print(sandbox.run(Job(source="x = bytearray(400 * 2**20)")).status.value)
"""
    env = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["4", "over_memory"], done.stderr


@runs_alone
@pytest.mark.slow
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_a_neighbour_of_an_attacker_takes_at_most_twice_its_time():
    work = python("x = 0\nfor i in range(3_000_000):\n    x += i", dataclasses.replace(PATIENT, wall_seconds=60))
    attack = "import os\nfor _ in range(4):\n    os.fork()\nwhile True:\n    x = [bytes(2**20)] * 2"
    end = threading.Event()

    def attack_on():
        with Sandbox(tested=True, core=0) as attacker:
            while not end.is_set():
                attacker.run(python(attack, changed(wall_seconds=1.0)))

    with Sandbox(tested=True, core=1) as neighbour:
        alone = min(neighbour.run(work).wall_seconds for _ in range(3))
        thread = threading.Thread(target=attack_on)
        thread.start()
        try:
            attacked = min(neighbour.run(work).wall_seconds for _ in range(3))
        finally:
            end.set()
            thread.join()
    assert attacked < 2 * alone, (alone, attacked)
