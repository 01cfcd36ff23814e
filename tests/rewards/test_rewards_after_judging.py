"""Rewards that come after the judging one: told its verdict, with all of their batch at once."""

import pytest
from reward_faults import config

from r1jax.config import ConfigError, RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Reward, Score, Status

LATE = "reward_faults:AFTER_JUDGING"
FAULTS = "reward_faults:FAULTS"


def late(verdict):
    return verdict.scores[LATE]


def test_it_is_told_what_the_judging_reward_has_said():
    items = [Item({"answer": "7"}, text) for text in ("<answer>7</answer>", "<answer>8</answer>", "no")]
    with RewardService(config("maths", "format", LATE)) as service:
        verdicts = service.score(items)
    assert [late(verdict).answer for verdict in verdicts] == ["correct", "wrong", "no_answer"]
    assert [verdict.status.value for verdict in verdicts] == ["correct", "wrong", "no_answer"]
    assert [list(verdict.scores) for verdict in verdicts] == [["maths", "format", LATE]] * 3


@pytest.mark.parametrize("names", [(LATE, "format", FAULTS), (FAULTS, LATE), ("format", LATE, FAULTS, "countdown")])
def test_the_first_that_judges_decides_wherever_the_set_names_them(names):
    record = {"numbers": [3, 4], "target": 7}
    with RewardService(config(*names)) as service:
        (verdict,) = service.score([Item(record, "nothing")])  # right to the first, no answer to countdown
    assert late(verdict).answer == "correct"
    assert tuple(verdict.scores) == names


@pytest.mark.parametrize(
    ("judge", "actions"),
    [
        (FAULTS, ["quick", "nothing", "sleep", "raise", "quick"]),  # at once, by a worker, late, after a control
        ("reward_faults:WAITING", ["nothing", "sleep", "nothing"]),
        ("reward_faults:choice_like", ["A", "B"]),
    ],
)
def test_a_batch_is_shown_to_it_as_one_whoever_judges_and_whenever(judge, actions):
    with RewardService(config(judge, LATE)) as service:
        service.submit_batch((number, Item({"answer": "A"}, action)) for number, action in enumerate(actions))
        service.submit("alone", Item({"answer": "A"}, actions[0]))
        found = dict(service.results(block=True))
    assert found.keys() == {*range(len(actions)), "alone"}
    assert {late(found[number]).value for number in range(len(actions))} == {float(len(actions))}
    assert late(found["alone"]).value == 1.0


def test_a_masked_judgement_masks_it_without_a_call():
    with RewardService(config(FAULTS, LATE)) as service:
        verdicts = service.score([Item({}, "mask"), Item({}, "nothing"), Item({"gold": "die"}, "raise")])
        assert [late(verdict) for verdict in verdicts] == [
            Score(None, Status.VERIFIER_ERROR),
            Score(1.0, Status.SCORED, "correct"),  # told of one item
            Score(None, Status.VERIFIER_ERROR),
        ]
        assert [verdict.masked for verdict in verdicts] == [True, False, True]
        (alone,) = service.score([Item({"late bug": True}, "mask")])  # a call would raise
        assert late(alone) == Score(None, Status.VERIFIER_ERROR)


def test_an_item_that_is_dropped_holds_up_no_other_of_its_batch():
    with RewardService(config(FAULTS, LATE, workers=1)) as service:
        service.submit_batch([("a", Item({}, "nothing")), ("bad", Item({}, "out of range")), ("b", Item({}, "quick"))])
        with pytest.raises(ValueError, match="found 1.5"):
            list(service.results(block=True))
        found = dict(service.results(block=True))
        assert found.keys() == {"a", "b"}
        assert {late(verdict).value for verdict in found.values()} == {2.0}
        assert service.health()["waiting"] == 0


def test_the_last_to_be_dropped_lets_the_others_go():
    with RewardService(config(FAULTS, LATE, workers=1)) as service:
        service.submit_batch([("a", Item({}, "nothing")), ("bad", Item({}, "out of range"))])
        with pytest.raises(ValueError, match="found 1.5"):
            list(service.results(block=True))
        assert [key for key, _ in service.results(block=True)] == ["a"]


def test_its_exception_drops_its_batch_alone():
    with RewardService(config(FAULTS, LATE)) as service:
        service.submit_batch([("a", Item({"late bug": True}, "quick")), ("b", Item({}, "quick"))])
        service.submit_batch([("c", Item({}, "quick")), ("d", Item({}, "sleep"))])
        with pytest.raises(KeyError, match="late bug"):
            list(service.results(block=True))
        assert sorted(key for key, _ in service.results(block=True)) == ["c", "d"]
        with pytest.raises(KeyError, match="late bug"):
            service.score([Item({"late bug": True}, "quick")])
        assert list(service.results(block=True)) == []


def test_results_without_blocking_calls_it_when_its_batch_is_there():
    with RewardService(config(FAULTS, LATE)) as service:
        service.submit_batch([("a", Item({}, "quick")), ("b", Item({}, "quick"))])
        assert sorted(key for key, _ in service.results(block=False)) == ["a", "b"]


@pytest.mark.parametrize("names", [(LATE,), (LATE, "reward_faults:ALSO_LATE")])
def test_a_set_of_such_rewards_alone_is_refused_at_once(monkeypatch, names):
    monkeypatch.setattr(
        "reward_faults.ALSO_LATE", Reward(lambda items: [], 0.0, 1.0, after_judging=True), raising=False
    )
    with pytest.raises(ConfigError, match="rewards.sets.default: expected a reward that judges .*, found none"):
        RewardService(config(*names))


@pytest.mark.parametrize("other", ["format", "reward_faults:ALWAYS_SCORED"])
def test_a_set_in_which_nothing_judges_is_an_error_with_its_first_item(other):
    sets = (
        RewardSetConfig("default", (RewardConfig(other), RewardConfig(LATE))),
        RewardSetConfig("sound", (RewardConfig("format"),)),
    )
    with RewardService(RewardsConfig(sets=sets)) as service:
        service.submit("a", Item({"rewards": "sound"}, ""))
        with pytest.raises(ConfigError, match=rf"rewards.sets.default: .* beside {LATE}, found {other}$"):
            service.score([Item({}, "")])
        assert [key for key, _ in service.results(block=True)] == ["a"]
