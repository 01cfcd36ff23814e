"""Collecting that was stopped anywhere ends in the files of the uninterrupted run, and samples nothing twice."""

import dataclasses
import os
import signal

import pytest
from test_resume import Stopped, stopping
from tiny_collect import COLLECT, PREFER, collecting
from tiny_runs import run_on_one

from r1jax.config import RefineConfig
from r1jax.data import stage_files
from r1jax.rewards.service import RewardService
from r1jax.sampler.engine import Sampler
from r1jax.stages.errors import EXIT_PREEMPTED, Preempted
from r1jax.workdir import Workdir
from r1jax.workdir.journal import Journal

RUN = collecting(
    dataclasses.replace(COLLECT, refine=RefineConfig(by="rule", rule="tiny_collect:halved"), batch_prompts=3), PREFER
)
FILES = {
    "data": ("data.jsonl", "prompts.jsonl", "filters.json", "samples.jsonl"),
    "pairs": ("data.jsonl", "filters.json", "samples.jsonl"),
}
MOMENTS = {
    "before the first sample": (Sampler, "generate", 1, False),
    "in the third batch": (Sampler, "generate", 3, True),
    "while the second batch is graded": (RewardService, "submit_batch", 5, False),
    "before a batch is on disk": (Journal, "write", 2, False),
    "when a batch is on disk": (Journal, "write", 2, True),
    "while refined samples are graded": (RewardService, "score", 2, False),
    "before the data set is written": (stage_files, "write", 2, False),
    "when the data set is written": (stage_files, "write", 2, True),
    "while answers are sampled for pairs": (Sampler, "generate", 6, False),
    "before the pairs are written": (stage_files, "write", 3, False),
}


def contents(path) -> dict[str, bytes]:
    return {f"{stage}/{name}": (path / stage / name).read_bytes() for stage, names in FILES.items() for name in names}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole")
    run_on_one(RUN, str(path))
    return contents(path)


@pytest.mark.parametrize("moment", MOMENTS)
def test_collecting_that_was_stopped_ends_in_the_same_bytes(moment, whole, tmp_path, monkeypatch):
    owner, name, call, after = MOMENTS[moment]
    with monkeypatch.context() as patch:
        stopping(patch, owner, name, call=call, after=after)
        with pytest.raises(Stopped):
            run_on_one(RUN, str(tmp_path))
    run_on_one(RUN, str(tmp_path))
    assert contents(tmp_path) == whole


def test_batches_that_are_on_disk_are_not_sampled_again(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stopping(patch, Journal, "write", call=3, after=False)
        with pytest.raises(Stopped):
            run_on_one(RUN, str(tmp_path))
    first_prompts, generate = [], Sampler.generate

    def note(self, requests, **how):
        first_prompts.append(requests[0].prompt)
        return generate(self, requests, **how)

    monkeypatch.setattr(Sampler, "generate", note)
    run_on_one(RUN, str(tmp_path), stages=["data"])
    assert first_prompts == [6, 9]  # of ten prompts in batches of three, two batches were there


def test_a_damaged_batch_is_sampled_again(whole, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stopping(patch, stage_files, "write", call=1, after=False)
        with pytest.raises(Stopped):
            run_on_one(RUN, str(tmp_path))
    batch = tmp_path / "data" / "sampled" / "samples" / "00000001.npz"
    batch.write_bytes(batch.read_bytes()[:100])
    run_on_one(RUN, str(tmp_path))
    assert contents(tmp_path) == whole


def test_sigterm_is_answered_at_the_end_of_a_batch(whole, tmp_path, monkeypatch):
    generate, calls = Sampler.generate, []

    def terminated(self, requests, **how):
        calls.append(len(requests))
        if len(calls) == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return generate(self, requests, **how)

    with monkeypatch.context() as patch:
        patch.setattr(Sampler, "generate", terminated)
        with pytest.raises(Preempted) as preempted:
            run_on_one(RUN, str(tmp_path))
    assert preempted.value.code == EXIT_PREEMPTED
    assert calls == [3, 3]
    assert Workdir(tmp_path).status("data") == "running"
    assert len(list((tmp_path / "data" / "sampled" / "samples").iterdir())) == 2
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    run_on_one(RUN, str(tmp_path))
    assert contents(tmp_path) == whole
