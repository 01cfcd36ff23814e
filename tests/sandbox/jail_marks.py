"""What the tests of the sandbox share: when they can run, and limits that a test can wait for."""

import importlib.util
import os
import pathlib
import shutil
import subprocess
import time

import pytest

from r1jax.sandbox import Job, Limits
from r1jax.sandbox.jobs import MIB
from r1jax.sandbox.user_ids import FIRST_UID, MOST_UIDS

INSTALL = "apt-get install -y bubblewrap; pip install pyseccomp"
INSTALLED = shutil.which("bwrap") is not None and importlib.util.find_spec("pyseccomp") is not None
# Containers may forbid namespaces altogether. What a jail isolates where they are allowed is for the tests to say.
ALLOWED = (
    INSTALLED and subprocess.run(["bwrap", "--unshare-all", "--ro-bind", "/", "/", "true"], check=False).returncode == 0
)
needs_jail = pytest.mark.skipif(
    not ALLOWED, reason="this host allows no namespaces" if INSTALLED else f"needs a sandbox: {INSTALL}"
)
# They count the processes of all jails of this host: `make test-all` runs them by themselves.
runs_alone = pytest.mark.skipif("PYTEST_XDIST_WORKER" in os.environ, reason="runs alone: pytest -m slow tests/sandbox")
SMALL = Limits(wall_seconds=2.0, cpu_seconds=1.0, memory_bytes=64 * MIB, processes=32, file_bytes=8 * MIB)
OTHERS_SECONDS = 10.0  # that a program in somebody else's jail takes at most
PATIENT = Limits(wall_seconds=20.0, cpu_seconds=10.0, memory_bytes=256 * MIB)  # for programs that are to finish


def python(source: str, limits: Limits = PATIENT, **fields) -> Job:
    return Job(source=source, limits=limits, **fields)


def jailed_processes() -> set[int]:
    """Processes of this process's jails: below it or, where no other process tests jails, of a jail's user."""
    below, of_jail_users = _processes()
    return below if "PYTEST_XDIST_WORKER" in os.environ else below | of_jail_users


def _processes() -> tuple[set[int], set[int]]:
    """Those below this process, and all of the users that jails have."""
    parents: dict[int, int] = {}
    of_jail_users = set()
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                status = (entry / "status").read_text()
            except (FileNotFoundError, ProcessLookupError):
                continue
            fields = dict(line.split(":", 1) for line in status.splitlines())
            parents[int(entry.name)] = int(fields["PPid"])
            if FIRST_UID <= int(fields["Uid"].split()[0]) < FIRST_UID + MOST_UIDS:
                of_jail_users.add(int(entry.name))
    below = {os.getpid()}
    while grown := {child for child, parent in parents.items() if parent in below} - below:
        below |= grown
    return below - {os.getpid()}, of_jail_users


class HostBefore:
    """The host before a program runs: what a jail must leave as it was."""

    def __init__(self):
        self._below, self._of_jail_users = _processes()
        self._counts = _counts()

    def assert_as_before(self):
        """The same descriptors and mounts, no process below this one, and none of a jail's user that stays.

        (Other jails of this host come and go.)
        """
        below, of_jail_users = _processes()
        assert not below - self._below
        assert _counts() == self._counts
        new = of_jail_users - self._of_jail_users
        end = time.monotonic() + OTHERS_SECONDS
        while new and time.monotonic() < end:
            time.sleep(0.05)
            new &= _processes()[1]
        assert not new


def _counts() -> dict[str, int]:
    return {
        "descriptors": len(os.listdir("/proc/self/fd")),
        "mounts": len(pathlib.Path("/proc/self/mountinfo").read_text().splitlines()),
    }
