"""The stages of a run: what each is told."""

from __future__ import annotations

import dataclasses
from typing import Literal

from r1jax.config.checks import check
from r1jax.config.data import DataConfig, TemplateConfig
from r1jax.config.learn import BatchConfig, OptimizerConfig, PolicyLossConfig, Schedule, constant
from r1jax.config.rollout import SamplerConfig, SamplingConfig


@dataclasses.dataclass(frozen=True)
class EvaluationConfig:
    """k samples a question. The default is the paper's protocol: temperature 0.6, top-p 0.95, not greedy."""

    data: DataConfig
    samples: int = 16  # k
    sampling: SamplingConfig = SamplingConfig()
    sampler: SamplerConfig = SamplerConfig()
    template: TemplateConfig | None = None  # None: the stage's own
    bootstrap_resamples: int = 1000
    answers_vote: bool = True  # False: no cons@k (tasks whose answers are texts of their own)

    def __post_init__(self):
        check(self.samples >= 1, "evaluation.samples", "1 or more", self.samples)
        check(
            self.bootstrap_resamples >= 1,
            "evaluation.bootstrap_resamples",
            "1 or more",
            self.bootstrap_resamples,
        )


@dataclasses.dataclass(frozen=True)
class GateConfig:
    """What pretraining must reach. If it does not, it goes on up to `extra` longer, then the run stops."""

    evaluation: EvaluationConfig
    accuracy: float  # least pass@1
    extra: float = 0.5  # share of num_steps
    rounds: int = 5  # in which the extra steps are spent, each followed by a look

    def __post_init__(self):
        check(0 < self.accuracy <= 1, "gate.accuracy", "a share in (0, 1]", self.accuracy)
        check(self.extra >= 0, "gate.extra", "0 or more", self.extra)
        check(self.rounds >= 1, "gate.rounds", "1 or more", self.rounds)


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What every stage has."""

    name: str
    start: str | None = None  # an earlier stage, or a folder: a checkpoint or Hugging Face's; None: run.weights
    evaluation: EvaluationConfig | None = None  # at the end of the stage, into eval.json and the summary
    template: TemplateConfig = TemplateConfig()

    def __post_init__(self):
        check(self.name.isidentifier(), "stage.name", "a name of letters, digits and underscores", self.name)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingConfig(StageConfig):
    """What every stage that updates parameters has. A step is one optimiser update."""

    data: DataConfig
    num_steps: int
    optimizer: OptimizerConfig
    batch: BatchConfig
    checkpoint_every: int = 100
    keep_checkpoints: int = 2  # the newest; the best is kept besides where validation is on
    validation: EvaluationConfig | None = None  # every `validate_every` steps, on other prompts than evaluation's
    validate_every: int | None = None
    patience: int | None = None  # validations without a better pass@1 after which the stage stops
    stop_at: float | None = None  # a validated pass@1 (of a reward model: accuracy) at which the stage ends early
    keep_best: bool = False  # the stage's result is its best validated checkpoint, not its last

    def __post_init__(self):
        super().__post_init__()
        check(self.num_steps >= 1, f"{self.name}.num_steps", "1 or more", self.num_steps)
        check(self.checkpoint_every >= 1, f"{self.name}.checkpoint_every", "1 or more", self.checkpoint_every)
        check(self.keep_checkpoints >= 1, f"{self.name}.keep_checkpoints", "1 or more", self.keep_checkpoints)
        self._check_validation()
        for field in ("validate_every", "patience"):
            value = getattr(self, field)
            check(value is None or value >= 1, f"{self.name}.{field}", "1 or more, or None", value)
        check(
            self.stop_at is None or 0 < self.stop_at <= 1,
            f"{self.name}.stop_at",
            "a share in (0, 1], or None",
            self.stop_at,
        )
        for field in ("patience", "stop_at", "keep_best"):
            check(
                not getattr(self, field) or self.validate_every is not None,
                f"{self.name}.{field}",
                "validate_every to be set too",
                getattr(self, field),
            )
        check(
            self.optimizer.warmup_steps < self.num_steps,
            f"{self.name}.optimizer.warmup_steps",
            f"less than num_steps={self.num_steps}",
            self.optimizer.warmup_steps,
        )

    def _check_validation(self) -> None:
        check(
            (self.validation is None) == (self.validate_every is None),
            f"{self.name}.validate_every",
            "validation and validate_every set together",
            self.validate_every,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class PretrainConfig(TrainingConfig):
    """Next-token training on the `text` of the records."""

    batch_rows: int = 8  # packed rows an update
    gate: GateConfig | None = None

    def __post_init__(self):
        super().__post_init__()
        check(self.batch_rows >= 1, f"{self.name}.batch_rows", "1 or more", self.batch_rows)
        check(
            self.gate is None or not self.keep_best,
            f"{self.name}.keep_best",
            "False where there is a gate, which judges the last weights",
            self.keep_best,
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class SftConfig(TrainingConfig):
    """Training on the `response` of the records after their `question`; only the response is scored."""

    batch_sequences: int = 64  # examples an update

    def __post_init__(self):
        super().__post_init__()
        check(self.batch_sequences >= 1, f"{self.name}.batch_sequences", "1 or more", self.batch_sequences)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardModelConfig(TrainingConfig):
    """A score for a question and its answer, from the policy that the stage starts from with a new head.

    Records are pairs (`question`, `chosen`, `rejected`) or single answers (`question`, `response`, `label` 1 or 0).
    DeepSeek-R1's helpful model: pairwise, reads the summary; its safety model: pointwise, reads the whole.
    """

    loss: Literal["pairwise", "pointwise"] = "pairwise"
    reads: Literal["summary", "whole"] = "summary"  # of an answer: what follows the thinking, or all of it
    batch_records: int = 256  # pairs, or single answers, an update; both answers of a pair lie in one row
    held_out: DataConfig | None = None  # never trained on: they give the accuracy
    held_out_share: float = 0.05  # of the questions of `data`, where `held_out` names no other
    balance_lengths: bool = False  # as many pairs with a longer chosen answer as with a longer rejected one

    def __post_init__(self):
        super().__post_init__()
        check(self.batch_records >= 1, f"{self.name}.batch_records", "1 or more", self.batch_records)
        share = self.held_out_share
        check(0 < share < 1, f"{self.name}.held_out_share", "a share in (0, 1)", share)
        check(
            not self.balance_lengths or self.loss == "pairwise",
            f"{self.name}.balance_lengths",
            "False with the pointwise loss, which compares no answers",
            self.balance_lengths,
        )
        check(self.evaluation is None, f"{self.name}.evaluation", "None (a reward model writes no text)", "one")

    def _check_validation(self) -> None:
        check(self.validation is None, f"{self.name}.validation", "None (held_out is what it is judged on)", "one")


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrpoConfig(TrainingConfig):
    """Group relative policy optimisation. One rollout serves minibatches x inner_epochs steps."""

    group_size: int = 16
    rollout_prompts: int = 32
    minibatches: int = 1
    inner_epochs: int = 1
    loss: PolicyLossConfig = PolicyLossConfig()
    temperature: Schedule = constant(1.0)
    max_new_tokens: Schedule = constant(1024)
    overlong_tokens: int | None = None  # DAPO's soft overlong penalty: over the last tokens before the limit
    reference_refresh_every: int | None = None  # steps; a hard copy of the policy
    dynamic_sampling: bool = False  # replace groups whose rewards are all equal
    max_backfill_rounds: int = 4
    sampler: SamplerConfig = SamplerConfig()

    def __post_init__(self):
        super().__post_init__()
        for field in ("rollout_prompts", "minibatches", "inner_epochs", "max_backfill_rounds"):
            check(getattr(self, field) >= 1, f"{self.name}.{field}", "1 or more", getattr(self, field))
        check(self.group_size >= 2, f"{self.name}.group_size", "2 or more", self.group_size)
        for field in ("overlong_tokens", "reference_refresh_every"):
            value = getattr(self, field)
            check(value is None or value >= 1, f"{self.name}.{field}", "1 or more, or None", value)
        completions = self.rollout_prompts * self.group_size
        check(
            self.loss.kl_target is None or 5 * self.loss.kl_horizon > completions,
            f"{self.name}.loss.kl_horizon",
            f"more than a fifth of the {completions} completions of a rollout (the KL coefficient would turn negative)",
            self.loss.kl_horizon,
        )
        check(
            self.rollout_prompts % self.minibatches == 0,
            f"{self.name}.minibatches",
            f"a divisor of rollout_prompts={self.rollout_prompts}",
            self.minibatches,
        )
        check(
            self.num_steps % self.steps_per_rollout == 0,
            f"{self.name}.num_steps",
            f"a multiple of minibatches x inner_epochs={self.steps_per_rollout}",
            self.num_steps,
        )
        for field in ("checkpoint_every", "validate_every", "reference_refresh_every"):
            value = getattr(self, field)
            check(
                value is None or value % self.steps_per_rollout == 0,
                f"{self.name}.{field}",
                f"a multiple of minibatches x inner_epochs={self.steps_per_rollout}",
                value,
            )
        check(
            min(value for _, value in self.temperature.points) > 0,
            f"{self.name}.temperature",
            "above 0 (a policy gradient needs samples)",
            self.temperature,
        )

        longest = self.sampler.max_prompt_tokens + int(self.max_new_tokens.largest) - 1
        check(
            self.batch.row_tokens >= longest,
            f"{self.name}.batch.row_tokens",
            f"at least sampler.max_prompt_tokens + max_new_tokens - 1 = {longest}",
            self.batch.row_tokens,
        )

    @property
    def steps_per_rollout(self) -> int:
        return self.minibatches * self.inner_epochs


@dataclasses.dataclass(frozen=True, kw_only=True)
class EvaluateConfig(StageConfig):
    """Nothing but the evaluation of the stage or folder it starts from (None: of the run's first weights)."""

    def __post_init__(self):
        super().__post_init__()
        check(self.evaluation is not None, f"{self.name}.evaluation", "an evaluation", self.evaluation)
