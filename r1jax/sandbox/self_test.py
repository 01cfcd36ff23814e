"""What is isolated, found out by trying: small programs of ours that reach for what a jail must not give.

They do no harm where nothing is isolated: they ask for permissions, and use none.
"""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from collections.abc import Callable, Sequence

from r1jax.sandbox import bubblewrap
from r1jax.sandbox.jobs import MIB, Job, Limits, Result, Status

ISOLATED = "isolated"
LIMITS = Limits(wall_seconds=10.0, cpu_seconds=5.0, memory_bytes=64 * MIB, processes=8, file_bytes=8 * MIB)
LOOP_SECONDS = 0.3
LATE_SECONDS = 5.0  # on a machine with more to do than it can

# Each reads what it needs to know of the host from its standard input and prints `isolated`, or what it has found.
START = "import ctypes, json, os, socket, sys\nhost = json.load(sys.stdin)\nfound = []\n"
END = "\nprint('; '.join(map(str, found)) or 'isolated')\n"

NETWORK = """
for name in ("AF_INET", "AF_INET6", "AF_NETLINK", "AF_PACKET"):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM, socket.SOCK_RAW):
        try:
            socket.socket(getattr(socket, name), kind).close()
            found.append(f"a socket of {name}")
        except OSError:
            pass
"""
FILES = """
for path in (host["canary"], "/etc/passwd", "/home", "/root", "/proc/self", "/sys/kernel", "/var", "/dev/shm"):
    if os.path.exists(path):
        found.append(f"sees {path}")
for path in ("/", "/usr", "/usr/lib", "/usr/bin", "/dev", os.path.dirname(os.__file__), os.__file__):
    if os.access(path, os.W_OK):
        found.append(f"may write to {path}")
"""
PROCESSES = """
if os.getppid() != 1 or os.getpid() > 64:
    found.append(f"is process {os.getpid()} of {os.getppid()}")
if os.path.exists("/proc"):
    found.append("sees /proc")
"""
SIGNALS = """
try:
    if host["process"] > 64:  # below, a jail's own have the same numbers
        os.kill(host["process"], 0)
        found.append(f"may signal process {host['process']}")
except ProcessLookupError:
    pass
except PermissionError:
    found.append(f"sees process {host['process']}")
"""
PRIVILEGES = """
for name, act in {
    "setuid": lambda: os.setuid(0),
    "setgid": lambda: os.setgid(0),
    "chroot": lambda: os.chroot("/"),
    "priority": lambda: os.nice(-1),
}.items():
    try:
        act()
        found.append(f"may {name}")
    except OSError:
        pass
"""
SYSTEM_CALLS = """
libc = ctypes.CDLL(None, use_errno=True)
if libc.prctl(21) != 2:  # PR_GET_SECCOMP
    found.append("no filter")
# Numbers from 424 on are the same on every machine.
calls = {"io_uring_setup": (425, 1, 0), "fsopen": (430, 0, 0), "pidfd_open": (434, os.getpid(), 0)}
for name, numbers in calls.items():
    ctypes.set_errno(0)
    if libc.syscall(*map(ctypes.c_long, numbers)) != -1 or ctypes.get_errno() != 38:
        found.append(f"{name}: {os.strerror(ctypes.get_errno())}")
for name, arguments in {"unshare": (0,), "ptrace": (0, 0, 0, 0), "mount": (0, 0, 0, 0, 0), "setns": (-1, 0)}.items():
    ctypes.set_errno(0)
    if getattr(libc, name)(*map(ctypes.c_long, arguments)) != -1 or ctypes.get_errno() != 38:
        found.append(f"{name}: {os.strerror(ctypes.get_errno())}")
"""
SURROUNDINGS = """
found += [f"{name} in the environment" for name in sorted(set(os.environ) - set(host["environment"]))]
if socket.gethostname() == host["name"]:
    found.append("knows the host's name")
for descriptor in range(3, 64):
    try:
        os.fstat(descriptor)
        found.append(f"has descriptor {descriptor}")
    except OSError:
        pass
"""
DISK = """
try:
    for number in range(8):
        with open(f"file{number}", "wb") as file:
            file.write(bytes(2 * host["file_bytes"] // 8))
    found.append(f"wrote {2 * host['file_bytes']} bytes")
except OSError:
    pass
"""
PROCESS_LIMIT = """
import time
children = 0
try:
    while children < host["processes"] + 4:
        if os.fork() == 0:
            time.sleep(2)
            os._exit(0)
        children += 1
except OSError:
    pass
if not 0 < children < host["processes"]:
    found.append(f"{children} children beside it, expected 1 to {host['processes'] - 1}")
"""
MEMORY = "x = bytearray(160 * 2**20)\nprint('has it')"
MEMORY_OF_ALL = """
import time
for _ in range(5):
    if os.fork() == 0:
        x = b"x" * (24 * 2**20)
        time.sleep(2)
        os._exit(0)
time.sleep(2)
"""
OUTPUT = "import sys\nfor _ in range(64):\n    sys.stdout.write('x' * 2**20)"
LOOP = "while True:\n    pass"
PROBES = {
    "network": NETWORK,
    "files": FILES,
    "processes": PROCESSES,
    "signals": SIGNALS,
    "privileges": PRIVILEGES,
    "system calls": SYSTEM_CALLS,
    "surroundings": SURROUNDINGS,
    "disk limit": DISK,
    "process limit": PROCESS_LIMIT,
}


