"""Stages about another model than the run's: a smaller one, with its own shape and weights."""

import dataclasses
import json

import jax
import pytest
from tiny_runs import BASE, CHECK, EVALUATION, ZERO, run_on_one, tiny_run

from r1jax.config import BenchmarkConfig, StudentConfig
from r1jax.stages.context import open_context
from r1jax.stages.weights import load_params
from r1jax.workdir import Workdir

SMALL = dataclasses.replace(tiny_run(BASE).model, hidden_size=16, ffn_size=32)
STUDENT_BASE = dataclasses.replace(BASE, name="student_base", student="small")
STUDENT_RL = dataclasses.replace(
    ZERO,
    name="student_rl",
    student="small",
    start="student_base",
    num_steps=2,
    benchmarks=(BenchmarkConfig("sums", EVALUATION, published=(("nobody, pass@1", 0.5),)),),
)
RUN = tiny_run(BASE, STUDENT_BASE, STUDENT_RL, CHECK, students=(StudentConfig("small", SMALL),))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    path = tmp_path_factory.mktemp("students")
    run_on_one(RUN, str(path))
    return path


def test_each_stage_trains_the_model_that_it_is_about(finished):
    with open_context(RUN, Workdir(finished), jax.devices()[:1]) as whole:
        for stage, width in (("base", 32), ("student_base", 16), ("student_rl", 16)):
            run = whole.of(stage)
            params = load_params(str(finished / stage / "checkpoints"), None, run)
            assert params["embed"]["embedding"].shape[-1] == width == run.config.model.hidden_size


def test_a_run_with_students_again_does_nothing(finished, capsys):
    run_on_one(RUN, str(finished))
    assert "all is done" in capsys.readouterr().err


def test_benchmarks_stand_in_their_file_and_in_the_summary_with_what_others_published(finished):
    figures = json.loads((finished / "student_rl" / "benchmarks.json").read_text())
    assert figures["sums"]["published"] == {"nobody, pass@1": 0.5}
    assert 0 <= figures["sums"]["pass@1"] <= 1
    summary = json.loads((finished / "summary.json").read_text())["stages"]
    assert summary["student_rl"]["benchmarks"] == figures
    assert "benchmarks" not in summary["base"]
