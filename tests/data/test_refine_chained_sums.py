"""The cold start's refinement: one language, one form, and not a number more, less or other than the sample had."""

import copy
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.config import FiltersConfig, RefineConfig
from r1jax.data.filters import RECORD_FILTERS
from r1jax.data.records import DataError
from r1jax.data.tasks import TASKS
from r1jax.data.tasks.refine_chained_sums import refine
from r1jax.rewards.format import keeps_format
from r1jax.rewards.format_r1 import keeps_r1_format
from r1jax.text.answers import final_answer, thinking
from r1jax.text.language import language_share

ENGLISH = "compute 4 7 + 8 - 5 ?"
CHINESE = "计算 4 7 + 8 - 5 ?"
ANSWER = "<answer> 5 0 </answer>"
CLEAN = "then 4 7 plus 8 is 5 5 ; then 5 5 minus 5 is 5 0 ;"


def sample(trace: str, question: str = ENGLISH, summary: str = ANSWER, **fields) -> dict:
    language = "zh" if question == CHINESE else "en"
    return {
        "id": "s",
        "question": question,
        "response": f"<think> {trace} </think> {summary}",
        "language": language,
        **fields,
    }


def digits(text: str) -> list[str]:
    return re.findall(r"[0-9]", text)


def test_mixed_thinking_is_translated_into_the_language_of_the_prompt():
    mixed = "then 4 7 plus 8 is 5 5 ; 然后 5 5 减 5 得 5 0 ;"
    refined = refine(sample(mixed))
    assert refined["response"] == f"<think> {CLEAN} </think> {ANSWER}"
    assert refined["lineage"]["refined"] == ["translate"]
    chinese = refine(sample(mixed, CHINESE))
    assert thinking(chinese["response"]) == " 然后 4 7 加 8 得 5 5 ; 然后 5 5 减 5 得 5 0 ; "
    assert chinese["lineage"]["refined"] == ["translate"]


@pytest.mark.parametrize(
    ("trace", "written", "done"),
    [
        (CLEAN, CLEAN, []),
        ("4 7 plus 8 is 5 5 ; 5 5 minus 5 is 5 0", CLEAN, ["rewrite"]),
        ("4 7 + 8 is 5 5 ; ; then 5 5 - 5 is 5 0 ;", CLEAN, ["rewrite"]),
        ("then 4 7 buys 8 is 5 5 ; then 5 5 吃 5 得 5 0 ;", CLEAN, ["translate", "rewrite"]),
        ("then 4 7 plus 8 minus 5 is 5 0 ;", "then 4 7 plus 8 minus 5 is 5 0 ;", []),  # two operations stay one step
        (  # a slip stays a slip, and its redo a redo
            "then 4 7 plus 8 is 5 6 ; 等等 4 7 plus 8 is 5 5 ; then 5 5 minus 5 is 5 0 ;",
            "then 4 7 plus 8 is 5 6 ; wait 4 7 plus 8 is 5 5 ; then 5 5 minus 5 is 5 0 ;",
            ["translate"],
        ),
        (f"{CLEAN} 检查 4 7 加 8 减 5 得 5 0 ;", f"{CLEAN} check 4 7 plus 8 minus 5 is 5 0 ;", ["translate"]),
        ("then 4 7 plus 8 is 9 9 ;", "then 4 7 plus 8 is 9 9 ;", []),  # nothing is made up, nothing set right
    ],
)
def test_steps_are_written_in_one_form_and_stay_what_they_were(trace, written, done):
    refined = refine(sample(trace))
    assert refined["response"] == f"<think> {written} </think> {ANSWER}"
    assert refined["lineage"]["refined"] == done


@pytest.mark.parametrize(
    "trace",
    [
        "so",
        "",
        ";",
        "then 4 7 plus 8 is 5 5 ; so 5 0 ;",
        "then 4 7 plus 8 is 5 ;",
        "then 4 7 plus 8 ;",
        "then 4 7 is 4 7 ;",
        "then then 4 7 plus 8 is 5 5 ;",
        "then 4 7 plus 8 is 5 5 then 5 5 minus 5 is 5 0 ;",  # no end between the steps
        "then 4 7 times 8 is 5 5 ;",
        "then 4 7 plus 1 2 is 5 9 ;",
        f"{CLEAN} <think> {CLEAN}",
    ],
)
def test_what_cannot_be_read_as_steps_is_dropped(trace):
    assert refine(sample(trace)) is None


