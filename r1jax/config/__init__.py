"""Frozen, hashable dataclasses: everything that a run can be told. No field hides a default.

Reading order: model_parts, model, mesh, learn, rollout, rewards, data, filters, evaluation, stages, policies,
reward_models, collecting, run; `flags` turns
`--config.a.b=value` into a changed config.
"""

from r1jax.config.checks import ConfigError, check
from r1jax.config.collecting import (
    CollectConfig,
    GeneralDataConfig,
    PreferencesConfig,
    PromptingConfig,
    RefineConfig,
    TeacherConfig,
)
from r1jax.config.data import DataConfig, TemplateConfig, TokenizerConfig
from r1jax.config.evaluation import BenchmarkConfig, EvaluationConfig, GateConfig
from r1jax.config.filters import FiltersConfig
from r1jax.config.learn import BatchConfig, OptimizerConfig, PolicyLossConfig, Schedule, constant
from r1jax.config.mesh import MESH_AXES, MeshConfig
from r1jax.config.model import ModelConfig, PretrainedConfig
from r1jax.config.model_parts import LatentConfig, LoraConfig, MoeConfig, RopeConfig
from r1jax.config.policies import DistillConfig, GrpoConfig, MixedDataConfig, OnPolicyConfig, PreferenceConfig
from r1jax.config.reward_models import RewardModelConfig, StepsConfig
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
from r1jax.config.run import LoggingConfig, RunConfig, StudentConfig
from r1jax.config.searching import SearchConfig, StepLabelsConfig
from r1jax.config.stages import (
    EvaluateConfig,
    PretrainConfig,
    SftConfig,
    StageConfig,
    TrainingConfig,
)

__all__ = [
    "MESH_AXES",
    "BatchConfig",
    "BenchmarkConfig",
    "CodeConfig",
    "CollectConfig",
    "ConfigError",
    "CosineConfig",
    "DataConfig",
    "DistillConfig",
    "EvaluateConfig",
    "EvaluationConfig",
    "FiltersConfig",
    "GateConfig",
    "GeneralDataConfig",
    "GrpoConfig",
    "JudgeConfig",
    "LanguageConfig",
    "LatentConfig",
    "LoggingConfig",
    "LoraConfig",
    "MeshConfig",
    "MixedDataConfig",
    "ModelConfig",
    "MoeConfig",
    "OnPolicyConfig",
    "OptimizerConfig",
    "PolicyLossConfig",
    "PreferenceConfig",
    "PreferencesConfig",
    "PretrainConfig",
    "PretrainedConfig",
    "PromptingConfig",
    "RefineConfig",
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
    "SearchConfig",
    "SftConfig",
    "StageConfig",
    "StepLabelsConfig",
    "StepsConfig",
    "StudentConfig",
    "TeacherConfig",
    "TemplateConfig",
    "TokenizerConfig",
    "TrainingConfig",
    "check",
    "constant",
]
