"""Sandboxes behind HTTP, for hosts that allow no namespaces: SandboxFusion's `run_code` and Piston's `execute`.

What a service isolates is its operator's affair: `python -m r1jax.sandbox --backend=... --url=...` runs the
self-test through it. A service that is slow, fails or talks nonsense is asked again; then the result is an
`infrastructure_error`. Both take Python source, or ("python3", name of one of the job's files, ...).
"""

from __future__ import annotations

import base64
import dataclasses
import http.client
import json
import os
import signal
import time
import urllib.parse
from collections.abc import Callable, Sequence
from typing import Any

from r1jax.errors import UserError
from r1jax.sandbox.jobs import MIB, PYTHON, Job, Result, Status, as_bytes, infrastructure_error, status_of_exit

TRIES = 3
FIRST_PAUSE_SECONDS = 0.5  # before the second try; it doubles
WAITING_SECONDS = 20.0  # for the service's own queue, beyond the program's wall clock
TOKEN_VARIABLE = "R1JAX_SANDBOX_TOKEN"  # of the environment: what to send as Authorization
MOST_ESCAPED = 12  # characters of JSON for a byte of one of two outputs
TOO_MANY_REQUESTS, SERVER_ERRORS = 429, 500


class ServiceError(Exception):
    """The service did not answer, or not as its protocol says; `again` tells whether another try may help."""

    def __init__(self, words: str, again: bool = True):
        super().__init__(words)
        self.again = again


