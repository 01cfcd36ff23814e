"""`python -m r1jax.rewards.lint [reward or module:attribute ...] [--records=FILE.jsonl]`: exit code 1 on a finding."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from r1jax.errors import UserError
from r1jax.rewards.lint import lint


def main(arguments: Sequence[str]) -> int:
    """Prints the report."""
    parser = argparse.ArgumentParser(prog="python -m r1jax.rewards.lint", description="Attacks on rewards.")
    parser.add_argument("rewards", nargs="*", help="names, or module:attribute of your own; all of r1jax without")
    parser.add_argument("--records", metavar="FILE.jsonl", help="probes of your own: record, right, wrong a line")
    options = parser.parse_args(arguments)
    sys.path.insert(0, os.getcwd())
    try:
        report = lint(options.rewards or None, records=options.records)
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(report.text())
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
