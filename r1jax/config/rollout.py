"""How completions are sampled and how they are scored."""

from __future__ import annotations

import dataclasses

from r1jax.config.checks import check
from r1jax.config.learn import Schedule, constant

MOST_DEADLINE_SECONDS = 86_400  # a day; a wait of some weeks is more than the system call takes


@dataclasses.dataclass(frozen=True)
class SamplerConfig:
    """The shape of the decoding program: a lane holds one prompt's KV, `width` slots decode its samples."""

    lanes: int = 16
    width: int = 8
    chunk_steps: int = 32  # decode steps between two looks of the host
    max_prompt_tokens: int = 512  # a longer prompt is an error that names it

    def __post_init__(self):
        for name in ("lanes", "width", "chunk_steps", "max_prompt_tokens"):
            check(getattr(self, name) >= 1, f"sampler.{name}", "a positive integer", getattr(self, name))


@dataclasses.dataclass(frozen=True)
class SamplingConfig:
    """How one token is drawn. None switches a filter off; temperature 0 is greedy."""

    temperature: float = 0.6
    top_p: float | None = 0.95
    top_k: int | None = None
    max_new_tokens: int = 32_768

    def __post_init__(self):
        check(self.temperature >= 0, "sampling.temperature", "0 or more", self.temperature)
        check(self.top_p is None or 0 < self.top_p <= 1, "sampling.top_p", "in (0, 1] or None", self.top_p)
        check(self.top_k is None or self.top_k >= 1, "sampling.top_k", "1 or more, or None", self.top_k)
        check(self.max_new_tokens >= 1, "sampling.max_new_tokens", "1 or more", self.max_new_tokens)


@dataclasses.dataclass(frozen=True)
class RewardConfig:
    """One reward of a set: a name of r1jax.rewards, or `module:function` of the user's own."""

    name: str
    weight: Schedule = constant(1.0)  # over optimiser steps of the stage


@dataclasses.dataclass(frozen=True)
class RewardSetConfig:
    """The rewards of the prompts that carry this name (the routing key `rewards` of a record)."""

    name: str
    rewards: tuple[RewardConfig, ...]

    def __post_init__(self):
        names = [reward.name for reward in self.rewards]
        check(bool(names), f"rewards.sets.{self.name}", "at least one reward", names)
        check(len(set(names)) == len(names), f"rewards.sets.{self.name}", "each reward once", names)


@dataclasses.dataclass(frozen=True)
class RewardsConfig:
    """The reward sets, and the worker processes that grade what may hang or crash."""

    sets: tuple[RewardSetConfig, ...] = (RewardSetConfig("default", (RewardConfig("maths"), RewardConfig("format"))),)
    workers: int = 2
    deadline_seconds: float = 5.0  # for one item; then its worker is killed and replaced
    worker_memory_mib: int = 2048
    recycle_after: int = 2000  # items a worker grades before it is replaced

    def __post_init__(self):
        names = [one.name for one in self.sets]
        check(
            bool(names) and len(set(names)) == len(names),
            "rewards.sets",
            "sets with names of their own",
            names,
        )
        check(self.workers >= 1, "rewards.workers", "1 or more", self.workers)
        check(
            0 < self.deadline_seconds <= MOST_DEADLINE_SECONDS,
            "rewards.deadline_seconds",
            f"above 0 and at most {MOST_DEADLINE_SECONDS}",
            self.deadline_seconds,
        )
