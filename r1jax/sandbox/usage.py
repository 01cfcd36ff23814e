"""What a jail uses just now, read from outside: CPU, memory and files of all its processes together.

Limits of the kernel on one process (RLIMIT_AS, RLIMIT_CPU) say nothing about their sum, and none of them counts
what lies in a tmpfs. Control groups do, where we may make one; this works everywhere.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator
from typing import NamedTuple

PROC = pathlib.Path("/proc")
TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
FIRST_OF_TIMES = 11  # utime, stime, cutime, cstime among the fields behind the command's name (proc(5))
SOCKET_BYTES = pathlib.Path("/proc/sys/net/core/wmem_default")  # what the kernel keeps of a socket's unread data
GONE = (FileNotFoundError, ProcessLookupError, PermissionError)  # while we read


class Files(NamedTuple):
    """What lies in the jail's file system."""

    bytes: int
    count: int


def descendants(process: int) -> Iterator[int]:
    """All processes below one, but not itself."""
    waiting = [process]
    while waiting:
        parent = waiting.pop()
        with contextlib.suppress(*GONE):
            for task in os.listdir(PROC / str(parent) / "task"):
                with contextlib.suppress(*GONE):
                    children = (PROC / str(parent) / "task" / task / "children").read_text().split()
                    yield from (found := [int(child) for child in children])
                    waiting += found


def cpu_seconds(first: int) -> float:
    """CPU time of all that `first` has started, the dead included."""
    ticks = sum(_times(first)[2:])
    for process in descendants(first):
        ticks += sum(_times(process))
    return ticks / TICKS_PER_SECOND


def own_cpu_seconds(process: int) -> float:
    """CPU time of one process by itself."""
    return sum(_times(process)[:2]) / TICKS_PER_SECOND


def memory_bytes(first: int, limit: int) -> int:
    """Resident memory of all that `first` has started; exact only above the limit, where shared pages count once."""
    processes = list(descendants(first))
    rough = sum(map(_resident_bytes, processes))
    return rough if rough <= limit else sum(map(_proportional_bytes, processes))


def files(first: int, folder: str) -> Files:
    """What lies in the file system at `folder` of the process's own view."""
    try:
        found = os.statvfs(PROC / str(first) / "root" / folder.lstrip("/"))
    except GONE:
        return Files(0, 0)
    return Files((found.f_blocks - found.f_bfree) * found.f_frsize, found.f_files - found.f_ffree)


def socket_bytes(first: int) -> int:
    """What the sockets of the network namespace of `first` may hold of the kernel's memory."""
    try:
        lines = (PROC / str(first) / "net" / "sockstat").read_text().splitlines()
    except GONE:
        return 0
    return int(lines[0].split()[-1]) * int(SOCKET_BYTES.read_text())  # sockets: used 3


def _times(process: int) -> list[int]:
    try:
        fields = (PROC / str(process) / "stat").read_text().rpartition(")")[2].split()
    except GONE:
        return [0, 0, 0, 0]
    return [int(field) for field in fields[FIRST_OF_TIMES : FIRST_OF_TIMES + 4]]


def _resident_bytes(process: int) -> int:
    try:
        return int((PROC / str(process) / "statm").read_text().split()[1]) * PAGE_BYTES
    except GONE:
        return 0


def _proportional_bytes(process: int) -> int:
    """Its pages, each divided by the number of those that share it."""
    try:
        lines = (PROC / str(process) / "smaps_rollup").read_text().splitlines()
    except GONE:
        return 0
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
