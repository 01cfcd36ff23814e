"""What a stage is given: a record or question that it cannot use is named, before anything is computed."""

import dataclasses
import json
import types

import numpy as np
import pytest
from tiny_runs import BASE, EVALUATION, PLAIN, ZERO, run_on_one, tiny_run

from r1jax.config import (
    DataConfig,
    LanguageConfig,
    RewardsConfig,
    SamplingConfig,
    SftConfig,
)
from r1jax.data import sources
from r1jax.data.records import DataError
from r1jax.errors import UserError
from r1jax.rewards.verdicts import Score, Status, Verdict
from r1jax.sampler.board import PromptError
from r1jax.sampler.engine import Completion, Sampler
from r1jax.stages.chat import MAX_PROMPT_TOKENS, Chat
from r1jax.stages.context import load_tokenizer
from r1jax.stages.grading import render, sample_and_grade
from r1jax.stages.rollout import collect
from r1jax.stages.sft import example_sequence

RUN = types.SimpleNamespace(tokenizer=load_tokenizer(tiny_run(BASE).tokenizer), load=sources.load)
LONG = "compute 4 7 + 8 - 5 + 9 ?"
SFT = SftConfig(
    name="sft",
    template=PLAIN,
    data=DataConfig(kind="jsonl", path="examples.jsonl"),
    num_steps=1,
    batch=dataclasses.replace(BASE.batch, row_tokens=11),
    optimizer=BASE.optimizer,
)


def test_a_record_without_a_question_is_named_also_where_the_question_is_null():
    for record in ({"id": "a"}, {"id": "a", "question": None}):
        with pytest.raises(DataError, match="record a: expected the field 'question'"):
            render([record], PLAIN, RUN, max_prompt_tokens=32)
        with pytest.raises(DataError, match="record a: expected the field 'question'"):
            example_sequence(record | {"response": "4"}, SFT, RUN)
    with pytest.raises(DataError, match="record a: expected the field 'response'"):
        example_sequence({"id": "a", "question": LONG, "response": None}, SFT, RUN)


def test_an_example_longer_than_a_row_is_named():
    positions = len(example_sequence({"id": "a", "question": LONG, "response": "4"}, SFT, RUN)["tokens"])
    assert positions == SFT.batch.row_tokens  # it just fits
    with pytest.raises(DataError, match=r"sft: record b: expected at most batch.row_tokens=11 positions, found 12"):
        example_sequence({"id": "b", "question": LONG, "response": "4 7"}, SFT, RUN)


def test_a_prompt_that_is_too_long_is_named_before_anything_is_sampled(tmp_path, monkeypatch):
    def sampled(self, *args, **kwargs):
        raise AssertionError("something was sampled")

    monkeypatch.setattr(Sampler, "generate", sampled)
    data = tmp_path / "questions.jsonl"
    # One rollout draws four of forty, so the long one would most likely come up later.
    rows = [{"id": str(n), "question": "compute 4 + 2 ?", "answer": "6"} for n in range(39)]
    rows.append({"id": "long", "question": f"{LONG} " * 4, "answer": "6"})
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    stage = dataclasses.replace(ZERO, start=None, data=DataConfig(kind="jsonl", path=str(data)))
    with pytest.raises(DataError, match=r"record long: expected a prompt of at most sampler.max_prompt_tokens=32"):
        run_on_one(tiny_run(stage), str(tmp_path / "run"))


def test_a_question_too_long_to_ask_is_answered_with_what_can_be_changed():
    sampler = types.SimpleNamespace(load=lambda params: None)
    run = types.SimpleNamespace(
        tokenizer=RUN.tokenizer,
        mesh=types.SimpleNamespace(shape={"data": 1, "fsdp": 1, "expert": 1}),
        sampler=lambda shape, max_new_tokens: sampler,
    )
    chat = Chat(None, PLAIN, run, sampling=SamplingConfig(max_new_tokens=8), samples=1)
    with pytest.raises(PromptError, match=f"at most {MAX_PROMPT_TOKENS} tokens .* ask a shorter one") as refusal:
        chat.ask("4 " * (MAX_PROMPT_TOKENS + 1))
    assert "max_prompt_tokens" not in str(refusal.value)


def test_the_evaluation_of_a_stage_names_its_long_prompt_too():
    from r1jax.stages.evaluate import evaluate

    short = dataclasses.replace(EVALUATION, sampler=dataclasses.replace(EVALUATION.sampler, max_prompt_tokens=2))
    with pytest.raises(DataError, match=r"record chained_sums.*: expected a prompt of at most"):
        evaluate(None, short, run=RUN, template=PLAIN, purpose="evaluation")


def test_an_evaluation_that_tells_languages_apart_needs_the_classifier_before_it_samples(monkeypatch):
    from r1jax.stages import evaluate as module

    def missing():
        raise UserError("not installed")

    apart = RewardsConfig(language=LanguageConfig(tell_latin_apart=True))
    config = types.SimpleNamespace(rewards=apart)
    run = types.SimpleNamespace(tokenizer=RUN.tokenizer, load=sources.load, config=config)  # no sampler
    monkeypatch.setattr(module, "classifier_stamp", missing)
    with pytest.raises(UserError, match="not installed"):
        module.evaluate(None, EVALUATION, run=run, template=PLAIN, purpose="evaluation")


def test_the_verdicts_of_an_interrupted_call_are_not_taken_for_those_of_the_next():
    prompts = render([{"id": "a", "question": LONG}], PLAIN, RUN, max_prompt_tokens=32)

    class LastInFirstOut:  # as a service whose workers are still busy with what came first
        def __init__(self):
            self.submit_batch = (waiting := []).extend
            self.waiting = waiting

        def results(self, block):
            while block and self.waiting:
                key, item = self.waiting.pop()
                yield key, Verdict({"length": Score(float(item.num_tokens), Status.SCORED)})

    run = types.SimpleNamespace(tokenizer=RUN.tokenizer, rewards=LastInFirstOut())

    def completions(*lengths):
        for sample, length in enumerate(lengths):
            yield Completion(0, sample, np.zeros(length, np.int32), np.zeros(length, np.float32), stopped=True)

    def interrupted():
        yield from completions(5, 5)
        raise KeyboardInterrupt

    def lengths(generated):
        sampler = types.SimpleNamespace(generate=lambda requests, **arguments: generated)
        (group,) = sample_and_grade(prompts, run=run, sampler=sampler, samples=2, seed=0, step=0, sampling=None)
        return [one.verdict.scores["length"].value for one in group]

    with pytest.raises(KeyboardInterrupt):
        lengths(interrupted())
    assert lengths(completions(1, 2)) == [1.0, 2.0]


def test_the_draws_of_a_stage_are_not_those_of_a_purpose_of_the_run():
    purposes = []
    run = types.SimpleNamespace(tokenizer=RUN.tokenizer, seed_of=lambda purpose: purposes.append(purpose) or 0)

    class Stop(Exception):
        pass

    def generate(requests, **arguments):
        raise Stop

    prompts = iter([[{"id": "a", "question": LONG}]])
    stage = dataclasses.replace(ZERO, name="evaluation")
    with pytest.raises(Stop):
        collect(stage, 0, run=run, sampler=types.SimpleNamespace(generate=generate), prompts=prompts)
    assert purposes == ["evaluation/rollouts"]
