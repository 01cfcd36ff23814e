"""Frozen, hashable dataclasses: everything that a run can be told. No field hides a default.

Reading order: model_parts, model, mesh, learn, rollout, rewards, data, filters, stages, run; `flags` turns
`--config.a.b=value` into a changed config.
"""

from r1jax.config.checks import ConfigError, check
from r1jax.config.data import DataConfig, TemplateConfig, TokenizerConfig
from r1jax.config.filters import FiltersConfig
from r1jax.config.learn import BatchConfig, OptimizerConfig, PolicyLossConfig, Schedule, constant
from r1jax.config.mesh import MESH_AXES, MeshConfig
from r1jax.config.model import ModelConfig, PretrainedConfig
from r1jax.config.model_parts import LatentConfig, LoraConfig, MoeConfig, RopeConfig
from r1jax.config.rewards import (
    CodeConfig,
    CosineConfig,
    JudgeConfig,
    LanguageConfig,
    RepetitionConfig,
    RewardConfig,
    RewardsConfig,
    RewardSetConfig,
    SandboxConfig,
)
from r1jax.config.rollout import SamplerConfig, SamplingConfig
from r1jax.config.run import LoggingConfig, RunConfig
from r1jax.config.stages import (
    EvaluateConfig,
    EvaluationConfig,
    GateConfig,
    GrpoConfig,
    PretrainConfig,
    RewardModelConfig,
    SftConfig,
    StageConfig,
    TrainingConfig,
)

__all__ = [
    "MESH_AXES",
    "BatchConfig",
    "CodeConfig",
    "ConfigError",
    "CosineConfig",
    "DataConfig",
    "EvaluateConfig",
    "EvaluationConfig",
    "FiltersConfig",
    "GateConfig",
    "GrpoConfig",
    "JudgeConfig",
    "LanguageConfig",
    "LatentConfig",
    "LoggingConfig",
    "LoraConfig",
    "MeshConfig",
    "ModelConfig",
    "MoeConfig",
    "OptimizerConfig",
    "PolicyLossConfig",
    "PretrainConfig",
    "PretrainedConfig",
    "RepetitionConfig",
    "RewardConfig",
    "RewardModelConfig",
    "RewardSetConfig",
    "RewardsConfig",
    "RopeConfig",
    "RunConfig",
    "SamplerConfig",
    "SamplingConfig",
    "SandboxConfig",
    "Schedule",
    "SftConfig",
    "StageConfig",
    "TemplateConfig",
    "TokenizerConfig",
    "TrainingConfig",
    "check",
    "constant",
]