class TooLong(Exception):
    """More came than a program within its limits can cause."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """How a service is asked, and what its answer means."""

    path: str
    request: Callable[[Job], dict[str, Any]]
    result: Callable[[dict[str, Any], Job], Result]  # KeyError, TypeError, ValueError, AttributeError: no such answer


class HttpBackend:
    """One service; each job is a request of its own."""

    def __init__(self, protocol: Protocol, url: str):
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise UserError(f"sandbox: expected a url such as http://host:8080, found {url!r}")
        self._protocol = protocol
        self._parts = parts

    def run_batch(self, jobs: Sequence[Job], until: Callable[[Result], bool] | None = None) -> list[Result]:
        results = []
        for job in jobs:
            results.append(self._run(job))
            if until is not None and until(results[-1]):
                break
        return results

    def run_pair(self, first: Job, second: Job) -> tuple[Result, Result]:
        raise UserError("sandbox: two joined programs need the backend bubblewrap, found an HTTP service")

    def close(self) -> None:
        pass

    def _run(self, job: Job) -> Result:
        body = json.dumps(self._protocol.request(job)).encode()
        start = time.monotonic()
        for number in range(TRIES):
            try:
                answer = self._post(body, job)
                result = self._read(answer, job)
            except TooLong:
                return Result(Status.OVER_OUTPUT, stdout_cut=True, wall_seconds=time.monotonic() - start)
            except ServiceError as error:
                if not error.again or number == TRIES - 1:
                    return infrastructure_error(str(error))
                time.sleep(FIRST_PAUSE_SECONDS * 2**number)
            else:
                return _capped(result, job.limits.output_bytes)
        raise AssertionError("unreachable")

    def _read(self, answer: bytes, job: Job) -> Result:
        try:
            return self._protocol.result(json.loads(answer), job)
        except (KeyError, TypeError, ValueError, AttributeError) as error:  # json's error is a ValueError
            raise ServiceError(f"no such answer in the protocol ({error!r}): {answer[:200]!r}") from error

    def _post(self, body: bytes, job: Job) -> bytes:
        """The body of the answer, within one deadline for all of it."""
        end = time.monotonic() + job.limits.wall_seconds + WAITING_SECONDS
        kind = http.client.HTTPSConnection if self._parts.scheme == "https" else http.client.HTTPConnection
        connection = kind(self._parts.hostname, self._parts.port, timeout=end - time.monotonic())
        headers = {"Content-Type": "application/json"}
        if TOKEN_VARIABLE in os.environ:
            headers["Authorization"] = os.environ[TOKEN_VARIABLE]
        try:
            connection.request("POST", self._parts.path.rstrip("/") + self._protocol.path, body, headers)
            socket = connection.sock  # the response may take it along
            response = connection.getresponse()
            parts, size = [], 0
            while part := response.read1(2**16):
                parts.append(part)
                size += len(part)
                if size > MOST_ESCAPED * job.limits.output_bytes + MIB:
                    raise TooLong
                if time.monotonic() > end:
                    raise TimeoutError("the answer did not end in time")
                socket.settimeout(max(0.01, end - time.monotonic()))
        except (OSError, http.client.HTTPException) as error:
            raise ServiceError(f"{type(error).__name__}: {error}") from error
        finally:
            connection.close()
        if response.status != http.client.OK:
            again = response.status >= SERVER_ERRORS or response.status == TOO_MANY_REQUESTS
            raise ServiceError(f"HTTP {response.status}: {b''.join(parts)[:200]!r}", again)
        return b"".join(parts)


def _main_source(job: Job) -> tuple[str, tuple[str, ...]]:
    """The Python text that a job runs, and its arguments; UserError for other programs."""
    if job.source is not None:
        return job.source, ()
    if len(job.argv) < 2 or job.argv[0] != PYTHON or job.argv[1] not in job.files:  # noqa: PLR2004
        raise UserError(f"sandbox: an HTTP backend runs Python source, or {PYTHON} with a file of the job: {job.argv}")
    return _text(job.files[job.argv[1]]), job.argv[2:]


def _text(data: bytes | str) -> str:
    return data if isinstance(data, str) else data.decode(errors="replace")


def _capped(result: Result, most: int) -> Result:
    cut = {f"{name}_cut": len(getattr(result, name)) > most for name in ("stdout", "stderr")}
    if any(cut.values()):
        texts = {name: getattr(result, name)[:most] for name in ("stdout", "stderr")}
        return dataclasses.replace(result, status=Status.OVER_OUTPUT, exit_code=None, signal=None, **texts, **cut)
    return result


def _ended(code: int, stdout: str, stderr: str, **known: Any) -> Result:
    errors = as_bytes(stderr)
    status, detail = status_of_exit(code, errors)
    end = {"exit_code": code} if code >= 0 else {"signal": -code}
    return Result(status, as_bytes(stdout), errors, detail=detail, **end, **known)


# SandboxFusion: POST /run_code (its sandbox/server/sandbox_api.py has the fields).


def _fusion_request(job: Job) -> dict[str, Any]:
    source, arguments = _main_source(job)
    if arguments:
        raise UserError(f"sandbox: SandboxFusion passes no arguments to a program, found {arguments}")
    return {
        "code": source,
        "language": "python",
        "run_timeout": job.limits.wall_seconds,
        "memory_limit_MB": max(1, int(job.limits.memory_bytes // MIB)),
        "stdin": _text(job.stdin),
        "files": {name: base64.b64encode(as_bytes(content)).decode() for name, content in job.files.items()},
    }


def _fusion_result(answer: dict[str, Any], job: Job) -> Result:
    run = answer.get("run_result")
    if answer["status"] == "SandboxError" or run is None or run["status"] == "Error":
        raise ServiceError(f"SandboxFusion: {answer.get('message') or 'an error of its own'}"[:300])
    stdout, stderr = run["stdout"] or "", run["stderr"] or ""
    known = {"wall_seconds": float(run.get("execution_time") or 0.0)}
    if run["status"] == "TimeLimitExceeded":
        return Result(Status.OVER_TIME, as_bytes(stdout), as_bytes(stderr), detail="TimeLimitExceeded", **known)
    if run["status"] != "Finished":
        raise ValueError(f"status {run['status']!r}")
    return _ended(int(run["return_code"]), stdout, stderr, **known)


# Piston: POST /api/v2/execute (its docs/api-v2.md; later versions add `status`, times and memory).

PISTON_STATUS = {"TO": Status.OVER_TIME, "OL": Status.OVER_OUTPUT, "EL": Status.OVER_OUTPUT}


def _piston_request(job: Job) -> dict[str, Any]:
    source, arguments = _main_source(job)
    name = "main.py" if job.source is not None else job.argv[1]
    files = {name: source, **{other: content for other, content in job.files.items() if other != name}}
    milliseconds = round(1000 * job.limits.wall_seconds)
    return {
        "language": "python",
        "version": "3.x",
        "files": [
            {"name": name, "content": base64.b64encode(as_bytes(content)).decode(), "encoding": "base64"}
            for name, content in files.items()
        ],
        "stdin": _text(job.stdin),
        "args": list(arguments),
        "run_timeout": milliseconds,
        "run_memory_limit": int(job.limits.memory_bytes),
    }


def _piston_result(answer: dict[str, Any], job: Job) -> Result:
    run = answer["run"]
    stdout, stderr, said = run["stdout"], run["stderr"], run.get("status")
    known: dict[str, Any] = {}
    if run.get("wall_time") is not None:
        known["wall_seconds"] = run["wall_time"] / 1000
    if run.get("cpu_time") is not None:
        known["cpu_seconds"] = run["cpu_time"] / 1000
    if run.get("memory") is not None:
        known["peak_memory_bytes"] = int(run["memory"])
    if said == "XX":
        raise ServiceError(f"Piston: {run.get('message') or 'an error of its own'}"[:300])
    if said in PISTON_STATUS:
        return Result(PISTON_STATUS[said], as_bytes(stdout), as_bytes(stderr), detail=f"status {said}", **known)
    if run["signal"] is not None:
        return _ended(-signal.Signals[run["signal"]].value, stdout, stderr, **known)
    return _ended(int(run["code"]), stdout, stderr, **known)


PROTOCOLS = {
    "sandbox_fusion": Protocol("/run_code", _fusion_request, _fusion_result),
    "piston": Protocol("/api/v2/execute", _piston_request, _piston_result),
}
