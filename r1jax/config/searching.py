"""Stages about the steps of solutions: labels for a process reward model, and tree search guided by one."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from r1jax.config.checks import check
from r1jax.config.data import DataConfig
from r1jax.config.references import names_stages
from r1jax.config.reward_models import StepsConfig
from r1jax.config.rollout import SamplerConfig, SamplingConfig
from r1jax.config.stages import Leaves, StageConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class StepLabelsConfig(StageConfig):
    """Solutions of a policy (`start`) cut after each step, and whether they come out right from there.

    From each cut the policy goes on `rollouts` times (Math-Shepherd, arXiv:2312.08935, section 3.3). Leaves
    DIR/<stage>/data.jsonl for a RewardModelConfig with the same `steps`.
    """

    leaves: ClassVar[Leaves] = "data"

    data: DataConfig  # the prompts
    steps: StepsConfig = StepsConfig()
    samples: int = 4  # solutions a prompt
    rollouts: int = 8  # from each cut
    label: Literal["any", "share"] = "any"  # 1 where any rollout is right ("hard"), or the share of them ("soft")
    sampling: SamplingConfig = SamplingConfig(temperature=1.0, top_p=None)
    sampler: SamplerConfig = SamplerConfig()  # max_prompt_tokens: of a prompt and most of a solution
    batch_prompts: int = 64  # sampled, graded and journalled together: what a kill can cost

    def __post_init__(self):
        super().__post_init__()
        for field in ("samples", "rollouts", "batch_prompts"):
            check(getattr(self, field) >= 1, f"{self.name}.{field}", "1 or more", getattr(self, field))
        _check_room(self)
        _check_leaves_data(self)


@dataclasses.dataclass(frozen=True, kw_only=True)
class SearchConfig(StageConfig):
    """Tree search over steps: a policy (`start`) proposes them, a reward model values what they lead to.

    Leaves DIR/<stage>/data.jsonl, the solutions kept, for the policy, and values.jsonl, every prefix in the trees with
    what came of it, for the value model: rounds of search and training are stages one after another.
    """

    leaves: ClassVar[Leaves] = "data"

    data: DataConfig  # the prompts
    value: str = names_stages(leaves="reward_model")  # a process reward model as a rule
    steps: StepsConfig = StepsConfig()
    method: Literal["puct", "uct", "beam"] = "puct"
    width: int = 4  # next steps sampled where the tree is expanded; equal ones are one
    simulations: int = 32  # expansions a prompt, at most
    max_tokens: int | None = None  # generated for a prompt: none is expanded further that has spent them
    beam: int = 4  # of the method beam: prefixes of a level that are kept
    exploration: float = 1.0  # c of puct and uct
    prior: Literal["policy", "uniform"] = "policy"  # of puct
    max_step_tokens: int = 64  # a longer step is cut into several
    sampling: SamplingConfig = SamplingConfig(temperature=1.0, top_p=None, max_new_tokens=1024)  # of a whole solution
    sampler: SamplerConfig = SamplerConfig(max_prompt_tokens=2048)  # of a prompt and most of a solution
    batch_prompts: int = 64  # searched together, and journalled: what a kill can cost
    keep: Literal["right", "chosen"] = "right"  # solutions for data.jsonl: found right, or best by value
    keep_solutions: int = 1  # a prompt, at most
    label: Literal["any", "share"] = "any"  # of values.jsonl: of the solutions below a prefix
    compare: bool = True  # with independent samples that cost as many FLOPs as the search
    bootstrap_resamples: int = 1000

    def __post_init__(self):
        super().__post_init__()
        fields = ("width", "simulations", "beam", "max_step_tokens", "batch_prompts", "keep_solutions")
        for field in (*fields, "bootstrap_resamples"):
            check(getattr(self, field) >= 1, f"{self.name}.{field}", "1 or more", getattr(self, field))
        tokens = self.max_tokens
        check(tokens is None or tokens >= 1, f"{self.name}.max_tokens", "1 or more, or None", tokens)
        check(self.exploration >= 0, f"{self.name}.exploration", "0 or more", self.exploration)
        _check_room(self)
        _check_leaves_data(self)


def _check_room(stage: StepLabelsConfig | SearchConfig) -> None:
    """A request holds the prompt and the steps so far."""
    check(
        stage.sampler.max_prompt_tokens >= stage.sampling.max_new_tokens,
        f"{stage.name}.sampler.max_prompt_tokens",
        f"room for a prompt and all but the last of sampling.max_new_tokens={stage.sampling.max_new_tokens}",
        stage.sampler.max_prompt_tokens,
    )


def _check_leaves_data(stage: StageConfig) -> None:
    check(stage.evaluation is None, f"{stage.name}.evaluation", "None (the stage leaves data, no policy)", "one")
    check(not stage.benchmarks, f"{stage.name}.benchmarks", "none (the stage leaves data, no policy)", "some")
