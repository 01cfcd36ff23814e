"""kill -9 at random moments of step labels, value model and search, start again each time: the same bytes."""

import json
import pathlib
import random
import signal
import subprocess
import time

import pytest
from test_kills import start

KILLS = 4


@pytest.mark.slow
def test_a_search_killed_at_random_moments_ends_as_if_it_had_not_been(tmp_path):
    config = tmp_path / "config.py"
    config.write_text(
        f"""
import sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
from tiny_search import judged_run, labels, of_stage, searching, value

def get_config():
    before = labels(start=None), value(of_stage("labels"), start=None)
    return judged_run(*before, searching(start=None))
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

    for file in (
        "labels/data.jsonl",
        "search/data.jsonl",
        "search/values.jsonl",
        "search/eval.json",
        "value/eval.json",
    ):
        assert (tmp_path / "killed" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes(), file
    assert json.loads((tmp_path / "killed" / "search" / "eval.json").read_text())["num_prompts"] == 6
