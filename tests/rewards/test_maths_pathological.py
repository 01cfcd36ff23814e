"""Pathological answers cost their deadline at most, get a verdict each, and leave the service as fast as it was."""

import time

import pytest
from pathological_answers import ANSWERS, RIGHT

from r1jax.config import RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Status

DEADLINE_SECONDS = 3.0
WORKERS = 2
# A worker that was killed is replaced (its imports take a second or two), and the gold alone is graded after it.
SLACK_SECONDS = 12.0
EASY = 200


def item(gold, answer, name):
    return Item({"id": name, "answer": gold}, f"<think> hm </think>\n<answer> {answer} </answer>")


def easy_items(offset):
    """Answers that need a worker each."""
    return [item("x+1", f"{k} + x - {k - 1}", f"easy {k}") for k in range(offset, offset + EASY)]


def seconds_of(service, items):
    start = time.monotonic()
    verdicts = service.score(items)
    assert {verdict.status for verdict in verdicts} == {Status.CORRECT}
    return time.monotonic() - start


@pytest.mark.slow
def test_no_answer_hangs_crashes_or_slows_what_comes_after():
    assert len(ANSWERS) >= 40
    rewards = (RewardSetConfig("default", (RewardConfig("maths"),)),)
    config = RewardsConfig(sets=rewards, workers=WORKERS, deadline_seconds=DEADLINE_SECONDS)
    with RewardService(config) as service:
        seconds_of(service, easy_items(1000))  # workers are up
        before = seconds_of(service, easy_items(2000))
        slowest, statuses = 0.0, {}
        for name, (gold, answer) in (ANSWERS | RIGHT).items():
            start = time.monotonic()
            (verdict,) = service.score([item(gold, answer, name)])
            took = time.monotonic() - start
            slowest = max(slowest, took)
            statuses[name] = verdict.status
            print(f"{name:40} {verdict.status.value:12} {took:6.2f} s")
            assert took < DEADLINE_SECONDS + SLACK_SECONDS, name
        start = time.monotonic()
        # Other golds of the same value, or what is remembered would be asked for.
        again = [item(f"{gold} ", answer, name) for name, (gold, answer) in ANSWERS.items()]
        together = service.score(again)
        batch = time.monotonic() - start
        after = seconds_of(service, easy_items(3000))
        respawns = service.health()["respawns"]
    print(f"{len(ANSWERS)} at once: {batch:.1f} s, slowest alone {slowest:.1f} s, {respawns} workers replaced")
    print(f"{EASY} easy items: {before:.2f} s before, {after:.2f} s directly after")
    for name in ANSWERS:
        assert statuses[name] in (Status.WRONG, Status.OVER_LIMIT, Status.NO_ANSWER), name
    for name in RIGHT:
        assert statuses[name] is Status.CORRECT, name
    assert all(verdict.status in (Status.WRONG, Status.OVER_LIMIT, Status.NO_ANSWER) for verdict in together)
    assert batch < len(ANSWERS) * (DEADLINE_SECONDS + SLACK_SECONDS) / WORKERS
    # A worker or two may have to be started yet; then the service is as fast as before.
    assert after < 3 * before + SLACK_SECONDS
