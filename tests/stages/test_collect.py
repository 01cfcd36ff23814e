"""Collected data: what is kept and dropped and why, what a record says of itself, what people may do to the file."""

import dataclasses
import json
import re

import pytest
from tiny_collect import COLLECT, LENIENT, collecting
from tiny_runs import BASE, SAMPLER, lines, run_on_one

from r1jax.config import (
    ConfigError,
    DataConfig,
    FiltersConfig,
    PromptingConfig,
    RefineConfig,
    SamplerConfig,
    SftConfig,
    TokenizerConfig,
)
from r1jax.data.records import DataError
from r1jax.errors import UserError
from r1jax.sampler.engine import Sampler
from r1jax.stages import collect_policy, refine
from r1jax.stages.context import open_context
from r1jax.text import asking
from r1jax.text.answers import thinking
from r1jax.text.tokenizer import train_bpe
from r1jax.workdir import Workdir

LONG_PROMPTS = SamplerConfig(lanes=2, width=4, chunk_steps=24, max_prompt_tokens=1024)
NONE_IS_RIGHT = dataclasses.replace(LENIENT, min_scores=(("tiny_collect:even", 2.0),))


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """A run whose stage `data` has sampled the checkpoint of `base`."""
    path = tmp_path_factory.mktemp("collected")
    run_on_one(collecting(BASE, dataclasses.replace(COLLECT, start="base")), str(path))
    return path


def counts(path, stage="data") -> dict[str, tuple[int, int]]:
    """(seen, dropped) of each step, of filters that have looked twice the last time."""
    found = json.loads((path / stage / "filters.json").read_text())["counts"]
    return {one["filter"]: (one["seen"], one["dropped"]) for one in found}


def counted_calls(monkeypatch) -> list[int]:
    """The requests of each later call of the sampler."""
    calls, generate = [], Sampler.generate

    def counted(self, requests, **how):
        calls.append(len(requests))
        return generate(self, requests, **how)

    monkeypatch.setattr(Sampler, "generate", counted)
    return calls


def with_data(stage, path, records):
    """The stage on the records, as a file that can be edited."""
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return dataclasses.replace(stage, data=DataConfig(kind="jsonl", path=str(path)))


def questions(count: int) -> list[dict]:
    return [{"id": f"q{number}", "question": f"compute {number} {number} + 4 ?"} for number in range(count)]


def test_some_samples_are_kept_some_dropped_and_every_one_is_accounted_for(collected):
    records, steps = lines(collected / "data" / "data.jsonl"), counts(collected)
    outputs = Workdir(collected).outputs("data")
    assert steps["answered"] == (40, 0)
    assert steps["graded"][1] > 0
    assert steps["correct"][1] > 0
    assert 0 < len(records) == 40 - sum(dropped for _, dropped in steps.values())
    work = {name for name in outputs if name.startswith("work/")}
    assert outputs["work/decode_targets"] + outputs["work/prefill_targets"] > 0
    assert {name: value for name, value in outputs.items() if name not in work} == {
        "records": len(records),
        "seen": 40,
        "prompts": 10,
        "general": 0,
        "filters": {name: dropped for name, (_, dropped) in steps.items()},
    }
    for (seen, dropped), (following, _) in zip(list(steps.values()), list(steps.values())[1:], strict=False):
        assert following == seen - dropped


def test_a_record_says_where_it_comes_from(collected):
    drawn = {(line["prompt"], line["sample"]): line for line in lines(collected / "data" / "samples.jsonl")}
    assert len(drawn) == 40
    run = collecting(BASE, dataclasses.replace(COLLECT, start="base"))
    with open_context(run, Workdir(collected)) as context:
        encode, seed = context.tokenizer.encode, context.seed_of("data/samples")
    for record in lines(collected / "data" / "data.jsonl"):
        lineage = record["lineage"]
        sample = drawn[lineage["prompt_id"], lineage["sample"]]
        assert record["id"] == f"data:{lineage['prompt_id']}:{lineage['sample']}"
        assert (record["question"], record["response"]) == (sample["question"], sample["completion"])
        assert (lineage["stage"], lineage["checkpoint"], lineage["step"]) == ("data", "base", BASE.num_steps)
        assert (lineage["scores"], lineage["status"]) == ({"tiny_collect:even": 1.0}, "correct")
        assert lineage["truncated"] is not sample["stopped"]
        assert lineage["num_tokens"] == sample["tokens"]
        # An untrained model also draws ids beyond the vocabulary, which are no text.
        assert 0 <= lineage["num_tokens"] - sample["stopped"] - len(encode(record["response"])) <= 2
        assert lineage["num_thinking_tokens"] < lineage["num_tokens"]
        assert lineage["seed"] == seed


