"""What each filter of one record keeps and drops."""

import json
import time

import pytest
from sample_records import SUMMARY, THINKING, record

from r1jax.config import ConfigError, FiltersConfig
from r1jax.config.serialize import from_json, to_json
from r1jax.data.filters import RECORD_FILTERS, SET_FILTERS
from r1jax.data.filters.readability import repeated_line_share, repeated_ngram_share
from r1jax.data.records import DataError


def reason(name, one, config=None):
    return RECORD_FILTERS[name][1](one, config or FiltersConfig())


def scored(**scores):
    return record(lineage={"prompt_id": "p", "scores": scores})


@pytest.mark.parametrize(
    ("scores", "why"),
    [
        ({"maths": 1.0}, None),
        ({"maths": 1}, None),
        ({"judge": 1.0, "format": 0.0}, None),  # format is not asked for
        ({"maths": 0.0}, "maths 0"),
        ({"maths": 0.5}, "maths 0.5"),
        ({"maths": 1.0, "judge": 0.0}, "judge 0"),  # each that is there
        ({"maths": None}, "maths could not grade it"),
        ({"format": 1.0}, "not scored by maths or code or choice or short_text or judge"),
        ({}, "not scored by maths or code or choice or short_text or judge"),
    ],
)
def test_correct(scores, why):
    assert reason("correct", scored(**scores)) == why


def test_correct_asks_for_the_rewards_of_the_config():
    config = FiltersConfig(min_scores=(("format", 0.5),))
    assert reason("correct", scored(format=0.5), config) is None
    assert reason("correct", scored(format=0.4, maths=1.0), config) == "format 0.4"


def test_scores_that_are_no_numbers_are_named():
    with pytest.raises(DataError, match=r"record p:0: expected numbers \(or null\) in lineage.scores, found 'yes'"):
        reason("correct", record(lineage={"scores": {"maths": "yes"}}))


def test_finished():
    assert reason("finished", record()) is None
    assert reason("finished", record(truncated=True)) == "truncated"
    assert reason("finished", record(truncated=False)) is None
    assert reason("finished", record(lineage={"truncated": True})) == "truncated"
    assert reason("finished", record(response="<think>and then")) == "the thinking is never closed"
    assert reason("finished", record(response="<think>a</think>b<think>c")) == "the thinking is never closed"


@pytest.mark.parametrize(
    ("response", "why"),
    [
        ("<think>a</think>b", None),
        (" \n<think>\na\n</think>\n\n<answer>b</answer>", None),
        ("b", "no thinking"),
        ("", "no thinking"),
        ("<think>a", "not exactly one thinking block"),
        ("a</think>b", "not exactly one thinking block"),
        ("<think>a</think>b<think>c</think>d", "not exactly one thinking block"),
        ("<think>a<think>b</think>c", "not exactly one thinking block"),
        ("<think>a</think>b < Think >", "not exactly one thinking block"),
        ("<Think>a</think>b", "not exactly one thinking block"),
        ("Sure. <think>a</think>b", "text before the thinking"),
        ("<think> \n</think>b", "empty thinking"),
        ("<think>a</think> \n", "empty summary"),
        ("<think>a</think><answer> </answer>", "empty summary"),
    ],
)
def test_form(response, why):
    assert reason("form", record(response=response)) == why


def test_form_where_thinking_is_optional():
    config = FiltersConfig(thinking="optional")
    assert reason("form", record(response="Hello!"), config) is None
    assert reason("form", record(response=" "), config) == "empty"
    assert reason("form", record(response="<think>a</think>"), config) == "empty summary"


def test_length():
    config = FiltersConfig(min_tokens=10, max_tokens=20, max_thinking_tokens=8)
    assert reason("length", record(num_tokens=10, num_thinking_tokens=8), config) is None
    assert reason("length", record(num_tokens=9, num_thinking_tokens=8), config) == "num_tokens 9 below 10"
    assert reason("length", record(num_tokens=21, num_thinking_tokens=8), config) == "num_tokens 21 above 20"
    assert reason("length", record(num_tokens=20, num_thinking_tokens=9), config) == "num_thinking_tokens 9 above 8"
    with pytest.raises(DataError, match="record p:0: expected the field 'num_thinking_tokens', found"):
        reason("length", record(num_tokens=20), config)


@pytest.mark.parametrize(
    ("thinking", "summary", "why"),
    [
        (THINKING, SUMMARY, None),
        (THINKING, "<answer>6</answer>", None),
        (r"So \boxed{5}. No, \boxed{6}.", SUMMARY, None),
        (THINKING, r"It is \boxed{6 \text{ apples}}.", None),  # for algebra: not plainly another
        (THINKING, "It is 6.", "no answer in the summary"),
        (r"\boxed{6}", "Done.", "no answer in the summary"),
        (THINKING, r"\boxed{7}", "the summary's answer is '7', not '6'"),
        (r"\boxed{7}", SUMMARY, "the summary's answer is '6', the thinking's '7'"),
    ],
)
def test_the_summary_states_the_answer(thinking, summary, why):
    assert reason("states_answer", record(thinking, summary)) == why


CHINESE = "先算四加七得十一，再减去五，得到六。"


