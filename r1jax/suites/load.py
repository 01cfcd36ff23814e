"""From a suite's file to the suite, with what `--suite.NAME.path.to.field=value` changes.

NAME is a benchmark's, `each` for all of them, or `pairwise`.
"""

from __future__ import annotations

import pathlib
import runpy
from collections.abc import Sequence

from r1jax.config import ConfigError
from r1jax.config import flags as config_flags
from r1jax.suites.suite import EACH, PAIRWISE, SuiteConfig

FLAG_PREFIX = "suite."  # of the arguments of `apply`, for r1jax.config.flags.parse


def load_suite(name: str, folder: pathlib.Path) -> SuiteConfig:
    """`get_suite()` of a file of `folder`, by its name, or of any by its path. ConfigError says what is wrong."""
    file = pathlib.Path(name) if name.endswith(".py") else folder / f"{name}.py"
    if not file.is_file():
        known = ", ".join(sorted(one.stem for one in folder.glob("*.py")))
        raise ConfigError(f"--suite={name}: expected the path of a Python file, or one of {known}")
    scope = runpy.run_path(str(file))
    if "get_suite" not in scope:
        raise ConfigError(f"--suite={name}: expected a function get_suite() in {file}, found none")
    suite = scope["get_suite"]()
    if not isinstance(suite, SuiteConfig):
        raise ConfigError(f"--suite={name}: expected get_suite() to return a SuiteConfig, found {type(suite).__name__}")
    return suite


def apply(suite: SuiteConfig, overrides: Sequence[tuple[str, str]]) -> SuiteConfig:
    """The suite with the overrides set; those of one benchmark go before those of each. ConfigError as for a config."""
    names = [one.name for one in suite.benchmarks]
    general = [
        (f"benchmarks.{name}.{rest}", value)
        for path, value in overrides
        for head, _, rest in [path.partition(".")]
        if head == EACH
        for name in names
    ]
    special = [
        (path if path.partition(".")[0] == PAIRWISE else f"benchmarks.{path}", value)
        for path, value in overrides
        if path.partition(".")[0] != EACH
    ]
    try:
        return config_flags.apply(suite, general + special)
    except ConfigError as error:
        # The setter speaks of the flags that it was made for.
        words = str(error).replace("--config.benchmarks.", "--suite.").replace("--config.pairwise", "--suite.pairwise")
        raise ConfigError(words) from error
