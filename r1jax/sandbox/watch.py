"""Watches over running programs: takes what they print up to a limit, and ends them at any of their limits.

Nothing that a program does makes this wait: it reads only what is there, and what a program has not printed when
its jail says that it has ended will never come.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from r1jax.sandbox import usage
from r1jax.sandbox.jobs import Job, Result, Status, as_bytes, status_of_exit

LOOK_SECONDS = 0.02  # between two looks at what a program uses
READ_BYTES = 2**16
MOST_FILES = 10_000  # an empty file takes a kilobyte of the kernel's memory and nothing of `file_bytes`


class Place(Protocol):
    """Where a program runs: a jail, or a plain process."""

    @property
    def control(self): ...  # a descriptor that is readable when `reply` has something to say
    def start(self, job: Job, descriptors: Sequence[int]) -> None: ...
    def reply(self) -> tuple[int, float, int, bool] | None: ...
    def cpu_seconds(self) -> float: ...
    def memory_bytes(self, limit: int) -> int: ...
    def files(self) -> usage.Files: ...
    def ran_out_of_memory(self) -> bool: ...
    def kill(self) -> None: ...


class Capture:
    """The end of a pipe into which a program prints; keeps the first `most` bytes."""

    def __init__(self, most: int):
        self.most = most
        self.data = bytearray()
        self.cut = False
        self.fd, self.inside = os.pipe()
        os.set_blocking(self.fd, False)

    def read(self) -> bool:
        """Takes what is there, up to READ_BYTES; whether there may be more now."""
        try:
            part = os.read(self.fd, READ_BYTES)
        except BlockingIOError:
            return False
        room = self.most - len(self.data)
        self.data += part[:room]
        self.cut |= len(part) > room
        return bool(part)


class Run:
    """One program in one place, from its start to its result."""

    def __init__(self, job: Job, place: Place, channel: Sequence[int] = ()):
        """Starts the program. `channel`: further descriptors, which it has as 3, 4, ..."""
        self.job = job
        self.place = place
        self.result: Result | None = None
        self.clean = False  # whether the place may take another program
        self._stopped: tuple[Status, str] | None = None
        with contextlib.ExitStack() as undo:
            stdin = _readable(as_bytes(job.stdin))
            undo.callback(os.close, stdin)
            self._outputs = []
            for _ in range(2):
                self._outputs.append(Capture(job.limits.output_bytes))
                undo.callback(os.close, self._outputs[-1].inside)
            self._start = time.monotonic()
            self._next_look = self._start + LOOK_SECONDS
            try:
                place.start(job, [stdin, *(output.inside for output in self._outputs), *channel])
            except BaseException:
                self.close()
                raise

    def close(self) -> None:
        for output in self._outputs:
            os.close(output.fd)

    def descriptors(self) -> Iterator[int]:
        """What to wait for."""
        yield self.place.control.fileno()
        yield from (output.fd for output in self._outputs)

    def next_time(self) -> float:
        """When to look again although nothing has come."""
        if self._stopped is not None:
            return time.monotonic() + 1.0  # its end will show
        return min(self._next_look, self._start + self.job.limits.wall_seconds)

    def take(self, fd: int) -> bool:
        """Handles a readable descriptor; whether to go on waiting for it."""
        if fd == self.place.control.fileno():
            self._end(self.place.reply())
            return False
        output = next(output for output in self._outputs if output.fd == fd)
        more = output.read()
        self._check_output()
        return more

    def look(self) -> None:
        """Ends the program if it is over a limit by now."""
        limits, now = self.job.limits, time.monotonic()
        if self.result is not None or self._stopped is not None:
            return
        if now >= self._start + limits.wall_seconds:
            self.stop(Status.OVER_TIME, f"wall clock: {limits.wall_seconds} s")
        elif now >= self._next_look:
            self._next_look = now + LOOK_SECONDS
            if self.place.cpu_seconds() > limits.cpu_seconds:
                self.stop(Status.OVER_TIME, f"CPU: {limits.cpu_seconds} s")
            elif self.place.memory_bytes(limits.memory_bytes) > limits.memory_bytes:
                self.stop(Status.OVER_MEMORY, f"{limits.memory_bytes} bytes of processes and files")
            elif self.place.files().count > MOST_FILES:
                self.stop(Status.OVER_MEMORY, f"more than {MOST_FILES} files")

    def stop(self, status: Status, detail: str) -> None:
        """Ends the program; `take` then gets its end from the control descriptor."""
        if self.result is None and self._stopped is None:
            self._stopped = status, detail
            self.place.kill()

    def _check_output(self) -> None:
        if any(output.cut for output in self._outputs):
            self.stop(Status.OVER_OUTPUT, f"{self.job.limits.output_bytes} bytes printed")

    def _end(self, reply: tuple[int, float, int, bool] | None) -> None:
        wall_seconds = time.monotonic() - self._start
        for output in self._outputs:
            while not output.cut and output.read():
                pass
        self._check_output()
        wait_status, cpu_seconds, peak, self.clean = reply or (None, None, None, False)
        code = None if wait_status is None else os.waitstatus_to_exitcode(wait_status)
        if self._stopped is not None:
            self.clean = False
            code = None
        status, detail = self._stopped or self._judge(code, cpu_seconds)
        stdout, stderr = self._outputs
        self.result = Result(
            status,
            bytes(stdout.data),
            bytes(stderr.data),
            stdout.cut,
            stderr.cut,
            exit_code=code if code is not None and code >= 0 else None,
            signal=-code if code is not None and code < 0 else None,
            wall_seconds=wall_seconds,
            cpu_seconds=cpu_seconds,
            peak_memory_bytes=peak,
            detail=detail,
        )

    def _judge(self, code: int | None, cpu_seconds: float | None) -> tuple[Status, str]:
        """The status of a program that ended without our doing."""
        if self.place.ran_out_of_memory():
            return Status.OVER_MEMORY, "killed by the kernel for its memory"
        if code is None:
            return Status.CRASHED, "it has brought its jail to an end"
        if cpu_seconds > self.job.limits.cpu_seconds:
            return Status.OVER_TIME, f"CPU: {self.job.limits.cpu_seconds} s"
        return status_of_exit(code, bytes(self._outputs[1].data))


def watch(runs: Sequence[Run], is_leaving: Callable[[], bool] = lambda: False) -> None:
    """Returns when all of `runs` have their results: with the first's end the others are ended.

    Unless `is_leaving` says that the other is about to end by itself: then that is waited for, up to its limits.
    """
    with selectors.DefaultSelector() as selector:
        for run in runs:
            for fd in run.descriptors():
                selector.register(fd, selectors.EVENT_READ, run)
        while any(run.result is None for run in runs):
            timeout = min(run.next_time() for run in runs if run.result is None) - time.monotonic()
            for key, _ in selector.select(max(0.0, timeout)):
                if not key.data.take(key.fd):
                    selector.unregister(key.fd)
            for run in runs:
                run.look()
            for run in runs[1:]:
                if runs[0].result is not None and run.result is None and not is_leaving():
                    run.stop(Status.FINISHED, "ended with the program that it serves")


def _readable(data: bytes) -> int:
    """A descriptor from which a program reads `data`: no pipe, which would have to be filled as it reads."""
    writable = os.memfd_create("stdin", os.MFD_CLOEXEC)
    with open(writable, "wb") as file:
        file.write(data)
        file.flush()
        return os.open(f"/proc/self/fd/{writable}", os.O_RDONLY | os.O_CLOEXEC)
