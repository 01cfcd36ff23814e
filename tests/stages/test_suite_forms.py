"""Each benchmark of the paper on a record as its public file has it: read, asked, and graded by the suite's rewards."""

import csv
import json
import pathlib

import pytest

from r1jax.config import TemplateConfig
from r1jax.config.load import load_config
from r1jax.data.sources import load
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Status
from r1jax.suites.load import apply, load_suite

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUITE = load_suite("r1", ROOT / "experiments" / "suites")
RUN = load_config(str(ROOT / "experiments" / "configs" / "gsm8k_zero.py"))
GPQA = {
    "Record ID": "rec06pnAkLOr2t2mp",
    "Question": "How far apart must two levels be?",
    "Correct Answer": "10^-4 eV\n",
    "Incorrect Answer 1": "10^-11 eV",
    "Incorrect Answer 2": "10^-8 eV\n",
    "Incorrect Answer 3": "10^-9 eV",
    "Explanation": "By the uncertainty relation.",
}
LIVECODEBENCH = {
    "question_id": "abc387_a",
    "question_content": "Print the double of N.",
    "starter_code": "",
    "public_test_cases": json.dumps([{"input": "2\n", "output": "4\n", "testtype": "stdin"}]),
    "private_test_cases": json.dumps([{"input": "5\n", "output": "10\n", "testtype": "stdin"}]),
    "metadata": "{}",
    "contest_date": "2024-12-01T00:00:00",
}


def write_json(path, row) -> str:
    path.write_text(json.dumps(row) + "\n")
    return str(path)


def record_of(name: str, path: str) -> tuple[dict, TemplateConfig]:
    """The one record of a benchmark's file, and the template that asks it."""
    (one,) = apply(SUITE, [(f"{name}.evaluation.data.path", path)]).only([name]).benchmarks
    evaluation = one.evaluation_of(TemplateConfig(name="r1"))
    (record,) = load(evaluation.data)
    return record, evaluation.template


def statuses(name: str, record: dict, *summaries: str) -> list[Status]:
    with RewardService(SUITE.only([name]).of(RUN).rewards) as service:
        turns = [f"<think>\nhm\n</think>\n\n{summary}" for summary in summaries]
        return [verdict.status for verdict in service.score([Item(record, turn) for turn in turns])]


def test_math_500(tmp_path):
    row = {
        "problem": "What is $(3,\\frac{\\pi}{2})$?",
        "solution": "...",
        "answer": "\\left( 3, \\frac{\\pi}{2} \\right)",
    }
    row |= {"subject": "Precalculus", "level": 2, "unique_id": "test/precalculus/807.json"}
    record, template = record_of("math500", write_json(tmp_path / "test.jsonl", row))
    assert record["id"] == "test/precalculus/807.json"
    assert record["question"] == row["problem"]
    assert r"\boxed{}" in template.instruction
    found = statuses("math500", record, "\\boxed{(3, \\pi/2)}", "\\boxed{(3, \\pi)}", "It is \\pi.")
    assert found == [Status.CORRECT, Status.WRONG, Status.NO_ANSWER]


def test_gpqa(tmp_path):
    path = tmp_path / "gpqa_diamond.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, list(GPQA))
        writer.writeheader()
        writer.writerow(GPQA)
    record, template = record_of("gpqa", str(path))
    assert record["id"] == GPQA["Record ID"]
    letter = record["answer"]
    assert f"\n{letter}) 10^-4 eV" in record["question"]
    assert "uncertainty" not in record["question"]
    assert "'ANSWER: $LETTER'" in template.instruction
    other = "ABCD"[("ABCD".index(letter) + 1) % 4]
    found = statuses("gpqa", record, f"ANSWER: {letter}", f"ANSWER: {other}", "I cannot say.")
    assert found == [Status.CORRECT, Status.WRONG, Status.NO_ANSWER]


def test_livecodebench(tmp_path):
    record, template = record_of("livecodebench", write_json(tmp_path / "test5.jsonl", LIVECODEBENCH))
    assert record["id"] == "abc387_a"
    assert record["question"] == "Print the double of N."
    assert [case["output"] for case in record["tests"]["cases"]] == ["4\n", "10\n"]
    assert "```python" in template.instruction


def test_mgsm(tmp_path):
    path = tmp_path / "mgsm_en.tsv"
    path.write_text('How much is "2,000" and 125?\t2,125\n')
    record, _ = record_of("mgsm", str(path))
    assert (record["id"], record["question"]) == ("mgsm_en:0", 'How much is "2,000" and 125?')
    assert statuses("mgsm", record, "\\boxed{2125}", "\\boxed{2.125}") == [Status.CORRECT, Status.WRONG]


@pytest.mark.parametrize("answer", ["Twice 36.\n#### 72", "#### 72"])
def test_gsm8k(tmp_path, answer):
    record, _ = record_of("gsm8k", write_json(tmp_path / "test.jsonl", {"question": "?", "answer": answer}))
    assert record["answer"] == "72"


def test_aime_2024(tmp_path):
    row = {"id": 60, "problem": "Find the minutes.", "solution": "...", "answer": "204", "url": "..."}
    record, _ = record_of("aime2024", write_json(tmp_path / "aime.jsonl", row))
    assert (record["id"], record["question"], record["answer"]) == ("60", "Find the minutes.", "204")
    assert statuses("aime2024", record, "\\boxed{204}", "\\boxed{0204}") == [Status.CORRECT, Status.CORRECT]
