"""Stages that train a policy on what it samples itself."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from r1jax.config.checks import check
from r1jax.config.data import DataConfig
from r1jax.config.evaluation import EvaluationConfig
from r1jax.config.learn import PolicyLossConfig, Schedule, constant, largest_sum
from r1jax.config.references import names_stages
from r1jax.config.rollout import SamplerConfig
from r1jax.config.stages import TrainingConfig

LEAST_HACKING_WINDOW = 4  # validations: a line through fewer says nothing


@dataclasses.dataclass(frozen=True, kw_only=True)
class OnPolicyConfig(TrainingConfig):
    """What such stages have. One rollout serves minibatches x inner_epochs steps."""

    least_group_size: ClassVar[int] = 1

    group_size: int = 16  # completions a prompt
    rollout_prompts: int = 32
    minibatches: int = 1
    inner_epochs: int = 1
    loss: PolicyLossConfig = PolicyLossConfig()
    temperature: Schedule = constant(1.0)
    max_new_tokens: Schedule = constant(1024)
    sampler: SamplerConfig = SamplerConfig()

    def __post_init__(self):
        super().__post_init__()
        for field in ("rollout_prompts", "minibatches", "inner_epochs"):
            check(getattr(self, field) >= 1, f"{self.name}.{field}", "1 or more", getattr(self, field))
        least = self.least_group_size
        check(self.group_size >= least, f"{self.name}.group_size", f"{least} or more", self.group_size)
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
        self._check_rollout_steps("num_steps", "checkpoint_every", "validate_every")
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

    def _check_rollout_steps(self, *fields: str) -> None:
        """What counts steps ends where a rollout ends."""
        for field in fields:
            value = getattr(self, field)
            check(
                value is None or value % self.steps_per_rollout == 0,
                f"{self.name}.{field}",
                f"a multiple of minibatches x inner_epochs={self.steps_per_rollout}",
                value,
            )

    @property
    def steps_per_rollout(self) -> int:
        return self.minibatches * self.inner_epochs


@dataclasses.dataclass(frozen=True)
class MixedDataConfig:
    """Prompts of another kind among those of a rollout, such as general ones in the last part of a stage."""

    data: DataConfig
    share: Schedule  # of the prompts of a rollout, over optimiser steps; the stage's own data gives the rest

    def __post_init__(self):
        values = [value for _, value in self.share.points]
        check(all(0 <= value <= 1 for value in values), "mixed.share", "shares in [0, 1]", values)


@dataclasses.dataclass(frozen=True)
class PreferenceConfig:
    """A reward from a reward model of the run, added to those of the reward sets that it is for."""

    model: str = names_stages(leaves="reward_model")
    weight: Schedule = constant(1.0)  # over optimiser steps: 0 before the last ones; not scored where it is 0
    sets: tuple[str, ...] = ("general",)

    def __post_init__(self):
        check(bool(self.sets), "preferences.sets", "the reward sets whose completions are scored", self.sets)


@dataclasses.dataclass(frozen=True, kw_only=True)
class GrpoConfig(OnPolicyConfig):
    """Group relative policy optimisation."""

    least_group_size: ClassVar[int] = 2

    mixed: tuple[MixedDataConfig, ...] = ()
    preferences: tuple[PreferenceConfig, ...] = ()
    preference_validation: EvaluationConfig | None = None  # whose samples the models score; None: the validation's
    hacking_window: int = 5  # validations over which a rising score beside a falling accuracy is an alarm
    overlong_tokens: int | None = None  # DAPO's soft overlong penalty: over the last tokens before the limit
    reference_refresh_every: int | None = None  # steps; a hard copy of the policy
    dynamic_sampling: bool = False  # replace groups whose rewards are all equal
    max_backfill_rounds: int = 4

    @property
    def changes_until(self) -> int:
        """The step from which on prompts and rewards stay what they are: the last point of their schedules."""
        schedules = [one.share for one in self.mixed] + [one.weight for one in self.preferences]
        return max((one.points[-1][0] for one in schedules), default=0)

    def __post_init__(self):
        super().__post_init__()
        check(self.max_backfill_rounds >= 1, f"{self.name}.max_backfill_rounds", "1 or more", self.max_backfill_rounds)
        for field in ("overlong_tokens", "reference_refresh_every"):
            value = getattr(self, field)
            check(value is None or value >= 1, f"{self.name}.{field}", "1 or more, or None", value)
        self._check_rollout_steps("reference_refresh_every")
        models = [one.model for one in self.preferences]
        check(len(set(models)) == len(models), f"{self.name}.preferences", "each reward model once", models)
        shares = largest_sum([one.share for one in self.mixed])
        check(shares <= 1, f"{self.name}.mixed", "shares that together stay at 1 or below", shares)
        check(
            self.hacking_window >= LEAST_HACKING_WINDOW,
            f"{self.name}.hacking_window",
            f"{LEAST_HACKING_WINDOW} or more",
            self.hacking_window,
        )
        check(
            self.preference_validation is None or bool(self.preferences and self.validation),
            f"{self.name}.preference_validation",
            "preferences and validation to be set too",
            "none",
        )


@dataclasses.dataclass(frozen=True, kw_only=True)
class DistillConfig(OnPolicyConfig):
    """On-policy distillation: the student's own samples, each token scored by the teacher's log-probability.

    Minimises the reverse KL between student and teacher; both have the same tokenizer. Distillation as DeepSeek-R1
    does it is an SftConfig on collected samples.
    """

    teacher: str = names_stages()  # an earlier stage, or a Hugging Face folder
    loss: PolicyLossConfig = PolicyLossConfig(name="bnpo", kl_coefficient=0.0)
    group_size: int = 1

    def __post_init__(self):
        super().__post_init__()
        check(
            self.loss.kl_in_reward == 0,
            f"{self.name}.loss.kl_in_reward",
            "0 (the teacher's log-probability is the reward)",
            self.loss.kl_in_reward,
        )
