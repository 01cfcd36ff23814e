"""Data sets that people edit between two stages: what they wrote is trained on, what cannot be is named in a line."""

import dataclasses
import functools
import json
import shutil
import types

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp
from test_resume import Stopped, stopping
from tiny_collect import COLLECT, collecting
from tiny_preferences import helpful, pairs
from tiny_programme import config_file, start
from tiny_runs import BASE, CHECK, lines, run_on_one
from tiny_search import of_stage, policy

from r1jax.checkpoint import Checkpointer
from r1jax.config import DataConfig
from r1jax.data.records import DataError
from r1jax.launch import EXIT_USER_ERROR, one_line_errors
from r1jax.report import page
from r1jax.stages.context import RunContext, load_tokenizer
from r1jax.stages.reward_data import examples
from r1jax.stages.session import Session
from r1jax.workdir import Workdir, WorkdirError

TUNED = policy(of_stage("data"), name="tuned", num_steps=4, batch_sequences=8)  # every record is read
AFTER = dataclasses.replace(CHECK, name="after", start="tuned")
BEFORE = dataclasses.replace(CHECK, name="before")
RUN = collecting(BASE, dataclasses.replace(COLLECT, start="base"), BEFORE, TUNED, AFTER)
DATA_STAGES = ["base", "data"]
WRITTEN = {"question": "compute 4 + 2 ?", "response": "<think> 4 + 2 </think> 6"}  # by hand, without an id


@pytest.fixture(scope="module")
def collected(tmp_path_factory):
    """A workdir whose data set lies there for the next stage."""
    path = tmp_path_factory.mktemp("collected")
    run_on_one(RUN, str(path), stages=DATA_STAGES)
    return path


@pytest.fixture(autouse=True)
def no_report(monkeypatch):
    """The page is not looked at here, and takes longer than all the rest."""
    monkeypatch.setattr(page, "write", lambda path: None)


@pytest.fixture
def workdir(collected, tmp_path):
    """A copy of it."""
    return shutil.copytree(collected, tmp_path / "run")


def file_of(workdir):
    return workdir / "data" / "data.jsonl"


def edit(workdir) -> list[dict]:
    """As in an editor: changes a response, drops a line, adds one without an id; gives what is in the file now."""
    found = file_of(workdir).read_text().rstrip("\n").split("\n")
    assert 3 < len(found) <= TUNED.num_steps * TUNED.batch_sequences
    before = json.dumps(json.loads(found[1])["response"], ensure_ascii=False)
    assert before in found[1]
    found[1] = found[1].replace(before, '"<think> so 4 7 is 4 7 </think> 4 7"')
    del found[2]
    found.insert(0, json.dumps(WRITTEN))
    file_of(workdir).write_text("\n".join(found))  # and no newline at its end
    return [json.loads(line) for line in found]


def break_line(workdir, number: int) -> None:
    """Takes the last character of a line, as an editor does that saved too early."""
    found = file_of(workdir).read_text().split("\n")
    found[number - 1] = found[number - 1][:-1]
    file_of(workdir).write_text("\n".join(found))


def arrays(workdir, stage: str = "tuned") -> list[np.ndarray]:
    """Parameters, moments and counters of the last checkpoint."""
    folder = workdir / stage / "checkpoints"
    return jax.tree.leaves(ocp.load_checkpointables(folder / str(TUNED.num_steps))["state"])


def same(found, expected) -> bool:
    return all(np.array_equal(one, other) for one, other in zip(found, expected, strict=True))


@pytest.fixture
def trained_on(collected, tmp_path):
    """What the stage makes of the very records that it is called with, from a file of the user's own."""

    def call(records: list[dict]) -> list[np.ndarray]:
        file = tmp_path / "own.jsonl"
        file.write_text("".join(json.dumps({"id": str(n)} | one) + "\n" for n, one in enumerate(records)))
        own = dataclasses.replace(TUNED, data=DataConfig(kind="jsonl", path=str(file)))
        path = shutil.copytree(collected, tmp_path / "own")
        run_on_one(collecting(BASE, own), str(path))
        return arrays(path)

    return call


