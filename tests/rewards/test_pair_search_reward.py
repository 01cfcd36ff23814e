"""Pair search pays for two listed numbers with the right sum."""

import pytest

from r1jax.rewards.pair_search import is_solution, pair_search_reward
from r1jax.rewards.verdicts import Item, Score, Status

RECORD = {"id": "p1", "numbers": [6, 3, 8, 4], "target": 10}


@pytest.mark.parametrize(
    "answer", ["6 4", "4 6", "6 plus 4", "6 + 4", "6, 4", "(6, 4)", "6 and 4", "6 加 4", "6 和 4", "[4,6]."]
)
def test_the_pair_in_any_dress(answer):
    assert is_solution(answer, [6, 3, 8, 4], 10)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("6 3", "sum 9"),
        ("7 3", "7 is not listed"),
        ("5 5", "not listed"),
        ("64", "one number"),
        ("6", "one number"),
        ("6 4 3", "three numbers"),
        ("6 4 or 3 7", "a choice of two"),
        ("6 + 4 = 10", "three numbers"),
        ("6 - 4", "a difference"),
        ("six four", "no digits"),
        ("٦ 4", "digits of another script"),
    ],
)
def test_what_is_no_pair(answer, why):
    assert not is_solution(answer, [6, 3, 8, 4], 10), why


def test_one_place_cannot_be_named_twice():
    assert not is_solution("5 5", [5, 3, 8, 4], 10)
    assert is_solution("5 5", [5, 3, 8, 5], 10)


def test_statuses():
    texts = (
        "<think> first 6 plus 4 is 10 ? 10 yes ; </think> <answer> 6 4 </answer>",
        "<think> first 6 plus 4 is 10 ? 10 yes ; </think> <answer> 8 3 </answer>",
        "<think> first 6 plus 4 is 10 ? 10 yes ; </think>",
    )
    assert pair_search_reward([Item(RECORD, text) for text in texts]) == [
        Score(1.0, Status.CORRECT, "6 4"),
        Score(0.0, Status.WRONG, "8 3"),
        Score(0.0, Status.NO_ANSWER),
    ]


@pytest.mark.parametrize("fields", [{"numbers": "64"}, {"numbers": ["x"]}, {"target": 10.5}])
def test_numbers_that_are_no_integers_name_their_record(fields):
    message = f"record 'p1': the pair_search reward expects the field '{next(iter(fields))}' to be"
    with pytest.raises(ValueError, match=message):
        pair_search_reward([Item(RECORD | fields, "<answer> 6 4 </answer>")])


def test_degenerate_answers_break_nothing():
    for answer in ("9" * 100_000 + " 4", "6" + " " * 100_000 + "x", "(" * 100_000, "6 " * 50_000):
        assert not is_solution(answer, [6, 4], 10)
