"""What a sandbox is asked (a job with its limits) and what it answers (a result with one status).

The status says whose doing the end was: `infrastructure_error` is never a program's, whatever it does, since
what cannot be told is not scored and a policy would learn to bring that about.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import pathlib
import signal
from collections.abc import Mapping

from r1jax.errors import UserError

MIB = 2**20
LEAST_MEMORY_BYTES = 32 * MIB  # an interpreter needs as much
MOST_INPUT_BYTES = 64 * MIB  # source, files and standard input of one job
PYTHON = "python3"  # the interpreter's name inside, for `Job.argv`


class SandboxUnavailable(UserError):
    """This host isolates nothing, or less than promised; the text says what to install or to change."""


class Status(enum.StrEnum):
    """How a program came to its end."""

    FINISHED = "finished"  # it ended by itself, with any exit code
    OVER_TIME = "over_time"  # wall clock or CPU
    OVER_MEMORY = "over_memory"  # of its processes and files together, or more files than MOST_FILES
    OVER_OUTPUT = "over_output"  # more printed than `output_bytes`, or one file longer than `file_bytes`
    CRASHED = "crashed"  # by a signal, or it broke the jail it ran in
    INFRASTRUCTURE_ERROR = "infrastructure_error"  # no jail, so nothing is known about the program


STATUS_OF_SIGNAL = {signal.SIGXCPU: Status.OVER_TIME, signal.SIGXFSZ: Status.OVER_OUTPUT}


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one program may use, together with all processes that it starts.

    Attributes:
      wall_seconds: from its start; the parent then ends the jail.
      cpu_seconds: of all its processes.
      memory_bytes: of all its processes and files.
      processes: processes and threads at once, itself included.
      output_bytes: of its standard output, and as much of its standard error.
      file_bytes: of all its files.
    """

    wall_seconds: float = 10.0
    cpu_seconds: float = 10.0
    memory_bytes: int = 512 * MIB
    processes: int = 16
    output_bytes: int = MIB
    file_bytes: int = 32 * MIB

    def __post_init__(self):
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            least = LEAST_MEMORY_BYTES if field.name == "memory_bytes" else 0
            if not (math.isfinite(value) and value > 0 and value >= least):
                raise UserError(f"sandbox limit {field.name}: expected a number above {least}, found {value!r}")


@dataclasses.dataclass(frozen=True)
class Job:
    """One program to be run: Python `source`, or `argv` (whose first word may be "python3").

    Attributes:
      source: Python text; it runs as `__main__` in the jail's own interpreter.
      argv: command line, for files of the job: ("python3", "main.py").
      files: relative name -> content, in the working directory.
      stdin: its standard input.
      limits: see Limits.
    """

    source: str | None = None
    argv: tuple[str, ...] | None = None
    files: Mapping[str, bytes | str] = dataclasses.field(default_factory=dict)
    stdin: bytes | str = b""
    limits: Limits = Limits()

    def __post_init__(self):
        if (self.source is None) == (self.argv is None) or self.argv == ():
            raise UserError("sandbox job: expected either source or argv, found both or neither")
        for name in self.files:
            path = pathlib.PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or path.name == "" or "\0" in name:
                raise UserError(f"sandbox job: expected a relative file name that stays inside, found {name!r}")
        if (size := self.input_bytes) > MOST_INPUT_BYTES:
            raise UserError(f"sandbox job: expected at most {MOST_INPUT_BYTES} bytes of input, found {size}")

    @property
    def input_bytes(self) -> int:
        """Size of everything that is handed in."""
        texts = [self.source or "", self.stdin, *self.files.values(), *(self.argv or ())]
        return sum(len(as_bytes(text)) for text in texts)


@dataclasses.dataclass(frozen=True)
class Result:
    """What became of a job.

    Attributes:
      status: see Status.
      stdout, stderr: what was printed, up to the limit.
      stdout_cut, stderr_cut: whether there was more.
      exit_code: None when it did not end by itself.
      signal: the number of the signal that ended it, if one did by itself.
      wall_seconds, cpu_seconds: of its processes; `cpu_seconds` is None where unknown.
      peak_memory_bytes: the largest resident set of one of its processes; None where unknown.
      detail: the end in words, for a log.
    """

    status: Status
    stdout: bytes = dataclasses.field(default=b"", repr=False)  # may be a megabyte
    stderr: bytes = dataclasses.field(default=b"", repr=False)
    stdout_cut: bool = False
    stderr_cut: bool = False
    exit_code: int | None = None
    signal: int | None = None
    wall_seconds: float = 0.0
    cpu_seconds: float | None = None
    peak_memory_bytes: int | None = None
    detail: str = ""

    @property
    def ok(self) -> bool:
        """Whether it ended by itself with exit code 0. That says nothing about what it printed."""
        return self.status is Status.FINISHED and self.exit_code == 0

    def text(self) -> str:
        """The standard output as text; bytes that are no UTF-8 become replacement characters."""
        return self.stdout.decode(errors="replace")


def status_of_exit(code: int, stderr: bytes) -> tuple[Status, str]:
    """The status, and the end in words, of a program that no limit of the parent has ended.

    Args:
      code: its exit code, or the number of the signal that ended it, negative.
      stderr: what it has printed there. An interpreter out of memory says so in its last line.
    """
    if code < 0:
        return STATUS_OF_SIGNAL.get(-code, Status.CRASHED), f"signal {-code}"
    if code != 0 and stderr.rstrip().rpartition(b"\n")[2].startswith(b"MemoryError"):
        return Status.OVER_MEMORY, "MemoryError"
    return Status.FINISHED, f"exit code {code}"


def infrastructure_error(detail: str) -> Result:
    """The result of a program that could not be run, or of which nothing came back."""
    return Result(Status.INFRASTRUCTURE_ERROR, detail=detail)


def as_bytes(text: bytes | str) -> bytes:
    """Texts go in as UTF-8; lone surrogates, which a sampler's text can have, go in as they are."""
    return text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass")