@dataclasses.dataclass(frozen=True)
class Check:
    """One thing that a jail must not give, and what was found."""

    name: str
    isolated: bool
    found: str


@dataclasses.dataclass(frozen=True)
class Report:
    """All checks of one sandbox."""

    checks: tuple[Check, ...]

    @property
    def isolated(self) -> bool:
        return all(check.isolated for check in self.checks)

    def table(self) -> str:
        """The report in lines."""
        width = max(len(check.name) for check in self.checks)
        return "\n".join(
            f"{check.name:{width}}  {'isolated' if check.isolated else 'NOT ISOLATED':12}  {check.found}".rstrip()
            for check in self.checks
        )


def run(run_batch: Callable[[Sequence[Job]], list[Result]]) -> Report:
    """Runs every check through a backend."""
    with tempfile.NamedTemporaryFile(prefix="r1jax-canary-") as canary:
        host = {
            "canary": canary.name,
            "process": os.getpid(),
            "name": os.uname().nodename,
            "environment": [*bubblewrap.ENVIRONMENT, "PWD", "LC_CTYPE"],
            "file_bytes": LIMITS.file_bytes,
            "processes": LIMITS.processes,
        }
        jobs = [Job(source=START + probe + END, stdin=json.dumps(host), limits=LIMITS) for probe in PROBES.values()]
        ended = {
            "memory limit": (Job(source=MEMORY, limits=LIMITS), Status.OVER_MEMORY),
            "memory limit of all": (Job(source="import os\n" + MEMORY_OF_ALL, limits=LIMITS), Status.OVER_MEMORY),
            "output limit": (Job(source=OUTPUT, limits=LIMITS), Status.OVER_OUTPUT),
            "time limit": (
                Job(source=LOOP, limits=dataclasses.replace(LIMITS, wall_seconds=LOOP_SECONDS)),
                Status.OVER_TIME,
            ),
        }
        results = run_batch([*jobs, *(job for job, _ in ended.values())])
    checks = [_probed(name, result) for name, result in zip(PROBES, results, strict=False)]
    for (name, (job, expected)), result in zip(ended.items(), results[len(jobs) :], strict=True):
        in_time = result.wall_seconds < job.limits.wall_seconds + LATE_SECONDS
        found = (
            "" if result.status is expected and in_time else f"{result.status.value} after {result.wall_seconds:.1f} s"
        )
        checks.append(Check(name, not found, found))
    return Report(tuple(checks))


def _probed(name: str, result: Result) -> Check:
    words = result.text().strip()
    if result.ok and words == ISOLATED:
        return Check(name, True, "")
    if result.ok:
        return Check(name, False, words)
    last = result.stderr.decode(errors="replace").strip().rpartition("\n")[2]
    return Check(name, False, f"{result.status.value}: {last or result.detail}")
