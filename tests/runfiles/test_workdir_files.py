"""JSONL by step and the journal: what a kill may leave, and what a resumed run finds."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from etils import epath

from r1jax.workdir import Journal, StageFolder, StepLines, WorkdirError
from r1jax.workdir import files as workdir_files


def test_lines_are_there_as_soon_as_they_are_appended(tmp_path):
    lines = StepLines(tmp_path / "stage" / "metrics.jsonl")
    assert lines.read() == []
    lines.append({"step": 1, "loss": 0.5}, {"step": 2, "text": "五 9\u2028x\n"})
    assert StepLines(lines.path).read() == [{"step": 1, "loss": 0.5}, {"step": 2, "text": "五 9\u2028x\n"}]


def test_half_of_a_surrogate_pair_is_written_as_an_escape_and_read_again(tmp_path):
    value = {"step": 1, "text": "五 \ud83d"}
    lines = StepLines(tmp_path / "metrics.jsonl")
    lines.append(value)
    workdir_files.write_lines(epath.Path(tmp_path / "lines.jsonl"), [value])
    workdir_files.write_json(epath.Path(tmp_path / "value.json"), value)
    assert lines.read() == [value]
    assert (tmp_path / "lines.jsonl").read_bytes() == lines.path.read_bytes()
    assert workdir_files.read_json(epath.Path(tmp_path / "value.json")) == value


def test_truncation_drops_later_steps_and_a_torn_line_and_keeps_the_bytes_of_the_rest(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1,  "a": 1.0}\n{"step": 2}\n{"step": 2, "b": 1}\n{"step": 3}\n{"step": 4, "c')
    StepLines(path).truncate(2)
    assert path.read_bytes() == b'{"step": 1,  "a": 1.0}\n{"step": 2}\n{"step": 2, "b": 1}\n'


def test_a_torn_line_is_not_read(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2}')  # the newline is what makes a line whole
    assert StepLines(path).read() == [{"step": 1}]


def test_a_broken_line_elsewhere_is_an_error_with_its_number(tmp_path):
    path = tmp_path / "metrics.jsonl"
    path.write_bytes(b'{"step": 1}\n{"st\n{"step": 3}\n')
    with pytest.raises(WorkdirError, match=r"metrics.jsonl:2: expected a JSON object with a step"):
        StepLines(path).truncate(3)


@pytest.mark.parametrize("record", [{"loss": 1.0}, {"step": "1"}, {"step": 1, "loss": float("nan")}])
def test_a_record_that_could_not_be_read_back_is_refused(tmp_path, record):
    with pytest.raises(ValueError):
        StepLines(tmp_path / "metrics.jsonl").append(record)
    assert not (tmp_path / "metrics.jsonl").exists()


def test_where_nothing_can_be_appended_the_whole_object_is_written_again(tmp_path, monkeypatch):
    monkeypatch.setattr(workdir_files, "is_remote", lambda path: True)
    lines = StepLines(tmp_path / "metrics.jsonl")
    lines.append({"step": 1})
    lines.append({"step": 2})
    lines.truncate(1)
    lines.append({"step": 2, "again": True})
    assert lines.read() == [{"step": 1}, {"step": 2, "again": True}]


def test_a_relative_path_is_made_absolute_and_a_bucket_stays_one(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert os.fspath(workdir_files.absolute("runs/demo")) == os.fspath(tmp_path / "runs" / "demo")
    assert os.fspath(workdir_files.absolute("gs://bucket/runs")) == "gs://bucket/runs"
    assert workdir_files.is_remote(workdir_files.absolute("gs://bucket/runs"))


def test_a_journal_entry_comes_back_bit_exact(tmp_path):
    journal = Journal(tmp_path)
    arrays = {"tokens": np.arange(6, dtype=np.int32).reshape(2, 3), "logps": np.float32([-0.1, -np.inf])}
    journal.write(7, arrays, {"statuses": ["correct", None], "step": 7})
    entry = Journal(tmp_path).read(7)
    assert entry.info == {"statuses": ["correct", None], "step": 7}
    assert entry.arrays.keys() == arrays.keys()
    for name, array in arrays.items():
        assert entry.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(entry.arrays[name], array)
    assert journal.read(8) is None


def test_entries_that_a_kill_or_a_power_cut_left_torn_are_not_there(tmp_path):
    journal = Journal(tmp_path)
    journal.write(1, {"tokens": np.arange(1000)})
    whole = (tmp_path / "00000001.npz").read_bytes()
    (tmp_path / ".00000002.npz.tmp").write_bytes(whole[:50])  # killed before the rename
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "00000003.npz").write_bytes(whole[:length])
        assert journal.read(3) is None
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 1
    (tmp_path / "00000003.npz").write_bytes(bytes(flipped))
    assert journal.read(3) is None
    assert journal.steps() == [1, 3]
    np.testing.assert_array_equal(journal.read(1).arrays["tokens"], np.arange(1000))


def test_a_rewritten_entry_replaces_the_former(tmp_path):
    journal = Journal(tmp_path)
    journal.write(1, {"a": np.zeros(2)})
    journal.write(1, {"a": np.ones(2)})
    np.testing.assert_array_equal(journal.read(1).arrays["a"], np.ones(2))


def test_an_array_that_numpy_would_not_read_back_is_refused(tmp_path):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for array in (np.zeros(2, ml_dtypes.bfloat16), np.array([None])):
        with pytest.raises(ValueError, match="journal array logps"):
            Journal(tmp_path).write(1, {"logps": array})


def test_pruning_keeps_the_step_of_the_checkpoint_and_what_follows(tmp_path):
    journal = Journal(tmp_path)
    assert journal.steps() == []
    for step in (8, 9, 10, 11):
        journal.write(step, {})
    journal.prune(before=10)
    assert journal.steps() == [10, 11]
    journal.clear()
    assert journal.steps() == []


def test_a_resumed_stage_drops_later_lines_but_keeps_the_rollouts_to_replay(tmp_path):
    stage = StageFolder(tmp_path / "zero")
    for step in (1, 2, 3):
        stage.metrics.append({"step": step})
        stage.samples.append({"step": step}, {"step": step})
        stage.journal.write(step - 1, {})  # the rollout that update `step` trains on begins at step - 1
    stage.truncate(2)
    assert [line["step"] for line in stage.metrics.read()] == [1, 2]
    assert [line["step"] for line in stage.samples.read()] == [1, 1, 2, 2]
    assert stage.journal.steps() == [2]
    stage.truncate(-1)  # begun again without a checkpoint
    assert stage.metrics.read() == []
    assert stage.journal.steps() == [2]


def test_the_evaluation_of_a_stage_is_none_before_there_is_one(tmp_path):
    stage = StageFolder(tmp_path / "zero")
    assert stage.read_evaluation() is None
    stage.write_evaluation({"pass@1": 0.5})
    assert stage.read_evaluation() == {"pass@1": 0.5}


def test_a_write_that_is_killed_leaves_the_former_file(tmp_path):
    path = tmp_path / "manifest.json"
    workdir_files.write_json(path, {"n": 0})
    code = (
        "import sys; from etils import epath; from r1jax.workdir.files import write_json\n"
        "n = 0\n"
        "while True:\n"
        "    n += 1\n"
        "    write_json(epath.Path(sys.argv[1]), {'n': n, 'fill': 'x' * 200_000})\n"
        "    print(n, flush=True)\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()
    ) as process:
        for line in process.stdout:
            if int(line) == 20:
                process.kill()
                break
    found = workdir_files.read_json(path)
    assert found["n"] >= 20
    assert len(found["fill"]) == 200_000


def test_the_workdir_does_not_load_jax():
    code = "import sys, r1jax.workdir, r1jax.config.flags; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_that_is_no_text_is_an_error_with_its_name(tmp_path):
    (tmp_path / "manifest.json").write_bytes(b"\xff\xfe{")
    with pytest.raises(WorkdirError, match=r"manifest.json: expected JSON, found what is no text"):
        workdir_files.read_json(epath.Path(tmp_path / "manifest.json"))
