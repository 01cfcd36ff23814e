"""The gate's reward compares the first words of a completion."""

import pytest

from r1jax.rewards.starts_with_answer import starts_with_answer_reward
from r1jax.rewards.verdicts import Item, Score, Status


@pytest.mark.parametrize(
    ("completion", "expected"),
    [
        ("5 5 ; then", Score(1.0, Status.CORRECT, "5 5")),
        ("  5\n5", Score(1.0, Status.CORRECT, "5 5")),
        ("5 6 ;", Score(0.0, Status.WRONG, "5 6")),
        ("5", Score(0.0, Status.WRONG, "5")),
        ("55 ;", Score(0.0, Status.WRONG, "55 ;")),  # whole words: another token
        ("5 55", Score(0.0, Status.WRONG, "5 55")),
        ("", Score(0.0, Status.NO_ANSWER)),
    ],
)
def test_whole_words_from_the_start(completion, expected):
    assert starts_with_answer_reward([Item({"answer": "5 5"}, completion)]) == [expected]


def test_a_gold_of_another_type_is_read_as_text():
    assert starts_with_answer_reward([Item({"answer": 7}, "7 ;")])[0].status is Status.CORRECT


def test_an_empty_gold_cannot_tell():
    assert starts_with_answer_reward([Item({"answer": " "}, "7")])[0].status is Status.VERIFIER_ERROR
