"""Data sets between stages may be edited by hand: who reads them afterwards, and who is told to run again."""

from __future__ import annotations

import dataclasses
import shutil

import pytest

from r1jax.config import (
    BatchConfig,
    CollectConfig,
    DataConfig,
    GrpoConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    SftConfig,
    StudentConfig,
    TokenizerConfig,
)
from r1jax.workdir import Plan, Workdir, WorkdirError
from r1jax.workdir import data_mark as marks
from r1jax.workdir.data_mark import data_mark
from r1jax.workdir.identity import identity

TASK = DataConfig("task", name="sums", limit=10)
COLLECTED = DataConfig("stage", name="collected")
MODEL = ModelConfig(vocab_size=32, hidden_size=8, num_layers=1, num_heads=2, num_kv_heads=1, ffn_size=16)
TRAINING = {"num_steps": 40, "optimizer": OptimizerConfig(), "batch": BatchConfig(2048, 2)}
RUN = RunConfig(
    name="test",
    model=MODEL,
    tokenizer=TokenizerConfig(task="sums"),
    stages=(
        SftConfig(name="base", data=TASK, **TRAINING),
        CollectConfig(name="collected", start="base", data=TASK),
        SftConfig(name="tuned", data=COLLECTED, **TRAINING),
        GrpoConfig(name="zero", start="tuned", data=TASK, **TRAINING),
        SftConfig(name="small", student="small", data=COLLECTED, **TRAINING),
    ),
    students=(StudentConfig("small", dataclasses.replace(MODEL, hidden_size=4)),),
)


def collected(path) -> Workdir:
    """A workdir in which the data set lies."""
    workdir = Workdir(path)
    workdir.claim(RUN)
    for name in ("base", "collected"):
        workdir.begin(RUN, name)
        if name == "collected":
            file(path).write_text('{"question": "1", "response": "2"}\n{"question": "3", "response": "4"}\n')
        workdir.finish(name, {})
    return workdir


def file(path):
    return path / "collected" / "data.jsonl"


def edit(path) -> None:
    file(path).write_text(file(path).read_text().replace('"4"', '"5"'))


def test_a_stage_needs_those_whose_data_it_takes(tmp_path):
    workdir = Workdir(tmp_path)
    workdir.claim(RUN)
    with pytest.raises(WorkdirError, match="stage tuned takes something from collected, which is not done: run coll"):
        workdir.begin(RUN, "tuned")


def test_an_edit_before_anybody_has_read_the_file_is_taken_as_it_is(tmp_path):
    workdir = collected(tmp_path)
    edit(tmp_path)
    assert workdir.plan(RUN, "collected") == Plan("skip")
    assert workdir.plan(RUN, "tuned") == Plan("start")
    workdir.begin(RUN, "tuned")
    assert workdir.entry("tuned")["data"] == {"collected/data.jsonl": data_mark(file(tmp_path))}


def test_an_edit_behind_a_finished_stage_is_refused_for_it_and_all_that_follow(tmp_path):
    workdir = collected(tmp_path)
    for name in ("tuned", "zero"):
        workdir.begin(RUN, name)
        workdir.finish(name, {})
    edit(tmp_path)
    with pytest.raises(
        WorkdirError, match=r"stage tuned of .* was made of another collected/data.jsonl .* remove .*tuned"
    ):
        workdir.plan(RUN, "tuned")
    shutil.rmtree(tmp_path / "tuned")
    assert workdir.plan(RUN, "tuned") == Plan("start")
    with pytest.raises(WorkdirError, match=r"stage zero of .* was made of another collected/data.jsonl"):
        workdir.plan(RUN, "zero")
    assert workdir.plan(RUN, "base") == Plan("skip")


def test_an_edit_behind_a_stage_that_has_made_nothing_yet_is_told(tmp_path):
    workdir = collected(tmp_path)
    workdir.begin(RUN, "tuned")
    before = data_mark(file(tmp_path))
    edit(tmp_path)
    now = data_mark(file(tmp_path))
    assert workdir.plan(RUN, "tuned") == Plan("resume", (f"collected/data.jsonl: {before} -> {now}",))
    (tmp_path / "tuned" / "checkpoints" / "10").mkdir(parents=True)
    with pytest.raises(WorkdirError, match="take the edit back"):
        workdir.plan(RUN, "tuned")


def test_blank_lines_and_line_ends_are_no_edit(tmp_path):
    workdir = collected(tmp_path)
    workdir.begin(RUN, "tuned")
    workdir.finish("tuned", {})
    file(tmp_path).write_bytes(file(tmp_path).read_bytes().replace(b"\n", b"\r\n\r\n"))
    assert workdir.plan(RUN, "tuned") == Plan("skip")


def test_a_data_set_is_read_for_its_mark_where_it_may_have_changed_alone(tmp_path, monkeypatch):
    reads, read = [], marks._read
    monkeypatch.setattr(marks, "_read", lambda path: reads.append(path) or read(path))
    monkeypatch.setattr(marks, "SETTLED_SECONDS", 60.0)  # it is changed here within a tick of the clock
    path = tmp_path / "data.jsonl"
    path.write_text('{"question": "1"}\n')
    first = data_mark(path)
    path.write_text('{"question": "2"}\n')
    assert data_mark(path) != first
    assert len(reads) == 2
    monkeypatch.setattr(marks, "SETTLED_SECONDS", -60.0)
    second = data_mark(path)
    assert (data_mark(path), len(reads)) == (second, 3)
    path.write_text('{"question": "10"}\n')
    assert data_mark(path) not in (first, second)
    assert len(reads) == 4


def test_a_stage_depends_on_those_whose_data_it_takes_and_on_what_they_depend_on():
    assert [stage.name for stage in RUN.sources("tuned")] == ["base", "collected", "tuned"]
    assert [stage.name for stage in RUN.sources("small")] == ["base", "collected", "small"]
    assert [stage["name"] for stage in identity(RUN, "zero")["stages"]] == ["base", "collected", "tuned", "zero"]


def test_a_student_s_model_concerns_its_stages_alone():
    wider = dataclasses.replace(RUN, students=(StudentConfig("small", MODEL),))
    assert identity(wider, "zero") == identity(RUN, "zero")
    assert identity(wider, "small") != identity(RUN, "small")
