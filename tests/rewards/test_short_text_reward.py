"""The short text reward takes one spelling for another, and never a part for the whole."""

import time

import hypothesis
import hypothesis.strategies as st
import pytest

from r1jax.errors import UserError
from r1jax.rewards.short_text import normal_text, same_text, short_text_reward
from r1jax.rewards.verdicts import Item, Score, Status
from r1jax.text.answers import LONGEST_ANSWER_CHARS


def score(completion, answer):
    (found,) = short_text_reward([Item({"id": "s1", "answer": answer}, completion)])
    return found


SAME = [
    ("Paris", "paris"),
    ("Paris", "PARIS."),
    ("Paris", " **Paris** "),
    ("Paris", "\\text{Paris}"),
    ("Paris", "Ｐａｒｉｓ。"),
    ("The Beatles", "Beatles"),
    ("Eiffel Tower", "the Eiffel  Tower!"),
    ("a whale", "A whale"),
    ("U.S.", "US"),
    ("O'Hara", "O’Hara"),
    ("well-known", "well known"),
    ("rock & roll", "rock and roll"),
    ("George Washington", "George Washington,"),
    ("1939-1945", "1939–1945"),
    ("1,000", "1000"),
    ("0.50", "1/2"),
    ("1,000 km", "1000 km"),
    ("3.5 km", "3.5 km."),
    ("3.5 km", "3.5km"),
    ("50%", "50 %"),
    ("5 °C", "5°C"),
    ("5 公里", "5公里。"),
    ("Straße", "STRASSE"),
    ("cafe\u0301", "café"),
    ("乔治·华盛顿", "乔治 华盛顿"),
    ("北京", "《北京》。"),
    ("是，对", "是,对"),
    ("3½", "3 1/2"),
    ("x²", "x^2"),
    ("-5 degrees", "−5 degrees"),
    ("A", "a"),
    ("the", "The"),
    ("?!", "?!"),
]
DIFFERENT = [
    ("Paris", "Paris or London"),
    ("Paris", "Paris, London"),
    ("Paris", "not Paris"),
    ("Paris", "Paris is the capital"),
    ("New York", "York"),
    ("Paris", "Pаris"),  # with a Cyrillic letter
    ("type A", "type"),
    ("vitamin A", "vitamin"),
    ("C++", "C"),
    ("C#", "C"),
    ("50%", "50"),
    ("3.5 km", "35 km"),
    ("3 5 km", "35 km"),
    ("50%", "50 km"),
    ("5 degrees", "-5 degrees"),
    ("1:30", "130"),
    ("1/2 cup", "12 cup"),
    ("102", "10²"),
    ("102 km", "10² km"),
    ("31/2 m", "3½ m"),
    ("1,2", "12"),
    ("1000", "1001"),
    ("10", "1O"),
    ("cafe", "café"),
    ("北京", "北京或上海"),
    ("Paris", "Paris\x00"),
    ("Paris", "\ud800Paris"),
    ("?!", "!!"),
    ("Paris", "Paris " * 1000),
]


@pytest.mark.parametrize(("accepted", "answer"), SAME)
def test_spellings_of_one_answer_are_the_same(accepted, answer):
    for one, other in ((accepted, answer), (answer, accepted)):
        assert same_text(one, other)
    for completion in (f"<think> x </think> <answer>{answer}</answer>", f"So it is \\boxed{{{answer}}}."):
        assert score(completion, accepted).status is Status.CORRECT


@pytest.mark.parametrize(("accepted", "answer"), DIFFERENT)
def test_other_answers_are_not(accepted, answer):
    for one, other in ((accepted, answer), (answer, accepted)):
        assert not same_text(one, other)
    assert score(f"<answer>{answer}</answer>", accepted).status is Status.WRONG


def test_any_accepted_text_will_do_but_not_all_at_once():
    accepted = ["New York City", "New York", "NYC"]
    for answer in accepted:
        assert score(f"<answer>{answer}</answer>", accepted) == Score(1.0, Status.CORRECT, answer)
    assert score("<answer>New York City, New York, NYC</answer>", accepted).value == 0.0


@pytest.mark.parametrize("answer", [7, 7.0, "7", ["seven", 7]])
def test_golds_may_be_numbers(answer):
    assert score("\\boxed{7.00}", answer).status is Status.CORRECT
    assert score("\\boxed{77}", answer).status is Status.WRONG


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "Paris",
        "<think> <answer>Paris</answer> </think>",
        "<think> \\boxed{Paris}",
        "<answer> </answer>",
        "\\boxed{}",
    ],
)
def test_without_tag_or_box_there_is_no_answer(completion):
    assert score(completion, "Paris") == Score(0.0, Status.NO_ANSWER)


def test_the_last_box_counts():
    assert score("\\boxed{Rome} \\boxed{Paris}", "Paris").status is Status.CORRECT
    assert score("\\boxed{Paris} \\boxed{Rome}", "Paris").status is Status.WRONG


@pytest.mark.parametrize("answer", ["", "  ", ["Paris", "\n"]])
def test_an_empty_gold_cannot_tell(answer):
    assert score("<answer>Paris</answer>", answer) == Score(None, Status.VERIFIER_ERROR, "Paris")


@pytest.mark.parametrize("answer", [[], {"text": "Paris"}, True, [["Paris"]]])
def test_a_gold_of_another_type_names_its_record(answer):
    with pytest.raises(UserError, match="record 's1': the short_text reward expects the field 'answer' to be a text"):
        score("<answer>Paris</answer>", answer)


def test_a_record_without_a_gold_is_named():
    with pytest.raises(UserError, match="record 's1': the short_text reward expects the field 'answer'"):
        score("<answer>Paris</answer>", None)


WORDS = st.lists(st.text(alphabet="bcdefgxyz", min_size=1, max_size=6), min_size=1, max_size=6)


@hypothesis.given(WORDS, WORDS, st.sampled_from([" ", " or ", ", ", "/", " and "]))
def test_a_text_with_more_words_is_never_the_same(words, more, joint):
    text = " ".join(words)
    assert same_text(text, text.upper() + ".")
    assert not same_text(text, text + joint + " ".join(more))


@hypothesis.given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_is_the_same_as_itself(text):
    assert same_text(text, text)
    assert score(f"<answer>{text}</answer>", "Paris").status in {Status.CORRECT, Status.WRONG, Status.NO_ANSWER}


PIECES = ["the ", "a", "(", "$", "**", "1,", "1-", "ﷺ", "，", "字 ", "\x00", "\ud800", "½", "-.", "\\text{"]


@pytest.mark.parametrize("piece", PIECES)
def test_megabytes_cost_little(piece):
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    assert score(f"<answer>{text}</answer>", "Paris").status is Status.WRONG
    normal_text(text[:LONGEST_ANSWER_CHARS])
    assert time.process_time() - started < 1.0


def test_a_long_text_is_compared_as_it_stands():
    text = "word " * 1000
    assert same_text(text, text + "\n")
    assert not same_text(text, text + "!")


def test_several_accepted_texts_have_a_field_of_their_own():
    record = {"id": "s1", "answer": "of a data set's own", "answers": ["Paris", "Lutetia"]}
    texts = ["<answer>lutetia</answer>", "<answer>of a data set's own</answer>"]
    assert [one.value for one in short_text_reward([Item(record, text) for text in texts])] == [1.0, 0.0]
    with pytest.raises(UserError, match="the field 'answers' to be a text or a list"):
        short_text_reward([Item(record | {"answers": {"a": 1}}, texts[0])])
