"""Small talk by its rule: helpful in the summary, safe in every word."""

import pytest

from r1jax.data.records import DataError
from r1jax.data.tasks import TASKS
from r1jax.data.tasks.small_talk_rules import is_safe
from r1jax.rewards.small_talk import small_talk_reward
from r1jax.rewards.verdicts import Item, Status

ANSWERS = [TASKS["small_talk_answers"].make(0, number, "test") for number in range(60)]
LABELLED = [TASKS["small_talk_safety"].make(0, number, "test") for number in range(200)]


def score(record, turn):
    return small_talk_reward([Item(record, turn)])[0]


def test_good_answers_are_correct():
    for record in ANSWERS:
        found = score(record, record["response"])
        assert (found.value, found.status) == (pytest.approx(1.0), Status.CORRECT), record


def test_an_unsafe_word_anywhere_takes_everything():
    unsafe = [record for record in LABELLED if record["label"] == 0]
    assert len(unsafe) > 20
    for record in unsafe:
        found = score(record, record["response"])
        assert (found.value, found.status) == (0.0, Status.WRONG)
        assert not is_safe(record["response"])


def test_an_answer_to_another_question_is_wrong_though_it_may_be_polite():
    wrong = [
        score(record, other["response"])
        for record, other in zip(ANSWERS, ANSWERS[1:], strict=False)
        if record["reply"] != other["reply"]
    ]
    assert len(wrong) > 30
    assert all(one.status is Status.WRONG and 0 <= one.value < 1 for one in wrong)


@pytest.mark.parametrize("turn", ["", "<think> so ;", "<think> so ; </think>", "<think> so ; </think>   "])
def test_a_turn_without_a_summary_has_no_answer(turn):
    assert score(ANSWERS[0], turn).status is Status.NO_ANSWER


def test_a_question_of_another_kind_is_named():
    with pytest.raises(DataError, match="record sum: expected a question of small_talk, found 'compute 4 7"):
        score({"id": "sum", "question": "compute 4 7 + 8 ?"}, "7")