@pytest.mark.parametrize(
    ("thinking", "summary", "language", "why"),
    [
        (THINKING, SUMMARY, "en", None),
        (CHINESE, r"结果是 \boxed{6}。", "zh", None),
        (CHINESE, SUMMARY, "zh", "0% of the summary in zh"),
        (THINKING + CHINESE, SUMMARY, "en", "55% of the thinking in en"),
        (CHINESE, r"结果是 \boxed{6}。", "en", "0% of the thinking in en"),
        ("4 + 7 = 11, 11 - 5 = 6", r"$6$ \boxed{6}", "zh", None),  # no words, no mixture
        (THINKING, SUMMARY, None, None),  # the language of the question
        (CHINESE, SUMMARY, None, "0% of the thinking in en"),
        ("Сначала сложим четыре и семь.", "Шесть.", "ru", None),
        ("Сначала сложим четыре и семь.", "Six is the result.", "ru", "0% of the summary in ru"),
    ],
)
def test_language(thinking, summary, language, why):
    assert reason("language", record(thinking, summary, language=language)) == why


def test_a_language_that_cannot_be_told_is_named():
    with pytest.raises(DataError, match="record p:0: expected a language out of en, zh.*, found 'fr'"):
        reason("language", record(language="fr"))


def test_language_shares_can_be_asked_of_one_part_alone():
    config = FiltersConfig(summary_language_share=None)
    assert reason("language", record(CHINESE, SUMMARY, language="zh"), config) is None


def test_paragraphs():
    config = FiltersConfig(paragraph_words=10, paragraph_characters=100)
    assert reason("paragraphs", record("one two three\n" * 50), config) is None
    assert reason("paragraphs", record("x\n" + "one " * 11), config) == "a paragraph of 11 words"
    assert reason("paragraphs", record("一" * 15), config) is None
    assert reason("paragraphs", record("一" * 18), config) == "a paragraph of 12 words"
    assert reason("paragraphs", record("x" * 101), config) == "a paragraph of 101 characters"
    assert reason("paragraphs", record("x", "one " * 40), config) is None  # a summary may be prose


@pytest.mark.parametrize(
    "block", ["```python\nx = 1\n```", "so ```x```", "~~~\nx\n~~~", r"\begin{lstlisting}", "<code>x"]
)
def test_code(block):
    assert reason("code", record(f"I think {block} helps")).endswith("in the thinking")
    assert reason("code", record(THINKING, f"Here: {block}")) is None
    assert reason("code", record("`x` is a variable, ~2 is about two")) is None


def test_repeated_lines_by_hand():
    assert repeated_line_share("abcd\n\n  abcd\nefgh\nabcd") == 0.5  # 8 of 16 characters
    assert repeated_line_share("a\nb") == repeated_line_share("") == 0.0


def test_repeated_characters_by_hand():
    assert repeated_ngram_share("abcabcabc", 3) == 4 / 7  # abc bca cab are new, four of seven not
    assert repeated_ngram_share("ab", 3) == 0.0


@pytest.mark.parametrize(
    "loop", ["wait, let me check that again. ", "等等，让我再检查一遍。", "ha", "=", "7", "\U0001f600"]
)
def test_loops_are_found_in_any_script(loop):
    assert "said before" in reason("repetition", record(THINKING + loop * (1000 // len(loop))))
    assert reason("repetition", record(THINKING + loop)) is None


def test_repeated_lines_are_found():
    lines = "Let me count.\n" + "So 4 and 7 is 11.\n" * 3
    assert reason("repetition", record(lines)) == "53% in repeated lines"
    assert reason("repetition", record(lines), FiltersConfig(repeated_line_share=None)) is None


@pytest.mark.parametrize(
    "unit", ["ha ", "<think>", "</think>", "\\boxed{", "```", "\n", "苹果，", "\u0301\u0316", "< think "]
)
def test_a_megabyte_of_response_takes_linear_time(unit):
    text = unit * (1_000_000 // len(unit))
    config = FiltersConfig(min_scores=(), finished=False, thinking=None, summary_states_answer=True)
    one = {"id": "long", "question": "?", "response": f"<think>{text}</think>{text}", "language": "zh"}
    started = time.process_time()
    for name, (_, judge) in RECORD_FILTERS.items():
        if name != "correct":
            judge(one, config)
    for name, (is_on, judge_all) in SET_FILTERS.items():
        if is_on(config) and name != "contamination":
            judge_all([one, one | {"id": "again"}], config, None)
    assert time.process_time() - started < 30  # quadratic behaviour would take an hour


def test_the_config_goes_through_json_and_refuses_nonsense():
    config = FiltersConfig(min_scores=(("judge", 0.5),), samples_per_prompt=4)
    assert from_json(json.loads(json.dumps(to_json(config)))) == config
    for changes, expected in (
        (
            {"repeated_line_share": 1.5},
            r"filters.repeated_line_share: expected a share in \[0, 1\], or None, found 1.5",
        ),
        ({"samples_per_prompt": 0}, "filters.samples_per_prompt: expected 1 or more, found 0"),
        ({"near_duplicate_questions": 0.05}, "filters.near_duplicate_questions: expected a similarity"),
        ({"min_tokens": 5, "max_tokens": 4}, "filters.max_tokens: expected no less than filters.min_tokens=5, found 4"),
        ({"min_scores": (("a", 1.0), ("a", 0.5))}, "filters.min_scores: expected each reward once"),
        ({"max_thinking_tokens": -1}, "filters.max_thinking_tokens: expected 0 or more"),
    ):
        with pytest.raises(ConfigError, match=expected):
            FiltersConfig(**changes)
