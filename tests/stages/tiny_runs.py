"""The smallest run that passes through everything: a few steps of each stage on chained sums."""

import dataclasses
import json
import pathlib

import jax

from r1jax import pipeline
from r1jax.config import (
    BatchConfig,
    DataConfig,
    EvaluateConfig,
    EvaluationConfig,
    GrpoConfig,
    LoggingConfig,
    ModelConfig,
    OptimizerConfig,
    PolicyLossConfig,
    PretrainConfig,
    RewardConfig,
    RewardsConfig,
    RewardSetConfig,
    RunConfig,
    SamplerConfig,
    SamplingConfig,
    TemplateConfig,
    TokenizerConfig,
    constant,
)
from r1jax.rewards.verdicts import Score, Status

PLAIN = TemplateConfig(name="plain")
NEW_TOKENS = 24
SAMPLER = SamplerConfig(lanes=8, width=4, chunk_steps=8, max_prompt_tokens=32)
EVALUATION = EvaluationConfig(
    data=DataConfig(kind="task", name="chained_sums", split="test", limit=4),
    samples=4,
    sampling=SamplingConfig(temperature=1.0, top_p=None, max_new_tokens=NEW_TOKENS),
    sampler=SAMPLER,
    bootstrap_resamples=10,
)
OPTIMIZER = OptimizerConfig(learning_rate=1e-2)

BASE = PretrainConfig(
    name="base",
    template=PLAIN,
    data=DataConfig(kind="task", name="chained_sums_corpus", limit=64),
    num_steps=6,
    batch_rows=8,
    batch=BatchConfig(row_tokens=64, micro_batch_rows=8),
    optimizer=OPTIMIZER,
    checkpoint_every=3,
)
ZERO = GrpoConfig(
    name="zero",
    start="base",
    template=PLAIN,
    data=DataConfig(kind="task", name="chained_sums", limit=32),
    num_steps=6,
    group_size=4,
    rollout_prompts=4,
    max_new_tokens=constant(NEW_TOKENS),
    optimizer=OPTIMIZER,
    batch=BatchConfig(row_tokens=64, micro_batch_rows=8),
    sampler=SAMPLER,
    checkpoint_every=2,
    evaluation=EVALUATION,
)
CHECK = EvaluateConfig(name="check", start="base", template=PLAIN, evaluation=EVALUATION)


def length(items) -> list[Score]:
    """A reward that differs between the completions of an untrained model."""
    return [Score(item.num_tokens / NEW_TOKENS, Status.SCORED) for item in items]


def rank(items) -> list[Score]:
    """A reward that compares completions: the share of its group that a completion is longer than."""
    return [
        Score(sum(one.num_tokens < item.num_tokens for one in items if one.group == item.group) / 4, Status.SCORED)
        for item in items
    ]


def tiny_run(*stages, **changes) -> RunConfig:
    """A run of the given stages."""
    return RunConfig(
        name="tiny",
        tokenizer=TokenizerConfig(task="chained_sums"),
        model=ModelConfig(
            vocab_size=48, hidden_size=32, num_layers=2, num_heads=2, num_kv_heads=2, ffn_size=64, scan_unroll=2
        ),
        rewards=RewardsConfig(
            sets=(RewardSetConfig("default", (RewardConfig("maths"), RewardConfig("tiny_runs:length"))),),
            workers=1,
        ),
        stages=stages,
        logging=LoggingConfig(tensorboard=False, samples_per_step=2),
        **changes,
    )


def run_on_one(config: RunConfig, path: str, **options) -> None:
    """Runs on the first device alone."""
    pipeline.run(config, path, devices=jax.devices()[:1], **options)


def with_loss(stage: GrpoConfig, **fields) -> GrpoConfig:
    return dataclasses.replace(stage, loss=PolicyLossConfig(**fields))


def lines(path: pathlib.Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]
