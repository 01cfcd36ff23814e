"""Choices in an order that is drawn: the gold letter follows its text, and stands at each place equally often."""

import collections

import pytest

from r1jax.data.choice_sets import with_choices
from r1jax.data.records import DataError
from r1jax.rewards.choice import choice_reward
from r1jax.rewards.verdicts import Item, Status

LETTERS = "ABCD"


def row(number: int, **columns) -> dict:
    wrong = {f"Incorrect Answer {place}": f"wrong {place} of {number}" for place in (1, 2, 3)}
    return {"id": f"r{number}", "Question": f" Which one is {number}?\n", "Correct Answer": f"right {number} \n"} | (
        wrong | columns
    )


def test_the_question_shows_the_choices_under_their_letters():
    record = with_choices(row(0), "gpqa", 0)
    stem, _, listed = record["question"].partition("\n\n")
    assert stem == "Which one is 0?"
    assert listed.split("\n") == [f"{letter}) {text}" for letter, text in zip(LETTERS, record["choices"], strict=True)]
    assert sorted(record["choices"]) == ["right 0", "wrong 1 of 0", "wrong 2 of 0", "wrong 3 of 0"]


def test_the_answer_is_the_letter_of_the_right_text():
    for number in range(50):
        record = with_choices(row(number), "gpqa", 3)
        assert record["choices"][LETTERS.index(record["answer"])] == f"right {number}"


def test_a_choice_that_stands_twice_leaves_the_letter_where_the_right_one_went():
    for number in range(20):
        record = with_choices(row(number, **{"Incorrect Answer 2": "same", "Incorrect Answer 1": "same"}), "gpqa", 0)
        assert record["choices"][LETTERS.index(record["answer"])] == f"right {number}"


def test_the_right_one_stands_at_each_place_equally_often():
    # 400 records, a quarter each: 100, standard deviation sqrt(400 x 1/4 x 3/4) = 8.7; five of them are 43.
    counts = collections.Counter(with_choices(row(number), "gpqa", 0)["answer"] for number in range(400))
    assert set(counts) == set(LETTERS)
    assert all(abs(count - 100) < 43 for count in counts.values())


def test_the_order_depends_on_the_seed_and_on_the_texts_alone():
    first = with_choices(row(7), "gpqa", 1)
    assert with_choices(row(7, id="another", note="x"), "gpqa", 1)["choices"] == first["choices"]
    assert len({tuple(with_choices(row(7), "gpqa", seed)["choices"]) for seed in range(40)}) > 10


def test_the_choice_reward_reads_the_letter_and_the_text():
    record = with_choices(row(5), "gpqa", 0)
    wrong = next(letter for letter in LETTERS if letter != record["answer"])
    turns = [f"<think>\nhm\n</think>\n\nANSWER: {one}" for one in (record["answer"], "right 5", wrong)]
    statuses = [choice_reward([Item(record, turn)])[0].status for turn in turns]
    assert statuses == [Status.CORRECT, Status.CORRECT, Status.WRONG]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"Correct Answer": None}, "'Correct Answer', found Correct Answer = None"),
        ({"Incorrect Answer 3": "  "}, "'Incorrect Answer 3'"),
        ({"Question": 7}, "found Question = 7"),
    ],
)
def test_a_column_without_a_text_is_named_with_its_record(columns, words):
    with pytest.raises(DataError, match="record r0: data.choices_from=gpqa expects a text") as error:
        with_choices(row(0, **columns), "gpqa", 0)
    assert words in str(error.value)


def test_a_file_of_another_set_is_told_which_columns_are_wanted():
    with pytest.raises(DataError, match="the column 'Question', found id, question"):
        with_choices({"id": "a", "question": "?"}, "gpqa", 0)
