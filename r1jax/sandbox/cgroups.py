"""Limits on a jail as a whole by the kernel's control groups (version 2), where we may make one.

Where we may not (most containers), the parent watches instead: see usage.py. A group is made below the process's
own, which the kernel allows in the root group, or in one that is delegated and has no processes but in leaves;
for others the caller names a group that is delegated to it.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import pathlib
import time

ROOT = pathlib.Path("/sys/fs/cgroup")
OWN = pathlib.Path("/proc/self/cgroup")
CONTROLLERS = ("memory", "pids", "cpu")
CPU_PERIOD_MICROSECONDS = 100_000
REMOVE_SECONDS = 2.0  # until the kernel has noticed that its processes are gone
_numbers = itertools.count()


def usable_parent(named: pathlib.Path | None = None) -> pathlib.Path | None:
    """The group to make groups in: the named one or our own; None where limits cannot be set."""
    if named is None:
        line = next((line for line in OWN.read_text().splitlines() if line.startswith("0::")), None)
        if line is None:
            return None
        named = ROOT / line.removeprefix("0::").lstrip("/")
    try:
        available = (named / "cgroup.controllers").read_text().split()
        if not set(CONTROLLERS) <= set(available):
            return None
        if not set(CONTROLLERS) <= set((named / "cgroup.subtree_control").read_text().split()):
            (named / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in CONTROLLERS))
    except OSError:  # read-only, not ours, or a group with processes of its own
        return None
    return named


class Group:
    """One group for one jail."""

    def __init__(self, parent: pathlib.Path, process: int):
        self.path = parent / f"r1jax-sandbox-{os.getpid()}-{next(_numbers)}"
        self.path.mkdir()
        self._write("cgroup.procs", process)

    def limit(self, memory_bytes: int, processes: int, cores: int = 1) -> None:
        """Sets what all processes of the group may use together; the driver is one of them."""
        self._write("memory.max", memory_bytes)
        with contextlib.suppress(FileNotFoundError):  # a kernel without swap accounting
            self._write("memory.swap.max", 0)
        self._write("memory.oom.group", 1)
        self._write("pids.max", processes + 1)
        self._write("cpu.max", f"{cores * CPU_PERIOD_MICROSECONDS} {CPU_PERIOD_MICROSECONDS}")

    def ran_out_of_memory(self) -> bool:
        events = dict(line.split() for line in (self.path / "memory.events").read_text().splitlines())
        return int(events.get("oom_kill", 0)) > 0

    def remove(self) -> None:
        """Removes the group, whose processes have been killed."""
        end = time.monotonic() + REMOVE_SECONDS
        while True:
            try:
                self.path.rmdir()
                return
            except OSError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)

    def _write(self, name: str, value: object) -> None:
        (self.path / name).write_text(str(value))
