"""Items come and go one by one or in batches: their order, those of one key, and what an exception or close leaves."""

import threading

import pytest
from reward_faults import config, grade

from r1jax.config import RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.rewards import routing
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Reward, RewardError, Status


def test_an_exception_in_this_process_drops_its_batch():
    with RewardService(config("reward_faults:FAULTS", "maths")) as service:
        with pytest.raises(ValueError, match="record 'r1': the maths reward expects the field 'answer'"):
            service.submit_batch([("a", Item({"id": "r1"}, "sleep"))])
        assert service.health()["waiting"] == 0
        assert list(service.results(block=True)) == []


def test_an_exception_drops_what_its_batch_had_delivered():
    sets = (RewardSetConfig("form", (RewardConfig("format"),)), RewardSetConfig("sums", (RewardConfig("maths"),)))
    with RewardService(RewardsConfig(sets=sets)) as service:
        service.submit("before", Item({"rewards": "form"}, ""))
        with pytest.raises(ValueError, match="expects the field 'answer'"):
            service.submit_batch([("a", Item({"rewards": "form"}, "")), ("b", Item({"rewards": "sums"}, ""))])
        assert [key for key, _ in service.results(block=True)] == ["before"]


def test_an_interrupt_drops_its_batch_too(monkeypatch):
    def interrupt(items):
        raise KeyboardInterrupt

    monkeypatch.setitem(routing.REWARDS, "interrupts", Reward(interrupt, low=0.0, high=1.0))
    with RewardService(config("reward_faults:FAULTS", "interrupts")) as service:
        with pytest.raises(KeyboardInterrupt):
            service.submit("a", Item({}, "quick"))
        assert list(service.results(block=True)) == []  # and waits for nothing


def test_an_exception_in_score_leaves_other_results_alone_and_none_of_its_own():
    with RewardService(config("reward_faults:FAULTS", workers=1)) as service:
        service.submit("other", Item({}, "quick"))
        with pytest.raises(RewardError, match="found 1.5"):
            service.score([Item({}, "quick"), Item({}, "out of range"), Item({}, "nothing")])
        assert [key for key, _ in service.results(block=True)] == ["other"]


def test_an_item_that_cannot_be_sent_holds_up_no_other_of_its_key():
    with RewardService(config("reward_faults:FAULTS")) as service:
        with pytest.raises(TypeError, match="lock"):
            service.score([Item({"key": "k", "lock": threading.Lock()}, "nothing")])
        assert service.score([Item({"key": "k"}, "nothing")])[0].status is Status.CORRECT


def test_a_hang_does_not_hold_up_the_others():
    with RewardService(config("reward_faults:FAULTS")) as service:
        grade(service, "nothing")
        service.submit("hangs", Item({}, "hang"))
        for number in range(20):
            service.submit(number, Item({}, "nothing"))
        order = [key for key, _ in service.results(block=True)]
        assert sorted(order, key=str) == sorted([*range(20), "hangs"], key=str)
        assert order[-1] == "hangs"


def test_results_without_blocking_gives_what_is_there_and_the_rest_later():
    with RewardService(config("reward_faults:FAULTS")) as service:
        service.submit("a", Item({}, "quick"))
        service.submit("b", Item({}, "sleep"))
        assert [key for key, _ in service.results(block=False)] == ["a"]
        assert service.health()["waiting"] == 1
        assert [key for key, _ in service.results(block=True)] == ["b"]
        assert list(service.results(block=True)) == []


def test_score_keeps_its_order_and_leaves_other_results_alone():
    with RewardService(config("reward_faults:FAULTS")) as service:
        service.submit("other", Item({}, "quick"))
        verdicts = service.score([Item({}, "sleep"), Item({}, "nothing"), Item({}, "quick")])
        assert [verdict.answer for verdict in verdicts] == ["sleep", "nothing", None]
        assert [key for key, _ in service.results(block=True)] == ["other"]


def test_items_of_one_key_are_graded_once():
    with RewardService(config("reward_faults:FAULTS", workers=2)) as service:
        items = [Item({"key": "same"}, "name process") for _ in range(8)] + [Item({}, "name process")]
        *same, _ = service.score(items)
        assert len({verdict.answer for verdict in same}) == 1
        assert service.score(items[:1])[0] == same[0]
        hung = service.score([Item({"key": "hung"}, "hang")] * 3)
        hung += service.score([Item({"key": "hung"}, "hang")])
        assert [verdict.status for verdict in hung] == [Status.OVER_LIMIT] * 4
        assert service.health()["respawns"] == 1


def test_only_scores_that_can_be_asked_for_again_are_remembered():
    with RewardService(config("reward_faults:FAULTS", workers=1)) as service:
        service.score([Item({}, "nothing"), Item({"key": "k"}, "nothing")])
        assert [key for _, key in service._apart._remembered] == ["k"]


@pytest.mark.parametrize("name", ["reward_faults:FAULTS", "reward_faults:WAITING"])
def test_a_full_queue_makes_the_caller_wait_and_loses_nothing(monkeypatch, name):
    monkeypatch.setattr("r1jax.rewards.threads.MOST_QUEUED", 2)
    with RewardService(config(name)) as service:
        service.submit_batch((number, Item({"sleep": 0.01}, "sleep")) for number in range(40))
        assert service.health()["waiting"] == 40  # of which more than 30 are graded
        assert sorted(key for key, _ in service.results(block=True)) == list(range(40))


def test_masked_scores_are_not_remembered(tmp_path):
    with RewardService(config("reward_faults:FAULTS")) as service:
        assert service.score([Item({"key": "k"}, "mask")])[0].masked
        assert service.score([Item({"key": "k"}, "nothing")])[0].status is Status.CORRECT


def test_a_batch_shows_a_group_to_its_reward_as_one():
    with RewardService(config("reward_faults:rank_in_group")) as service:
        items = [Item({}, "aa", group=0), Item({}, "a", group=0), Item({}, "a", group=1)]
        service.submit_batch(enumerate(items))
        values = {key: verdict.total({"reward_faults:rank_in_group": 1.0}) for key, verdict in service.results(True)}
        assert values == {0: 1.0, 1: 0.0, 2: 1.0}


def test_a_wrong_number_of_scores_names_the_reward():
    message = "reward reward_faults:one_too_few: expected 1 scores, found 0"
    with RewardService(config("reward_faults:one_too_few")) as service, pytest.raises(RewardError, match=message):
        service.score([Item({}, "")])


def test_a_closed_service_takes_nothing_more_and_waits_for_nothing():
    service = RewardService(config("reward_faults:FAULTS"))
    service.submit("a", Item({"key": "k"}, "hang"))
    service.close()
    assert service.health()["waiting"] == 0
    assert list(service.results(block=True)) == []
    with pytest.raises(RuntimeError, match="closed"):
        service.submit("a", Item({}, ""))
    with pytest.raises(RuntimeError, match="closed"):
        service.equivalent([("2x", "x+x")])
