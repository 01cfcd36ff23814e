"""No worker outlives the process that started it, however that one ends; nothing here loads jax."""

import array
import contextlib
import dataclasses
import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
import tracemalloc

import pytest
from reward_faults import jails_are_allowed

from r1jax.config import RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Status
from r1jax.rewards.worker_process import DeadlineExceeded, WorkerDied, WorkerProcess

CONFIG = RewardsConfig(
    sets=(RewardSetConfig("default", (RewardConfig("reward_faults:FAULTS"),)),), deadline_seconds=300.0, workers=1
)
# Its worker hangs in C, where neither a closed pipe nor a Python signal handler reaches it.
PARENT = """
import pathlib, signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)  # a test run in the background hands on that it is ignored
from test_reward_processes import CONFIG
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item

service = RewardService(CONFIG)
service.submit("a", Item({"pid_file": sys.argv[1], "program": sys.argv[3]}, sys.argv[2]))
while not pathlib.Path(sys.argv[1]).exists():
    time.sleep(0.01)
{end}
"""
# A program with children that ignore what they can, in a jail that its worker has open.
CHILDREN = 5
PROGRAM = f"""
import os, signal, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
for _ in range({CHILDREN}):
    if os.fork() == 0:
        os.setsid()
        break
time.sleep(600)
"""
ENDS = pytest.mark.parametrize(
    ("end", "sent", "code"),
    [
        ("time.sleep(600)", signal.SIGKILL, -signal.SIGKILL),
        ("time.sleep(600)", signal.SIGTERM, -signal.SIGTERM),
        ("next(service.results(block=True))", signal.SIGINT, -signal.SIGINT),
        ("raise RuntimeError('a bug')", None, 1),
        ("with service: raise RuntimeError('a bug')", None, 1),
        ("", None, 0),  # it just ends, without closing the service
    ],
    ids=["SIGKILL", "SIGTERM", "SIGINT", "exception", "exception inside", "end"],
)
needs_jail = pytest.mark.skipif(
    not jails_are_allowed(), reason="needs a sandbox: apt-get install -y bubblewrap; pip install 'r1jax[sandbox]'"
)
WAIT_SECONDS = 20.0


def is_alive(pid: int) -> bool:
    """Whether the process runs; a zombie that nobody has collected does not."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def wait_for(condition, what: str) -> None:
    end = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < end, f"{what} has not come about in {WAIT_SECONDS} s"
        time.sleep(0.01)


def read_pid(path: pathlib.Path) -> int:
    wait_for(lambda: path.exists() and path.read_text(), "the worker's pid file")
    text = path.read_text()
    return int(text) if text else read_pid(path)  # a second worker is about to write it


def descendants(pid: int) -> set[int]:
    """The processes below one, on the host's list."""
    parents = {}
    for stat in pathlib.Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):  # it has just ended
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = {pid}
    while more := {child for child, parent in parents.items() if parent in found} - found:
        found |= more
    return found - {pid}


