"""The filters one after another: order, account, choice of samples, curriculum, any text at all."""

import dataclasses
import json

import hypothesis
import hypothesis.strategies as st
import pytest
from sample_records import PLAIN, ids, record, several

from r1jax.config import FiltersConfig
from r1jax.data.filters import RECORD_FILTERS, SET_FILTERS, apply, in_range, pass_rates
from r1jax.data.records import DataError


def test_a_sound_data_set_is_kept_whole_and_as_it_is():
    records = several()
    kept, report = apply(records, FiltersConfig(), {"exam": ["How many apples has Tom?"]})
    assert kept == records
    assert all(one is other for one, other in zip(kept, records, strict=True))
    assert [count.dropped for count in report.counts] == [0] * len(report.counts)


def test_the_report_counts_in_order_and_names_examples():
    records = several()
    records[1]["truncated"] = True
    records[2]["lineage"]["scores"]["maths"] = 0.0
    records[3]["lineage"]["scores"]["maths"] = 0.0
    records[4]["response"] = "no thinking here"
    kept, report = apply(records, FiltersConfig(), {"exam": ["How many?"]})
    assert ids(kept) == ids([records[0], *records[5:]])
    by_name = {count.filter: count for count in report.counts}
    assert [
        (by_name[name].seen, by_name[name].dropped, by_name[name].kept) for name in ("finished", "correct", "form")
    ] == [
        (12, 1, 11),
        (11, 2, 9),
        (9, 1, 8),
    ]
    assert by_name["correct"].examples == (("p0:2", "maths 0"), ("p0:3", "maths 0"))
    lines = report.table().splitlines()
    assert lines[0].split() == ["filter", "seen", "dropped", "kept", "for", "example"]
    assert lines[2].split(maxsplit=4) == ["correct", "11", "2", "9", "p0:2: maths 0"]
    assert json.loads(json.dumps(dataclasses.asdict(report)))["counts"][1]["dropped"] == 2
    assert [count.filter for count in report.counts] == [
        name for name, (is_on, _) in {**RECORD_FILTERS, **SET_FILTERS}.items() if is_on(FiltersConfig())
    ]


def test_without_evaluation_sets_the_report_does_not_say_that_something_was_compared():
    records = several()
    for sets in (None, {}):
        assert "contamination" not in [count.filter for count in apply(records, FiltersConfig(), sets)[1].counts]


def test_nothing_left_is_one_line_that_shows_what_each_filter_dropped():
    records = several(1, 3)
    records[0]["truncated"] = True
    for one in records[1:]:
        one["lineage"]["scores"]["maths"] = 0.0
    with pytest.raises(DataError) as caught:
        apply(records, FiltersConfig())
    assert str(caught.value) == (
        "filters: expected to keep some of 3 samples, found none; dropped by finished 1 (e.g. p0:0: truncated), "
        "correct 2 (e.g. p0:1: maths 0)"
    )


def test_no_records_at_all_are_told_too():
    with pytest.raises(DataError, match="expected to keep some of 0 samples, found none; dropped by none"):
        apply([], FiltersConfig())


def test_everything_can_be_turned_off():
    records = [record(response="x", question="?", lineage=None), record(response="x", question="?")]
    kept, report = apply(records, PLAIN)
    assert kept == records
    assert report.counts == ()


# One change of PLAIN turns each filter on, against a record that it drops.
ALONE = {
    "finished": ({"finished": True}, {"truncated": True}),
    "correct": ({"min_scores": (("maths", 2.0),)}, {}),
    "form": ({"thinking": "required"}, {"response": "x"}),
    "length": ({"max_tokens": 3}, {"num_tokens": 4}),
    "code": ({"code_in_thinking": False}, {"response": "<think>```</think>x"}),
    "paragraphs": ({"paragraph_words": 1, "paragraph_characters": 3}, {}),
    "repetition": ({"repeated_ngram_share": 0.1}, {"response": f"<think>{'ha' * 99}</think>x"}),
    "language": ({"thinking_language_share": 0.9}, {"language": "zh"}),
    "states_answer": ({"summary_states_answer": True}, {"answer": "7"}),
    "pass_rate": ({"max_pass_rate": 0.5, "min_scores": (("maths", 0.5),)}, {}),
    "contamination": ({"decontamination_ngram": 13}, {"question": "Exam question?"}),
    "duplicates": ({"exact_duplicates": False}, {}),
    "near_questions": ({"near_duplicate_questions": 0.9}, {}),
    "near_responses": ({"near_duplicate_responses": 0.9}, {}),
    "surplus": ({"samples_per_prompt": 1}, {}),
}


def test_a_question_has_a_length_of_its_own():
    short, long = record(num_question_tokens=7), record(num_question_tokens=8, sample=1)
    kept, report = apply([short, long], dataclasses.replace(PLAIN, max_question_tokens=7))
    assert ids(kept) == ids([short])
    assert [(count.filter, count.examples) for count in report.counts] == [
        ("length", ((long["id"], "num_question_tokens 8 above 7"),))
    ]
    with pytest.raises(DataError, match="num_question_tokens"):
        apply([record()], dataclasses.replace(PLAIN, max_question_tokens=7))


def test_each_filter_has_a_case_here():
    assert set(ALONE) == {**RECORD_FILTERS, **SET_FILTERS}.keys()


