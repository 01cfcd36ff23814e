"""From a config file on disk to the config it makes."""

from __future__ import annotations

import pathlib
import runpy
from collections.abc import Sequence

from r1jax.config import flags
from r1jax.config.checks import ConfigError
from r1jax.config.run import RunConfig


def load_config(path: str, overrides: Sequence[tuple[str, str]] = ()) -> RunConfig:
    """Runs `get_config()` of a Python file and applies the overrides; ConfigError says what is missing."""
    file = pathlib.Path(path)
    if not file.is_file():
        near = sorted(one.stem for one in file.parent.glob("*.py")) if file.parent.is_dir() else []
        found = f"; {file.parent} has: {', '.join(near)}" if near else ""
        raise ConfigError(f"--config={path}: there is no such file{found}")
    scope = runpy.run_path(str(file))
    if "get_config" not in scope:
        raise ConfigError(f"--config={path}: expected a function get_config(), found none")
    config = scope["get_config"]()
    if not isinstance(config, RunConfig):
        raise ConfigError(
            f"--config={path}: expected get_config() to return a RunConfig, found {type(config).__name__}"
        )
    return flags.apply(config, overrides)
