"""SIGTERM while a result is evaluated ends as it does anywhere else; what was scored by then is not scored again."""

import contextlib
import dataclasses
import json
import os
import signal

import pytest
from tiny_preferences import written
from tiny_runs import BASE, CHECK, EVALUATION, ZERO, run_on_one, tiny_run

from r1jax import pipeline
from r1jax.config import BenchmarkConfig
from r1jax.report import page
from r1jax.rewards.service import RewardService
from r1jax.stages.errors import EXIT_PREEMPTED, Preempted, preemptible
from r1jax.workdir import Workdir

QUICK = dataclasses.replace(EVALUATION, samples=2)


def benchmark(name: str, **changes) -> BenchmarkConfig:
    return BenchmarkConfig(name, dataclasses.replace(QUICK, **changes), published=(("theirs", 0.5),))


LOOKS = {"evaluation": QUICK, "benchmarks": (benchmark("one"), benchmark("two"), benchmark("three"))}
FILES = ("eval.json", "eval_samples.jsonl", "benchmarks.json", "eval_samples_one.jsonl", "eval_samples_three.jsonl")
BEGUN = dataclasses.replace(BASE, num_steps=2)
KINDS = {
    "pretrain": (dataclasses.replace(BEGUN, **LOOKS),),
    "grpo": (dataclasses.replace(ZERO, start=None, num_steps=2, **LOOKS),),
    "evaluate": (BEGUN, dataclasses.replace(CHECK, **LOOKS)),
    "evaluate, first weights": (dataclasses.replace(CHECK, start=None, **LOOKS),),
}


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """The page is not looked at here, and takes longer than all the rest."""
    monkeypatch.setattr(page, "write", lambda path: None)


@pytest.fixture
def purposes(monkeypatch):
    """The evaluations that are made."""
    made, evaluate = [], pipeline.evaluate

    def noted(*args, purpose, **rest):
        made.append(purpose)
        return evaluate(*args, purpose=purpose, **rest)

    monkeypatch.setattr(pipeline, "evaluate", noted)
    return made


def terminated(monkeypatch, run, path, during: str) -> None:
    """Runs, and ends by a SIGTERM that comes while that evaluation is graded."""
    evaluate, submit, now = pipeline.evaluate, RewardService.submit_batch, []

    def noted(*args, purpose, **rest):
        now.append(purpose)
        return evaluate(*args, purpose=purpose, **rest)

    def graded(self, items):
        if now and now[-1] == during:
            os.kill(os.getpid(), signal.SIGTERM)
        return submit(self, items)

    with monkeypatch.context() as patch:
        patch.setattr(pipeline, "evaluate", noted)
        patch.setattr(RewardService, "submit_batch", graded)
        with pytest.raises(Preempted) as preempted:
            run_on_one(run, str(path))
    assert preempted.value.code == EXIT_PREEMPTED
    assert now[-1] == during
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize("kind", KINDS)
def test_sigterm_during_a_benchmark_is_answered_and_those_before_it_are_not_made_again(
    kind, tmp_path, monkeypatch, purposes
):
    run = tiny_run(*KINDS[kind])
    name = run.stages[-1].name
    run_on_one(run, str(tmp_path / "whole"))
    purposes.clear()
    terminated(monkeypatch, run, tmp_path / "run", "evaluation/two")
    entry = Workdir(tmp_path / "run").entry(name)
    assert entry["status"] == "running"
    assert entry["seconds"] > 0
    assert purposes == ["evaluation", "evaluation/one", "evaluation/two"]
    purposes.clear()
    run_on_one(run, str(tmp_path / "run"))
    assert purposes == ["evaluation/two", "evaluation/three"]
    for file in FILES:
        assert (tmp_path / "run" / name / file).read_bytes() == (tmp_path / "whole" / name / file).read_bytes(), file
    figures = Workdir(tmp_path / "run").summary()["stages"][name]
    assert list(figures["benchmarks"]) == ["one", "two", "three"]


def test_sigterm_during_the_evaluation_is_answered_too(tmp_path, monkeypatch, purposes):
    run = tiny_run(*KINDS["evaluate, first weights"])
    terminated(monkeypatch, run, tmp_path, "evaluation")
    assert Workdir(tmp_path).entry("check")["seconds"] > 0
    run_on_one(run, str(tmp_path))
    assert purposes[1:] == ["evaluation", "evaluation/one", "evaluation/two", "evaluation/three"]


def changed(stage, name: str, **fields):
    """The stage with another benchmark of that name."""
    return dataclasses.replace(
        stage, benchmarks=tuple(benchmark(name, **fields) if one.name == name else one for one in stage.benchmarks)
    )


def test_what_was_scored_by_another_protocol_or_of_other_records_or_rewards_is_scored_again(
    tmp_path, monkeypatch, purposes
):
    questions = [{"id": str(number), "question": "compute 4 + 2 ?", "answer": "6"} for number in range(2)]
    data = written(tmp_path / "q.jsonl", questions)
    stage = changed(KINDS["evaluate, first weights"][0], "one", data=data)
    path = tmp_path / "run"

    def made_again(run) -> list[str]:
        purposes.clear()
        terminated(monkeypatch, run, path, "evaluation/three")
        return purposes[:-1]

    assert made_again(tiny_run(stage)) == ["evaluation", "evaluation/one", "evaluation/two"]
    assert made_again(tiny_run(stage)) == []
    assert made_again(tiny_run(changed(stage, "two", samples=3))) == ["evaluation/two"]
    assert made_again(tiny_run(stage)) == ["evaluation/two"]
    written(tmp_path / "q.jsonl", questions[:1])
    assert made_again(tiny_run(stage)) == ["evaluation/one"]
    plain = dataclasses.replace(stage, template=dataclasses.replace(stage.template, instruction="compute"))
    assert made_again(tiny_run(plain)) == ["evaluation", "evaluation/one", "evaluation/two"]
    assert made_again(tiny_run(plain, seed=1)) == ["evaluation", "evaluation/one", "evaluation/two"]
    figures = json.loads((path / "check" / "benchmarks.json").read_text())
    figures["one"]["pass@1"] = 1.0  # by hand
    (path / "check" / "benchmarks.json").write_text(json.dumps(figures))
    assert made_again(tiny_run(plain, seed=1)) == ["evaluation/one"]


def test_what_was_scored_of_other_parameters_is_scored_again(tmp_path, monkeypatch, purposes):
    stage = dataclasses.replace(BEGUN, **LOOKS)
    terminated(monkeypatch, tiny_run(stage), tmp_path, "evaluation/two")
    purposes.clear()
    run_on_one(tiny_run(dataclasses.replace(stage, num_steps=3)), str(tmp_path))
    assert purposes == ["evaluation", "evaluation/one", "evaluation/two", "evaluation/three"]


def swallowed() -> None:
    """Work that loses the exception, as the end of an object does, and is terminated once more."""
    for _ in range(2):
        with contextlib.suppress(Preempted):
            os.kill(os.getpid(), signal.SIGTERM)


def test_a_sigterm_that_was_lost_ends_the_work_all_the_same():
    with pytest.raises(Preempted), preemptible():
        swallowed()
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
