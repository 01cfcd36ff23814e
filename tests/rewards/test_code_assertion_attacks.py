"""Attacks on the test of an assertion file: none passes, none is masked, and an honest program beside them passes."""

import dataclasses

import pytest
from assertion_attacks import ATTACKS, FORGERIES, HONEST, SEARCH, SLOW_ATTACKS, TEST, forgery
from code_cases import CONFIG, needs_jail

from r1jax.rewards.code.assertions import grade_assertions
from r1jax.rewards.code.tests import AssertionTests
from r1jax.rewards.verdicts import Status
from r1jax.sandbox import Sandbox

TESTS = AssertionTests(TEST, "double")
SHORT = dataclasses.replace(CONFIG, wall_seconds=2.0, cpu_seconds=1.0, memory_mib=128)
FAILURES = (Status.WRONG, Status.OVER_LIMIT)

pytestmark = needs_jail


@pytest.fixture(scope="module")
def sandbox():
    with Sandbox(tested=True) as box:
        yield box


def test_the_honest_program_passes(sandbox):
    assert grade_assertions(sandbox, HONEST, TESTS, CONFIG).status is Status.CORRECT


@pytest.mark.slow
@pytest.mark.parametrize("program", ATTACKS.values(), ids=ATTACKS)
def test_an_attack_fails(sandbox, program):
    graded = grade_assertions(sandbox, program, TESTS, CONFIG)
    assert graded.status in FAILURES, graded
    assert graded.detail


@pytest.mark.slow
@pytest.mark.parametrize(("message", "words"), FORGERIES.values(), ids=FORGERIES)
def test_a_forged_answer_ends_the_test(sandbox, message, words):
    graded = grade_assertions(sandbox, forgery(message), TESTS, CONFIG)
    assert graded.status in FAILURES, graded
    assert words in graded.detail


@pytest.mark.slow
def test_a_forged_answer_that_is_right_is_one(sandbox):
    tests = AssertionTests("assert double(7919) == 15838", "double")
    program = forgery("frame('[2,\"value\"]', '15838', '')")
    assert grade_assertions(sandbox, program, tests, CONFIG).status is Status.CORRECT


@pytest.mark.slow
@pytest.mark.parametrize("program", SLOW_ATTACKS.values(), ids=SLOW_ATTACKS)
def test_an_attack_is_ended(sandbox, program):
    graded = grade_assertions(sandbox, program, TESTS, SHORT)
    assert graded.status in FAILURES, graded


@pytest.mark.slow
def test_the_candidate_cannot_see_the_test(sandbox):
    """The search would find it: it finds what is hidden in a frame, in an object and in a file."""
    search = SEARCH.replace("WRONG", "x + x")
    assert grade_assertions(sandbox, search, TESTS, CONFIG).status is Status.CORRECT
    hidden = (
        "KEPT = [WORDS[0] + '!']",
        "def double(x, old=double, word=WORDS[1] + '.0'): return old(x)",
        "open('x', 'w').write(f'assert {WORDS[0]}')",
    )
    for line in hidden:
        assert grade_assertions(sandbox, f"{search}\n{line}\n", TESTS, CONFIG).status is Status.WRONG, line


@pytest.mark.slow
def test_a_right_answer_is_taken_from_whoever_gives_it(sandbox):
    """The attacks' means do no harm where the answers are right: what counts is the data."""
    for name in ("functions of Python that lie", "a module that shadows one of Python's"):
        program = ATTACKS[name].replace("return None", "return x + x")
        assert grade_assertions(sandbox, program, TESTS, CONFIG).status is Status.CORRECT