@pytest.mark.parametrize("name", [name for name in ALONE if name != "pass_rate"])  # which "correct" goes with
def test_each_filter_is_turned_on_by_itself_and_drops_its_own(name):
    changes, fields = ALONE[name]
    question = "Which numbers were added here?"
    good = record(question=question, prompt="a", num_tokens=1)
    if name == "correct":
        good["lineage"]["scores"] = {"maths": 2.0}
    elif name == "paragraphs":
        good["response"] = "<think>6</think>"
    prompt = "b" if name == "near_questions" else "a"
    bad = record(**({"question": question, "prompt": prompt, "sample": 1} | fields))
    kept, report = apply([good, bad], dataclasses.replace(PLAIN, **changes), {"exam": ["exam  QUESTION"]})
    assert ids(kept) == ["a:0"]
    assert [(count.filter, count.dropped) for count in report.counts] == [(name, 1)]


@hypothesis.given(st.randoms(use_true_random=False))
@hypothesis.settings(max_examples=25, deadline=None, derandomize=True)
def test_another_order_of_the_records_changes_nothing_that_filters_of_one_record_keep(rng):
    records = several(4, 4)
    broken = ({"truncated": True}, {"response": "x"}, {"language": "zh"}, {"response": f"<think>{'ha' * 99}</think>x"})
    for at, changes in enumerate(broken):
        records[3 * at] |= changes
    per_record = dataclasses.replace(
        FiltersConfig(), near_duplicate_questions=None, near_duplicate_responses=None, exact_duplicates=True
    )
    shuffled = rng.sample(records, len(records))
    expected = set(ids(apply(records, per_record)[0]))
    kept = ids(apply(shuffled, per_record)[0])
    assert set(kept) == expected
    assert kept == [one for one in ids(shuffled) if one in expected]  # and order out is order in


def test_random_samples_of_a_prompt_do_not_hang_on_the_order_nor_on_other_prompts():
    records = several(6, 8)
    config = dataclasses.replace(PLAIN, samples_per_prompt=3)
    kept = set(ids(apply(records, config)[0]))
    assert len(kept) == 18
    assert set(ids(apply(records[::-1], config)[0])) == kept
    assert set(ids(apply(records[:8], config)[0])) == {one for one in kept if one.startswith("p0:")}
    assert set(ids(apply(records, dataclasses.replace(config, choose_seed=1))[0])) != kept
    assert len({one.split(":")[1] for one in kept}) > 3  # not the same places in every prompt


@pytest.mark.parametrize(("choose", "expected"), [("first", [0, 1]), ("shortest", [1, 2]), ("longest", [0, 3])])
def test_which_samples_of_a_prompt_are_kept(choose, expected):
    records = [record(sample=at, num_tokens=tokens) for at, tokens in enumerate((30, 10, 20, 30))]
    config = dataclasses.replace(PLAIN, samples_per_prompt=2, choose_samples=choose)
    assert ids(apply(records, config)[0]) == [f"p:{at}" for at in expected]


def test_pass_rates_are_of_all_samples_and_leave_out_what_could_not_be_graded():
    records = [
        record(prompt="a", lineage={"prompt_id": "a", "scores": {"maths": score}}) for score in (1.0, 0.0, None, 1.0)
    ]
    records += [
        record(question="Q", lineage={"scores": {"maths": 0.0}}),
        record(prompt="c", lineage={"prompt_id": "c"}),
    ]
    assert pass_rates(records) == {"a": (2, 3), "Q": (0, 1), "c": (0, 0)}
    assert pass_rates(records, (("maths", 0.0),))["a"] == (3, 3)


def test_the_curriculum_keeps_prompts_that_are_neither_too_hard_nor_too_easy():
    assert in_range((1, 4), 0.25, 0.25)
    assert not in_range((1, 4), 0.3, None)
    assert not in_range((1, 4), None, 0.2)
    assert not in_range((0, 0), None, 1.0)
    records = several(3, 4)
    for one in records[:3]:
        one["lineage"]["scores"]["maths"] = 0.0  # p0: 1 of 4
    config = dataclasses.replace(FiltersConfig(), max_pass_rate=0.5)
    kept, report = apply(records, config)
    assert ids(kept) == ["p0:3"]  # its rate counts the samples that an earlier filter dropped
    assert dict.fromkeys(count.filter for count in report.counts if count.dropped) == {
        "correct": None,
        "pass_rate": None,
    }


ANY_RECORD = st.fixed_dictionaries(
    {
        "response": st.lists(
            st.text(st.characters(), max_size=5)
            | st.sampled_from(["<think>", "</think>", "\\boxed{", "}", "```", "\n"])
        ).map("".join),
        "question": st.text(st.characters(), min_size=1),
        "truncated": st.booleans(),
    }
)


@hypothesis.given(st.lists(ANY_RECORD, max_size=6))
@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
def test_any_text_at_all_can_be_filtered(records):
    config = FiltersConfig(min_scores=(), summary_states_answer=True, samples_per_prompt=2, thinking="optional")
    for one in records:
        for is_on, judge in RECORD_FILTERS.values():
            assert not is_on(config) or isinstance(judge(one, config), str | None)
    message, kept = "", []
    try:
        kept, _ = apply(records, config, {"exam": ["\ud800 x"]})
    except DataError as error:
        message = str(error)
    assert bool(kept) != bool(message)
    assert "\n" not in message
    assert [one for one in records if any(one is other for other in kept)] == kept
