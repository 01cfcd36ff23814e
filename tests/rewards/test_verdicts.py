"""Scores say how they came about; a verdict is masked, summed and stored as its scores say."""

import json
import math

import numpy as np
import pytest

from r1jax.errors import UserError
from r1jax.rewards.verdicts import (
    MASKED,
    Item,
    Reward,
    RewardError,
    Score,
    Status,
    Verdict,
    checked_scores,
    require_field,
    require_integer,
    require_integers,
)

RIGHT = Score(1.0, Status.CORRECT, "42")
WELL_FORMED = Score(0.5, Status.SCORED)
UNKNOWN = Score(None, Status.VERIFIER_ERROR, "4")


@pytest.mark.parametrize("status", sorted(MASKED))
def test_a_masked_score_has_no_value(status):
    assert Score(None, status).value is None
    with pytest.raises(ValueError, match="no value exactly when"):
        Score(0.0, status)


@pytest.mark.parametrize("status", sorted(set(Status) - MASKED))
def test_a_score_that_is_not_masked_has_a_value(status):
    assert Score(0.0, status).value == 0.0
    with pytest.raises(ValueError, match="no value exactly when"):
        Score(None, status)


def test_total_is_the_weighted_sum():
    verdict = Verdict({"maths": RIGHT, "format": WELL_FORMED})
    assert verdict.total({"maths": 2.0, "format": 0.5}) == 2.25  # 2 * 1 + 0.5 * 0.5
    assert not verdict.masked


def test_total_is_none_when_a_weighted_reward_cannot_tell():
    verdict = Verdict({"format": WELL_FORMED, "maths": UNKNOWN})
    assert verdict.masked
    assert verdict.total({"maths": 1.0, "format": 1.0}) is None


def test_a_reward_of_weight_0_does_not_mask_the_total():
    assert Verdict({"format": WELL_FORMED, "maths": UNKNOWN}).total({"maths": 0.0, "format": 1.0}) == 0.5


def test_total_refuses_a_missing_weight():
    with pytest.raises(ValueError, match="no weight for reward format"):
        Verdict({"maths": RIGHT, "format": WELL_FORMED}).total({"maths": 1.0})


def test_status_and_answer_are_those_of_the_first_reward_that_judges_the_answer():
    verdict = Verdict({"format": WELL_FORMED, "maths": RIGHT, "other": UNKNOWN})
    assert (verdict.status, verdict.answer) == (Status.CORRECT, "42")
    only_format = Verdict({"format": WELL_FORMED})
    assert (only_format.status, only_format.answer) == (Status.SCORED, None)


def test_a_verdict_survives_json_exactly():
    verdict = Verdict({"maths": UNKNOWN, "language": Score(0.1 + 0.2, Status.SCORED)}, "maths_zh")
    again = Verdict.from_json(json.loads(json.dumps(verdict.to_json())))
    assert again == verdict
    assert again.status is Status.VERIFIER_ERROR


@pytest.mark.parametrize("value", [1.5, -0.1, math.nan, math.inf])
def test_a_value_out_of_the_declared_range_names_reward_and_record(value):
    reward = Reward(lambda items: [Score(value, Status.SCORED)], low=0.0, high=1.0)
    with pytest.raises(RewardError, match=r"reward mine, record 'r7': expected a finite value in \[0.0, 1.0\]"):
        checked_scores("mine", reward, [Item({"id": "r7"}, "")])


def test_an_unbounded_reward_must_still_be_finite():
    reward = Reward(lambda items: [Score(math.nan, Status.SCORED)], low=-math.inf, high=math.inf)
    with pytest.raises(RewardError, match="finite"):
        checked_scores("mine", reward, [Item({}, "")])


@pytest.mark.parametrize("value", [np.float32(0.5), np.float64(0.5), np.int64(1), 1, True])
def test_a_number_of_any_type_becomes_a_float_that_json_carries(value):
    reward = Reward(lambda items: [Score(value, Status.SCORED)], low=0.0, high=1.0)
    (score,) = checked_scores("mine", reward, [Item({}, "")])
    assert type(score.value) is float
    assert json.loads(json.dumps(score.to_json())) == [float(value), "scored", None]


@pytest.mark.parametrize(
    ("scores", "found"),
    [
        ([], "found 0"),
        (None, "expected 1 scores, found None"),
        ([0.5], "expected a Score, found 0.5"),
        ([Score("1", Status.SCORED)], "record 'r7': expected a value that is a number or None"),
        ([Score(1.0, "scored")], "record 'r7': expected a status of Status"),
        ([Score(1.0, Status.CORRECT, 42)], "record 'r7': expected an answer that is a str or None"),
        ([Score(10**400, Status.SCORED)], "record 'r7': expected a finite value"),
    ],
)
def test_anything_but_one_score_an_item_names_the_reward(scores, found):
    with pytest.raises(RewardError, match=f"reward mine.*{found}"):
        checked_scores("mine", Reward(lambda items: scores, low=0.0, high=math.inf), [Item({"id": "r7"}, "")])


def test_a_field_without_a_value_is_not_listed_as_found():
    with pytest.raises(UserError, match="record 'r7': the mine reward expects the field 'answer', found id, level$"):
        require_field(Item({"id": "r7", "level": 3, "answer": None, "hint": None}, ""), "answer", "mine")


@pytest.mark.parametrize("found", [[1.5, 2], "34", 5, ["x"], [True, 2], [[1], 2]])
def test_a_list_of_integers_is_nothing_else(found):
    assert require_integers(Item({"numbers": [3, -4]}, ""), "numbers", "mine") == [3, -4]
    with pytest.raises(UserError, match="record 'r7': the mine reward expects the field 'numbers' to be a list of int"):
        require_integers(Item({"id": "r7", "numbers": found}, ""), "numbers", "mine")


@pytest.mark.parametrize("found", [3.9, "3", [3], True])
def test_an_integer_is_nothing_else(found):
    assert require_integer(Item({"target": 0}, ""), "target", "mine") == 0
    with pytest.raises(UserError, match="record 'r7': the mine reward expects the field 'target' to be an integer"):
        require_integer(Item({"id": "r7", "target": found}, ""), "target", "mine")


def test_an_empty_range_is_refused():
    with pytest.raises(ValueError, match="low < high"):
        Reward(lambda items: [], low=1.0, high=1.0)
