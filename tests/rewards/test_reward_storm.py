"""Ten thousand items of all kinds while workers are killed at random: each gets one verdict, and the right one."""

import contextlib
import dataclasses
import os
import pathlib
import random
import signal
import sys
import threading
import time

import pytest
from reward_faults import jails_are_allowed

from r1jax.config import RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Status

GROUP = 16
KILL_SECONDS = (0.5, 4.0)  # between two kills, at random
DEADLINE_SECONDS = 4.0
SETS = {
    "maths": ("maths", "format"),
    "shaped": ("reward_faults:AFTER_JUDGING", "maths"),
    "countdown": ("countdown", "format"),
    "choice": ("choice", "format"),
    "short": ("short_text", "format"),
    "code": ("code", "format") if jails_are_allowed() else ("reward_faults:FAULTS",),
    "slow": ("reward_faults:FAULTS",),
    "general": ("reward_faults:WAITING", "format"),
    "form": ("format",),
}
CONFIG = RewardsConfig(
    sets=tuple(RewardSetConfig(name, tuple(map(RewardConfig, names))) for name, names in SETS.items()),
    workers=2,
    deadline_seconds=DEADLINE_SECONDS,
    worker_memory_mib=1024,
    recycle_after=500,
)
TOWERS = [f"{base}^{{{base}^{{{base}^{{{base}}}}}}}" for base in (9, 11, 13)]
PATHOLOGICAL = [
    *TOWERS,
    "(10^9)!",
    "((((((9!)!)!)!)!)!)",
    r"\sqrt{" * 300 + "2" + "}" * 300,
    "(" * 5000 + "1" + ")" * 5000,
    r"\frac{1}{" * 400,
    "9" * 200_000,
    "x" * 1_000_000,
    r"\binom{10^8}{5 \cdot 10^7}",
    r"\int_0^1 " * 200 + "x",
    "NaN",
    r"\infty - \infty",
    "\udc80\ud800\x00\u202e７",
    "+".join(f"x^{{{power}}}" for power in range(3000)),
]


@dataclasses.dataclass(frozen=True)
class Case:
    """An item and the statuses that are right for it."""

    item: Item
    allowed: frozenset[Status]


def case(rewards, completion, *allowed, **record) -> Case:
    return Case(Item({"rewards": rewards, "id": completion[:30], **record}, completion), frozenset(allowed))


def verdict_of(right: bool) -> Status:
    return Status.CORRECT if right else Status.WRONG


def answer(text) -> str:
    return f"<think>so it is</think><answer>{text}</answer>"


def symbolic(number, right, rewards="maths") -> Case:
    """An expansion that only math-verify can tell: a few milliseconds of a worker."""
    expanded = f"x^2+{2 * number}x+{number * number + (0 if right else 1)}"
    return case(rewards, answer(expanded), verdict_of(right), answer=f"(x+{number})^2")


def program(group, member) -> Case:
    """A program of four for each group, which runs in a jail."""
    source = f"print(int(input()) + {group + member % 4})"
    tests = {"kind": "stdio", "cases": [{"input": f"{number}\n", "output": f"{number + group}\n"} for number in (1, 5)]}
    return case("code", f"<think>I add</think>```python\n{source}\n```", verdict_of(member % 4 == 0), tests=tests)


# Of a group's number and a member's: an item of each kind. Three of four honest answers are wrong.
KINDS = {
    "maths, a number": lambda group, member: case(
        "maths", answer(group + member % 4), verdict_of(member % 4 == 0), answer=str(group)
    ),
    "maths, symbolic": lambda group, member: symbolic(GROUP * group + member, right=member % 4 == 0),
    "maths and more": lambda group, member: symbolic(10**5 + GROUP * group + member, member % 4 == 0, "shaped"),
    "pathological": lambda group, member: case(
        "maths",
        answer(PATHOLOGICAL[(group + member) % len(PATHOLOGICAL)]),
        Status.OVER_LIMIT,
        Status.WRONG,
        answer="7",
    ),
    "countdown": lambda group, member: case(
        "countdown",
        answer(f"{3 + member % 4} + {group}"),
        verdict_of(member % 4 == 0),
        numbers=[3, group],
        target=3 + group,
    ),
    "choice": lambda group, member: case("choice", answer("ABCD"[member % 4]), verdict_of(member % 4 == 0), answer="A"),
    "short text": lambda group, member: case(
        "short",
        answer(("Paris", "Rome", "Oslo", "Bern")[member % 4]),
        verdict_of(member % 4 == 0),
        answer=["Paris", "City of Paris"],
    ),
    **({"code": program} if jails_are_allowed() else {}),
    "a worker's": lambda group, member: case(
        "slow", "wrong" if member % 4 else "sleep", verdict_of(member % 4 == 0), sleep=0.004
    ),
    "like a judge": lambda group, member: case("general", "sleep", Status.CORRECT, sleep=0.001 * member),
    "form": lambda group, member: case("form", answer(member) if member % 4 else "none", Status.SCORED),
}


