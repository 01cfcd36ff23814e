"""kill -9 at random moments, start again each time: the same bits, no line twice."""

import json
import pathlib
import random
import signal
import subprocess
import sys
import time

import pytest
from test_resume import assert_same_run
from tiny_runs import lines

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIG = f"""
import sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
from test_resume import RUN

def get_config():
    return RUN
"""
KILLS = 5


def start(config: pathlib.Path, workdir: pathlib.Path) -> subprocess.Popen:
    command = [sys.executable, "experiments/run.py", f"--config={config}", f"--workdir={workdir}"]
    return subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_run_killed_at_five_random_moments_ends_as_if_it_had_not_been(seed, tmp_path):
    config = tmp_path / "config.py"
    config.write_text(CONFIG)
    begun = time.monotonic()
    process = start(config, tmp_path / "whole")
    assert process.wait(timeout=600) == 0, process.stderr.read()
    whole_seconds = time.monotonic() - begun

    draw = random.Random(seed)
    moments = []
    for _ in range(KILLS):
        process = start(config, tmp_path / "killed")
        # Half of the kills fall into the loop of a stage, not into the imports before it.
        if draw.random() < 0.5:
            process.stderr.readline()
        delay = draw.uniform(0, whole_seconds / 2)
        try:
            process.wait(timeout=delay)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.wait()
        moments.append(round(delay, 2))
    process = start(config, tmp_path / "killed")
    assert process.wait(timeout=600) == 0, process.stderr.read()
    print(f"killed after {moments} s of {whole_seconds:.1f} s")

    assert_same_run(tmp_path / "killed", tmp_path / "whole")
    for name in ("metrics.jsonl", "samples.jsonl"):
        found = [json.dumps(line) for line in lines(tmp_path / "killed" / "zero" / name)]
        assert len(found) == len(set(found))
