"""Modules of this package as source text that runs where the package is not: inside a jail."""

from __future__ import annotations

import functools
import pathlib

PACKAGE = "r1jax.rewards.code"
FOLDER = pathlib.Path(__file__).parent
LOADER = """\
import sys
for parent in {parents!r}:
    sys.modules[parent] = type(sys)(parent)
for name, text in {texts!r}.items():
    module = sys.modules[name] = type(sys)(name)
    exec(compile(text, name, "exec"), module.__dict__)
from {last} import {entry}
"""


@functools.cache
def bundle(modules: tuple[str, ...], entry: str) -> str:
    """Source that makes these modules importable under their own names and imports `entry` from the last one.

    Args:
      modules: names of files of this package, each after those that it imports: ("plain_data", "channel").
      entry: a name that the last of them defines.
    """
    parts = PACKAGE.split(".")
    parents = [".".join(parts[: number + 1]) for number in range(len(parts))]
    texts = {f"{PACKAGE}.{name}": (FOLDER / f"{name}.py").read_text(encoding="utf-8") for name in modules}
    return LOADER.format(parents=parents, texts=texts, last=f"{PACKAGE}.{modules[-1]}", entry=entry)
