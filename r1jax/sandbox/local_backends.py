"""The backends on this host: jails, and the plain processes of unsafe mode."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Sequence

from r1jax.sandbox import bubblewrap, cgroups, seccomp_filter
from r1jax.sandbox.jail import Jail, JailError
from r1jax.sandbox.jobs import Job, Result, SandboxUnavailable, infrastructure_error
from r1jax.sandbox.plain import PlainProcess
from r1jax.sandbox.user_ids import UserId
from r1jax.sandbox.watch import Run, watch

# What most programs import; worth it from the second program on.
COMMON_IMPORTS = ("collections", "functools", "itertools", "math", "re", "string", "typing")


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

    def run_batch(self, jobs: Sequence[Job]) -> list[Result]:
        results = []
        jail: Jail | None = None
        try:
            for number, job in enumerate(jobs):
                try:
                    jail, run = self._started(jail, job, jobs[number:])
                except JailError as error:
                    jail = None
                    results.append(infrastructure_error(str(error)))
                    continue
                try:
                    watch([run])
                finally:
                    run.close()
                results.append(run.result)
                jail = jail if run.clean else _end(jail)
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
        jails: list[Jail] = []
        runs: list[Run] = []
        to_second, to_first = os.pipe(), os.pipe()
        try:
            for job, user in ((first, 0), (second, 1)):
                jails.append(self._jail([job], user))
            runs.append(Run(first, jails[0], (to_first[0], to_second[1])))
            runs.append(Run(second, jails[1], (to_second[0], to_first[1])))
        except JailError as error:
            return infrastructure_error(str(error)), infrastructure_error(str(error))
        finally:
            for fd in (*to_second, *to_first):
                os.close(fd)
            if len(runs) < 2:
                _close_all(runs, jails)
        try:
            watch(runs)
            return runs[0].result, runs[1].result
        finally:
            _close_all(runs, jails)

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

    def run_batch(self, jobs: Sequence[Job]) -> list[Result]:
        results = []
        for job in jobs:
            place = PlainProcess()
            try:
                run = Run(job, place)
                try:
                    watch([run])
                finally:
                    run.close()
                results.append(run.result)
            finally:
                place.close()
        return results

    def run_pair(self, first: Job, second: Job) -> tuple[Result, Result]:
        to_second, to_first = os.pipe(), os.pipe()
        places = PlainProcess(), PlainProcess()
        runs: list[Run] = []
        try:
            try:
                runs.append(Run(first, places[0], (to_first[0], to_second[1])))
                runs.append(Run(second, places[1], (to_second[0], to_first[1])))
            finally:
                for fd in (*to_second, *to_first):
                    os.close(fd)
            watch(runs)
            return runs[0].result, runs[1].result
        finally:
            _close_all(runs, places)

    def close(self) -> None:
        pass


def _end(jail: Jail | None) -> None:
    if jail is not None:
        jail.close()


def _close_all(runs: Sequence[Run], places: Sequence[Jail | PlainProcess]) -> None:
    for run in runs:
        run.close()
    for place in places:
        place.close()
