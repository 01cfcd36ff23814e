"""What the tests of the code reward share: completions, records, settings that a busy machine keeps, and the mark."""

import pathlib
import sys

from r1jax.config import CodeConfig, RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.rewards.verdicts import Item

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "sandbox"))
from jail_marks import HostBefore, needs_jail, python  # noqa: E402, F401

CONFIG = CodeConfig(wall_seconds=20.0, cpu_seconds=10.0, memory_mib=256)  # for programs that are to finish
SETS = (RewardSetConfig("default", (RewardConfig("code"),)),)


def completion(program, thinking="Let me think."):
    return f"<think>\n{thinking}\n</think>\n\nThe program:\n\n```python\n{program}\n```\n"


def stdio(*cases, **fields):
    return {"kind": "stdio", "cases": [{"input": given, "output": wanted} for given, wanted in cases], **fields}


def calls(function, *cases, **fields):
    cases = [{"args": list(args), "expected": expected} for args, expected in cases]
    return {"kind": "calls", "function": function, "cases": cases, **fields}


def assertions(function, program, **fields):
    return {"kind": "assertions", "function": function, "program": program, **fields}


def item(tests, program, **fields):
    return Item({"id": "r", "tests": tests}, completion(program), **fields)


def config(**fields):
    return RewardsConfig(sets=SETS, code=CONFIG, **fields)