def start_parent(end: str, pid_file: pathlib.Path, action: str) -> subprocess.Popen:
    return subprocess.Popen(
        [sys.executable, "-c", PARENT.replace("{end}", end), str(pid_file), action, PROGRAM],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@ENDS
def test_no_worker_outlives_its_parent(tmp_path, end, sent, code):
    parent = start_parent(end, tmp_path / "pid", "hang")
    worker = read_pid(tmp_path / "pid")
    if sent is not None:
        assert is_alive(worker)
        parent.send_signal(sent)
    assert parent.wait(WAIT_SECONDS) == code
    wait_for(lambda: not is_alive(worker), "the end of the worker")


@needs_jail
@ENDS
def test_no_jail_outlives_the_parent_of_its_worker(tmp_path, end, sent, code):
    # Where the parent ends by itself, it does so when the test has seen the jail's processes.
    go_on = tmp_path / "go on"
    patient = f"while not pathlib.Path({str(go_on)!r}).exists(): time.sleep(0.01)\n{end}"
    parent = start_parent(end if sent else patient, tmp_path / "pid", "run in a jail")
    worker = read_pid(tmp_path / "pid")
    jailed = jailed_processes(worker)
    go_on.touch()
    if sent is not None:
        parent.send_signal(sent)
    assert parent.wait(WAIT_SECONDS) == code
    wait_for(lambda: not any(map(is_alive, [worker, *jailed])), "the end of the worker and its jail")


def jailed_processes(worker: int) -> set[int]:
    """What runs below a worker, when all of PROGRAM does."""
    wait_for(lambda: len(descendants(worker)) > CHILDREN + 2, "the program in the jail")
    return descendants(worker)


@needs_jail
@pytest.mark.parametrize("end", ["deadline", "close", "kill"])
def test_no_jail_outlives_its_worker(tmp_path, end):
    deadline = 6.0 if end == "deadline" else 300.0
    with RewardService(dataclasses.replace(CONFIG, deadline_seconds=deadline)) as service:
        record = {"pid_file": str(tmp_path / "pid"), "program": PROGRAM}
        service.submit("a", Item(record, "run in a jail"))
        worker = read_pid(tmp_path / "pid")
        jailed = jailed_processes(worker)
        assert len(jailed) > CHILDREN
        if end == "deadline":
            (verdict,) = dict(service.results(block=True)).values()
            assert verdict.status is Status.OVER_LIMIT
        elif end == "kill":
            os.kill(worker, signal.SIGKILL)
            wait_for(lambda: not any(map(is_alive, [worker, *jailed])), "the end of the killed worker and its jail")
            wait_for(lambda: read_pid(tmp_path / "pid") != worker, "another worker")
            worker = read_pid(tmp_path / "pid")
            jailed = jailed_processes(worker)  # it is tried again, in a jail of its own
    wait_for(lambda: not any(map(is_alive, [worker, *jailed])), "the end of the worker and its jail")


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_close_ends_a_worker_that_hangs(tmp_path):
    with RewardService(CONFIG) as service:
        service.submit("a", Item({"pid_file": str(tmp_path / "pid")}, "hang"))
        worker = read_pid(tmp_path / "pid")
        assert is_alive(worker)
    assert not is_alive(worker)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_an_idle_worker_ignores_signals_to_the_group_and_ends_with_its_pipe():
    with RewardService(CONFIG) as service:
        (verdict,) = service.score([Item({}, "name process")])
        worker = int(verdict.answer)
        os.kill(worker, signal.SIGTERM)
        os.kill(worker, signal.SIGINT)
        assert service.score([Item({}, "name process")])[0].answer == str(worker)
    assert not is_alive(worker)


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("then", ["die", "hang"])
def test_what_a_worker_has_started_ends_with_it(tmp_path, then):
    with RewardService(dataclasses.replace(CONFIG, deadline_seconds=2.0)) as service:
        service.submit("a", Item({"pid_file": str(tmp_path / "pid"), "then": then}, "leave a child"))
        child = read_pid(tmp_path / "pid")
        assert len(list(service.results(block=True))) == 1
        wait_for(lambda: not is_alive(child), "the end of the worker's child")


def test_a_worker_that_has_printed_much_is_replaced():
    with RewardService(CONFIG) as service:
        first = service.score([Item({}, "print at length")])[0].answer
        assert service.score([Item({}, "name process")])[0].answer != first
        assert service.health()["respawns"] == 0


@pytest.fixture
def worker():
    process = WorkerProcess(RewardsConfig(worker_memory_mib=512), ["reward_faults:FAULTS"])
    try:
        process.wait_ready()
        yield process
    finally:
        process.reap()


def ask(action, padding=0):
    item = dataclasses.asdict(Item({"padding": "x" * padding}, action))
    return {"operation": "score", "reward": "reward_faults:FAULTS", "item": item}


def test_a_worker_that_has_stopped_cannot_hold_up_a_long_request(worker):
    failures = []

    def request():
        with pytest.raises(DeadlineExceeded):
            worker.request(ask("nothing", padding=2**20), deadline_seconds=0.5)
        failures.append(DeadlineExceeded)

    assert worker.request(ask("nothing", padding=2**20), deadline_seconds=60.0)["result"][0] == 1.0
    os.kill(worker.pid, signal.SIGSTOP)
    thread = threading.Thread(target=request, daemon=True)
    thread.start()
    thread.join(WAIT_SECONDS)
    assert failures == [DeadlineExceeded]


def test_only_the_last_of_what_a_worker_has_printed_is_read(worker):
    tracemalloc.start()
    try:
        with pytest.raises(WorkerDied, match="exit code 3: .*these were its last words"):
            worker.request(ask("die at length"), deadline_seconds=60.0)
        assert tracemalloc.get_traced_memory()[1] < 2**20  # of 200 MiB
    finally:
        tracemalloc.stop()


def test_rewards_do_not_load_jax():
    modules = "service, worker, routing, maths, verdicts, health, pool, runners, threads, apart, pending"
    code = f"import sys; from r1jax.rewards import {modules}; print('jax' in sys.modules, 'sympy' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout.split() == ["False", "False"]


def test_token_ids_are_sent_to_the_rewards_that_read_them():
    item = Item({"id": "t"}, "count tokens", num_tokens=3, tokens=array.array("i", [5, 6, 7]))
    seen = {}
    for name in ("FAULTS", "READS_TOKENS"):
        sets = (RewardSetConfig("default", (RewardConfig(f"reward_faults:{name}"),)),)
        with RewardService(RewardsConfig(sets=sets, workers=1, worker_memory_mib=512)) as service:
            seen[name] = service.score([item])[0].answer
    assert seen == {"FAULTS": "0", "READS_TOKENS": "3"}
