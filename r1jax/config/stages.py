"""What stages have, and those that train on texts or only evaluate."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from r1jax.config.checks import check
from r1jax.config.data import DataConfig, TemplateConfig
from r1jax.config.evaluation import BenchmarkConfig, EvaluationConfig, GateConfig
from r1jax.config.learn import BatchConfig, OptimizerConfig
from r1jax.config.references import Leaves, names_stages


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageConfig:
    """What every stage has."""

    leaves: ClassVar[Leaves] = "policy"  # what later stages can take from it

    name: str
    # An earlier stage, or a folder: a checkpoint or Hugging Face's; None: the first weights of the run or its student.
    start: str | None = names_stages(None)
    student: str | None = None  # whose model it is about: one of run.students; None: the run's own
    evaluation: EvaluationConfig | None = None  # at the end of the stage, into eval.json and the summary
    benchmarks: tuple[BenchmarkConfig, ...] = ()  # further ones, into benchmarks.json
    template: TemplateConfig = TemplateConfig()

    def __post_init__(self):
        check(self.name.isidentifier(), "stage.name", "a name of letters, digits and underscores", self.name)
        names = [one.name for one in self.benchmarks]
        check(len(set(names)) == len(names), f"{self.name}.benchmarks", "names of their own", names)


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
class EvaluateConfig(StageConfig):
    """Nothing but the evaluation of the stage or folder it starts from (None: of the run's first weights)."""

    def __post_init__(self):
        super().__post_init__()
        check(
            self.evaluation is not None or bool(self.benchmarks),
            f"{self.name}.evaluation",
            "an evaluation, or benchmarks",
            self.evaluation,
        )
