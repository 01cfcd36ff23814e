"""kill -9 in every stage of a whole programme, start again each time: the same table, the same bits, the same files."""

import collections
import json
import pathlib
import random
import shutil
import signal
import subprocess
import time

import jax
import numpy as np
import pytest
from orbax.checkpoint import v1 as ocp
from test_resume import without_clock
from tiny_programme import config_file, programme, start

from r1jax.config import CollectConfig, GrpoConfig, PretrainConfig, RewardModelConfig, RunConfig, SftConfig
from r1jax.workdir import Workdir

KILLS = collections.defaultdict(  # of each stage, so that every kind is killed three times at least
    lambda: 3,
    {SftConfig: 1, RewardModelConfig: 1, PretrainConfig: 2, GrpoConfig: 2, CollectConfig: 2},
)
# Compared apart, or of the sessions: curves show the speed, samples are kept with the times of earlier stages, and
# evaluations are known by the times of checkpoints.
SESSION_FILES = {"journal", "checkpoints", "sampled", "metrics.jsonl", "curves.png", "scored.json"}


def finish(process: subprocess.Popen) -> None:
    _, said = process.communicate(timeout=300)
    assert process.returncode == 0, said


def killed_in(stage: str, config: pathlib.Path, path: pathlib.Path, seconds: float) -> bool:
    """Starts the run, and kills it so long after the stage has begun; whether that was before the stage's end."""
    process, workdir = start(config, path), Workdir(path)
    for line in process.stderr:
        if line.startswith(f"{stage}: ") and line.rstrip().endswith(str(path / stage)):
            break
    end = time.monotonic() + seconds
    while time.monotonic() < end and workdir.status(stage) == "running":
        time.sleep(min(0.01, max(0.0, end - time.monotonic())))
    process.send_signal(signal.SIGKILL)
    _, said = process.communicate(timeout=60)  # ends when the processes that grade have noticed, and let go of the pipe
    assert process.returncode in (-signal.SIGKILL, 0), said
    return workdir.status(stage) == "running"


def without_seconds(value):
    if isinstance(value, dict):
        return {name: without_seconds(one) for name, one in value.items() if name != "seconds"}
    return value


def table(path: pathlib.Path) -> dict:
    """All that the final table is made of, but how long the stages took."""
    return without_seconds(json.loads((path / "summary.json").read_text()))


def checkpoints(folder: pathlib.Path) -> dict[str, list[np.ndarray]]:
    """The arrays of every checkpoint that a stage has kept: parameters, moments, reference, counters."""
    root = folder / "checkpoints"
    steps = sorted(child.name for child in root.iterdir()) if root.exists() else []
    return {step: jax.tree.leaves(ocp.load_checkpointables(root / step)["state"]) for step in steps}


def files(folder: pathlib.Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in folder.iterdir() if file.name not in SESSION_FILES}


def assert_same(killed: pathlib.Path, whole: pathlib.Path, run: RunConfig) -> None:
    assert table(killed) == table(whole)
    assert list(table(whole)["stages"]) == [stage.name for stage in run.stages]
    for stage in run.stages:
        mine, expected = killed / stage.name, whole / stage.name
        assert files(mine) == files(expected), stage.name
        found, wanted = checkpoints(mine), checkpoints(expected)
        assert found.keys() == wanted.keys(), stage.name
        for step in wanted:
            for one, other in zip(found[step], wanted[step], strict=True):
                np.testing.assert_array_equal(one, other, err_msg=f"{stage.name}, step {step}")
        if (expected / "metrics.jsonl").exists():
            assert without_clock(mine / "metrics.jsonl") == without_clock(expected / "metrics.jsonl"), stage.name


@pytest.mark.slow
def test_a_programme_killed_in_every_stage_ends_as_if_it_had_not_been(tmp_path):
    run = programme(tmp_path)
    config = config_file(tmp_path, f"tiny_programme.programme(pathlib.Path({str(tmp_path)!r}))")
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    finish(start(config, whole))
    seconds = {name: one["seconds"] for name, one in Workdir(whole).summary()["stages"].items()}

    draw = random.Random(0)
    for stage in run.stages:
        latest, kills = seconds[stage.name], 0
        while kills < KILLS[type(stage)]:
            if killed_in(stage.name, config, killed, draw.uniform(0, latest)):
                kills += 1
            else:  # too late: the first run had to compile, or the machine is faster by now
                shutil.rmtree(killed / stage.name)
                latest /= 2
    finish(start(config, killed))

    assert_same(killed, whole, run)
