"""Rounds of search and training at the smallest size: step labels, a value model, search, and both trained on it."""

import dataclasses

from tiny_runs import BASE, OPTIMIZER, PLAIN, tiny_run

from r1jax.config import (
    BatchConfig,
    DataConfig,
    RewardConfig,
    RewardModelConfig,
    RewardsConfig,
    RewardSetConfig,
    RunConfig,
    SamplerConfig,
    SamplingConfig,
    SearchConfig,
    SftConfig,
    StageConfig,
    StepLabelsConfig,
    StepsConfig,
)
from r1jax.rewards.verdicts import Score, Status

STEPS = StepsConfig(end=";", combine="min")
FREE = SamplingConfig(temperature=1.0, top_p=None, max_new_tokens=20)
SAMPLER = SamplerConfig(lanes=8, width=4, chunk_steps=8, max_prompt_tokens=56)
PROMPTS = DataConfig(kind="task", name="chained_sums", limit=6)


def even(items) -> list[Score]:
    """A judge that an untrained model satisfies every second time: an even number of words."""
    found = []
    for item in items:
        count = len(item.completion.split())
        right = count % 2 == 0
        found.append(Score(float(right), Status.CORRECT if right else Status.WRONG, str(count)))
    return found


def labels(**changes) -> StepLabelsConfig:
    fields = {
        "name": "labels",
        "start": "base",
        "template": PLAIN,
        "data": PROMPTS,
        "steps": STEPS,
        "samples": 5,
        "rollouts": 3,
        "sampling": FREE,
        "sampler": SAMPLER,
        "batch_prompts": 2,
    }
    return StepLabelsConfig(**fields | changes)


def value(data: DataConfig, **changes) -> RewardModelConfig:
    fields = {
        "name": "value",
        "start": "base",
        "template": PLAIN,
        "data": data,
        "loss": "pointwise",
        "reads": "whole",
        "steps": STEPS,
        "num_steps": 3,
        "batch_records": 16,
        "held_out_share": 0.2,
        "batch": BatchConfig(row_tokens=64, micro_batch_rows=8),
        "optimizer": OPTIMIZER,
        "checkpoint_every": 3,
    }
    return RewardModelConfig(**fields | changes)


def searching(**changes) -> SearchConfig:
    fields = {
        "name": "search",
        "start": "base",
        "template": PLAIN,
        "data": PROMPTS,
        "value": "value",
        "steps": STEPS,
        "width": 3,
        "simulations": 5,
        "max_step_tokens": 8,
        "sampling": FREE,
        "sampler": SAMPLER,
        "batch_prompts": 2,
        "bootstrap_resamples": 10,
    }
    return SearchConfig(**fields | changes)


def policy(data: DataConfig, **changes) -> SftConfig:
    fields = {
        "name": "policy",
        "start": "base",
        "template": PLAIN,
        "data": data,
        "num_steps": 2,
        "batch_sequences": 4,
        "batch": BatchConfig(row_tokens=64, micro_batch_rows=8),
        "optimizer": OPTIMIZER,
        "checkpoint_every": 2,
    }
    return SftConfig(**fields | changes)


def of_stage(name: str, path: str | None = None) -> DataConfig:
    return DataConfig(kind="stage", name=name, path=path)


def judged_run(*stages: StageConfig) -> RunConfig:
    """A run whose judge counts words."""
    run = tiny_run(*stages)
    rewards = RewardsConfig(sets=(RewardSetConfig("default", (RewardConfig("tiny_search:even"),)),), workers=1)
    return dataclasses.replace(run, rewards=rewards)


def rounds(count: int) -> tuple[StageConfig, ...]:
    """A base, a first value model, and `count` rounds of search -> policy and value, each from those before."""
    stages: list[StageConfig] = [BASE, labels(), value(of_stage("labels"))]
    last_policy, last_value = "base", "value"
    for number in range(1, count + 1):
        search = f"search_{number}"
        stages.append(searching(name=search, start=last_policy, value=last_value))
        stages.append(policy(of_stage(search), name=f"policy_{number}", start=last_policy))
        stages.append(value(of_stage(search, "values.jsonl"), name=f"value_{number}", start=last_value))
        last_policy, last_value = f"policy_{number}", f"value_{number}"
    return tuple(stages)