def refused(capsys, workdir, **options) -> str:
    """The one line that a command ends with for which the user is to do something."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended, one_line_errors():
        run_on_one(RUN, str(workdir), **options)
    assert ended.value.code == EXIT_USER_ERROR
    said = capsys.readouterr().err.splitlines()
    assert [line for line in said if line.startswith("error: ")] == said[-1:]
    return said[-1]


def test_the_next_stage_is_trained_on_what_the_edited_file_says(workdir, collected, trained_on, tmp_path):
    records = edit(workdir)
    run_on_one(RUN, str(workdir))
    assert same(arrays(workdir), trained_on(records))
    untouched = shutil.copytree(collected, tmp_path / "untouched")
    run_on_one(RUN, str(untouched), stages=["tuned"])
    assert not same(arrays(workdir), arrays(untouched))
    assert lines(file_of(workdir)) == records  # and nobody has written over it


def test_an_edited_data_set_does_not_run_its_own_stage_again(workdir, capsys):
    edit(workdir)
    run_on_one(RUN, str(workdir), stages=["tuned"])
    said = capsys.readouterr().err
    assert "data: done" in said
    assert "data: collect" not in said


@pytest.mark.parametrize("number", [1, 3])
def test_a_broken_line_is_named_by_its_number_and_what_is_done_stays_so(number, workdir, capsys, trained_on):
    whole = file_of(workdir).read_text()
    break_line(workdir, number)
    line = refused(capsys, workdir)
    assert line.startswith(f"error: {file_of(workdir)}:{number}: expected a JSON object on one line")
    status = {name: Workdir(workdir).status(name) for name in ("base", "data", "before", "tuned", "after")}
    assert status == {"base": "done", "data": "done", "before": "done", "tuned": "failed", "after": None}
    file_of(workdir).write_text(whole)
    run_on_one(RUN, str(workdir))
    assert same(arrays(workdir), trained_on(lines(file_of(workdir))))


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"question": "compute 4 + 2 ?"}, "expected the field 'response', found question, id, rewards"),
        ({"question": "compute 4 + 2 ?", "response": "4 " * 70}, "expected at most batch.row_tokens=64 positions"),
        ({"question": "compute 4 + 2 ?", "response": "six"}, "the vocabulary lacks the word 'six'"),
    ],
)
def test_a_line_by_hand_that_cannot_be_trained_on_is_named_by_its_number(fields, expected, workdir, capsys):
    first, *rest = file_of(workdir).read_text().split("\n")
    file_of(workdir).write_text("\n".join([first, "", json.dumps(fields), *rest]))
    line = refused(capsys, workdir, stages=["tuned"])
    assert line.startswith(f"error: {file_of(workdir)}:3: ")
    assert expected in line


def test_a_line_of_pairs_that_cannot_be_used_is_named_by_its_number(tmp_path):
    data, stage = dataclasses.replace(of_stage("pairs"), skip=1), helpful(of_stage("pairs"))
    file = tmp_path / "pairs" / "data.jsonl"
    file.parent.mkdir()
    good = [json.dumps(one) for one in pairs(3)]
    file.write_text("\n".join([*good[:2], "", '{"question": "4 ?", "chosen": "4"}', good[2]]))
    run = types.SimpleNamespace(workdir=Workdir(tmp_path), tokenizer=load_tokenizer(RUN.tokenizer))
    run.load = functools.partial(RunContext.load, run)
    with pytest.raises(DataError, match=rf"^{file}:4: record hand:\w+: expected the field 'rejected'"):
        examples(data, stage, run)


def test_an_edit_behind_a_stage_that_is_done_is_refused_until_its_folder_is_removed(workdir, capsys, trained_on):
    run_on_one(RUN, str(workdir))
    before = arrays(workdir)
    records = edit(workdir)
    for name in ("tuned", "after"):  # what was trained on the file, and what was made of that
        line = refused(capsys, workdir)
        assert line.startswith(f"error: stage {name} of {workdir} was made of another data/data.jsonl ")
        assert f": remove {workdir / name} to run the stage again on the file as it is now" in line
        assert same(arrays(workdir), before) if name == "tuned" else not (workdir / "tuned").exists()
        shutil.rmtree(workdir / name)
    run_on_one(RUN, str(workdir))
    assert same(arrays(workdir), trained_on(records))
    assert not same(arrays(workdir), before)


def test_an_edit_behind_a_stage_that_is_done_can_be_taken_back(workdir, capsys):
    run_on_one(RUN, str(workdir))
    whole = file_of(workdir).read_bytes()
    edit(workdir)
    assert refused(capsys, workdir).endswith("or take the edit back")
    file_of(workdir).write_bytes(whole)
    run_on_one(RUN, str(workdir))
    assert "all is done" in capsys.readouterr().err


def test_an_edit_while_a_stage_is_under_way_is_refused_once_it_has_a_checkpoint(workdir, monkeypatch, trained_on):
    often = dataclasses.replace(TUNED, checkpoint_every=1)
    run = dataclasses.replace(RUN, stages=(*RUN.stages[:3], often))
    whole = file_of(workdir).read_bytes()
    with monkeypatch.context() as patch:
        stopping(patch, Checkpointer, "save", call=2, after=True)
        with pytest.raises(Stopped):
            run_on_one(run, str(workdir))
    edit(workdir)
    with pytest.raises(WorkdirError, match="stage tuned of .* was made of another data/data.jsonl"):
        run_on_one(run, str(workdir))
    file_of(workdir).write_bytes(whole)
    run_on_one(run, str(workdir))
    assert same(arrays(workdir), trained_on(lines(file_of(workdir))))


def test_an_edit_before_the_first_update_is_taken_and_told(workdir, capsys, monkeypatch, trained_on):
    with monkeypatch.context() as patch:
        stopping(patch, Session, "update", call=1, after=False)
        with pytest.raises(Stopped):
            run_on_one(RUN, str(workdir), stages=["tuned"])
    records = edit(workdir)
    run_on_one(RUN, str(workdir), stages=["tuned"])
    assert "tuned: resumed with changes: data/data.jsonl: " in capsys.readouterr().err
    assert same(arrays(workdir), trained_on(records))


def test_a_stage_alone_whose_data_is_not_there_is_refused_in_one_line(tmp_path, capsys):
    run_on_one(RUN, str(tmp_path / "run"), stages=["base"])
    line = refused(capsys, tmp_path / "run", stages=["tuned"])
    assert line == "error: stage tuned takes something from data, which is not done: run data first"
    assert Workdir(tmp_path / "run").status("tuned") is None


def test_a_data_set_that_was_removed_is_made_again_from_what_was_sampled(workdir, capsys):
    whole = file_of(workdir).read_bytes()
    edit(workdir)
    file_of(workdir).unlink()
    line = refused(capsys, workdir, stages=["tuned"])
    assert line == "error: stage tuned takes something from data, which is not done: run data first"
    run_on_one(RUN, str(workdir), stages=["data"])
    assert file_of(workdir).read_bytes() == whole
    said = capsys.readouterr().err
    assert "data: collect" in said
    assert "data/samples: sample" not in said


def test_a_failed_stage_leaves_the_others_to_be_used_and_to_be_run(workdir, capsys):
    break_line(workdir, 1)
    refused(capsys, workdir, stages=["tuned"])
    run_on_one(RUN, str(workdir), stages=["before"])
    summary = Workdir(workdir).summary()["stages"]
    assert set(summary) == {"base", "data", "before"}
    assert 0 <= summary["before"]["pass@1"] <= 1
    line = refused(capsys, workdir, stages=["after"])
    assert line == "error: stage after starts from tuned, which is not done: run tuned first"
    assert "expected a JSON object" in Workdir(workdir).entry("tuned")["error"]


@pytest.mark.slow
def test_the_command_itself_ends_with_the_line_and_exit_code_2(workdir, tmp_path):
    config = config_file(tmp_path, "test_hand_edits.RUN")
    break_line(workdir, 2)
    process = start(config, workdir, "--stages=tuned")
    _, said = process.communicate(timeout=120)
    assert process.returncode == EXIT_USER_ERROR
    assert said.splitlines()[-1].startswith(f"error: {file_of(workdir)}:2: expected a JSON object on one line")
    assert "Traceback" not in said
