"""The parent's end of one worker process: start it, ask it with a deadline, kill it."""

from __future__ import annotations

import contextlib
import json
import os
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Collection

from r1jax.config import RewardsConfig
from r1jax.config.serialize import to_json
from r1jax.rewards import wire

START_SECONDS = 120.0  # until a worker is ready: imports from a cold network disk can take a minute
EXIT_SECONDS = 5.0  # between a worker's closed pipes and its end
STDERR_CHARS = 2000  # of a worker's last words


class DeadlineExceeded(Exception):
    """The worker has not answered in time; it must be killed."""


class WorkerDied(Exception):
    """The worker is gone; the text says how, with its last words.

    Attributes:
      killed: whether somebody else has sent it SIGKILL.
    """

    def __init__(self, words: str, killed: bool = False):
        super().__init__(words)
        self.killed = killed


class WorkerProcess:
    """A running worker. Not thread-safe, but for `kill`.

    `subprocess` and not `fork`: the parent runs jax and its threads. The worker dies with the thread that
    makes this object (see worker.py), so that thread has to live as long as the worker is wanted.
    """

    def __init__(self, config: RewardsConfig, rewards: Collection[str]):
        self._settings = {"config": to_json(config), "rewards": sorted(rewards)}
        self._stderr = tempfile.TemporaryFile()  # noqa: SIM115 (lives as long as the worker)
        self._process = subprocess.Popen(
            [sys.executable, "-P", "-m", "r1jax.rewards.worker", str(os.getpid())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            bufsize=0,
            env=_environment(),
            start_new_session=True,  # a Ctrl-C in the terminal is the parent's affair
        )
        os.set_blocking(self._process.stdin.fileno(), False)  # a worker that has stopped does not empty its pipe
        self.rewards = frozenset(rewards)
        self.served = 0

    @property
    def pid(self) -> int:
        return self._process.pid

    def wait_ready(self) -> None:
        """Returns when the worker has imported what it needs; else WorkerDied or DeadlineExceeded."""
        deadline = time.monotonic() + START_SECONDS
        self._write(self._settings, deadline)  # by the pipe: the host's list of processes is for all to read
        self._read(deadline)

    def request(self, message: dict, deadline_seconds: float) -> dict:
        """The worker's reply; WorkerDied, or DeadlineExceeded after `deadline_seconds`."""
        deadline = time.monotonic() + deadline_seconds
        self._write(message | {"deadline_seconds": deadline_seconds}, deadline)
        reply = self._read(deadline)
        self.served += 1
        return reply

    def kill(self) -> None:
        """Ends the process, and what it has started, at once (safe from any thread); `reap` collects it.

        It leads a process group of its own. The group's number cannot have gone to others: it is taken as long
        as the process has not been collected, and when that has happened the last call follows at once.
        """
        with contextlib.suppress(ProcessLookupError, PermissionError):  # gone; macOS says so by the second
            os.killpg(self.pid, signal.SIGKILL)

    def reap(self) -> None:
        """Kills the process, waits until it is gone and closes the pipes."""
        self.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._stderr):
            pipe.close()

    def _write(self, message: dict, deadline: float) -> None:
        left = memoryview(wire.encode(message))
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdin, selectors.EVENT_WRITE)
            try:
                while left:
                    if not selector.select(max(0.0, deadline - time.monotonic())):
                        raise DeadlineExceeded
                    left = left[os.write(self._process.stdin.fileno(), left) :]
            except BrokenPipeError as error:
                raise self._death() from error

    def _read(self, deadline: float) -> dict:
        try:
            header = self._read_exactly(wire.LENGTH.size, deadline)
            return json.loads(self._read_exactly(wire.decode_length(header), deadline))
        except ValueError as error:
            self.kill()
            raise WorkerDied(f"it wrote what is no message: {error}") from error

    def _read_exactly(self, size: int, deadline: float) -> bytes:
        parts = b""
        with selectors.DefaultSelector() as selector:
            selector.register(self._process.stdout, selectors.EVENT_READ)
            while len(parts) < size:
                # What is there is taken even when this thread woke late: the worker was in time.
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    raise DeadlineExceeded
                part = os.read(self._process.stdout.fileno(), size - len(parts))
                if not part:
                    raise self._death()
                parts += part
        return parts

    def _death(self) -> WorkerDied:
        """What is to be said of a worker that has closed its pipes."""
        try:
            code = self._process.wait(EXIT_SECONDS)
            killed = code == -signal.SIGKILL
        except subprocess.TimeoutExpired:  # it lives on
            self.kill()
            code, killed = self._process.wait(), False
        size = self._stderr.seek(0, os.SEEK_END)
        self._stderr.seek(max(0, size - 4 * STDERR_CHARS))  # a character has at most 4 bytes
        text = self._stderr.read().decode(errors="replace").strip()
        return WorkerDied(f"exit code {code}: {text[-STDERR_CHARS:]}", killed)


def _environment() -> dict[str, str]:
    """The parent's, with its import path (a config's own rewards), one thread, and no accelerator."""
    paths = [path or os.getcwd() for path in sys.path]
    return os.environ | {
        "PYTHONPATH": os.pathsep.join(paths),
        "OMP_NUM_THREADS": "1",
        "JAX_PLATFORMS": "cpu",
    }
