"""The backends on this host: jails, and the plain processes of unsafe mode."""

from __future__ import annotations

import contextlib
import os
import pathlib
import select
import sys
from collections.abc import Callable, Sequence

from r1jax.sandbox import bubblewrap, cgroups, seccomp_filter
from r1jax.sandbox.jail import Jail, JailError
from r1jax.sandbox.jobs import Job, Result, SandboxUnavailable, infrastructure_error
from r1jax.sandbox.plain import PlainProcess
from r1jax.sandbox.user_ids import UserId
from r1jax.sandbox.watch import Run, watch

# What most programs import; worth it from the second program on.
COMMON_IMPORTS = (
    *("bisect", "collections", "copy", "functools", "heapq", "itertools"),
    *("math", "operator", "random", "re", "string", "typing"),
)


def require_linux() -> None:
    """SandboxUnavailable elsewhere: jails are made of namespaces, and even the watch reads /proc."""
    if sys.platform != "linux":
        raise SandboxUnavailable(f"sandbox: expected Linux, found {sys.platform}; name an HTTP backend")


class Bubblewrap:
    """Jails on this host, one at a time (two for a pair)."""

    def __init__(self, core: int | None, cgroup: pathlib.Path | None):
        require_linux()
        bubblewrap.program()
        self._seccomp = seccomp_filter.build()
        self._cgroup = cgroups.usable_parent(cgroup)
        if cgroup is not None and self._cgroup is None:
            raise SandboxUnavailable(
                f"sandbox: expected a writable control group with memory, pids and cpu at {cgroup}, found none; "
                "delegate one (systemd: Delegate=yes), or name none"
            )
        mine = sorted(os.sched_getaffinity(0))
        self._cores = None if core is None else (mine[core % len(mine)],)
        self._users = [UserId(), UserId()] if bubblewrap.as_root() else []
        self._try_once()

    def run_batch(self, jobs: Sequence[Job], until: Callable[[Result], bool] | None = None) -> list[Result]:
        results = []
        jail: Jail | None = None
        try:
            for number, job in enumerate(jobs):
                try:
                    jail, run = self._started(jail, job, jobs[number:])
                except JailError as error:
                    jail = None
                    results.append(infrastructure_error(str(error)))
                else:
                    results.append(_watched(run))
                    jail = jail if run.clean else _end(jail)
                if until is not None and until(results[-1]):
                    break
        finally:
            _end(jail)
        return results

    def _started(self, jail: Jail | None, job: Job, left: Sequence[Job]) -> tuple[Jail, Run]:
        """A run of `job` in this jail, or in a new one where it does not take it; JailError when none can be had."""
        if jail is not None:
            try:
                return jail, Run(job, jail)
            except JailError:
                _end(jail)
        jail = self._jail(left)
        try:
            return jail, Run(job, jail)
        except BaseException:
            _end(jail)
            raise

    def run_pair(self, first: Job, second: Job) -> tuple[Result, Result]:
        try:
            with (
                contextlib.closing(self._jail([first], user=0)) as tester,
                contextlib.closing(self._jail([second], user=1)) as candidate,
            ):
                return _joined((first, second), (tester, candidate))
        except JailError as error:
            return infrastructure_error(str(error)), infrastructure_error(str(error))

    def close(self) -> None:
        for user in self._users:
            user.close()

    def _jail(self, jobs: Sequence[Job], user: int = 0) -> Jail:
        for last in (False, True):
            try:
                return Jail(
                    self._seccomp,
                    uid=self._users[user].uid if self._users else None,
                    file_bytes=int(max(job.limits.file_bytes for job in jobs)),
                    cores=self._cores,
                    cgroup=self._cgroup,
                    imports=COMMON_IMPORTS if sum(job.source is not None for job in jobs) > 1 else (),
                )
            except JailError:
                if last:
                    raise
        raise AssertionError("unreachable")

    def _try_once(self) -> None:
        try:
            _end(self._jail([Job(source="")]))
        except JailError as error:
            self.close()
            raise SandboxUnavailable(bubblewrap.diagnosis(str(error))) from error


class Plain:
    """Unsafe mode."""

    def __init__(self):
        require_linux()

    def run_batch(self, jobs: Sequence[Job], until: Callable[[Result], bool] | None = None) -> list[Result]:
        results = []
        for job in jobs:
            with contextlib.closing(PlainProcess()) as place:
                results.append(_watched(Run(job, place)))
            if until is not None and until(results[-1]):
                break
        return results

    def run_pair(self, first: Job, second: Job) -> tuple[Result, Result]:
        with contextlib.closing(PlainProcess()) as tester, contextlib.closing(PlainProcess()) as candidate:
            return _joined((first, second), (tester, candidate))

    def close(self) -> None:
        pass


def _end(jail: Jail | None) -> None:
    if jail is not None:
        jail.close()


def _watched(run: Run) -> Result:
    with contextlib.closing(run):
        watch([run])
    return run.result


def _joined(jobs: Sequence[Job], places: Sequence[Jail | PlainProcess]) -> tuple[Result, Result]:
    """The results of two programs that are joined by two pipes, each in its place.

    We keep those ends of the pipes by which the second would learn of the first's end.
    """
    with contextlib.ExitStack() as ours:
        with contextlib.ExitStack() as theirs:
            (second_in, first_out), (first_in, second_out) = os.pipe(), os.pipe()
            for fd in (first_in, first_out):
                ours.callback(os.close, fd)
            for fd in (second_in, second_out):
                theirs.callback(os.close, fd)
            runs = []
            for job, place, channel in zip(jobs, places, ((first_in, first_out), (second_in, second_out)), strict=True):
                runs.append(ours.enter_context(contextlib.closing(Run(job, place, channel))))
        ends = select.poll()
        ends.register(first_in, 0)  # POLLHUP comes unasked, when none can write any more
        watch(runs, is_leaving=lambda: bool(ends.poll(0)))
        return runs[0].result, runs[1].result
