"""Three rounds of search -> policy and value as stages of one run, and the last value model as reward and as judge."""

import dataclasses
import json

import numpy as np
import pytest
from tiny_runs import EVALUATION, PLAIN, ZERO, lines, run_on_one
from tiny_search import even, judged_run, rounds

from r1jax.config import EvaluateConfig, PreferenceConfig
from r1jax.config.serialize import from_json, to_json
from r1jax.rewards.verdicts import Item

ROUNDS = 3
GRPO = dataclasses.replace(
    ZERO,
    name="grpo_process",
    num_steps=2,
    evaluation=None,
    start="policy_3",
    preferences=(PreferenceConfig(model="value_3", sets=("default",)),),
)
CHECK = EvaluateConfig(
    name="check",
    start="policy_3",
    template=PLAIN,
    evaluation=dataclasses.replace(EVALUATION, scored_by=("value_3",)),
)


def test_rounds_are_a_config_that_json_keeps():
    run = judged_run(*rounds(ROUNDS), GRPO, CHECK)
    assert from_json(json.loads(json.dumps(to_json(run)))) == run
    assert [one.name for one in run.sources("search_2")] == [
        *("base", "labels", "value", "search_1", "policy_1", "value_1", "search_2")
    ]


@pytest.mark.slow
def test_three_rounds_run_and_what_they_leave_is_trained_on(tmp_path):
    run_on_one(judged_run(*rounds(ROUNDS), GRPO, CHECK), str(tmp_path))
    stages = json.loads((tmp_path / "manifest.json").read_text())["stages"]
    assert {entry["status"] for entry in stages.values()} == {"done"}
    for number in range(1, ROUNDS + 1):
        folder = tmp_path / f"search_{number}"
        records, values = lines(folder / "data.jsonl"), lines(folder / "values.jsonl")
        assert {one["lineage"]["checkpoint"] for one in records} == {f"policy_{number - 1}" if number > 1 else "base"}
        assert {even([Item(one, one["response"])])[0].value for one in records} == {1.0}
        assert json.loads((tmp_path / f"value_{number}" / "eval.json").read_text())["records"] == len(values)
        told = json.loads((folder / "eval.json").read_text())
        assert 0 <= told["search_accuracy"] <= told["search_any_accuracy"] <= 1
    metrics = lines(tmp_path / "grpo_process" / "metrics.jsonl")
    assert all(0 < line["reward/value_3"] < 1 for line in metrics)  # a probability, beside the rule's own reward
    evaluation = json.loads((tmp_path / "check" / "eval.json").read_text())
    assert 0 < evaluation["reward_model/value_3"] < 1
    assert 0 <= evaluation[f"best@{EVALUATION.samples}/value_3"] <= evaluation[f"pass@{EVALUATION.samples}"]
    assert np.isfinite(evaluation["pass@1"])
