"""At least 60 programs attack the jail that they run in: none gets out, and the host is as before."""

import json
import os
import pathlib
import socket
import time

import pytest
from hostile_programs import PROGRAMS
from jail_marks import SMALL, HostBefore, needs_jail, runs_alone

from r1jax.sandbox import Job, Sandbox, Status

pytestmark = [needs_jail, pytest.mark.slow, runs_alone]
LATE_SECONDS = 10.0  # beyond the wall clock, on a machine with other things to do


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    """Things on the host that a program would like to have, and what tells whether it got them."""
    folder = tmp_path_factory.mktemp("host")
    folder.chmod(0o755)
    canary = folder / "canary"
    canary.write_text("secret")
    canary.chmod(0o666)
    port = socket.create_server(("127.0.0.1", 0))
    local, abstract = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
    local.bind(str(folder / "socket"))
    abstract.bind(f"\0r1jax-test-{os.getpid()}")
    for listener in (port, local, abstract):
        listener.listen()
        listener.setblocking(False)
    readable = os.open(canary, os.O_RDWR)
    os.set_inheritable(readable, True)  # bubblewrap must not inherit it all the same
    os.environ["R1JAX_TEST_SECRET"] = "secret"
    facts = {
        "canary": str(canary),
        "process": os.getpid(),
        "home": str(pathlib.Path.home()),
        "name": socket.gethostname(),
        "port": port.getsockname()[1],
        "socket": str(folder / "socket"),
        "abstract": f"r1jax-test-{os.getpid()}",
    }
    yield facts, (port, local, abstract)
    del os.environ["R1JAX_TEST_SECRET"]
    os.close(readable)
    for listener in (port, local, abstract):
        listener.close()


@pytest.fixture(scope="module")
def sandbox(host):
    with Sandbox(core=0) as box:
        yield box


def test_there_are_enough_of_them():
    assert len(PROGRAMS) >= 60


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_hostile_program_stays_inside(name, sandbox, host):
    facts, listeners = host
    folder = pathlib.Path(facts["canary"]).parent
    before, files = HostBefore(), sorted(os.listdir(folder))
    start = time.monotonic()
    result = sandbox.run(Job(source=PROGRAMS[name].source, stdin=json.dumps(facts), limits=SMALL))
    assert time.monotonic() - start < SMALL.wall_seconds + LATE_SECONDS
    assert result.status in PROGRAMS[name].expected, (result, result.stderr[-500:])
    assert b"ESCAPED" not in result.stdout
    held = b"HELD" in result.stdout
    assert result.status is not Status.FINISHED or held or result.exit_code != 0, (result, result.stdout[:500])
    assert len(result.stdout) <= SMALL.output_bytes >= len(result.stderr)
    before.assert_as_before()
    assert sorted(os.listdir(folder)) == files
    assert pathlib.Path(facts["canary"]).read_text() == "secret"
    for listener in listeners:
        with pytest.raises(BlockingIOError):
            listener.accept()
    after = sandbox.run(Job(source="print(2 + 2)", limits=SMALL))
    assert (after.status, after.stdout) == (Status.FINISHED, b"4\n")
