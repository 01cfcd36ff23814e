"""evaluate.py with a suite, as a user calls it: on a small run, and on the real questions of four sets."""

import gzip
import json
import os
import pathlib
import subprocess
import sys

import pytest
from tiny_suites import server, trained

ROOT = pathlib.Path(__file__).resolve().parents[2]
DATA = pathlib.Path(os.environ.get("R1JAX_TEST_DATA", "R1JAX_TEST_DATA-is-not-set"))
CONFIG = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests" / "stages")!r})
from tiny_suites import RUN, SUITE
"""
RANDOM_MODEL = """
from r1jax.config import *

def get_config():
    return RunConfig(
        name="look",
        tokenizer=TokenizerConfig(path="tokenizer"),
        model=ModelConfig(
            vocab_size=129_280, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=1, ffn_size=64,
            tie_embeddings=True, logits_budget_bytes=512 * 2**20,
        ),
        rewards=RewardsConfig(workers=1),
        stages=(
            EvaluateConfig(
                name="look",
                template=TemplateConfig(name="r1_zero"),
                evaluation=EvaluationConfig(data=DataConfig(kind="task", name="countdown", limit=2)),
            ),
        ),
    )
"""

pytestmark = pytest.mark.slow


def evaluate(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "experiments/evaluate.py", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=600)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """The folder of a finished run, its config and its suite; and the flags that name them."""
    folder = tmp_path_factory.mktemp("command")
    (folder / "config.py").write_text(f"{CONFIG}\ndef get_config():\n    return RUN\n")
    (folder / "mine.py").write_text(f"{CONFIG}\ndef get_suite():\n    return SUITE\n")
    trained(folder / "run")
    flags = [f"--config={folder}/config.py", f"--suite={folder}/mine.py", "--stage=base"]
    return folder, [*flags, f"--workdir={folder}/run"]


def test_the_table_is_printed_and_the_file_named(small):
    folder, flags = small
    done = evaluate(*flags, "--benchmarks=first", "--suite.first.evaluation.samples=3")
    assert done.returncode == 0, done.stderr
    assert "base 2, pass@1" in done.stdout
    assert "4 questions x k=3" in done.stdout
    assert done.stdout.endswith(f"{folder}/run/base/benchmarks-2.json\n")
    again = evaluate(
        *flags[:-1], f"--checkpoint={folder}/run/base", "--benchmarks=first", "--suite.each.evaluation.samples=3"
    )
    assert again.stdout == done.stdout
    assert "first: done already" in again.stderr


def test_answers_are_judged_against_a_file_with_no_suite_at_all(small):
    folder, flags = small
    (folder / "reference.jsonl").write_text(json.dumps({"question": "compute 1 + 2 ?", "response": "3"}) + "\n")
    with server.JudgeServer(server.says("ready"), server.says("[[A=B]]")) as judge:
        done = evaluate(
            *(flag for flag in flags if not flag.startswith("--suite")),
            f"--judge_against={folder}/reference.jsonl",
            f"--config.rewards.judge.url={judge.url}",
            "--suite.pairwise.asking.forced_prefix=",
            "--suite.pairwise.sampling.max_new_tokens=8",
        )
    assert done.returncode == 0, done.stderr
    assert "pairwise: win rate" in done.stdout
    assert "1 questions" in done.stdout


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["--benchmarks=third"], "--benchmarks: expected names out of first, second, found 'third'"),
        (["--suite.third.evaluation.samples=3"], "--suite.third"),
        (["--suite=r2"], "--suite=r2: expected the path of a Python file, or one of r1"),
        (["--suite=r1"], "--suite.aime2024.evaluation.data.path: expected the path of AIME 2024"),
        (["--step=7"], "1, 2"),
        (["--suite.first.evaluation.samples"], "expected --suite.first.evaluation.samples=value, found no '='"),
    ],
)
def test_what_is_wrong_is_one_line(small, changes, words):
    done = evaluate(*small[1], *changes)
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert words in line


def test_flags_of_a_suite_need_one(small):
    flags = [flag for flag in small[1] if not flag.startswith("--suite")]
    for flag in ("--suite.first.evaluation.samples=3", "--benchmarks=first"):
        done = evaluate(*flags, flag)
        assert done.returncode == 2
        assert "--suite: expected the suite" in done.stderr


@pytest.mark.skipif(not DATA.is_dir(), reason="R1JAX_TEST_DATA names no folder")
def test_four_real_sets_are_sampled_graded_and_kept(tmp_path):
    tokenizer = tmp_path / "tokenizer"
    tokenizer.mkdir()
    with gzip.open(DATA / "deepseek_r1_tokenizer.json.gz") as file:
        (tokenizer / "tokenizer.json").write_bytes(file.read())
    (tokenizer / "tokenizer_config.json").write_bytes((DATA / "deepseek_r1_tokenizer_config.json").read_bytes())
    (tmp_path / "look.py").write_text(RANDOM_MODEL)
    names = {"aime2024": "aime24.jsonl", "gsm8k": "gsm8k_test.jsonl", "mgsm": "mgsm_zh.jsonl"}
    names |= {"humaneval": "HumanEval.jsonl.gz"}
    small = {"samples": 2, "data.limit": 2, "sampling.max_new_tokens": 16, "sampler.lanes": 8, "sampler.width": 2}
    flags = [
        *(f"--suite.each.evaluation.{field}={value}" for field, value in small.items()),
        *(f"--suite.{name}.evaluation.data.path={DATA / file}" for name, file in names.items()),
        "--suite.mgsm.evaluation.data.kind=jsonl",
        "--suite.mgsm.evaluation.data.columns=question:messages.0.content",
        "--suite.each.asking.template=chat",
        f"--config.tokenizer.path={tokenizer}",
        "--config.rewards.sandbox.unsafe=true",  # nothing that is sampled holds a program
        f"--benchmarks={','.join(names)}",
    ]
    where = [f"--config={tmp_path / 'look.py'}", f"--workdir={tmp_path / 'run'}", "--stage=look", "--suite=r1"]
    done = evaluate(*where, *flags)
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "look" / "benchmarks-0.json").read_text())
    assert list(results) == list(names)
    for name, figures in results.items():
        assert (figures["k"], figures["num_prompts"], figures["template"]) == (2, 2, "chat")
        assert figures["masked_rate"] == 0
        assert figures["published"]
        assert name in done.stdout
    lines = (tmp_path / "run" / "look" / "benchmarks-0-gsm8k.jsonl").read_text().splitlines()
    assert [json.loads(line)["gold"] for line in lines] == ["18", "3"]
    assert all(json.loads(line)["completion"].startswith("<think>\n") for line in lines)
    again = evaluate(*where, *flags)
    assert again.stderr.count("done already") == len(names)
    assert again.stdout == done.stdout
