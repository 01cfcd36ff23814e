"""The programs that a stage compiles, with their shapes and buckets; the samplers and the scorers that it opens."""

from __future__ import annotations

import dataclasses
from typing import NamedTuple

from r1jax.config import (
    BatchConfig,
    CollectConfig,
    DistillConfig,
    EvaluationConfig,
    GrpoConfig,
    OnPolicyConfig,
    PreferencesConfig,
    PretrainConfig,
    RewardModelConfig,
    RunConfig,
    SamplerConfig,
    SearchConfig,
    SftConfig,
    StageConfig,
    StepLabelsConfig,
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
    """A sampler that a stage opens, and what for: "rollout", "samples", "validation", "evaluation", a benchmark ...

    Of a search: "steps", and "rivals", the independent samples that it is measured against.
    """

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
    elif isinstance(stage, CollectConfig | PreferencesConfig) and getattr(stage, "teacher", None) is None:
        uses.append(SamplerUse("samples", stage.sampler, _longest_sample(stage)))
    elif isinstance(stage, StepLabelsConfig):
        uses.append(SamplerUse("solutions", stage.sampler, stage.sampling.max_new_tokens))
    elif isinstance(stage, SearchConfig):
        longest = stage.sampling.max_new_tokens
        uses.append(SamplerUse("steps", stage.sampler, min(stage.max_step_tokens, longest)))
        if stage.compare:
            uses.append(SamplerUse("rivals", stage.sampler, longest))
    for purpose, one in evaluations_of(stage).items():
        uses.append(SamplerUse(purpose, one.sampler, one.sampling.max_new_tokens))
    return uses


def _longest_sample(stage: CollectConfig | PreferencesConfig) -> int:
    """Of what the policy writes for data: answers, and where it refines them itself, what they become."""
    refine = stage.refine if isinstance(stage, CollectConfig) else None
    refined = [refine.sampling.max_new_tokens] if refine is not None and refine.by == "policy" else []
    return max(stage.sampling.max_new_tokens, *refined, 0)


def evaluations_of(stage: StageConfig) -> dict[str, EvaluationConfig]:
    """Every look at the policy by its purpose: while the stage trains, then those at its end."""
    found = {
        "validation": stage.validation if isinstance(stage, TrainingConfig) else None,
        "gate": stage.gate.evaluation if isinstance(stage, PretrainConfig) and stage.gate is not None else None,
        "preferences": stage.preference_validation if isinstance(stage, GrpoConfig) else None,
        "evaluation": stage.evaluation,
        **{one.name: one.evaluation for one in stage.benchmarks},
    }
    return {purpose: one for purpose, one in found.items() if one is not None}


@dataclasses.dataclass(frozen=True)
class ScorerUse:
    """Reward models that read what was sampled, one after another: "reward models", "values", "evaluation: scores" ...

    `models` names their stages; `after` is the purpose of the sampler whose samples they read.
    """

    purpose: str
    models: tuple[str, ...]
    after: str


def scorer_uses(stage: StageConfig) -> list[ScorerUse]:
    """The readings of a stage, in the order of the samplers that they follow."""
    uses = []
    if isinstance(stage, GrpoConfig) and stage.preferences:
        uses.append(ScorerUse("reward models", tuple(one.model for one in stage.preferences), "rollout"))
    if isinstance(stage, SearchConfig):
        uses.append(ScorerUse("values", (stage.value,), sampler_uses(stage)[-1].purpose))
    for purpose, one in evaluations_of(stage).items():
        if one.scored_by:
            uses.append(ScorerUse(f"{purpose}: scores", one.scored_by, purpose))
    return uses


def scored_models(stage: StageConfig) -> list[str]:
    """Whose log-probs of a rollout are computed before the updates."""
    if not isinstance(stage, OnPolicyConfig):
        return []
    reference = ["reference"] if stage.loss.needs_reference else []
    if isinstance(stage, DistillConfig):
        return ["teacher", *reference, "old policy"]
    old = ["old policy"] if stage.steps_per_rollout > 1 or stage.loss.kl_in_reward > 0 else []
    return reference + old


def arrays_of_batch(stage: TrainingConfig) -> int:
    """How many numbers of 4 bytes each token of an update has."""
    if isinstance(stage, DistillConfig):  # the teacher's log-probs have become advantages
        return 7 + stage.loss.needs_reference + (stage.steps_per_rollout > 1)
    if isinstance(stage, OnPolicyConfig):
        return 7 + len(scored_models(stage))
    # Tokens, targets, mask, segments, positions; of scored answers signs and pairs, and no targets.
    return 6 if isinstance(stage, RewardModelConfig) else 5


def programs_of(stage: StageConfig, run: RunConfig) -> list[Program]:
    """All programs of a stage, at most: samplers of one shape share theirs, scorers do not."""
    found = []
    if isinstance(stage, TrainingConfig):
        found.append(Program("train step", str(batch_shape(stage))))
        if scored := scored_models(stage):
            found.append(Program("score", f"{batch_shape(stage)} ({', '.join(scored)})", len(scored)))
    if isinstance(stage, RewardModelConfig):
        rows = scorer_rows(stage.batch)
        found.append(Program("score held-out", _rows_line(rows), len(rows)))
    alike: dict[SamplerConfig, list[SamplerUse]] = {}
    for use in sampler_uses(stage):
        alike.setdefault(use.shape, []).append(use)
    for shape, uses in alike.items():
        purposes, prompts = ", ".join(use.purpose for use in uses), uses[0].prompt_buckets
        caches = sorted({size for use in uses for size in use.cache_buckets})
        first = {use.cache_buckets[0] for use in uses}
        slots = f"{shape.lanes} lanes x {shape.width}"
        to_prompts, to_caches = (", ".join(f"{size:,}" for size in sizes) for sizes in (prompts, caches))
        found += [
            Program(f"{purposes}: prefill", f"{slots}, prompts of {to_prompts} tokens", len(prompts) * len(first)),
            Program(
                f"{purposes}: decode",
                f"{slots}, chunks of {shape.chunk_steps} steps, prompts as above x caches of {to_caches} tokens",
                len(prompts) * len(caches),
            ),
        ]
    for reading in scorer_uses(stage):
        same: dict[BatchConfig, list[str]] = {}
        for name in reading.models:
            same.setdefault(run.stage(name).scoring_batch, []).append(name)
        for batch, names in same.items():
            rows = scorer_rows(batch)
            found.append(Program(reading.purpose, f"{', '.join(names)}: {_rows_line(rows)}", len(names) * len(rows)))
    return found


def scorer_rows(batch: BatchConfig) -> list[tuple[int, int]]:
    """Rows and tokens of the batches that a scorer reads: short rows go through in larger numbers."""
    return [(batch.micro_batch_rows * (batch.row_tokens // length), length) for length in row_lengths(batch.row_tokens)]


def _rows_line(rows: list[tuple[int, int]]) -> str:
    return f"rows of {', '.join(f'{count:,} x {length:,}' for count, length in rows)} tokens"