def test_pass_rates_are_of_all_samples_that_could_be_graded(collected):
    rates: dict[str, list[bool]] = {}
    for line in lines(collected / "data" / "samples.jsonl"):
        if "check" not in line["completion"]:
            rates.setdefault(line["prompt"], []).append(len(line["completion"]) % 2 == 0)
    expected = {prompt: sum(right) / len(right) for prompt, right in rates.items()}
    assert {r["id"]: r["lineage"]["pass_rate"] for r in lines(collected / "data" / "prompts.jsonl")} == expected
    assert len(set(expected.values())) > 1
    for record in lines(collected / "data" / "data.jsonl"):
        assert record["lineage"]["pass_rate"] == expected[record["lineage"]["prompt_id"]]


def test_the_file_may_be_edited_before_the_next_stage_and_a_broken_line_is_named(collected, tmp_path):
    sft = SftConfig(
        name="sft",
        start="base",
        template=BASE.template,
        data=DataConfig(kind="stage", name="data"),
        num_steps=1,
        batch_sequences=4,
        batch=BASE.batch,
        optimizer=BASE.optimizer,
    )
    config = collecting(BASE, dataclasses.replace(COLLECT, start="base"), sft)
    path = tmp_path / "run"
    run_on_one(config, str(path), stages=["base", "data"])
    file = path / "data" / "data.jsonl"
    assert file.read_bytes() == (collected / "data" / "data.jsonl").read_bytes()
    first, second, *rest = file.read_text().splitlines()
    edited = json.loads(second) | {"response": "5 9"}
    by_hand = {"question": "compute 4 4 + 2 ?", "response": "4 6"}
    file.write_text("\n".join([*rest, json.dumps(edited), "", json.dumps(by_hand), "{broken"]) + "\n")
    with pytest.raises(DataError, match=rf"data.jsonl:{len(rest) + 4}: expected a JSON object on one line"):
        run_on_one(config, str(path))
    file.write_text(file.read_text().replace("{broken\n", ""))
    with open_context(config, Workdir(path)) as context:
        found = context.load(sft.data)
    assert len(found) == len(rest) + 2
    assert json.loads(first)["id"] not in [one["id"] for one in found]
    assert (found[-2]["id"], found[-2]["response"]) == (edited["id"], "5 9")
    assert found[-1]["response"] == "4 6"
    run_on_one(config, str(path))
    assert Workdir(path).outputs("sft")["step"] == 1


def test_nothing_left_is_one_line_and_other_filters_do_without_new_samples(collected, tmp_path, monkeypatch):
    with pytest.raises(DataError) as caught:
        run_on_one(collecting(dataclasses.replace(COLLECT, filters=NONE_IS_RIGHT)), str(tmp_path))
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("data: filters: expected to keep some of ")
    assert "dropped by correct" in str(caught.value)
    assert "graded" in str(caught.value)  # what was dropped before the filters looked
    assert counts(tmp_path)["graded"][1] > 0
    calls = counted_calls(monkeypatch)
    run_on_one(collecting(COLLECT), str(tmp_path))
    assert calls == []
    assert len(lines(tmp_path / "data" / "data.jsonl")) > 0


def test_an_edited_prompt_costs_the_samples_of_its_batch_alone(tmp_path, monkeypatch):
    stage = with_data(COLLECT, tmp_path / "q.jsonl", questions(9))
    with pytest.raises(DataError):
        run_on_one(collecting(dataclasses.replace(stage, filters=NONE_IS_RIGHT)), str(tmp_path / "run"))
    edited = questions(9)
    edited[5]["question"] = "compute 7 7 + 2 ?"
    with_data(stage, tmp_path / "q.jsonl", edited)
    calls = counted_calls(monkeypatch)
    run_on_one(collecting(stage), str(tmp_path / "run"))
    assert calls == [4]
    assert "compute 7 7 + 2 ?" in [line["question"] for line in lines(tmp_path / "run" / "data" / "samples.jsonl")]


