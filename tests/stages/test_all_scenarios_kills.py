"""kill -9 at random moments of RL with a reward model, start again each time: the same bits, no line twice."""

import json
import pathlib
import random
import signal
import subprocess
import time

import numpy as np
import pytest
from test_all_scenarios import final_arrays
from test_kills import start
from test_resume import without_clock

KILLS = 4


@pytest.mark.slow
def test_rl_with_a_reward_model_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    config = tmp_path / "config.py"
    config.write_text(
        f"""
import pathlib, sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
from test_all_scenarios import of_all_scenarios

def get_config():
    return of_all_scenarios(pathlib.Path({str(tmp_path)!r}))
"""
    )
    begun = time.monotonic()
    process = start(config, tmp_path / "whole")
    assert process.wait(timeout=600) == 0, process.stderr.read()
    whole_seconds = time.monotonic() - begun

    draw = random.Random(0)
    for _ in range(KILLS):
        process = start(config, tmp_path / "killed")
        for line in process.stderr:  # the stages before are done
            if line.startswith("scenarios: "):
                break
        try:
            process.wait(timeout=draw.uniform(0, whole_seconds / 2))
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
    process = start(config, tmp_path / "killed")
    assert process.wait(timeout=600) == 0, process.stderr.read()

    killed, whole = (tmp_path / name / "scenarios" for name in ("killed", "whole"))
    for found, expected in zip(final_arrays(killed), final_arrays(whole), strict=True):
        np.testing.assert_array_equal(found, expected)
    for file in ("metrics.jsonl", "samples.jsonl"):
        assert without_clock(killed / file) == without_clock(whole / file)
        found = [json.dumps(line) for line in without_clock(killed / file)]
        assert len(found) == len(set(found))
