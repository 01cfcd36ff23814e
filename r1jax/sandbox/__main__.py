"""`python -m r1jax.sandbox`: prints what a sandbox of this host isolates; exit code 1 where something is not."""

from __future__ import annotations

import argparse
import sys
import time

from r1jax.errors import UserError
from r1jax.sandbox import self_test
from r1jax.sandbox.jobs import Job
from r1jax.sandbox.sandbox import Sandbox

TIMED_RUNS = 10


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m r1jax.sandbox", description=__doc__)
    parser.add_argument("--backend", default="bubblewrap", help="bubblewrap, sandbox_fusion or piston")
    parser.add_argument("--url", help="of an HTTP backend")
    parser.add_argument("--cgroup", help="a delegated control group (version 2)")
    parser.add_argument("--unsafe", action="store_true", help="what the unsafe mode lacks")
    options = parser.parse_args(arguments)
    try:
        with Sandbox(
            options.backend, url=options.url, unsafe=options.unsafe, cgroup=options.cgroup, tested=True
        ) as box:
            report = self_test.run(box.run_batch)
            start = time.perf_counter()
            for _ in range(TIMED_RUNS):
                box.run(Job(source=""))
            milliseconds = 1000 * (time.perf_counter() - start) / TIMED_RUNS
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(report.table())
    print(
        f"\n{box.name}: {'isolated' if report.isolated else 'NOT ISOLATED'}; {milliseconds:.0f} ms for an empty program"
    )
    return 0 if report.isolated else 1


if __name__ == "__main__":
    sys.exit(main())
