"""The small commands beside run.py, as a user calls them, on a run of a few steps."""

import json
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests" / "stages")!r})
from tiny_runs import BASE, ZERO, tiny_run

def get_config():
    return tiny_run(BASE, ZERO)
"""
LOOK = f"""
import sys
sys.path.insert(0, {str(ROOT / "tests" / "stages")!r})
from r1jax.config import EvaluateConfig
from tiny_runs import BASE, EVALUATION, tiny_run

def get_config():
    return tiny_run(EvaluateConfig(name="look", template=BASE.template, evaluation=EVALUATION))
"""

pytestmark = pytest.mark.slow


def call(script: str, *arguments: str, says: str = "") -> subprocess.CompletedProcess:
    command = [sys.executable, f"experiments/{script}", *arguments]
    return subprocess.run(command, cwd=ROOT, input=says, capture_output=True, text=True, check=False, timeout=300)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(--config, --workdir) of a finished run."""
    folder = tmp_path_factory.mktemp("tools")
    (folder / "config.py").write_text(CONFIG)
    flags = (f"--config={folder / 'config.py'}", f"--workdir={folder / 'run'}")
    done = call("run.py", *flags)
    assert done.returncode == 0, done.stderr
    return flags


def workdir(run) -> pathlib.Path:
    return pathlib.Path(run[1].removeprefix("--workdir="))


def test_evaluate_finds_the_scores_of_the_run_again(run):
    done = call("evaluate.py", *run, "--stage=zero")
    assert done.returncode == 0, done.stderr
    again, first = (json.loads((workdir(run) / "zero" / name).read_text()) for name in ("eval-6.json", "eval.json"))
    assert again == first


def test_evaluate_takes_another_protocol_and_another_step(run):
    done = call("evaluate.py", *run, "--stage=zero", "--step=4", "--config.stages.zero.evaluation.samples=2")
    assert done.returncode == 0, done.stderr
    assert json.loads((workdir(run) / "zero" / "eval-4.json").read_text())["k"] == 2


def test_evaluate_names_the_steps_there_are(run):
    done = call("evaluate.py", *run, "--stage=zero", "--step=5")
    assert done.returncode == 2
    assert done.stderr.startswith("error:")
    assert "4, 6" in done.stderr


def test_sample_answers_each_line(run):
    done = call("sample.py", *run, "--stage=zero", "--max_new_tokens=8", says="compute 4 7 + 8 ?\ncompute 1 2 - 3 ?\n")
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(" tokens") == 2


def test_sample_is_the_same_for_the_same_questions(run):
    first, second = (
        call("sample.py", *run, "--stage=zero", "--max_new_tokens=8", says="compute 4 7 ?\n") for _ in "12"
    )
    assert first.stdout == second.stdout != ""


def test_weights_before_any_training_are_evaluated_and_asked(tmp_path):
    (tmp_path / "look.py").write_text(LOOK)
    run = (f"--config={tmp_path / 'look.py'}", f"--workdir={tmp_path / 'run'}")
    flags = (*run, "--stage=look")
    asked = call("sample.py", *flags, "--max_new_tokens=8", says="compute 4 7 + 8 ?\n")
    assert asked.returncode == 0, asked.stderr
    assert asked.stdout.count(" tokens") == 1
    again = call("evaluate.py", *flags)  # before the stage has run, and after it
    assert again.returncode == 0, again.stderr
    file = tmp_path / "run" / "look" / "eval-0.json"
    assert again.stdout.endswith(f"\n{file}\n")
    assert call("run.py", *run).returncode == 0
    found, first = (json.loads((file.parent / name).read_text()) for name in ("eval-0.json", "eval.json"))
    assert found | {"step": None} == first
    assert call("evaluate.py", *flags).stdout == again.stdout
    done = call("evaluate.py", *flags, "--step=3")
    assert done.returncode == 2
    assert "--step: expected none (look evaluates weights before any step), found 3" in done.stderr


def test_report_draws_the_page_again(run):
    page = workdir(run) / "report.html"
    page.unlink()
    done = call("report.py", run[1])
    assert done.returncode == 0, done.stderr
    assert page.is_file()


def test_a_dry_run_says_what_would_run_and_leaves_nothing(run, tmp_path):
    done = call("run.py", run[0], f"--workdir={tmp_path / 'dry'}", "--dry_run")
    assert done.returncode == 0, done.stderr
    assert "zero: grpo, 6 steps" in done.stdout
    assert not (tmp_path / "dry").exists()
