"""Completions in the report: few of many, evenly chosen, cut, and harmless."""

import json

import programmes
import pytest

from r1jax.report import samples
from r1jax.report.readings import read


@pytest.fixture
def run(tmp_path):
    return programmes.programme(tmp_path / "demo", begun=3)


def of(run, stage):
    return next(one for one in samples.samples_of(read(run)) if one.stage == stage)


@pytest.mark.parametrize("count", [1, 7, 20, 21, 39, 40, 1000, 12_345])
def test_what_is_kept_of_a_stream_is_spread_over_all_of_it(count):
    kept = samples.Evenly(20)
    for number in range(count):
        kept.add(number)
    found = kept.chosen()
    assert len(found) == min(count, 20)
    assert found == sorted(set(found))
    gaps = [b - a for a, b in zip(found, [*found[1:], count], strict=True)]
    assert max(gaps) <= 4 * max(1, count / 20)


def test_a_stage_shows_forty_of_all_its_samples(run):
    found = of(run, "zero")
    assert len(found.samples) == samples.SAMPLES_PER_STAGE
    assert found.seen == 700
    steps = [one.step for one in found.samples if one.source == "training"]
    assert len(steps) == 20
    assert steps == sorted(steps)
    assert steps[0] == 1
    assert steps[-1] > 90  # of 100 steps


def test_half_of_an_evaluation_is_mistakes_where_there_are_so_many(run):
    results = [one.result for one in of(run, "zero").samples if one.source == "evaluation"]
    assert (results.count("wrong"), results.count("correct")) == (10, 10)
    (run / "zero" / "samples.jsonl").unlink()
    programmes.lines(run / "zero" / "eval_samples.jsonl", [programmes.sample(4 * n) for n in range(300)])
    assert [one.result for one in of(run, "zero").samples] == ["correct"] * 40


def test_thinking_is_told_apart_from_what_follows(run):
    part = of(run, "zero").samples[1].parts[0]
    assert part.thinking.startswith("then 4 7 plus 8 is 5 5 ;")
    assert part.text.startswith("<answer>")


def test_a_completion_that_is_cut_says_so_and_has_no_summary(run):
    cut = next(one for one in of(run, "zero").samples if one.truncated)
    assert cut.parts[0].text == ""
    assert "characters left out ...]" in cut.parts[0].thinking
    assert len(cut.parts[0].thinking) < samples.LONGEST_BYTES + 100


def test_records_of_data_show_their_lineage(run):
    one = of(run, "cold_start_data").samples[0]
    assert (one.source, one.step, one.gold) == ("data", 240, "6 1")
    assert one.parts[0].thinking == "然后 5 2 加 9 得 6 1 ;"
    assert dict(one.facts) == {"language": "zh", "from": "zero", "sample": "1", "tokens": "43", "maths": "1"}


def test_pairs_show_both_answers_and_labels_are_words(run):
    pair = {"question": "hello", "chosen": "<think>a</think>Hi!", "rejected": "No.", "delta": 1.5, "id": "a"}
    labelled = {"question": "hello", "response": "Hi!", "label": 0, "id": "b"}
    programmes.lines(run / "cold_start_data" / "data.jsonl", [pair, labelled])
    first, second = of(run, "cold_start_data").samples
    assert [(part.label, part.thinking, part.text) for part in first.parts] == [
        ("chosen", "a", "Hi!"),
        ("rejected", None, "No."),
    ]
    assert first.facts == (("preference", "1.5"),)
    assert second.facts == (("label", "bad"),)
    programmes.lines(run / "cold_start_data" / "data.jsonl", [labelled | {"label": ["bad"]}])  # by a person's hand
    assert of(run, "cold_start_data").samples[0].facts == (("label", '["bad"]'),)


def test_lines_that_cannot_be_read_are_counted(run):
    path = run / "cold_start_data" / "data.jsonl"
    good = json.dumps({"question": "q", "response": "r"})
    path.write_bytes(b"\xff\n" + good.encode() + b'\n[1]\n\n{"question": "q", "resp')
    found = of(run, "cold_start_data")
    assert (len(found.samples), found.seen, found.unread) == (1, 1, 3)


def test_the_end_of_a_long_text_stays_in_it():
    text = samples.shortened("a" * 50_000 + "the answer is 7", 300)
    assert text.startswith("aaa")
    assert text.endswith("the answer is 7")
    assert "[... 49,715 characters left out ...]" in text  # 50,015 less 200 and 100


def test_cutting_never_splits_a_character():
    text = samples.shortened("得" * 1000, 100)
    head, note, tail = text.split("\n")
    assert head == "得" * 22  # 66 bytes of three each
    assert tail == "得" * 11
    assert note == "[... 967 characters left out ...]"
    assert samples.shortened("得" * 33, 100) == "得" * 33


def test_a_text_with_surrogates_and_control_characters_can_be_written():
    text = samples.shown("a\ud800b\x00c\x1b[31m\r\ttab\u2028", 1000)
    assert text == "a\N{REPLACEMENT CHARACTER}b\u2400c\u241b[31m\u240d\ttab\n"
    text.encode("utf-8")


def test_a_long_text_of_surrogates_can_be_cut():
    text = samples.shown("\ud800" * 5000, 100)
    text.encode("utf-8")
    assert "characters left out" in text
