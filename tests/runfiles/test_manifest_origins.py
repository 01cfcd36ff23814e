"""A stage with checkpoints, or a finished one, is of the stages it was made from: others in their place are refused."""

from __future__ import annotations

import dataclasses
import itertools
import json
import shutil

import pytest

from r1jax.config import (
    BatchConfig,
    DataConfig,
    EvaluateConfig,
    EvaluationConfig,
    GrpoConfig,
    LoggingConfig,
    ModelConfig,
    OptimizerConfig,
    PreferenceConfig,
    PretrainConfig,
    RewardModelConfig,
    RunConfig,
    TokenizerConfig,
)
from r1jax.config.flags import apply
from r1jax.workdir import Plan, Workdir, WorkdirError

SUMS = DataConfig("task", name="sums", limit=10)
TRAINING = {"data": SUMS, "num_steps": 40, "optimizer": OptimizerConfig(), "batch": BatchConfig(2048, 2)}
RUN = RunConfig(
    name="test",
    model=ModelConfig(vocab_size=32, hidden_size=8, num_layers=1, num_heads=2, num_kv_heads=1, ffn_size=16),
    tokenizer=TokenizerConfig(task="sums"),
    stages=(
        PretrainConfig(name="base", **TRAINING),
        EvaluateConfig(name="look", start="base", evaluation=EvaluationConfig(SUMS)),
        RewardModelConfig(name="helpful", start="base", **TRAINING),
        GrpoConfig(
            name="zero", start="look", preferences=(PreferenceConfig("helpful", sets=("default",)),), **TRAINING
        ),
    ),
)


@pytest.fixture(autouse=True)
def every_run_has_a_time_of_its_own(monkeypatch):
    times = itertools.count()
    monkeypatch.setattr("r1jax.workdir.manifest._utc_now", lambda: f"time {next(times)}")


def run_stages(workdir: Workdir, run: RunConfig, *names: str) -> None:
    for name in names:
        workdir.begin(run, name)
        workdir.finish(name, {})


def under_way(path, run=RUN) -> Workdir:
    """A workdir whose last stage was interrupted when it had a checkpoint."""
    workdir = Workdir(path)
    workdir.claim(run)
    run_stages(workdir, run, "base", "look", "helpful")
    (workdir.begin(run, "zero").checkpoints / "10").mkdir(parents=True)
    workdir.pause("zero")
    return workdir


def run_again(workdir: Workdir, run: RunConfig, *names: str) -> None:
    for name in names:
        shutil.rmtree(workdir.path / name)
    run_stages(workdir, run, *names)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("stages.base.num_steps", "20", "stages.base.num_steps: 40 -> 20"),
        ("stages.helpful.num_steps", "20", "stages.helpful.num_steps: 40 -> 20"),
        ("stages.zero.start", "base", 'stages.zero.start: "look" -> "base"'),
        ("model.qk_norm", "true", "model.qk_norm: false -> true"),
        ("tokenizer.task", "others", 'tokenizer.task: "sums" -> "others"'),
        ("seed", "1", "seed: 0 -> 1"),
    ],
)
def test_a_stage_with_a_checkpoint_is_not_resumed_on_what_another_config_makes(tmp_path, field, value, named):
    workdir, changed = under_way(tmp_path), apply(RUN, [(field, value)])
    with pytest.raises(
        WorkdirError, match="stage zero of .* has checkpoints, and comes from another config"
    ) as refusal:
        workdir.plan(changed, "zero")
    assert named in str(refusal.value)
    assert f"remove {tmp_path / 'zero'} to run the stage again" in str(refusal.value)
    assert "\n" not in str(refusal.value)
    shutil.rmtree(tmp_path / "zero" / "checkpoints")  # nothing has come of it
    assert workdir.plan(changed, "zero").action == "resume"


@pytest.mark.parametrize("field", ["num_steps", "checkpoint_every", "group_size"])
def test_a_stage_with_a_checkpoint_is_resumed_with_changes_of_its_own(tmp_path, field):
    workdir, changed = under_way(tmp_path), apply(RUN, [(f"stages.zero.{field}", "80")])
    changed = dataclasses.replace(changed, logging=LoggingConfig(tensorboard=False))
    plan = workdir.plan(changed, "zero")
    assert plan.action == "resume"
    assert [change.split(":")[0] for change in plan.changes] == [f"stages.zero.{field}"]


