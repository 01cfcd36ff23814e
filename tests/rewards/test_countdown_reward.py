"""Countdown pays for an expression of exactly the given numbers, evaluated by a parser that cannot be attacked."""

import time
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.rewards.countdown import countdown_reward, evaluate, solves, tokenize
from r1jax.rewards.verdicts import Item, Score, Status

RECORD = {"id": "c1", "numbers": [3, 25, 4], "target": 71}  # 25 * 3 - 4 = 71


@pytest.mark.parametrize(
    "answer",
    [
        "25 * 3 - 4",
        "(25*3)-4",
        "((25 * 3) - 4) = 71",
        "25 × 3 − 4",
        r"$25 \times 3 - 4$",
        r"25 \cdot 3 - 4 = 7 1",
        "2 5 * 3 - 4",  # digits as tokens of a word-level tokenizer
        "（25 * 3） - 4",
        "25 * 3 - 4.",
        r"\(25 * 3 - 4\)",
        r"\[25 * 3 - 4 = 71\].",
        "**25*3-4**",
        "[25 * 3] - 4",
        "25 x 3 – 4",
        "25 ⋅ 3 - 4",
        r"25 \ast 3 - 4",
        "２５ ＊ ３ － ４ ＝ ７１。",
    ],
)
def test_solutions(answer):
    assert solves(answer, [3, 25, 4], 71)


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        ("25 * 3", "not all numbers"),
        ("25 * 3 - 4 + 4 - 4", "a number twice"),
        ("75 - 4", "a number of its own"),
        ("71", "the target alone"),
        ("25 * 3 - 4 = 72", "another target"),
        ("71 = 25 * 3 - 4", "the wrong way round"),
        ("25 * 3 - 4 = 71 = 71", "two equations"),
        ("25 * 3 + 4", "79"),
        ("25 * 3 -", "no operand"),
        ("25 3 * 4 -", "reverse Polish"),
        ("-4 + 25 * 3", "a sign, not an operation"),
        ("(25 * 3 - 4", "an open bracket"),
        ("25 * 3) - 4", "a bracket too many"),
        ("25 * 3 - () 4", "empty brackets"),
        ("25(3) - 4", "an operator left out"),
        ("25 ** 3 - 4", "a power"),
        ("__import__('os')", "code"),
        ("25 * 3 - 4 # 71", "a comment"),
        ("٢٥ * 3 - 4", "digits of another script"),
        ("", "nothing"),
    ],
)
def test_what_is_no_solution(answer, why):
    assert not solves(answer, [3, 25, 4], 71), why


@pytest.mark.parametrize(
    ("answer", "numbers", "target"),
    [
        (r"\frac{10}{2} + 3", [10, 2, 3], 8),
        (r"\dfrac{10 + 2}{3} = 4", [10, 2, 3], 4),
        (r"24 / \frac{6}{2}", [24, 6, 2], 8),  # not (24 / 6) / 2
        (r"\frac{24}{\frac{6}{2}}", [24, 6, 2], 8),
    ],
)
def test_fractions_of_latex_are_divisions(answer, numbers, target):
    assert solves(answer, numbers, target)
    assert not solves(answer, numbers, target + 1)
    assert not solves(answer, [*numbers, 1], target)


@pytest.mark.parametrize("answer", [r"\frac{25}", r"\frac{}{25}", r"\frac{25}{3} - 4", "25 * 3 - x4", "25 x x 3 - 4"])
def test_broken_fractions_and_stray_signs_solve_nothing(answer):
    assert not solves(answer, [3, 25, 4], 71)


def test_a_negative_target_may_be_stated():
    assert solves("3 - 5 = -2", [3, 5], -2)
    assert solves("3 - 5 = - 2.", [3, 5], -2)
    assert not solves("3 - 5 = 2", [3, 5], -2)
    assert not solves("5 - 3 = -2", [3, 5], 2)


def test_a_listed_number_may_be_used_as_often_as_it_is_listed():
    assert solves("(7 + 7) / 2", [7, 2, 7], 7)
    assert not solves("7 + 2 - 2", [7, 2, 7], 7)


def test_values_are_exact():
    # In floating point 1 / 3 * 3 * 10 * 10 happens to work and 49 * (1 / 49) gives 0.9999999999999999.
    assert evaluate(tokenize("49 * (1 / 49)")) == 1
    assert evaluate(tokenize("1 / 3")) == Fraction(1, 3)
    assert evaluate(tokenize("8 / (3 - 8 / 3)")) == 24  # 8 / (1 / 3)
    assert evaluate(tokenize("2 - 3 - 4")) == -5  # from the left
    assert evaluate(tokenize("2 + 3 * 4 / 6 - 1")) == 3


def test_division_by_zero_has_no_value():
    assert evaluate(tokenize("5 / (3 - 3)")) is None


def test_a_reward_reads_the_answer_and_not_the_thinking():
    right = "<think> 25 + 3 ? no </think> <answer> 25 * 3 - 4 </answer>"
    only_thought = "<think> <answer> 25 * 3 - 4 </answer>"
    wrong = "<think> 25 * 3 - 4 </think> <answer> 25 </answer>"
    assert countdown_reward([Item(RECORD, text) for text in (right, only_thought, wrong)]) == [
        Score(1.0, Status.CORRECT, "25 * 3 - 4"),
        Score(0.0, Status.NO_ANSWER),
        Score(0.0, Status.WRONG, "25"),
    ]


def test_a_record_without_numbers_is_named():
    with pytest.raises(ValueError, match="record 'c2': the countdown reward expects the field 'numbers'"):
        countdown_reward([Item({"id": "c2", "target": 3}, "")])


@pytest.mark.parametrize("fields", [{"numbers": [1.5, 2]}, {"numbers": "34"}, {"numbers": 5}, {"target": 3.9}])
def test_numbers_that_are_no_integers_name_their_record(fields):
    with pytest.raises(ValueError, match=f"record 'c3': the countdown reward expects the field '{next(iter(fields))}'"):
        countdown_reward([Item({"id": "c3", "numbers": [1, 2], "target": 3} | fields, "<answer> 1 + 2 </answer>")])


@pytest.mark.parametrize(
    "answer", ["(" * 100_000 + "3" + ")" * 100_000, "9" * 100_000, "1+" * 100_000 + "1", "1 " * 100_000, "-" * 100_000]
)
def test_degenerate_answers_cost_little_and_break_nothing(answer):
    start = time.process_time()
    assert not solves(answer, [3, 25], 71)
    assert time.process_time() - start < 1.0


EXPRESSIONS = st.recursive(
    st.integers(0, 99).map(str),
    lambda inner: st.tuples(inner, st.sampled_from("+-*/"), inner).map(lambda parts: f"({''.join(parts)})"),
    max_leaves=8,
)


@settings(deadline=None)
@given(EXPRESSIONS)
def test_the_parser_agrees_with_python_on_fractions(text):
    spelled = "".join(f"Fraction({token})" if isinstance(token, int) else token for token in tokenize(text))
    try:
        expected = eval(spelled, {"Fraction": Fraction})  # of our own making
    except ZeroDivisionError:
        expected = None
    assert evaluate(tokenize(text)) == expected


@settings(deadline=None)
@given(st.text(alphabet="0123456789+-*/()= \n.x", max_size=40))
def test_any_text_gets_a_verdict(text):
    assert solves(text, [1, 2], 3) in (True, False)
