"""The experiment files: each loads, is a page, and its miniature form runs from end to end."""

import json
import pathlib
import runpy

import jax
import pytest

from r1jax import pipeline
from r1jax.config import ConfigError, GrpoConfig, PretrainConfig, RunConfig
from r1jax.config.load import load_config

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "experiments" / "configs"
FILES = sorted(CONFIGS.glob("*.py"))
# Those that need nothing but themselves: data and vocabulary are generated.
MINIATURES = [path for path in FILES if load_config(str(path)).tokenizer.task is not None]


def named(path: pathlib.Path) -> str:
    return path.stem
