"""The unsafe mode, control groups, user ids and the reading of usage: what needs no bubblewrap."""

import dataclasses
import os
import subprocess
import sys

import pytest
from jail_marks import SMALL, HostBefore, python

from r1jax.sandbox import Sandbox, SandboxUnavailable, Status, cgroups, usage, user_ids

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox of this host is for Linux")


# Unsafe mode, which also shows the watch at work where there is no bubblewrap.


@pytest.fixture
def unsafe(capfd):
    with Sandbox(unsafe=True) as sandbox:
        yield sandbox


def test_unsafe_mode_says_so_and_is_stamped(capfd):
    with Sandbox(unsafe=True) as sandbox:
        assert sandbox.unsafe
        assert sandbox.stamp == {"sandbox": "unsafe", "unsafe": True, "isolated": {}}
    assert "WITHOUT a sandbox" in capfd.readouterr().err
    assert not Sandbox().unsafe


@pytest.mark.parametrize(
    ("source", "changes", "status"),
    [
        ("print(input())", {}, Status.FINISHED),
        ("while True:\n    pass", {"wall_seconds": 0.2}, Status.OVER_TIME),
        ("while True:\n    pass", {"cpu_seconds": 0.2, "wall_seconds": 20.0}, Status.OVER_TIME),
        ("while True:\n    print('x' * 1000)", {}, Status.OVER_OUTPUT),
        ("x = bytearray(2**30)", {}, Status.OVER_MEMORY),
        ("import os\nos.abort()", {}, Status.CRASHED),
    ],
)
def test_the_statuses_of_plain_processes(unsafe, source, changes, status):
    before = HostBefore()
    result = unsafe.run(python(source, dataclasses.replace(SMALL, **changes), stdin="hello"))
    assert result.status is status, (result, result.stderr)
    assert result.text() == "hello\n" or status is not Status.FINISHED
    assert len(result.stdout) <= SMALL.output_bytes
    before.assert_as_before()


def test_plain_processes_can_be_joined(unsafe):
    first = python("import os\nos.write(4, b'abc')\nprint(os.read(3, 9))")
    second = python("import os, time\nos.write(4, os.read(3, 9)[::-1])\ntime.sleep(60)")
    results = unsafe.run_pair(first, second)
    assert [result.status for result in results] == [Status.FINISHED] * 2, results
    assert results[0].text() == "b'cba'\n"


# Control groups, user ids, usage.


def test_a_control_group_gets_its_limits(tmp_path):
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory pids cpu\n")
    assert cgroups.usable_parent(tmp_path) == tmp_path
    group = cgroups.Group(tmp_path, 123)
    group.limit(memory_bytes=1000, processes=4)
    written = {file.name: file.read_text() for file in group.path.iterdir()}
    assert written == {
        "cgroup.procs": "123",
        "memory.max": "1000",
        "memory.swap.max": "0",
        "memory.oom.group": "1",
        "pids.max": "5",  # with the driver
        "cpu.max": "100000 100000",
    }
    (group.path / "memory.events").write_text("low 0\noom 1\noom_kill 2\n")
    assert group.ran_out_of_memory()


def test_a_control_group_that_may_not_be_used_is_none(tmp_path):
    assert cgroups.usable_parent(tmp_path) is None
    (tmp_path / "cgroup.controllers").write_text("cpu io\n")
    (tmp_path / "cgroup.subtree_control").write_text("")
    assert cgroups.usable_parent(tmp_path) is None


def test_user_ids_differ_and_come_back():
    first, second = user_ids.UserId(), user_ids.UserId()
    assert first.uid != second.uid
    first.close()
    third = user_ids.UserId()
    assert third.uid == first.uid
    second.close()
    third.close()


@pytest.mark.parametrize(
    ("uid_map", "first"),
    [("0 0 4294967295", user_ids.FIRST_UID), ("0 1000 1\n1 100000 65536", 65537 - 1024), ("0 0 65536", 65536 - 1024)],
)
def test_user_ids_lie_in_what_the_container_knows(uid_map, first):
    assert user_ids._first_uid(uid_map) == first


def test_a_container_with_one_user_is_said():
    with pytest.raises(SandboxUnavailable, match="id mapping"):
        user_ids._first_uid("0 1000 1")


def test_usage_counts_children_and_their_dead():
    code = "import os\nif os.fork() == 0:\n    sum(range(10**7))\n    os._exit(0)\n"
    code += "os.wait()\nx = b'x' * 2**25\nprint(1, flush=True)\ninput()"
    child = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    child.stdout.readline()
    assert child.pid in set(usage.descendants(os.getpid()))
    assert usage.memory_bytes(os.getpid(), limit=2**40) > 2**25
    assert 2**25 < usage.memory_bytes(os.getpid(), limit=0) < 2**27  # shared pages once
    assert usage.cpu_seconds(child.pid) > 0  # of the grandchild, which is gone
    child.communicate(b"\n")
    assert child.pid not in set(usage.descendants(os.getpid()))
    assert usage.files(child.pid, "/tmp") == (0, 0)  # gone
