"""Marks of weights: the same for a copy, another for other weights, and cheap for large files."""

import os
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from r1jax.checkpoint import Checkpointer
from r1jax.workdir.weights_mark import weights_mark


def write_tensors(folder, change=0.0, **more):
    """8 MiB: far more than is read."""
    folder.mkdir(exist_ok=True)
    values = np.random.default_rng(0).standard_normal((2048, 1024), np.float32)
    save_file({"a.weight": values + change, **more}, folder / "model.safetensors")
    (folder / "config.json").write_text('{"hidden_size": 1024}')
    return folder


def test_a_copy_has_the_same_mark_and_every_change_another(tmp_path):
    folder = write_tensors(tmp_path / "one")
    mark = weights_mark(folder)
    assert len(mark) == 16
    shutil.copytree(folder, tmp_path / "copy")
    assert weights_mark(tmp_path / "copy") == mark
    (folder / "tokenizer.json").write_text("{}")  # no weights
    assert weights_mark(folder) == mark

    marks = {mark}
    write_tensors(folder, change=1e-3)  # the same names, shapes and bytes of header
    assert (folder / "model.safetensors").stat().st_size == (tmp_path / "copy" / "model.safetensors").stat().st_size
    marks.add(weights_mark(folder))
    write_tensors(folder, b=np.zeros(1, np.float32))
    marks.add(weights_mark(folder))
    write_tensors(folder)
    assert weights_mark(folder) == mark
    (folder / "config.json").write_text('{"hidden_size": 1023}')
    marks.add(weights_mark(folder))
    write_tensors(folder)
    (folder / "model.safetensors").rename(folder / "model-00001-of-00001.safetensors")
    marks.add(weights_mark(folder))
    assert len(marks) == 5


def test_what_is_small_counts_to_its_last_byte(tmp_path):
    marks = set()
    for last in range(3):
        save_file(
            {"a": np.arange(100, dtype=np.float32), "b": np.full(1, last, np.float32)}, tmp_path / "x.safetensors"
        )
        marks.add(weights_mark(tmp_path))
    assert len(marks) == 3


def test_of_a_file_of_100_gigabytes_little_is_read(tmp_path):
    file = tmp_path / "model.safetensors"
    header = b'{"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}'
    file.write_bytes(len(header).to_bytes(8, "little") + header)
    os.truncate(file, 100 * 2**30)  # without blocks on the disk; all of it would take minutes
    mark = weights_mark(tmp_path)
    with open(file, "r+b") as opened:
        opened.seek(-1, os.SEEK_END)
        opened.write(b"x")
    assert weights_mark(tmp_path) != mark


@pytest.mark.parametrize("content", [b"", b"abc", b"\xff" * 8, b"\xff" * 5000])
def test_a_broken_file_is_for_the_import_to_refuse(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)
    assert weights_mark(tmp_path) is not None


def test_of_checkpoints_the_newest_counts(tmp_path):
    folder = tmp_path / "stage" / "checkpoints"
    marks = []
    with Checkpointer(folder, keep=3) as checkpoints:
        for step in (5, 10):
            checkpoints.save(step, {"params": {"a": jnp.ones(3)}})
            checkpoints.wait()
            marks.append(weights_mark(folder))
    assert marks[0] != marks[1]
    assert weights_mark(tmp_path / "stage") == weights_mark(folder / "10") == marks[1]
    assert weights_mark(folder / "5") == marks[0]
    with Checkpointer(tmp_path / "again", keep=1) as checkpoints:  # of the same step, maybe of other numbers
        checkpoints.save(10, {"params": {"a": jnp.ones(3)}})
    assert weights_mark(tmp_path / "again") != marks[1]
    shutil.copytree(folder, tmp_path / "copy")
    assert weights_mark(tmp_path / "copy") == marks[1]


def test_where_there_are_no_weights_there_is_no_mark(tmp_path):
    assert weights_mark(tmp_path) is None
    assert weights_mark(tmp_path / "absent") is None
