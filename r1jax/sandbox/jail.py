"""One running jail: started, given one program after another, and ended with everything in it."""

from __future__ import annotations

import contextlib
import json
import marshal
import os
import pathlib
import select
import signal
import socket
import subprocess
import time
from collections.abc import Iterable, Sequence

from r1jax.sandbox import bubblewrap, cgroups, driver, usage
from r1jax.sandbox.jobs import Job, as_bytes

START_SECONDS = 30.0  # from a cold network disk
END_SECONDS = 10.0  # of a killed jail: the kernel frees its memory
SEND_SECONDS = 30.0
LAST_WORDS_BYTES = 4096


class JailError(Exception):
    """No jail came up, or it went before it was given anything; the text has bubblewrap's last words."""


class Jail:
    """A jail of one thread's: bubblewrap and all inside die with the thread that has made it.

    Raises JailError when it does not come up.
    """

    def __init__(
        self,
        seccomp: bytes,
        *,
        uid: int | None,
        file_bytes: int,
        cores: Sequence[int] | None,
        cgroup: pathlib.Path | None,
        imports: Iterable[str] = (),
    ):
        self._by_user = uid is not None
        self._cpu_of_earlier = 0.0
        self._pidfd: int | None = None
        self._group: cgroups.Group | None = None
        self._process: subprocess.Popen | None = None
        self.control, inside = socket.socketpair()
        info, info_in = os.pipe()
        filter_, filter_in = os.pipe()
        try:
            try:
                with open(filter_in, "wb") as pipe:
                    pipe.write(seccomp)  # less than a pipe holds
                options = {"uid": uid, "file_bytes": file_bytes, "imports": imports}
                self._launch(inside.fileno(), info_in, filter_, **options)
            finally:
                for theirs in (inside.detach(), info_in, filter_):
                    os.close(theirs)
            self._wait_ready(info)
            if cores is not None:
                os.sched_setaffinity(self.first, cores)
            self._group = None if cgroup is None else cgroups.Group(cgroup, self.first)
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                raise JailError(str(error)) from error
            raise
        finally:
            os.close(info)

    def start(self, job: Job, descriptors: Sequence[int]) -> None:
        """Runs a program on these descriptors (0, 1, ...); `reply` becomes readable on `control` when it has ended."""
        limits = job.limits
        message = marshal.dumps(
            {
                "source": None if job.source is None else as_bytes(job.source),
                "argv": job.argv,
                "files": {name: as_bytes(content) for name, content in job.files.items()},
                "work": driver.WORK,
                "cpu_seconds": float(limits.cpu_seconds),
                "memory_bytes": int(limits.memory_bytes),
                "file_bytes": int(limits.file_bytes),
                # Among a plain user's own processes the driver is one.
                "processes": int(limits.processes) + (0 if self._by_user else 1),
            }
        )
        if self._group is not None:
            self._group.limit(int(limits.memory_bytes), int(limits.processes))
        self.control.settimeout(SEND_SECONDS)
        try:
            socket.send_fds(self.control, [driver.LENGTH.pack(len(message))], list(descriptors))
            self.control.sendall(message)
        except OSError as error:
            raise JailError(f"{error}; {self._last_words()}") from error

    def reply(self) -> tuple[int, float, int, bool] | None:
        """(wait status, CPU seconds, peak bytes, clean) of the program; None when the jail has ended instead."""
        try:
            message = self.control.recv(driver.REPLY.size)
        except ConnectionError:
            return None
        if len(message) != driver.REPLY.size:
            return None
        status, microseconds, peak_kib, clean = driver.REPLY.unpack(message)
        self._cpu_of_earlier = usage.cpu_seconds(self.first)
        return status, microseconds / 1e6, peak_kib * 1024, clean

    def cpu_seconds(self) -> float:
        """What the program in hand has used so far."""
        return max(0.0, usage.cpu_seconds(self.first) - self._cpu_of_earlier)

    def memory_bytes(self, limit: int) -> int:
        """What the program in hand holds, its files and sockets included."""
        return usage.memory_bytes(self.first, limit) + self.files().bytes + usage.socket_bytes(self.first)

    def files(self) -> usage.Files:
        return usage.files(self.first, driver.FILES)

    def ran_out_of_memory(self) -> bool:
        """Whether the kernel has killed it for that; it can only tell where there are control groups."""
        return self._group is not None and self._group.ran_out_of_memory()

    def kill(self) -> None:
        """Ends everything inside at once: with its first process the kernel kills all others of the namespace."""
        if self._pidfd is not None:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._pidfd, signal.SIGKILL)

    def close(self) -> None:
        """Ends the jail and returns when nothing of it is left."""
        self.kill()
        self.control.close()
        if self._process is None:
            return
        try:
            # bubblewrap goes when it has seen the end of the first process, which is after all the others'.
            self._process.wait(END_SECONDS if self._pidfd is not None else 0.0)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stderr.close()
        if self._pidfd is not None:
            os.close(self._pidfd)
            self._pidfd = None
        if self._group is not None:
            self._group.remove()
            self._group = None

    def _launch(self, control_fd: int, info_fd: int, seccomp_fd: int, **options) -> None:
        inherited = {"control_fd": control_fd, "info_fd": info_fd, "seccomp_fd": seccomp_fd}
        self._process = subprocess.Popen(
            bubblewrap.command(**inherited, **options),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            bufsize=0,
            pass_fds=tuple(inherited.values()),
            env={},
            start_new_session=True,  # a Ctrl-C in the terminal is the parent's affair
        )

    def _wait_ready(self, info: int) -> None:
        end = time.monotonic() + START_SECONDS
        text = b""
        while b"}" not in text:
            if not select.select([info], [], [], max(0.0, end - time.monotonic()))[0]:
                raise JailError(f"nothing within {START_SECONDS} s")
            text += (part := os.read(info, 4096))
            if not part:
                raise JailError(self._last_words())
        self.first: int = json.loads(text)["child-pid"]
        try:
            self._pidfd = os.pidfd_open(self.first)
        except ProcessLookupError:
            raise JailError(self._last_words()) from None
        self.control.settimeout(max(0.1, end - time.monotonic()))
        try:
            ready = self.control.recv(1)
        except OSError as error:
            raise JailError(str(error)) from error
        if ready != driver.READY:
            raise JailError(self._last_words())

    def _last_words(self) -> str:
        self.kill()
        try:
            self._process.wait(END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
        return os.read(self._process.stderr.fileno(), LAST_WORDS_BYTES).decode(errors="replace").strip() or (
            f"exit code {self._process.wait()} and no word"
        )
