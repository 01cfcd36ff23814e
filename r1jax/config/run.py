"""A run: a model, a tokenizer, rewards, a mesh, and stages that start from one another."""

from __future__ import annotations

import dataclasses

from r1jax.config.checks import check
from r1jax.config.data import TokenizerConfig
from r1jax.config.mesh import MeshConfig
from r1jax.config.model import ModelConfig, PretrainedConfig
from r1jax.config.rewards import RewardsConfig
from r1jax.config.stages import (
    RewardModelConfig,
    StageConfig,
)


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
            check(
                isinstance(stage, RewardModelConfig) or not self._is_reward_model(stage.start),
                f"stages.{stage.name}.start",
                "a stage that leaves a policy",
                f"{stage.start}, a reward model",
            )
            seen.append(stage.name)

    def stage(self, name: str) -> StageConfig:
        """The stage of that name; ConfigError names those there are."""
        names = [stage.name for stage in self.stages]
        check(name in names, "stages", f"one of {', '.join(names)}", name)
        return self.stages[names.index(name)]

    def scoring(self) -> RunConfig:
        """This run with a score head on its model: what a stage sees that trains a reward model."""
        untied = {"tie_embeddings": False} if isinstance(self.model, ModelConfig) else {}
        return dataclasses.replace(self, model=dataclasses.replace(self.model, head="score", **untied))

    def _is_reward_model(self, name: str | None) -> bool:
        return any(stage.name == name and isinstance(stage, RewardModelConfig) for stage in self.stages)
