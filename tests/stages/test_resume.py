"""A run that was stopped anywhere goes on to the very parameters, metrics and samples of the uninterrupted run."""

import dataclasses
import json
import os
import signal
import types

import jax
import numpy as np
import pytest
from tiny_runs import BASE, EVALUATION, ZERO, lines, run_on_one, tiny_run

from r1jax import pipeline
from r1jax.checkpoint import Checkpointer
from r1jax.config import GateConfig
from r1jax.rewards.service import RewardService
from r1jax.sampler.engine import Sampler
from r1jax.stages import pretrain
from r1jax.stages import rollout as rollouts
from r1jax.stages.errors import EXIT_PREEMPTED, Preempted
from r1jax.stages.session import Session
from r1jax.workdir import Workdir

# Two minibatches, a validation and a reference refresh: everything that a checkpoint must bring back.
STAGE = dataclasses.replace(
    ZERO,
    num_steps=8,
    minibatches=2,
    checkpoint_every=4,
    reference_refresh_every=4,
    validation=dataclasses.replace(EVALUATION, samples=2),
    validate_every=4,
    evaluation=None,
)
RUN = tiny_run(BASE, STAGE)
CLOCK = {"seconds", "tokens_per_second"}


class Stopped(BaseException):
    """What stands in for a kill: nothing in the run catches it."""


def stopping(monkeypatch, owner, name: str, *, call: int, after: bool) -> None:
    """Stops the run at the n-th call of a function, before or after it has done its work."""
    original, calls = getattr(owner, name), []

    def stop(*args, **kwargs):
        calls.append(name)
        if len(calls) == call and not after:
            raise Stopped
        result = original(*args, **kwargs)
        if len(calls) == call:
            raise Stopped
        return result

    monkeypatch.setattr(owner, name, stop)


def final_arrays(path) -> list[np.ndarray]:
    """The last checkpoint of `zero`, bit by bit: parameters, moments, reference, counters."""
    folder = path / "zero" / "checkpoints"
    from orbax.checkpoint import v1 as ocp

    with Checkpointer(folder, keep=2) as checkpoints:
        step = checkpoints.latest()
    assert step == STAGE.num_steps
    return jax.tree.leaves(ocp.load_checkpointables(folder / str(step))["state"])


def without_clock(path) -> list[dict]:
    """The lines of metrics, less what depends on the clock."""
    return [
        {name: value for name, value in line.items() if name not in CLOCK and not name.startswith("grading/")}
        for line in lines(path)
    ]


def assert_same_run(path, reference) -> None:
    for found, expected in zip(final_arrays(path), final_arrays(reference), strict=True):
        np.testing.assert_array_equal(found, expected)
    for stage in ("base", "zero"):
        assert without_clock(path / stage / "metrics.jsonl") == without_clock(reference / stage / "metrics.jsonl")
    assert lines(path / "zero" / "samples.jsonl") == lines(reference / "zero" / "samples.jsonl")


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    path = tmp_path_factory.mktemp("uninterrupted")
    run_on_one(RUN, str(path))
    return path


MOMENTS = {
    "pretraining, before an update": (Session, "update", 5, False),
    "sampling, before the first completion": (Sampler, "generate", 2, False),
    "grading": (RewardService, "submit_batch", 10, False),
    "before the journal": (rollouts, "journal", 3, False),
    "after the journal": (rollouts, "journal", 3, True),
    "between two minibatches": (Session, "update", 6 + 4, False),
    "before a save": (Checkpointer, "save", 4, False),
    "after a save": (Checkpointer, "save", 3, True),
}


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_run_that_was_stopped_resumes_to_the_same_bits(moment, uninterrupted, tmp_path, monkeypatch):
    owner, name, call, after = MOMENTS[moment]
    with monkeypatch.context() as patch:
        stopping(patch, owner, name, call=call, after=after)
        with pytest.raises(Stopped):
            run_on_one(RUN, str(tmp_path))
    run_on_one(RUN, str(tmp_path))
    assert_same_run(tmp_path, uninterrupted)


def test_a_rollout_in_the_journal_is_replayed_and_not_sampled_again(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        stopping(patch, rollouts, "journal", call=1, after=True)
        with pytest.raises(Stopped):
            run_on_one(RUN, str(tmp_path))
    sampled = []
    collect = rollouts.collect
    monkeypatch.setattr(
        rollouts, "collect", lambda stage, step, **rest: sampled.append(step) or collect(stage, step, **rest)
    )
    run_on_one(RUN, str(tmp_path))
    assert sampled == [2, 4, 6]


def test_a_verdict_is_taken_from_the_journal_whatever_the_grader_says_now(tmp_path, uninterrupted, monkeypatch):
    with monkeypatch.context() as patch:
        stopping(patch, rollouts, "journal", call=1, after=True)
        with pytest.raises(Stopped):
            run_on_one(RUN, str(tmp_path))
    rollout = rollouts.replay(0, pipeline_context(tmp_path), STAGE)
    verdicts = [one.verdict.total({"maths": 1.0, "tiny_runs:length": 1.0}) for one in rollout.completions]
    assert len(set(verdicts)) > 1
    assert all(one.text for one in rollout.completions)


def pipeline_context(path):
    return pipeline.open_context(RUN, Workdir(path))


def test_sigterm_saves_at_the_next_step_and_the_run_goes_on_from_it(uninterrupted, tmp_path, monkeypatch):
    update = Session.update

    def terminated_at_step_two(self, batch):
        metrics = update(self, batch)
        if self.stage.name == "zero" and self.step == 2:
            os.kill(os.getpid(), signal.SIGTERM)
        return metrics

    with monkeypatch.context() as patch:
        patch.setattr(Session, "update", terminated_at_step_two)
        with pytest.raises(Preempted) as stopped:
            run_on_one(RUN, str(tmp_path))
    assert stopped.value.code == EXIT_PREEMPTED
    with Checkpointer(tmp_path / "zero" / "checkpoints", keep=2) as checkpoints:
        assert checkpoints.latest() == 2
    assert json.loads((tmp_path / "manifest.json").read_text())["stages"]["zero"]["status"] == "running"
    run_on_one(RUN, str(tmp_path))
    assert_same_run(tmp_path, uninterrupted)


@pytest.mark.parametrize("moment", ["the gate is judged", "the last save is awaited"])
def test_sigterm_after_the_last_step_ends_the_run_too(moment, tmp_path, monkeypatch):
    stage = dataclasses.replace(BASE, gate=GateConfig(evaluation=EVALUATION, accuracy=0.5))
    run = tiny_run(stage)
    passed = types.SimpleNamespace(summary={"pass@1": 1.0})

    def terminated(result):
        os.kill(os.getpid(), signal.SIGTERM)
        return result

    monkeypatch.setattr(pretrain, "evaluate", lambda *args, **kw: passed)
    with monkeypatch.context() as patch:
        if moment == "the gate is judged":
            patch.setattr(pretrain, "evaluate", lambda *args, **kw: terminated(passed))
        else:
            result_step = Session.result_step
            patch.setattr(Session, "result_step", lambda self: terminated(result_step(self)))
        with pytest.raises(Preempted):
            run_on_one(run, str(tmp_path))
    assert Workdir(tmp_path).status("base") == "running"
    with monkeypatch.context() as patch:  # no step is left to take
        stopping(patch, Session, "update", call=1, after=False)
        run_on_one(run, str(tmp_path))
    assert Workdir(tmp_path).outputs("base")["step"] == BASE.num_steps
