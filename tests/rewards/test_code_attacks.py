"""Programs that attack the verdict of the code reward: none is correct, none is masked, and the next honest one is."""

import dataclasses

import pytest
from code_attacks import ATTACKS, CHECK, HONEST, SOLVE
from code_attacks_functions import SEARCH
from code_cases import CONFIG, HostBefore, config, item, needs_jail, python

from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Status
from r1jax.sandbox import Sandbox

pytestmark = needs_jail
FAILED = {Status.WRONG, Status.OVER_LIMIT, Status.NO_ANSWER}
QUICK = (  # of each sort some, for the fast ring
    "SUM: exits with 0",
    "SUM: prints all answers in lines",
    "SUM: an output that lies",
    "SUM: a verdict as JSON",
    "SUM: counts the tests in a file",
    "SUM: the program in the thinking",
    "LINES: a prefix",
    "LINES: one more",
    "HALF: NaN",
    "FACTORS: crashes the checker",
    "SOLVE: equal to everything",
    "SOLVE: answers on the standard output, then ends",
    "CHECK: a list that lies",
    "CHECK: an exit with 0",
    "CHECK: patches AssertionError",
    "CHECK: looks for the tests in memory and files",
    "CHECK: answers before it is asked",
    "ASSERTS: patches the equality of lists",
)


LIMITS = dataclasses.replace(CONFIG, wall_seconds=15.0, cpu_seconds=1.0, memory_mib=128, output_kib=256)


def attack_and_honest(name):
    """An attack, and an honest program for the same tests (another for each attack: equal items are graded once)."""
    attack = ATTACKS[name]
    tests, program = HONEST[attack.tests]
    return [Item({"id": name, "tests": tests}, attack.completion), item(tests, f"{program}\n# after {name}")]


def assert_that_they_fail(names):
    """Each in turn, by one worker, which is in no way the worse for it."""
    before = HostBefore()
    with RewardService(dataclasses.replace(config(), code=LIMITS, workers=1)) as service:
        verdicts = service.score([one for name in names for one in attack_and_honest(name)])
        assert service.health()["respawns"] == 0
    statuses = [verdict.status for verdict in verdicts]
    assert {name: status for name, status in zip(names, statuses[::2], strict=True) if status not in FAILED} == {}
    assert {name for name, status in zip(names, statuses[1::2], strict=True) if status is not Status.CORRECT} == set()
    before.assert_as_before()


def test_there_are_enough_of_them():
    assert len({attack.completion for attack in ATTACKS.values()}) >= 100


def test_the_search_of_an_attack_would_find_the_tests():
    leaks = {"assertions": f"text = [{CHECK['program']!r}]", "calls": f"text = [{str(SOLVE)!r}]"}
    with Sandbox(tested=True) as sandbox:
        for leak in leaks.values():
            assert sandbox.run(python(f"{SEARCH}\n{leak}\nprint(solve(3, 4))")).text() == "[7, 12]\n"
        assert sandbox.run(python(f"{SEARCH}\nprint(solve(3, 4))")).text() == "None\n"


def test_some_attacks_of_each_sort_fail():
    assert_that_they_fail(QUICK)


@pytest.mark.slow
@pytest.mark.parametrize("tests", HONEST)
def test_all_attacks_fail(tests):
    assert_that_they_fail([name for name, attack in ATTACKS.items() if attack.tests == tests])