def cases(count: int, random_numbers: random.Random) -> list[Case]:
    """Groups of GROUP items of one kind, all kinds alike often, in random order."""
    kinds = list(KINDS.values())
    groups = [
        [kinds[group % len(kinds)](group, member) for member in range(GROUP)] for group in range(-(-count // GROUP))
    ]
    random_numbers.shuffle(groups)
    return [one for group in groups for one in group][:count]


class Killer(threading.Thread):
    """Kills workers of this process, whatever they are at, until it is told to stop."""

    def __init__(self, seed: int):
        super().__init__(daemon=True)
        self.random = random.Random(seed)
        self.over = threading.Event()
        self.kills = 0

    def run(self):
        while not self.over.wait(self.random.uniform(*KILL_SECONDS)):
            workers = worker_pids()
            if workers:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self.random.choice(workers), signal.SIGKILL)
                    self.kills += 1


def worker_pids() -> list[int]:
    """The reward workers that are children of this process."""
    found = []
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            if parent == os.getpid() and b"r1jax.rewards.worker" in (folder / "cmdline").read_bytes():
                found.append(int(folder.name))
    return found


def items_per_second(service, first: int, count: int = 200) -> float:
    """How fast symbolic answers that were never asked before are graded."""
    asked = [symbolic(number, right=True) for number in range(first, first + count)]
    start = time.monotonic()
    verdicts = service.score([one.item for one in asked])
    assert {verdict.status for verdict in verdicts} == {Status.CORRECT}
    return count / (time.monotonic() - start)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_ten_thousand_items_while_workers_are_killed_at_random(capsys):
    asked = cases(10_000, random.Random(1))
    killer = Killer(seed=2)
    found, times = [], []
    with RewardService(CONFIG) as service:
        items_per_second(service, 10**6, count=20)  # the workers start
        before = items_per_second(service, 2 * 10**6)
        start = time.monotonic()
        killer.start()
        for first in range(0, len(asked), GROUP):
            numbers = range(first, min(first + GROUP, len(asked)))
            service.submit_batch((number, asked[number].item) for number in numbers)
            for result in service.results(block=False):
                found.append(result)
        for result in service.results(block=True):
            found.append(result)
            times.append(time.monotonic() - start)
        seconds = time.monotonic() - start
        killer.over.set()
        killer.join()
        items_per_second(service, 3 * 10**6, count=20)  # what was killed last starts again
        after = items_per_second(service, 4 * 10**6)
        health = service.health()

    assert worker_pids() == []
    assert sorted(number for number, _ in found) == list(range(10_000))
    wrong = {
        number: (asked[number].item.completion[:60], verdict.status)
        for number, verdict in found
        if verdict.status not in asked[number].allowed or verdict.reward_set != asked[number].item.record["rewards"]
    }
    assert wrong == {}
    assert not any(verdict.masked for _, verdict in found)
    assert killer.kills >= 5
    assert health["waiting"] == 0
    assert after > before / 2
    with capsys.disabled():
        print(
            f"\n10,000 items in {seconds:.0f} s; {killer.kills} workers killed at random, {health['respawns']} ended "
            f"with an item in hand; symbolic answers a second: {before:.0f} before, {after:.0f} after; an item took "
            f"{health['seconds_p50']:.4f} s (median), {health['seconds_p95']:.4f} s (95th centile)"
        )