def test_an_edited_line_of_an_earlier_stage_costs_its_batch_alone_too(tmp_path, monkeypatch):
    again = dataclasses.replace(COLLECT, name="again", data=DataConfig(kind="stage", name="data", limit=9), samples=2)
    with pytest.raises(DataError):
        run_on_one(collecting(COLLECT, dataclasses.replace(again, filters=NONE_IS_RIGHT)), str(tmp_path))
    file = tmp_path / "data" / "data.jsonl"
    records = lines(file)
    records[5]["question"] = "compute 7 7 + 2 ?"
    file.write_text("".join(json.dumps(record) + "\n" for record in records))
    calls = counted_calls(monkeypatch)
    run_on_one(collecting(COLLECT, again), str(tmp_path))
    assert calls == [4]
    assert "compute 7 7 + 2 ?" in [line["question"] for line in lines(tmp_path / "again" / "samples.jsonl")]


def test_another_temperature_takes_new_samples(tmp_path, monkeypatch):
    with pytest.raises(DataError):
        run_on_one(collecting(dataclasses.replace(COLLECT, filters=NONE_IS_RIGHT)), str(tmp_path))
    calls = counted_calls(monkeypatch)
    warmer = dataclasses.replace(COLLECT, sampling=dataclasses.replace(COLLECT.sampling, temperature=2.0))
    run_on_one(collecting(warmer), str(tmp_path))
    assert calls == [4, 4, 2]


def test_questions_of_evaluation_sets_are_not_trained_on(collected, tmp_path):
    stage = dataclasses.replace(COLLECT, evaluation_sets=(dataclasses.replace(COLLECT.data, limit=3),))
    run_on_one(collecting(stage), str(tmp_path))
    seen, dropped = counts(tmp_path)["contamination"]
    assert 0 < dropped < seen
    asked = {line["question"] for line in lines(tmp_path / "data" / "samples.jsonl")[:3]}
    assert not asked & {record["question"] for record in lines(tmp_path / "data" / "data.jsonl")}


def test_questions_that_a_solution_of_an_evaluation_set_tells_are_not_trained_on(tmp_path):
    told = "so the three pipes together fill the tank in four hours and a half"
    asked = [
        {"id": "a", "question": f"Show that {told} ."},
        {"id": "b", "question": "compute 4 4 + 7 ?"},
        {"id": "c", "question": "17"},
    ]
    plain = [{"id": "0", "question": "How long ?", "answer": "17"}]
    exam = [{"id": "1", "question": "How fast ?", "answer": "17"}, {"id": "2", "question": "How ?", "solution": told}]
    sets = tuple(
        with_data(COLLECT, tmp_path / f"{name}.jsonl", records).data
        for name, records in (("plain", plain), ("exam", exam))
    )
    stage = dataclasses.replace(with_data(COLLECT, tmp_path / "q.jsonl", asked), evaluation_sets=sets)
    fields = {"filters": dataclasses.replace(LENIENT, min_scores=()), "sampler": LONG_PROMPTS}
    config = wordy(dataclasses.replace(stage, **fields), tmp_path)
    run_on_one(config, str(tmp_path / "run"))
    kept = {record["lineage"]["prompt_id"] for record in lines(tmp_path / "run" / "data" / "data.jsonl")}
    assert kept == {"b", "c"}  # an answer is no solution
    found = json.loads((tmp_path / "run" / "data" / "filters.json").read_text())["counts"]
    (count,) = [one for one in found if one["filter"] == "contamination"]
    assert count["dropped"] == 4
    assert count["examples"][0][1] == f"in solutions of {tmp_path / 'exam.jsonl'}, question 1"