def test_a_stage_that_is_taken_from_no_longer_is_a_change_of_the_stage_s_own(tmp_path):
    workdir = under_way(tmp_path)
    without = dataclasses.replace(RUN, stages=(*RUN.stages[:3], dataclasses.replace(RUN.stages[3], preferences=())))
    assert workdir.plan(without, "zero").action == "resume"


@pytest.mark.parametrize("source", ["base", "helpful"])
@pytest.mark.parametrize("status", ["under way", "done"])
def test_a_stage_is_refused_where_one_that_it_was_made_of_was_run_again(tmp_path, source, status):
    workdir = under_way(tmp_path)
    if status == "done":
        workdir.begin(RUN, "zero")
        workdir.finish("zero", {})
    run_again(workdir, RUN, source)
    for call in (lambda: workdir.plan(RUN, "zero"), lambda: workdir.begin(RUN, "zero")):
        with pytest.raises(WorkdirError, match=rf"stage zero of .* was made of another {source} \(begun time \d+ -> "):
            call()
    shutil.rmtree(tmp_path / "zero")
    assert workdir.plan(RUN, "zero") == Plan("start")


def test_a_stage_that_has_made_nothing_yet_takes_what_was_run_again_and_says_so(tmp_path):
    workdir = under_way(tmp_path)
    shutil.rmtree(tmp_path / "zero" / "checkpoints")
    run_again(workdir, RUN, "helpful")
    (change,) = workdir.plan(RUN, "zero").changes
    assert change.startswith("helpful: begun time ")
    workdir.begin(RUN, "zero")
    assert workdir.plan(RUN, "zero") == Plan("resume")


def test_a_source_that_was_only_resumed_or_looked_at_again_is_the_same(tmp_path):
    workdir = Workdir(tmp_path)
    workdir.claim(RUN)
    workdir.begin(RUN, "base")
    workdir.pause("base")
    run_stages(workdir, RUN, "base", "look", "helpful", "zero")
    run_again(workdir, RUN, "look")
    assert workdir.plan(RUN, "zero") == Plan("skip")


def test_what_would_be_trained_again_behind_a_stage_is_refused_before_it_is(tmp_path):
    workdir = under_way(tmp_path)
    (tmp_path / "base").rename(tmp_path / "elsewhere")
    written = (tmp_path / "config.json").read_bytes()
    for todo in (None, ["base"]):
        with pytest.raises(
            WorkdirError, match="stage look of .* was made of base, which would be run again: put"
        ) as no:
            workdir.claim(dataclasses.replace(RUN, logging=LoggingConfig(tensorboard=False)), todo)
        assert "leave base out with --stages, or remove" in str(no.value)
        assert (tmp_path / "config.json").read_bytes() == written
    assert workdir.claim(RUN, ["zero"])["zero"] == Plan("resume")  # base is not run
    for name in ("look", "helpful", "zero"):
        shutil.rmtree(tmp_path / name)
    assert set(workdir.claim(RUN).values()) == {Plan("start")}
    (tmp_path / "elsewhere").rename(tmp_path / "base")
    assert workdir.claim(RUN)["base"] == Plan("skip")


def test_a_reward_model_that_is_added_is_nothing_that_the_stage_was_made_of(tmp_path):
    without = (*RUN.stages[:2], dataclasses.replace(RUN.stages[3], preferences=()))
    workdir = Workdir(tmp_path)
    run_stages(workdir, dataclasses.replace(RUN, stages=without), "base", "look")
    (workdir.begin(dataclasses.replace(RUN, stages=without), "zero").checkpoints / "10").mkdir(parents=True)
    plans = workdir.claim(RUN)
    assert plans["helpful"] == Plan("start")
    assert plans["zero"].action == "resume"


def test_a_manifest_of_before_the_note_is_taken_as_it_is(tmp_path):
    workdir = under_way(tmp_path)
    manifest = json.loads((tmp_path / "manifest.json").read_text())
    assert list(manifest["stages"]["zero"].pop("begun")) == ["base", "helpful"]
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    run_again(workdir, RUN, "helpful")
    assert workdir.plan(RUN, "zero") == Plan("resume")
    workdir.begin(RUN, "zero")
    run_again(workdir, RUN, "helpful")
    with pytest.raises(WorkdirError, match="stage zero of .* was made of another helpful"):
        workdir.plan(RUN, "zero")
