"""Unsafe mode: a plain process with limits on itself and nothing around it.

For trusted programs, and for hosts where the caller has spelled out that it takes the risk. A program here can
read and write whatever we can, reach the network, and leave processes behind.
"""

from __future__ import annotations

import contextlib
import marshal
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence

from r1jax.sandbox import driver, usage
from r1jax.sandbox.jobs import Job, as_bytes

BANNER = """\
**********************************************************************************************
*  UNSAFE: programs run WITHOUT a sandbox. They can read and write every file of this user,  *
*  reach the network, and outlive this run. Only for programs that you would run yourself.   *
**********************************************************************************************"""


class _End:
    """A process's end, as a descriptor to wait for."""

    def __init__(self, pid: int):
        self._fd = os.pidfd_open(pid)

    def fileno(self) -> int:
        return self._fd

    def close(self) -> None:
        os.close(self._fd)


class PlainProcess:
    """A place for one program, without walls."""

    control: _End

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="r1jax-unsafe-")  # noqa: SIM115 (lives as long as this)
        self._process: subprocess.Popen | None = None
        self._collected = False

    def start(self, job: Job, descriptors: Sequence[int]) -> None:
        limits = job.limits
        message = {
            "source": None if job.source is None else as_bytes(job.source),
            "argv": job.argv,
            "files": {name: as_bytes(content) for name, content in job.files.items()},
            "work": self._folder.name,
            "cpu_seconds": float(limits.cpu_seconds),
            "memory_bytes": int(limits.memory_bytes),
            "file_bytes": int(limits.file_bytes),
            "processes": None,  # the kernel would count all of this user's
        }
        with tempfile.TemporaryFile() as file:
            file.write(marshal.dumps(message))
            file.seek(0)
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-S", driver.__file__, "--plain", str(file.fileno()), *map(str, descriptors)],
                pass_fds=(file.fileno(), *descriptors),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env={"PATH": os.defpath, "HOME": self._folder.name, "LANG": "C.UTF-8"},
                start_new_session=True,
            )
        self.control = _End(self._process.pid)

    def reply(self) -> tuple[int, float, int, bool]:
        """As a jail's. What is left of its process group ends here, so that its output is complete."""
        self._kill_group()
        _, status, used = os.wait4(self._process.pid, 0)
        self._collected = True
        return status, used.ru_utime + used.ru_stime, used.ru_maxrss * 1024, False

    def cpu_seconds(self) -> float:
        return usage.cpu_seconds(self._process.pid) + usage.own_cpu_seconds(self._process.pid)

    def memory_bytes(self, limit: int) -> int:
        return usage.memory_bytes(self._process.pid, limit)

    def files(self) -> usage.Files:
        return usage.Files(0, 0)

    def ran_out_of_memory(self) -> bool:
        return False

    def kill(self) -> None:
        self._kill_group()

    def close(self) -> None:
        if self._process is not None:
            if not self._collected:
                self.reply()
            self._process.returncode = 0  # collected by wait4, which Popen does not know
            self.control.close()
        self._folder.cleanup()

    def _kill_group(self) -> None:
        if not self._collected:  # then its number cannot have gone to others
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
