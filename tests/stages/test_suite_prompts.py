"""The suite on real data: every question of four sets is asked as it should be, and every gold is graded correct."""

import gzip
import json
import os
import pathlib
import re

import pytest

from r1jax.config import TemplateConfig
from r1jax.config.load import load_config
from r1jax.data.sources import load
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Status
from r1jax.suites.load import apply, load_suite
from r1jax.text.templates import render_prompt
from r1jax.text.tokenizer import Tokenizer

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("R1JAX_TEST_DATA", "R1JAX_TEST_DATA-is-not-set"))
FLAGS = [
    ("aime2024.evaluation.data.path", f"{DATA}/aime24.jsonl"),
    ("gsm8k.evaluation.data.path", f"{DATA}/gsm8k_test.jsonl"),
    ("mgsm.evaluation.data.path", f"{DATA}/mgsm_zh.jsonl"),
    ("mgsm.evaluation.data.kind", "jsonl"),
    ("mgsm.evaluation.data.columns", "question:messages.0.content"),
    ("humaneval.evaluation.data.path", f"{DATA}/HumanEval.jsonl.gz"),
]
SUITE = apply(load_suite("r1", ROOT / "experiments" / "suites"), FLAGS)
BY_NAME = {one.name: one for one in SUITE.benchmarks}
RUN = load_config(str(ROOT / "experiments" / "configs" / "gsm8k_zero.py"))
NAMES = {"aime2024": 30, "gsm8k": 1319, "mgsm": 250, "humaneval": 164}
MATHS = ["aime2024", "gsm8k", "mgsm"]
BOXED = r"Please reason step by step, and put your final answer within \boxed{}."

pytestmark = pytest.mark.skipif(not DATA.is_dir(), reason="R1JAX_TEST_DATA names no folder")


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """DeepSeek-R1's."""
    folder = tmp_path_factory.mktemp("tokenizer")
    with gzip.open(DATA / "deepseek_r1_tokenizer.json.gz") as file:
        (folder / "tokenizer.json").write_bytes(file.read())
    (folder / "tokenizer_config.json").write_bytes((DATA / "deepseek_r1_tokenizer_config.json").read_bytes())
    return Tokenizer.load(str(folder))


def asked(name: str, template: str) -> tuple[list[dict], TemplateConfig]:
    """The records of a benchmark, and the template that a stage of the other `template` asks them in."""
    evaluation = BY_NAME[name].evaluation_of(TemplateConfig(name=template))
    return load(evaluation.data), evaluation.template


@pytest.mark.parametrize("template", ["chat", "r1_zero"])
@pytest.mark.parametrize("name", NAMES)
def test_every_question_is_asked_whole_with_the_instruction_and_an_opened_thinking(name, template, tokenizer):
    records, full = asked(name, template)
    assert len(records) == NAMES[name]
    assert len({record["id"] for record in records}) == len(records)
    limit = BY_NAME[name].evaluation.sampler.max_prompt_tokens
    for record in records:
        prompt = render_prompt(full, record["question"], tokenizer)
        assert f"{record['question']}\n{full.instruction}" in prompt.text
        assert prompt.text.endswith("<think>\n")
        assert prompt.text.count(full.instruction) == 1
        assert prompt.forced_prefix == "<think>\n"
        assert len(prompt.token_ids) <= limit


def test_the_released_models_are_asked_without_a_system_prompt(tokenizer):
    records, full = asked("aime2024", "chat")
    text = render_prompt(full, records[0]["question"], tokenizer).text
    begin, end = "<｜begin▁of▁sentence｜><｜User｜>", "<｜Assistant｜><think>\n"
    assert text == f"{begin}{records[0]['question']}\n{BOXED}{end}"


def test_the_golds_are_numbers():
    golds = {name: [record["answer"] for record in asked(name, "chat")[0]] for name in MATHS}
    assert all(re.fullmatch(r"[0-9]{1,3}", gold) for gold in golds["aime2024"])
    assert all(re.fullmatch(r"-?[0-9][0-9,]*(\.[0-9]+)?", gold) for gold in golds["gsm8k"] + golds["mgsm"])
    raw = [json.loads(line)["answer"] for line in (DATA / "gsm8k_test.jsonl").open()]
    assert golds["gsm8k"] == [text.rpartition("#### ")[2] for text in raw]


@pytest.mark.parametrize("name", MATHS)
def test_every_gold_in_a_box_is_correct_and_another_number_wrong(name):
    records, _ = asked(name, "chat")
    turns = [(f"<think>\n7\n</think>\n\nSo it is \\boxed{{{record['answer']}}}.", record) for record in records]
    wrong = [
        (f"<think>\n\\boxed{{{record['answer']}}}\n</think>\n\nSo it is \\boxed{{{record['answer']}7}}.", record)
        for record in records
    ]
    with RewardService(SUITE.only([name]).of(RUN).rewards) as service:
        right = service.score([Item(record, turn) for turn, record in turns])
        other = service.score([Item(record, turn) for turn, record in wrong])
    assert {verdict.status for verdict in right} == {Status.CORRECT}
    assert {verdict.status for verdict in other} == {Status.WRONG}


def test_humaneval_shows_the_function_and_brings_its_tests():
    records, full = asked("humaneval", "chat")
    assert "```python" in full.instruction
    for record in records:
        assert record["id"].startswith("HumanEval/")
        assert f"def {record['tests']['function']}(" in record["question"]
        assert record["rewards"] == "code"
        assert record["canonical_solution"] not in record["question"]
