"""kill -9 at random moments of a reward model's stage, start again each time: the same bits, no line twice."""

import json
import pathlib
import random
import signal
import subprocess
import time

import chex
import pytest
from test_kills import start
from test_resume import without_clock
from test_reward_model_stage import final_state
from tiny_preferences import pairs, written

KILLS = 4


@pytest.mark.slow
def test_a_reward_model_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    data = written(tmp_path / "pairs.jsonl", pairs(48))
    config = tmp_path / "config.py"
    config.write_text(
        f"""
import sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
from r1jax.config import DataConfig
from tiny_preferences import helpful
from tiny_runs import tiny_run

def get_config():
    data = DataConfig(kind="jsonl", path={data.path!r})
    return tiny_run(helpful(data, num_steps=12, validate_every=3))
"""
    )
    begun = time.monotonic()
    process = start(config, tmp_path / "whole")
    assert process.wait(timeout=600) == 0, process.stderr.read()
    whole_seconds = time.monotonic() - begun

    draw = random.Random(0)
    for _ in range(KILLS):
        process = start(config, tmp_path / "killed")
        process.stderr.readline()  # the imports are over
        try:
            process.wait(timeout=draw.uniform(0, whole_seconds / 2))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
    process = start(config, tmp_path / "killed")
    assert process.wait(timeout=600) == 0, process.stderr.read()

    killed, whole = (tmp_path / name / "helpful" for name in ("killed", "whole"))
    chex.assert_trees_all_equal(final_state(killed), final_state(whole))
    assert without_clock(killed / "metrics.jsonl") == without_clock(whole / "metrics.jsonl")
    assert json.loads((killed / "eval.json").read_text()) == json.loads((whole / "eval.json").read_text())
