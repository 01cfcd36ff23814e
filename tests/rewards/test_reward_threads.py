"""Rewards that wait for others run in threads of their own: many at once, and nothing of them is lost or left."""

import logging
import os
import subprocess
import sys
import threading
import time

import pytest
from reward_faults import config, grade

from r1jax.config import RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.errors import UserError
from r1jax.rewards import routing, runners
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Reward, RewardError, Score, Status

NAME = "reward_faults:WAITING"
WAIT_SECONDS = 20.0


def threaded(monkeypatch, score, threads=4):
    """A service whose one reward, `waits`, is that function in threads."""
    reward = Reward(score, low=0.0, high=1.0, threads=threads)
    monkeypatch.setitem(routing.REWARDS, "waits", reward)
    return RewardService(config("waits"))


def reward_threads():
    return [thread for thread in threading.enumerate() if thread.name.startswith("reward-")]


def test_as_many_items_wait_at_once_as_there_are_threads_and_no_more(monkeypatch):
    together, lock = threading.Barrier(4), threading.Lock()
    at_once, most = 0, 0

    def score(items):
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        together.wait(WAIT_SECONDS)  # BrokenBarrierError where fewer than four come
        with lock:
            at_once -= 1
        return [Score(1.0, Status.CORRECT, item.completion) for item in items]

    with threaded(monkeypatch, score) as service:
        verdicts = service.score([Item({}, str(number)) for number in range(16)])
        assert service._runners._pool is None  # no worker process
    assert [verdict.answer for verdict in verdicts] == [str(number) for number in range(16)]
    assert most == 4


def test_sets_share_the_threads_of_a_reward():
    sets = tuple(RewardSetConfig(name, (RewardConfig(NAME),)) for name in ("a", "b"))
    with RewardService(RewardsConfig(sets=sets)) as service:
        service.score([Item({"rewards": one}, "nothing") for one in "abab"])
        assert len(reward_threads()) == 4


def test_what_waits_holds_up_neither_the_caller_nor_other_rewards(monkeypatch):
    gate = threading.Event()

    def score(items):
        if items[0].completion == "slow":
            assert gate.wait(WAIT_SECONDS)
        return [Score(1.0, Status.CORRECT)]

    with threaded(monkeypatch, score, threads=2) as service:
        service.submit("slow", Item({}, "slow"))
        for number in range(8):
            service.submit(number, Item({}, "quick"))
        first = []
        while len(first) < 8:
            first += [key for key, _ in service.results(block=False)]
        assert sorted(first) == list(range(8))
        assert service.health()["waiting"] == 1
        gate.set()
        assert [key for key, _ in service.results(block=True)] == ["slow"]
        assert service.health()["seconds_p95"] >= service.health()["seconds_p50"] >= 0.0


@pytest.mark.parametrize(
    ("action", "error", "message"),
    [
        ("missing field", UserError, "record 'missing field': the faults reward expects the field 'gone'"),
        ("raise", KeyError, "not ours"),
        ("exit", SystemExit, "it wants to end the run"),
        ("out of range", RewardError, f"reward {NAME}, record 'out of range'.*found 1.5"),
    ],
)
def test_what_a_reward_raises_in_a_thread_is_raised_in_the_caller_and_drops_its_item_alone(action, error, message):
    with RewardService(config(NAME)) as service:
        service.submit("bad", Item({"id": action}, action))
        with pytest.raises(error, match=message):
            list(service.results(block=True))
        assert service.health()["waiting"] == 0
        for number in range(8):  # more than there are threads: none of them has ended
            service.submit(number, Item({}, "nothing"))
        assert sorted(key for key, _ in service.results(block=True)) == list(range(8))
        with pytest.raises(error, match=message):
            grade(service, action)


def test_a_masked_score_of_a_thread_is_masked():
    with RewardService(config(NAME)) as service:
        assert grade(service, "mask") == Score(None, Status.VERIFIER_ERROR)
        assert service.health()["error_rate"] == 1.0


def test_no_thread_is_left_after_an_exception():
    service = RewardService(config(NAME))

    def fail():
        with service:
            for number in range(40):
                service.submit(number, Item({"sleep": 0.1}, "sleep"))
            assert len(reward_threads()) == 4
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert reward_threads() == []
    assert service.health()["waiting"] == 0


def test_an_interrupt_between_an_outcome_and_its_item_leaves_nothing_that_is_waited_for(monkeypatch):
    with threaded(monkeypatch, lambda items: [Score(1.0, Status.CORRECT, items[0].completion)]) as service:
        take_score = service._apart._take_score
        for number in range(8):
            service.submit(number, Item({}, "before"))

        def interrupted(*arguments):
            service._apart._take_score = take_score
            raise KeyboardInterrupt

        service._apart._take_score = interrupted
        with pytest.raises(KeyboardInterrupt):
            list(service.results(block=True))
        assert service.health()["waiting"] == 0
        assert list(service.results(block=True)) == []
        assert [verdict.answer for verdict in service.score([Item({}, "after")] * 8)] == ["after"] * 8


def test_close_does_not_wait_for_a_thread_that_waits_for_long(monkeypatch, caplog):
    gate, begun = threading.Event(), threading.Semaphore(0)

    def score(items):
        begun.release()
        gate.wait(WAIT_SECONDS)
        return [Score(1.0, Status.CORRECT)]

    monkeypatch.setattr(runners, "CLOSE_SECONDS", 0.2)
    service = threaded(monkeypatch, score)
    for number in range(40):
        service.submit(number, Item({}, ""))
    for _ in range(4):
        assert begun.acquire(timeout=WAIT_SECONDS)
    start = time.monotonic()
    with caplog.at_level(logging.WARNING):
        service.close()
    assert time.monotonic() - start < 5.0
    assert "waits: 4 threads still wait" in caplog.text
    assert list(service.results(block=True)) == []
    left = reward_threads()
    gate.set()
    for thread in left:
        thread.join(WAIT_SECONDS)
    assert len(left) == 4
    assert reward_threads() == []
    assert not begun.acquire(blocking=False)  # the other 36 were never begun


@pytest.mark.parametrize(("end", "code"), [("", 0), ("raise RuntimeError('a bug')", 1), ("service.close()", 0)])
def test_an_interpreter_that_ends_is_not_held_up_by_a_thread_that_waits(end, code):
    program = f"""
import threading
from reward_faults import config
from r1jax.rewards import runners
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item
runners.CLOSE_SECONDS = 0.1
service = RewardService(config("{NAME}"))
service.submit("a", Item({{"sleep": 600}}, "sleep"))
{end}
"""
    path = os.pathsep.join(path for path in sys.path if path)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program], env=os.environ | {"PYTHONPATH": path}, stderr=subprocess.PIPE, text=True
    )
    assert (done.returncode, "a bug" in done.stderr) == (code, code == 1)
    assert time.monotonic() - start < WAIT_SECONDS
