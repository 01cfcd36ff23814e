"""The choice reward reads one letter, in whatever dress, and pays nothing for several."""

import string
import time

import hypothesis
import hypothesis.strategies as st
import pytest

from r1jax.errors import UserError
from r1jax.rewards.choice import choice_reward, committed
from r1jax.rewards.verdicts import Item, Score, Status

CITIES = ["London", "Paris", "Rome", "New York"]


def score(completion, answer="B", **record):
    (found,) = choice_reward([Item({"id": "q1", "answer": answer, **record}, completion)])
    return found


STATED = [
    "ANSWER: B",
    "so it is Paris.\n\nANSWER: B",
    "ANSWER: B\n",
    "Answer: B",
    "answer : b",
    "**ANSWER: B**",
    "**ANSWER:** B",
    "**Answer**: **B**",
    "ANSWER: (B)",
    "ANSWER: [B]",
    "ANSWER: $B$",
    "ANSWER: \\boxed{B}",
    "ANSWER: $\\boxed{\\text{B}}$",
    "ANSWER: \\(B\\)",
    "ANSWER: B.",
    "ANSWER: B) Paris",
    "ANSWER: B. Paris",
    "ANSWER: B - Paris",
    "ANSWER: B (Paris)",
    "ANSWER: Option B",
    "ANSWER:\nB",
    "ANSWER：B",
    "ANSWER：Ｂ",
    "答案：B",
    "答案: （Ｂ）",
    "The answer: B",
    "The correct answer is: B",
    "**The answer is:** (B)",
    "因此，正确答案是：B。",
    "答案为：**B**",
    "故选：B．",
    "答案：【B】",
    "ANSWER: \\textsf{B}",
    "\\boxed{\\mathtt{(B)}}",
    "ANSWER: A\nNo, wait.\nANSWER: B",
    "ANSWER: A ANSWER: B",
    "ANSWER: B\nThe other answers: they are elsewhere.",
    "ANSWER: B\n\\boxed{A}",  # the form of the evaluation goes first
]
TAGGED = [
    *("B", "b", "(B)", "( B )", "B.", "B)", "[B]", "**B**", "`B`", "$B$", '"B"', "\\boxed{B}", "so \\boxed{(B)} it is"),
    *("\\text{B}", "B) Paris", "B. Paris is the capital.", "B: Paris", "(B) Paris", "**B. Paris**", "Paris", "paris."),
    *("\\boxed{\\text{Paris}}", "Option B", "The correct answer is (B)", "answer: B", "选B", "选项 B", "正确答案是B"),
    *("Ｂ", "B、", "B\nbecause of the river", "Perhaps.\nANSWER: B"),
]
SEVERAL = [
    *("A and B", "A or B", "B or A", "A, B", "A/B", "A & B", "(A) and (B)", "A) and B)", "B, C, D", "A和B", "A、B"),
    *("A B C D", "**A** and **B**", "A. London B. Paris C. Rome", "(A) London (B) Paris", "B and/or C"),
    *("A 或者 B",),
    *("B) Rome", "B (Rome)", "B, and C", "B; C", "A) London\nB) Paris", "\\boxed{A, B}", "ANSWER: A or B", "B. or (C)"),
]
OTHERS = [
    *("", "A", "C", "E", "В", "Β", "𝐁", "Ⓑ", "B\u0301", "Paris or London", "Paris, London", "BB", "B2", "B is right"),
    *(
        "A man",
        "Bob",
        "not B",
        "~B?",
        "Par\u0456s",
        "Paris is in France",
        "ABCD",
        "B\x00",
        "\ud842",
        "$LETTER",
        "ſ",
        "\u212a",
    ),
]


@pytest.mark.parametrize("text", STATED)
def test_the_letter_after_answer_counts(text):
    assert score(f"<think> A, or C? ANSWER: D </think> {text}", choices=CITIES) == Score(1.0, Status.CORRECT, "B")
    assert score(text).status is Status.CORRECT  # without choices


@pytest.mark.parametrize("text", TAGGED)
def test_the_answer_tag_counts(text):
    assert score(f"<think> A </think> <answer>{text}</answer>", choices=CITIES) == Score(1.0, Status.CORRECT, "B")


@pytest.mark.parametrize(
    "text", ["\\boxed{B}", "so \\boxed{\\text{(B)}}.", "\\boxed{A}, no: \\boxed{B}", "$\\boxed{Paris}$"]
)
def test_the_last_box_counts_without_a_tag(text):
    assert score(f"<think> \\boxed{{C}} </think> {text}", choices=CITIES).status is Status.CORRECT


@pytest.mark.parametrize("text", SEVERAL)
@pytest.mark.parametrize("gold", "ABCD")
def test_several_letters_are_wrong_whatever_the_gold(text, gold):
    assert score(f"<answer>{text}</answer>", gold, choices=CITIES).value == 0.0
    line = text.replace("\n", ", ")
    assert score(f"ANSWER: {line}", gold, choices=CITIES).value == 0.0


@pytest.mark.parametrize("text", OTHERS)
def test_other_answers_are_wrong(text):
    assert score(f"<answer>{text}</answer>", choices=CITIES).value == 0.0
    assert score(f"ANSWER: {text}", choices=CITIES).value == 0.0


