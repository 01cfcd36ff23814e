"""The sandbox: one interface over the backends, and the promise that nothing is ever silently unsafe."""

from __future__ import annotations

import os
import pathlib
import sys
from collections.abc import Callable, Sequence
from typing import Any, Literal, Protocol

from r1jax.errors import UserError
from r1jax.sandbox import http_backends, local_backends, plain, self_test
from r1jax.sandbox.jobs import Job, Result, SandboxUnavailable

BackendName = Literal["bubblewrap", "sandbox_fusion", "piston"]


class Backend(Protocol):
    """What runs jobs."""

    def run_batch(self, jobs: Sequence[Job], until: Callable[[Result], bool] | None = None) -> list[Result]: ...
    def run_pair(self, first: Job, second: Job) -> tuple[Result, Result]: ...
    def close(self) -> None: ...


class Sandbox:
    """Runs untrusted programs. A context manager, for one thread: make one in each worker.

    Args:
      backend: `bubblewrap` on this host, or an HTTP service at `url`: `sandbox_fusion` or `piston`.
      url: of the service.
      unsafe: run plain processes of this host instead, with a banner on the standard error. Never the default,
        and never a fallback.
      core: the processor core for all its programs, counted from 0 among those that this process may use; give
        each worker its own, and a program that computes on all its threads leaves the others alone. None: any.
      cgroup: a control group (version 2) that is delegated to this process; None: its own, where that is allowed.
      tested: skip the self-test of the isolation, and the banner: another sandbox of this host and these settings
        has passed the one, or printed the other.

    Raises SandboxUnavailable on entering where this host does not isolate, and UserError for settings that
    contradict each other.
    """

    def __init__(
        self,
        backend: BackendName = "bubblewrap",
        *,
        url: str | None = None,
        unsafe: bool = False,
        core: int | None = None,
        cgroup: str | os.PathLike | None = None,
        tested: bool = False,
    ):
        if backend not in ("bubblewrap", *http_backends.PROTOCOLS):
            names = ", ".join(("bubblewrap", *http_backends.PROTOCOLS))
            raise UserError(f"sandbox: expected a backend of {names}, found {backend!r}")
        if (backend in http_backends.PROTOCOLS) != (url is not None):
            raise UserError(f"sandbox: a url goes with an HTTP backend and only there, found {backend} and {url!r}")
        if unsafe and backend != "bubblewrap":
            raise UserError(f"sandbox: unsafe stands in the place of bubblewrap, found it with {backend}")
        if (core is not None or cgroup is not None) and (unsafe or backend != "bubblewrap"):
            raise UserError("sandbox: core and cgroup are of jails on this host, found them with another backend")
        self.name: str = "unsafe" if unsafe else backend
        self._url = url
        self._core = core
        self._cgroup = None if cgroup is None else pathlib.Path(cgroup)
        self._tested = tested
        self._backend: Backend | None = None
        self._report: self_test.Report | None = None

    def __enter__(self) -> Sandbox:
        if self.name == "unsafe":
            if not self._tested:
                print(plain.BANNER, file=sys.stderr, flush=True)
            self._backend = local_backends.Plain()
        elif self.name == "bubblewrap":
            self._backend = local_backends.Bubblewrap(self._core, self._cgroup)
            self._test()
        else:
            self._backend = http_backends.HttpBackend(http_backends.PROTOCOLS[self.name], self._url)
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Ends what runs; the sandbox runs nothing afterwards."""
        if self._backend is not None:
            self._backend.close()
            self._backend = None

    def run(self, job: Job) -> Result:
        """Runs one program, in a jail of its own."""
        return self._open().run_batch([job])[0]

    def run_batch(self, jobs: Sequence[Job], *, until: Callable[[Result], bool] | None = None) -> list[Result]:
        """Runs several programs of one author one after another; results in their order.

        They share a jail, which saves starting it; each finds no process and no file of the one before. After a
        program that was ended at a limit, the next has a new jail. (HTTP backends share nothing.)

        Args:
          jobs: the programs.
          until: called with each result as it comes; once it is true, the jobs that are left are not run, and the
            list ends with this result.
        """
        return self._open().run_batch(jobs, until) if jobs else []

    def run_pair(self, first: Job, second: Job) -> tuple[Result, Result]:
        """Runs two programs in two jails, joined by two pipes: each reads what the other writes.

        Each reads on descriptor 3 and writes on descriptor 4. What is written is bytes and nothing else: no
        descriptors, no objects. UserError with an HTTP backend.

        The second serves the first: a candidate is the second, the program that tests it the first. The first reads
        an end of file when the second has ended; the second never does, whatever the first closes, and no write of
        its fails for the first's end. So the end of the first can only end the second in one way: by us, and then
        the second's result is `finished` with neither exit code nor signal, which no other result is. Every other
        result of the second is its own: it had ended, or closed its descriptor 4 for good, when the end of the first
        came, and in the latter case its own end was waited for, up to its limits.
        """
        return self._open().run_pair(first, second)

    @property
    def unsafe(self) -> bool:
        """Whether programs run without isolation."""
        return self.name == "unsafe"

    @property
    def report(self) -> self_test.Report | None:
        """What the self-test on entering has found; None where none was made."""
        return self._report

    @property
    def stamp(self) -> dict[str, Any]:
        """For a run's manifest, as plain JSON values: how its programs were isolated."""
        checks = {} if self._report is None else {check.name: check.isolated for check in self._report.checks}
        return {"sandbox": self.name, "unsafe": self.unsafe, "isolated": checks}

    def _open(self) -> Backend:
        if self._backend is None:
            raise RuntimeError("the sandbox is not open: use it as a context manager")
        return self._backend

    def _test(self) -> None:
        if self._tested:
            return
        try:
            self._report = self_test.run(self._backend.run_batch)
            failed = [check for check in self._report.checks if not check.isolated]
            if failed:
                words = "; ".join(f"{check.name}: {check.found}" for check in failed)
                raise SandboxUnavailable(
                    f"sandbox: expected every check of the isolation to pass, found {words}; "
                    "python -m r1jax.sandbox prints them all"
                )
        except BaseException:
            self.close()
            raise
