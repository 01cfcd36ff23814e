"""One place for a worker: starts it, replaces it, and finds out whose fault a failure was.

A worker that misses its deadline is killed. One that died by itself is asked again once, in a new process: a
death that does not repeat was the machine's. One that somebody else has killed (an operator, a host that is short of
memory) says little about the answer: it is asked again some times more. After a failure the gold alone is graded;
only where that goes well is the failure the answer's.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Sequence
from typing import Any

from r1jax.config import RewardsConfig
from r1jax.errors import UserError
from r1jax.rewards.verdicts import RewardError
from r1jax.rewards.worker_process import DeadlineExceeded, WorkerDied, WorkerProcess

START_TRIES = 3
START_PAUSE_SECONDS = 0.5  # between them
START_KILLS = 10  # of workers that others kill as they start, beside the START_TRIES
MOST_DEATHS = 2  # of workers over one request
MOST_KILLS = 4  # of workers by others over one request


class WorkerStartError(UserError):
    """No worker comes up; the text has its last words."""


@dataclasses.dataclass(frozen=True)
class Request:
    """A message, which names its `reward`; for after a failure, one that is true on any sane gold; seconds for each."""

    number: int
    message: dict
    control: dict | None
    deadline_seconds: float


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What became of a request.

    Attributes:
      number: of the request.
      result: what the worker answered; None where `failed` or `error` is set.
      failed: `limit` (deadline, memory, death) or `crash` (an exception), where the control came out true or
        there is none; `grader`, where it did not; `start`, where no worker could be had.
      detail: the failure in words.
      seconds: that workers spent on it, their start not included.
      error: to be raised in the caller: no outcome but a bug in a reward.
    """

    number: int
    result: Any = None
    failed: str | None = None
    detail: str = ""
    seconds: float = 0.0
    error: Exception | None = None


class Slot:
    """Serves one request after another, in one thread; only `close` may be called from another."""

    def __init__(self, config: RewardsConfig, rewards: Sequence[str]):
        self._config = config
        self._rewards = tuple(rewards)
        self._worker: WorkerProcess | None = None
        self._lock = threading.Lock()  # over the worker's start and end, against close()
        self._closed = threading.Event()
        self._seconds = 0.0  # of the request in hand
        self.ever_started = False
        self.kills = 0  # of workers, at a deadline
        self.deaths = 0  # of workers, by themselves

    def handle(self, request: Request) -> Outcome:
        """The outcome of one request, whatever it does to its worker."""
        self._seconds = 0.0
        reply = self._ask(request.message, request.deadline_seconds)
        failed, detail = reply.get("failed"), reply.get("detail", "")
        if failed in ("limit", "crash") and request.control is not None:
            check = self._ask(request.control, request.deadline_seconds)
            if check.get("failed") == "start":
                failed, detail = "start", check["detail"]
            elif check.get("result") is not True:
                failed = "grader"
                words = check.get("detail") or check.get("error") or "not equal to itself"
                detail = f"{detail}; the gold alone: {words}"
        error = RewardError(reply["error"]) if "error" in reply else None
        return Outcome(request.number, reply.get("result"), failed, detail, self._seconds, error)

    def close(self) -> None:
        """Kills the worker and starts no other; the thread in `handle` comes back at once."""
        with self._lock:
            self._closed.set()
            if self._worker is not None:
                self._worker.kill()

    def end_worker(self) -> None:
        """Ends the worker, if there is one."""
        with self._lock:
            worker, self._worker = self._worker, None
        if worker is not None:
            worker.reap()

    def _ask(self, message: dict, deadline_seconds: float) -> dict:
        """A worker's reply, or {"failed": ..., "detail": ...} with what kept it from replying."""
        deaths = kills = 0
        while True:
            try:
                worker = self._ready_worker(message["reward"])
            except WorkerStartError as error:
                return {"failed": "start", "detail": str(error)}
            start = time.monotonic()
            try:
                reply = worker.request(message, deadline_seconds)
            except DeadlineExceeded:
                self.kills += 1
                self.end_worker()
                return {"failed": "limit", "detail": f"no answer within its {deadline_seconds:g} s"}
            except WorkerDied as error:
                self.deaths += 1
                self.end_worker()
                deaths, kills = deaths + (not error.killed), kills + error.killed
                if deaths == MOST_DEATHS or kills == MOST_KILLS:
                    return {"failed": "limit", "detail": f"its worker died {deaths + kills} times, {error}"}
            else:
                # After a failure nobody knows what state it is in.
                if "failed" in reply or reply["retire"] or worker.served >= self._config.recycle_after:
                    self.end_worker()
                return reply
            finally:
                self._seconds += time.monotonic() - start

    def _ready_worker(self, reward: str) -> WorkerProcess:
        """The worker in this slot, or a new one; WorkerStartError when none comes up in START_TRIES.

        It has warmed up for `reward`, so that no deadline runs over an import.
        """
        if self._worker is not None and reward not in self._worker.rewards:
            self.end_worker()
        failures = kills = 0
        while self._worker is None:
            try:
                with self._lock:
                    if self._closed.is_set():
                        raise WorkerStartError("reward workers do not start: the service is closed")
                    self._worker = WorkerProcess(self._config, {*self._rewards, reward})
                self._worker.wait_ready()
            except (WorkerDied, DeadlineExceeded, OSError) as error:  # OSError: the host is short of processes
                self.end_worker()
                killed = isinstance(error, WorkerDied) and error.killed
                failures, kills = failures + (not killed), kills + killed
                if failures == START_TRIES or kills == START_KILLS:
                    words = str(error) or "it was not ready in time"
                    raise WorkerStartError(f"reward workers do not start: {words}") from error
                self._closed.wait(START_PAUSE_SECONDS)
            else:
                self.ever_started = True
        return self._worker