@pytest.mark.parametrize(
    "response",
    [
        f"{CLEAN} {ANSWER}",  # nothing says where the thinking ends
        f"<think> {CLEAN} {ANSWER}",
        f"<think> {CLEAN} </think> 5 0",
        f"<think> {CLEAN} </think> <answer> fifty </answer>",
        f"<think> {CLEAN} </think> <answer> </answer>",
        f"4 7 <think> {CLEAN} </think> {ANSWER}",
        f"<think> {CLEAN} </think> <think> {CLEAN} </think> {ANSWER}",
        "",
    ],
)
def test_without_one_thinking_block_and_an_answer_in_digits_it_is_dropped(response):
    assert refine({"question": ENGLISH, "response": response}) is None


def test_the_summary_is_the_answer_block_alone():
    refined = refine(sample(CLEAN, summary=f"so 5 0 {ANSWER} ;"))
    assert refined["response"] == f"<think> {CLEAN} </think> {ANSWER}"
    assert refined["lineage"]["refined"] == ["summarize"]


def test_the_language_is_that_of_the_question_where_the_record_names_none():
    record = sample("then 4 7 plus 8 is 5 5 ;", CHINESE)
    del record["language"]
    assert "然后" in refine(record)["response"]


def test_the_record_is_not_changed_and_its_lineage_is_kept():
    record = sample("然后 4 7 加 8 得 5 5 ;", lineage={"prompt_id": "p", "refined": ["by hand"]}, answer="5 0")
    before = copy.deepcopy(record)
    refined = refine(record)
    assert record == before
    assert refined["lineage"] == {"prompt_id": "p", "refined": ["by hand", "translate"]}
    assert {**refined, "response": "", "lineage": {}} == {**record, "response": "", "lineage": {}}


def test_a_record_without_a_response_is_named():
    with pytest.raises(DataError, match="record s: expected the field 'response'"):
        refine({"id": "s", "question": ENGLISH})


@given(index=st.integers(0, 20_000), switch=st.booleans())
def test_samples_like_the_corpus_keep_every_number_in_order_and_the_answer(index, switch):
    """The corpus has what a policy of it can say: slips, redos, two languages, direct answers, broken tags."""
    question, response = TASKS["chained_sums_corpus"].make(0, index, "train")["text"].split(" ? ", 1)
    record = {"id": "s", "question": f"{question} ?", "response": response, "lineage": {"scores": {"maths": 1.0}}}
    if switch:
        record["language"] = "zh" if question.isascii() else "en"
    refined = refine(record)
    if not keeps_format(response):
        assert refined is None
        return
    if thinking(response).split() in (["so"], ["所以"]):
        assert refined is None
        return
    trace = thinking(refined["response"])
    assert digits(trace) == digits(thinking(response))
    assert trace.count(";") == thinking(response).count(";")
    assert final_answer(refined["response"]) == final_answer(response)
    language = record.get("language", "en" if question.isascii() else "zh")
    assert language_share(trace, language) == 1.0
    assert keeps_format(refined["response"])
    assert keeps_r1_format(refined["response"])
    assert refine(refined) == refined
    for name in ("form", "language", "code", "paragraphs"):
        assert RECORD_FILTERS[name][1]({**refined, "language": language}, FiltersConfig()) is None


@given(st.text(alphabet="0123456789 ;+-<>/thinkanswer是然后加得\n", max_size=60))
def test_any_text_is_refined_or_dropped(text):
    for response in (text, f"<think> {text} </think> {ANSWER}"):
        refined = refine({"question": ENGLISH, "response": response})
        assert refined is None or refine(refined) == refined


def test_the_config_names_it():
    module, function = RefineConfig("rule", "r1jax.data.tasks.refine_chained_sums:refine").rule.split(":")
    assert (module, function) == (refine.__module__, refine.__name__)
