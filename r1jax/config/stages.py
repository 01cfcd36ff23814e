"""The stages of a run, and the run."""

from __future__ import annotations

import dataclasses

from r1jax.config.checks import check
from r1jax.config.data import DataConfig, TemplateConfig, TokenizerConfig
from r1jax.config.learn import BatchConfig, OptimizerConfig, PolicyLossConfig, Schedule, constant
from r1jax.config.mesh import MeshConfig
from r1jax.config.model import ModelConfig, PretrainedConfig
from r1jax.config.rewards import RewardsConfig
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
    stop_at: float | None = None  # a validated pass@1 at which the stage ends early
    keep_best: bool = False  # the stage's result is its best validated checkpoint, not its last

    def __post_init__(self):
        super().__post_init__()
        check(self.num_steps >= 1, f"{self.name}.num_steps", "1 or more", self.num_steps)
        check(self.checkpoint_every >= 1, f"{self.name}.checkpoint_every", "1 or more", self.checkpoint_every)
        check(self.keep_checkpoints >= 1, f"{self.name}.keep_checkpoints", "1 or more", self.keep_checkpoints)
        check(
            (self.validation is None) == (self.validate_every is None),
            f"{self.name}.validate_every",
            "validation and validate_every set together",
            self.validate_every,
        )
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
                not getattr(self, field) or self.validation is not None,
                f"{self.name}.{field}",
                "validation to be set too",
                getattr(self, field),
            )
        check(
            self.optimizer.warmup_steps < self.num_steps,
            f"{self.name}.optimizer.warmup_steps",
            f"less than num_steps={self.num_steps}",
            self.optimizer.warmup_steps,
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


@dataclasses.dataclass(frozen=True)
class LoggingConfig:
    """Where metrics go besides metrics.jsonl, and how many samples are written out."""

    tensorboard: bool = True
    wandb_project: str | None = None
    samples_per_step: int = 4  # completions of a step that go to samples.jsonl


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """A whole run: its stages in order, each taking the checkpoint of an earlier one."""

    name: str
    model: ModelConfig | PretrainedConfig
    tokenizer: TokenizerConfig
    stages: tuple[StageConfig, ...]
    rewards: RewardsConfig = RewardsConfig()
    mesh: MeshConfig = MeshConfig()
    logging: LoggingConfig = LoggingConfig()
    weights: str | None = None  # where stages without `start` begin: a Hugging Face folder, a checkpoint; None: random
    seed: int = 0

    def __post_init__(self):
        check(bool(self.stages), "stages", "at least one stage", self.stages)
        seen: list[str] = []
        for stage in self.stages:
            check(stage.name not in seen, "stages", "a name of its own for each stage", stage.name)
            check(
                stage.start is None or stage.start in seen or "/" in stage.start,
                f"stages.{stage.name}.start",
                f"an earlier stage ({', '.join(seen) or 'none'}) or the folder of a checkpoint",
                stage.start,
            )
            check(
                self.model.lora is None or stage.start is None or stage.start in seen,
                f"stages.{stage.name}.start",
                "an earlier stage or None with model.lora, whose base is the run's `weights`",
                stage.start,
            )
            seen.append(stage.name)

    def stage(self, name: str) -> StageConfig:
        """The stage of that name; ConfigError names those there are."""
        names = [stage.name for stage in self.stages]
        check(name in names, "stages", f"one of {', '.join(names)}", name)
        return self.stages[names.index(name)]
