"""Runs untrusted programs: `Sandbox`, a context manager, takes a `Job` and gives a `Result`.

`python -m r1jax.sandbox` prints what this host isolates; docs/sandbox.md has the threats and what stops each.
"""

from r1jax.sandbox.jobs import Job, Limits, Result, SandboxUnavailable, Status
from r1jax.sandbox.sandbox import Sandbox

__all__ = ["Job", "Limits", "Result", "Sandbox", "SandboxUnavailable", "Status"]
