"""How a checkpoint is looked at."""

from __future__ import annotations

import dataclasses

from r1jax.config.checks import check
from r1jax.config.data import DataConfig, TemplateConfig
from r1jax.config.references import names_stages
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
    # Reward models of the run: their mean score, and how often the best of k by them is right.
    scored_by: tuple[str, ...] = names_stages((), leaves="reward_model")

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


@dataclasses.dataclass(frozen=True)
class BenchmarkConfig:
    """One of several evaluations of a checkpoint: a stage's own beside its first, or a member of a suite."""

    name: str
    evaluation: EvaluationConfig
    published: tuple[tuple[str, float], ...] = ()  # (whose and what, share): figures of a paper, to stand beside ours

    def __post_init__(self):
        check(self.name.isidentifier(), "benchmark.name", "a name of letters, digits and underscores", self.name)