@pytest.mark.parametrize(
    "completion",
    [
        "",
        "B",
        "It is B.",
        "<think> ANSWER: B </think>",
        "<think> ANSWER: B",
        "<think> <answer>B</answer> </think> I do not know.",
        "<think> \\boxed{B} </think>",
        "ANSWER:",
        "ANSWER: $LETTER",
        "<answer> </answer> ANSWER: B",
    ],
)
def test_without_a_commitment_there_is_no_answer(completion):
    assert score(completion, choices=CITIES) == Score(0.0, Status.NO_ANSWER)


def test_the_text_of_a_choice_goes_before_what_only_looks_like_a_letter():
    roman = ["I, II", "I only", "C#", "A or B"]
    for letter, text in zip("ABCD", roman, strict=True):
        assert score(f"<answer>{text}</answer>", letter, choices=roman).status is Status.CORRECT
    # but a letter alone is a letter, also where the choices are letters
    assert score("<answer>A</answer>", "A", choices=["B", "A"]).status is Status.CORRECT


@pytest.mark.parametrize("text", ["**ANSWER: Paris**", "**Answer:** **Paris**", "Answer: *Paris*", "**答案：Paris**"])
def test_the_text_of_a_choice_may_be_bold_together_with_its_header(text):
    assert score(text, choices=CITIES).status is Status.CORRECT
    assert score("ANSWER: A*", "A", choices=["A*", "A"]).status is Status.CORRECT  # the letter, as ever
    assert score("ANSWER: search A*", choices=["search A", "search A*"]).status is Status.CORRECT


def test_numbers_among_the_choices_compare_as_numbers():
    assert score("\\boxed{0.5}", "C", choices=["1/4", "1/3", "\\frac{1}{2}"]).status is Status.CORRECT


def test_a_letter_with_its_own_text_is_one_letter_though_the_text_names_others():
    choices = ["vitamin C", "vitamin (A) or (B)"]
    assert score("ANSWER: B) vitamin (A) or (B)", choices=choices).status is Status.CORRECT
    assert score("ANSWER: B) same", choices=["same", "same"]).status is Status.CORRECT  # the letter tells them apart
    assert score("<answer>same</answer>", choices=["same", "same"]).status is Status.WRONG


@pytest.mark.parametrize("gold", ["B", "b", " B ", "(B)", "B.", "Ｂ", "Paris", "paris", "**Paris**"])
def test_the_gold_is_a_letter_or_a_text(gold):
    assert score("ANSWER: B", gold, choices=CITIES).status is Status.CORRECT
    assert score("ANSWER: C", gold, choices=CITIES).status is Status.WRONG


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        ({"answer": 1, "choices": CITIES}, "'answer' to be a letter of A to D, or the text of one of its choices"),
        ({"answer": "E", "choices": CITIES}, "letter of A to D"),
        ({"answer": "Berlin", "choices": CITIES}, "letter of A to D"),
        ({"answer": "Paris"}, "has no choices"),
        ({"answer": "same", "choices": ["same", "same"]}, "letter of A to B"),
        ({"answer": ["B"], "choices": CITIES}, "letter of A to D"),
        ({"choices": CITIES}, "expects the field 'answer'"),
        ({"answer": "B", "choices": "ABCD"}, "a list of texts"),
        ({"answer": "B", "choices": [1, 2]}, "a list of texts"),
        ({"answer": "B", "choices": []}, "1 to 26 'choices'"),
        ({"answer": "B", "choices": list(string.ascii_letters[:27])}, "1 to 26 'choices'.*found 27"),
    ],
)
def test_a_record_that_cannot_be_graded_is_named(record, expected):
    with pytest.raises(UserError, match=f"record 'q7': the choice reward expects .*{expected}|{expected}"):
        choice_reward([Item({"id": "q7", **record}, "ANSWER: B")])


PIECES = [*"ABCDab ().:,/\n*$", "ANSWER:", "and", "\\boxed{", "}", "<answer>", "</answer>", "Paris"]


@hypothesis.given(st.lists(st.sampled_from(PIECES)))
def test_no_completion_is_right_for_two_golds(pieces):
    text = "".join(pieces)
    assert sum(score(text, gold, choices=CITIES).value for gold in "ABCD") <= 1.0


@hypothesis.given(st.text(alphabet=st.characters(), max_size=60))
def test_any_text_is_graded(text):
    for completion in (f"ANSWER: {text}", f"<answer>{text}</answer>", f"\\boxed{{{text}}}"):
        assert score(completion, choices=CITIES).status in set(Status) - {Status.SCORED}


@pytest.mark.parametrize(
    "piece",
    [
        "ANSWER: ",
        "ANSWER: B\n",
        "ANSWER: B or ",
        "ANSWER:" + "*" * 16,
        "A ",
        "A or ",
        "(",
        "B) ",
        "答案：",
        "\\boxed{",
        "$",
    ]
    + ["<answer>", "<answer>B</answer>", "**", "the ", "\x00", "\ud800", "ANSWER: $$a$$ ", "(A) "],
)
def test_megabytes_cost_little(piece):
    text = piece * (1_000_000 // len(piece))
    started = time.process_time()
    score(text, choices=CITIES)
    score(f"<answer>{text}</answer>", choices=CITIES)
    assert time.process_time() - started < 5.0  # about 1 s; quadratic costs would be minutes


def test_committed_says_where_it_was_read():
    assert committed("<answer>A or B</answer>", CITIES) == (frozenset("AB"), "A or B")
