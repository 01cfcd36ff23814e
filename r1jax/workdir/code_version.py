"""Which code made a run: the commit that this package lies in, where it lies in a checkout."""

from __future__ import annotations

import functools
import pathlib
import subprocess


@functools.cache
def code_version() -> str | None:
    """The commit's short hash, with a + where files have been changed since; None outside of a checkout."""
    here = pathlib.Path(__file__).resolve().parents[2]
    if not (here / ".git").exists():
        return None  # installed as a package: a checkout around it would be another project's
    try:
        commit = _git(here, "rev-parse", "--short=10", "HEAD")
        changed = _git(here, "status", "--porcelain", "--untracked-files=no")
    except (OSError, subprocess.CalledProcessError):  # no git, or a checkout that git does not trust
        return None
    return f"{commit}+" if changed else commit


def _git(folder: pathlib.Path, *arguments: str) -> str:
    done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()
