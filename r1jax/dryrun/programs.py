"""The programs that a stage compiles, with their shapes and buckets; and the samplers that it opens."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from r1jax.config import (
    CollectConfig,
    DistillConfig,
    GrpoConfig,
    OnPolicyConfig,
    PreferencesConfig,
    PretrainConfig,
    RewardModelConfig,
    SamplerConfig,
    SftConfig,
    StageConfig,
    TrainingConfig,
)
from r1jax.sampler.engine import prompt_bucket
from r1jax.stages.policy_batch import micro_batch_capacity
from r1jax.stages.scorer import row_lengths


@dataclasses.dataclass(frozen=True)
class Program:
    """A compiled function; `count` programs where it has several shapes."""

    name: str
    shapes: str
    count: int = 1


@dataclasses.dataclass(frozen=True)
class SamplerUse:
    """A sampler that a stage opens, and what for: "rollout", "samples", "validation", "evaluation", a benchmark ..."""

    purpose: str
    shape: SamplerConfig
    max_new_tokens: int

    @property
    def prompt_buckets(self) -> list[int]:
        """Padded lengths of a wave's prompts; those that the data does not meet are not compiled."""
        longest = self.shape.max_prompt_tokens
        return sorted({prompt_bucket(tokens, longest) for tokens in range(1, longest + 1)})

    @property
    def cache_buckets(self) -> list[int]:
        """Lengths of the completions' part of the cache: from a chunk, doubling, to the longest completion."""
        sizes = [min(self.shape.chunk_steps, self.max_new_tokens)]
        while sizes[-1] < self.max_new_tokens:
            sizes.append(min(2 * sizes[-1], self.max_new_tokens))
        return sizes


class BatchShape(NamedTuple):
    """Of the arrays [M, B, T] of one update: micro-batches, rows, positions."""

    micro_batches: int
    rows: int
    positions: int

    def __str__(self) -> str:
        return f"[M {self.micro_batches}, B {self.rows}, T {self.positions:,}]"


def batch_shape(stage: TrainingConfig) -> BatchShape:
    """The shape of the batches that the stage trains on."""
    rows = stage.batch.micro_batch_rows
    if isinstance(stage, OnPolicyConfig):
        return BatchShape(micro_batch_capacity(stage), rows, stage.batch.row_tokens)
    fields = {PretrainConfig: "batch_rows", SftConfig: "batch_sequences", RewardModelConfig: "batch_records"}
    rows_an_update = getattr(stage, fields[type(stage)])
    return BatchShape(-(-rows_an_update // rows), rows, stage.batch.row_tokens)


def sampler_uses(stage: StageConfig) -> list[SamplerUse]:
    """The samplers of a stage, in the order in which they are opened."""
    uses = []
    if isinstance(stage, OnPolicyConfig):
        uses.append(SamplerUse("rollout", stage.sampler, int(stage.max_new_tokens.largest)))
    if isinstance(stage, CollectConfig | PreferencesConfig) and getattr(stage, "teacher", None) is None:
        uses.append(SamplerUse("samples", stage.sampler, stage.sampling.max_new_tokens))
    evaluations = {
        "validation": stage.validation if isinstance(stage, TrainingConfig) else None,
        "gate": stage.gate.evaluation if isinstance(stage, PretrainConfig) and stage.gate is not None else None,
        "preferences": stage.preference_validation if isinstance(stage, GrpoConfig) else None,
        "evaluation": stage.evaluation,
        **{one.name: one.evaluation for one in stage.benchmarks},
    }
    for purpose, one in evaluations.items():
        if one is not None:
            uses.append(SamplerUse(purpose, one.sampler, one.sampling.max_new_tokens))
    return uses


def scored_models(stage: StageConfig) -> list[str]:
    """Whose log-probs of a rollout are computed before the updates."""
    if not isinstance(stage, OnPolicyConfig):
        return []
    if isinstance(stage, DistillConfig):
        return ["teacher", "old policy"]
    reference = ["reference"] if stage.loss.needs_reference else []
    old = ["old policy"] if stage.steps_per_rollout > 1 or stage.loss.kl_in_reward > 0 else []
    return reference + old


def programs_of(stage: StageConfig) -> list[Program]:
    """All programs of a stage, at most: samplers of one shape share theirs."""
    found = []
    if isinstance(stage, TrainingConfig):
        found.append(Program("train step", str(batch_shape(stage))))
        if scored := scored_models(stage):
            found.append(Program("score", f"{batch_shape(stage)} ({', '.join(scored)})", len(scored)))
    if isinstance(stage, RewardModelConfig):
        lengths = row_lengths(stage.batch.row_tokens)
        rows = ", ".join(f"{stage.batch.micro_batch_rows * (lengths[-1] // size):,} x {size:,}" for size in lengths)
        found.append(Program("score held-out", f"rows of {rows} tokens", len(lengths)))
    alike: dict[tuple[SamplerConfig, int], list[SamplerUse]] = {}
    for use in sampler_uses(stage):
        alike.setdefault((use.shape, use.max_new_tokens), []).append(use)
    for use, *others in alike.values():
        purposes = ", ".join(one.purpose for one in (use, *others))
        shape, prompts, caches = use.shape, use.prompt_buckets, use.cache_buckets
        slots = f"{shape.lanes} lanes x {shape.width}"
        to_prompts, to_caches = (", ".join(f"{size:,}" for size in sizes) for sizes in (prompts, caches))
        found += [
            Program(f"{purposes}: prefill", f"{slots}, prompts of {to_prompts} tokens", len(prompts)),
            Program(
                f"{purposes}: decode",
                f"{slots}, chunks of {shape.chunk_steps} steps, prompts as above x caches of {to_caches} tokens",
                len(prompts) * len(caches),
            ),
        ]
    return found