def test_a_rule_refines_what_is_kept_and_what_it_has_changed_is_graded_again(tmp_path):
    stage = dataclasses.replace(COLLECT, refine=RefineConfig(by="rule", rule="tiny_collect:halved"))
    run_on_one(collecting(stage), str(tmp_path))
    found = json.loads((tmp_path / "data" / "filters.json").read_text())["counts"]
    names = [one["filter"] for one in found]
    assert names[:7] == ["answered", "graded", "correct", "duplicates", "refined", "graded again", "correct"]
    assert found[4]["dropped"] > 0
    assert found[6]["dropped"] > 0  # right before, wrong in the new form
    originals = {(one["prompt"], one["sample"]): one for one in lines(tmp_path / "data" / "samples.jsonl")}
    records = lines(tmp_path / "data" / "data.jsonl")
    assert len(records) == found[-1]["seen"] - found[-1]["dropped"] > 0
    for record in records:
        before = originals[record["lineage"]["prompt_id"], record["lineage"]["sample"]]["completion"].split()
        assert record["response"].split() == before[: (len(before) + 1) // 2]
        assert len(record["response"]) % 2 == 0
        assert record["lineage"]["refined"] == ["tiny_collect:halved"]
        if len(before) > 1:  # what the rule has left as it was is as it was drawn
            assert record["lineage"]["num_tokens"] == len(record["response"].split()) + 1


@pytest.mark.parametrize(
    ("rule", "error", "words"),
    [
        (
            "tiny_collect:nothing",
            ConfigError,
            "data.refine.rule: expected .*, a function called 'nothing'",
        ),
        ("no_such_module:rule", ConfigError, "a module that can be imported, found 'no_such_module:rule'"),
        ("halved", ConfigError, "with the module's full name, found 'halved'"),
        ("builtins:len", UserError, "refine.rule builtins:len, record data:.*: expected a record of JSON"),
        ("tiny_collect:unlike_json", UserError, "refine.rule .*: expected a record of JSON values with question and"),
    ],
)
def test_a_rule_that_is_none_is_named(rule, error, words, tmp_path):
    with pytest.raises(error, match=words):
        run_on_one(
            collecting(dataclasses.replace(COLLECT, refine=RefineConfig(by="rule", rule=rule))), str(tmp_path / "run")
        )


def test_pass_rates_choose_prompts_by_all_samples_also_around_a_refinement(tmp_path):
    filters = dataclasses.replace(LENIENT, max_pass_rate=0.7)
    stage = dataclasses.replace(COLLECT, refine=RefineConfig(by="rule", rule="tiny_collect:halved"), filters=filters)
    run_on_one(collecting(stage), str(tmp_path))
    assert counts(tmp_path)["pass_rate"][1] > 0
    assert all(record["lineage"]["pass_rate"] <= 0.7 for record in lines(tmp_path / "data" / "data.jsonl"))


def wordy(stage, tmp_path, **changes):
    """The stage under a tokenizer that has a token for every text."""
    train_bpe([], 300, ["<think>", "</think>"]).save(str(tmp_path / "tokenizer"))
    config = collecting(stage, tokenizer=TokenizerConfig(path=str(tmp_path / "tokenizer")))
    return dataclasses.replace(config, model=dataclasses.replace(config.model, vocab_size=304), **changes)


EXAMPLE = {"question": "What is 2 + 2?", "response": "<think>\nTwo and two, let me see.\n</think>\n\nIt is 4."}


@pytest.mark.slow
@pytest.mark.parametrize("style", ["few_shot", "reflect"])
def test_prompting_wraps_what_is_asked_and_the_record_keeps_the_bare_question(style, tmp_path, monkeypatch):
    (tmp_path / "examples.jsonl").write_text(json.dumps(EXAMPLE) + "\n")
    examples = DataConfig(kind="jsonl", path=str(tmp_path / "examples.jsonl")) if style == "few_shot" else None
    stage = dataclasses.replace(
        with_data(COLLECT, tmp_path / "q.jsonl", questions(2)),
        prompting=PromptingConfig(style=style, examples=examples),
        sampler=LONG_PROMPTS,
        filters=dataclasses.replace(LENIENT, min_scores=(), exact_duplicates=True),
    )
    asked, generate = [], Sampler.generate

    def note(self, requests, **how):
        asked.extend(requests)
        return generate(self, requests, **how)

    monkeypatch.setattr(Sampler, "generate", note)
    config = wordy(stage, tmp_path)
    run_on_one(config, str(tmp_path / "run"))
    with open_context(config, Workdir(tmp_path / "run")) as context:
        texts = [context.tokenizer.decode(one.tokens) for one in asked]
    sign = EXAMPLE["response"] if style == "few_shot" else "reflect"
    assert all(sign in text and f"compute {number} {number} + 4 ?" in text for number, text in enumerate(texts))
    records = lines(tmp_path / "run" / "data" / "data.jsonl")
    assert {record["question"] for record in records} == {one["question"] for one in questions(2)}


def test_a_prompt_that_is_too_long_is_named(tmp_path):
    stage = dataclasses.replace(
        with_data(COLLECT, tmp_path / "q.jsonl", questions(2)), prompting=PromptingConfig(style="reflect")
    )
    with pytest.raises(DataError, match="record q0: expected a prompt of at most sampler.max_prompt_tokens=32"):
        run_on_one(wordy(stage, tmp_path), str(tmp_path / "run"))


def test_a_column_that_no_json_can_hold_is_left_out(tmp_path):
    records = [one | {"difficulty": float("nan"), "parts": [1.0, float("inf")], "level": 2.5} for one in questions(4)]
    stage = with_data(COLLECT, tmp_path / "q.jsonl", records)
    run_on_one(collecting(stage), str(tmp_path / "run"))
    for record in lines(tmp_path / "run" / "data" / "data.jsonl"):
        assert record["level"] == 2.5
        assert not {"difficulty", "parts"} & set(record)


def refined_by_policy(tmp_path):
    stage = dataclasses.replace(
        with_data(COLLECT, tmp_path / "q.jsonl", questions(4)),
        samples=2,
        batch_prompts=3,
        sampler=LONG_PROMPTS,
        template=dataclasses.replace(COLLECT.template, forced_prefix="<think>\n"),
        filters=dataclasses.replace(LENIENT, min_scores=(), exact_duplicates=True),
        refine=RefineConfig(by="policy", steps=("rewrite", "summarize"), sampling=COLLECT.sampling),
    )
    return wordy(stage, tmp_path)


@pytest.mark.slow
def test_what_a_policy_has_not_refined_is_dropped(tmp_path):
    # An untrained policy ends nothing before the limit.
    with pytest.raises(DataError, match=r"dropped by .*refined [0-9]+ \(e.g. data:q0:[01]: rewrite: cut") as caught:
        run_on_one(refined_by_policy(tmp_path), str(tmp_path / "run"))
    assert "\n" not in str(caught.value)
    assert (tmp_path / "run" / "data" / "sampled" / "rewrite" / "00000000.npz").exists()


@pytest.mark.slow
def test_a_policy_refines_its_own_samples_by_prompts(tmp_path, monkeypatch):
    monkeypatch.setattr(collect_policy, "reply_part", lambda text, truncated: {"text": f"so {len(text)}"})
    asked, form = [], asking.rewrite
    monkeypatch.setitem(refine.STEPS, "rewrite", (lambda *texts: asked.append(texts[1]) or form(*texts), "thinking"))
    run_on_one(refined_by_policy(tmp_path), str(tmp_path / "run"))
    drawn = {(one["prompt"], one["sample"]): one for one in lines(tmp_path / "run" / "data" / "samples.jsonl")}
    assert len(drawn) == 8
    records = lines(tmp_path / "run" / "data" / "data.jsonl")
    assert len(records) == len(asked) > 0
    for record, given in zip(records, asked, strict=True):
        sample = drawn[record["lineage"]["prompt_id"], record["lineage"]["sample"]]
        assert thinking(sample["completion"]) == given
        assert re.fullmatch(r"<think>\nso [0-9]+\n</think>\n\nso [0-9]+", record["response"])
        assert record["lineage"]["refined"] == ["rewrite", "summarize"]


def test_the_default_filters_are_for_maths_that_reads_well(tmp_path):
    with pytest.raises(DataError, match="dropped by finished .*correct [0-9]+ .*not scored by maths or code"):
        run_on_one(
            collecting(dataclasses.replace(COLLECT, filters=FiltersConfig(), sampler=SAMPLER)), str(tmp_path / "run")
        )
