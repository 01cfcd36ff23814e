"""Whether the rewards of a run can run is found out before its first stage; how they ran stays in the manifest."""

import dataclasses
import json

import pytest
from tiny_runs import BASE, CHECK, EVALUATION, ZERO, run_on_one, tiny_run

from r1jax import pipeline
from r1jax.config import GateConfig, RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.errors import UserError
from r1jax.rewards.verdicts import Reward, Score, Status

PREPARED = {"jail": "none", "unsafe": False}


def prepare():
    if PREPARED["jail"] == "none":
        raise UserError("expected a jail, found none: install one")
    return PREPARED


def even_length(items):
    return [Score(float(item.num_tokens % 2 == 0), Status.CORRECT if item.tokens else Status.WRONG) for item in items]


JAILED = Reward(even_length, low=0.0, high=1.0, prepare=prepare)
SETS = (RewardSetConfig("default", (RewardConfig("test_reward_stamps:JAILED"), RewardConfig("tiny_runs:length"))),)


def jailed_run(*stages):
    return dataclasses.replace(tiny_run(*stages), rewards=RewardsConfig(sets=SETS))


def manifest(path):
    return json.loads((path / "manifest.json").read_text())["stages"]


def put_up(jail, unsafe=False):
    PREPARED.update(jail=jail, unsafe=unsafe)


@pytest.fixture(autouse=True)
def no_jail():
    put_up("none")


def test_a_run_whose_rewards_cannot_run_stops_before_its_first_stage(tmp_path):
    with pytest.raises(UserError, match="expected a jail, found none: install one"):
        run_on_one(jailed_run(BASE, ZERO), str(tmp_path))
    assert not (tmp_path / "manifest.json").exists()


def test_a_stage_that_needs_no_reward_runs_without_and_the_stamps_of_the_others_stay(tmp_path, monkeypatch):
    run = jailed_run(BASE, ZERO)
    run_on_one(run, str(tmp_path), stages=["base"])
    assert manifest(tmp_path)["base"]["rewards"] == []
    put_up("paper", unsafe=True)
    monkeypatch.setitem(pipeline.TRAINING, type(ZERO), stop)
    with pytest.raises(InterruptedError):
        run_on_one(run, str(tmp_path))
    monkeypatch.undo()
    put_up("steel")
    run_on_one(run, str(tmp_path))
    assert manifest(tmp_path)["base"]["rewards"] == []
    assert manifest(tmp_path)["zero"]["status"] == "done"
    assert manifest(tmp_path)["zero"]["rewards"] == [
        {"test_reward_stamps:JAILED": {"jail": "paper", "unsafe": True}},
        {"test_reward_stamps:JAILED": {"jail": "steel", "unsafe": False}},
    ]
    verdicts = [json.loads(line)["status"] for line in (tmp_path / "zero" / "eval_samples.jsonl").open()]
    assert set(verdicts) == {"correct"}  # each item had its tokens


def stop(stage, context):
    raise InterruptedError


@pytest.mark.parametrize(
    ("stage", "needed"),
    [
        (BASE, False),
        (ZERO, True),
        (dataclasses.replace(ZERO, evaluation=None), True),
        (CHECK, True),
        (dataclasses.replace(BASE, evaluation=EVALUATION), True),
        (dataclasses.replace(BASE, validation=EVALUATION, validate_every=2), True),
        (dataclasses.replace(BASE, gate=GateConfig(EVALUATION, accuracy=0.1)), True),
    ],
)
def test_which_stages_need_rewards(stage, needed):
    assert pipeline.has_completions_scored(stage) is needed
