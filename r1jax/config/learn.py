"""How parameters are updated: schedules, optimisers, losses, batch shapes."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from r1jax.config.checks import check


@dataclasses.dataclass(frozen=True)
class Schedule:
    """A number over steps, from points (step, value): held until the next point, or interpolated.

    On the command line: `0.7`, or `0:1.0,8200:0.7` (held), or `linear:0:1.0,100:0.0`.
    """

    points: tuple[tuple[int, float], ...]
    interpolation: Literal["hold", "linear"] = "hold"

    def __post_init__(self):
        steps = [step for step, _ in self.points]
        check(bool(steps) and steps[0] == 0, "schedule.points", "a first point at step 0", self.points)
        check(steps == sorted(set(steps)), "schedule.points", "steps that increase", self.points)

    def at(self, step: int) -> float:
        """The value in force at `step`."""
        before = [point for point in self.points if point[0] <= step]
        start, value = before[-1]
        if self.interpolation == "hold" or len(before) == len(self.points):
            return value
        end, target = self.points[len(before)]
        return value + (target - value) * (step - start) / (end - start)

    @property
    def largest(self) -> float:
        return max(value for _, value in self.points)


def constant(value: float) -> Schedule:
    """The schedule that never changes."""
    return Schedule(((0, value),))


def largest_sum(schedules: Sequence[Schedule]) -> float:
    """The most that the schedules together come to at any step, to nine digits; 0 of none.

    Between a point of one of them and the step before the next, each is a constant or a line.
    """
    points = {step for one in schedules for step, _ in one.points}
    steps = points | {step - 1 for step in points if step > 0}
    return max((round(sum(one.at(step) for one in schedules), 9) for step in steps), default=0.0)


@dataclasses.dataclass(frozen=True)
class OptimizerConfig:
    """AdamW, or Muon on matrices with AdamW on embeddings, output head, norms and biases."""

    name: Literal["adamw", "muon"] = "adamw"
    learning_rate: float = 1e-6  # of AdamW
    muon_learning_rate: float | None = None  # of the matrices; needed by muon
    warmup_steps: int = 0
    decay: Literal["none", "linear", "cosine"] = "none"
    decay_start: float = 0.0  # share of num_steps after which the decay begins
    final_ratio: float = 0.1  # of the peak, at the last step
    b1: float = 0.9
    b2: float = 0.95
    eps: float = 1e-8
    weight_decay: float = 0.0  # on matrices only, never on norms and biases
    clip_norm: float | None = 1.0
    max_bad_steps: int = 10  # non-finite updates in a row before the run stops

    def __post_init__(self):
        check(self.learning_rate > 0, "optimizer.learning_rate", "a positive number", self.learning_rate)
        if self.name == "muon":
            check(
                self.muon_learning_rate is not None and self.muon_learning_rate > 0,
                "optimizer.muon_learning_rate",
                "a positive number (optimizer.name is muon)",
                self.muon_learning_rate,
            )
        check(0 <= self.decay_start < 1, "optimizer.decay_start", "a share in [0, 1)", self.decay_start)
        check(0 <= self.final_ratio <= 1, "optimizer.final_ratio", "a ratio in [0, 1]", self.final_ratio)
        check(
            self.clip_norm is None or self.clip_norm > 0,
            "optimizer.clip_norm",
            "a positive number or None",
            self.clip_norm,
        )
        check(self.warmup_steps >= 0, "optimizer.warmup_steps", "0 or more", self.warmup_steps)
        check(self.max_bad_steps >= 1, "optimizer.max_bad_steps", "a positive integer", self.max_bad_steps)


@dataclasses.dataclass(frozen=True)
class BatchConfig:
    """Packed rows: sequences share rows of `row_tokens`; `micro_batch_rows` rows go through at once."""

    row_tokens: int
    micro_batch_rows: int
    packed: bool = True  # False: one sequence a row

    def __post_init__(self):
        for name in ("row_tokens", "micro_batch_rows"):
            check(getattr(self, name) >= 1, f"batch.{name}", "a positive integer", getattr(self, name))


@dataclasses.dataclass(frozen=True)
class PolicyLossConfig:
    """The GRPO family. docs/equations.md has each term with its source, its function and its test."""

    name: Literal["grpo", "bnpo", "dr_grpo", "dapo", "gspo", "cispo"] = "grpo"
    clip_low: float = 0.2  # the ratio is cut below 1 - clip_low
    clip_high: float = 0.2  # and above 1 + clip_high
    dual_clip: float | None = None  # cap on ratio * |A| where A < 0 (a number above 1)
    kl_coefficient: float = 0.001
    kl_estimator: Literal["k2", "k3"] = "k3"
    kl_target: float | None = None  # adapt kl_coefficient towards this KL (nats a token)
    kl_horizon: int = 10_000  # sequences over which the adaptation acts
    kl_in_reward: float = 0.0  # coefficient of k1, summed over the tokens, taken from the reward
    entropy_coefficient: float = 0.0
    advantage_scaling: Literal["group", "batch", "none"] = "group"
    advantage_epsilon: float = 1e-4  # added to the std; a group with a std below it has advantage 0
    mask_truncated: bool = False  # leave the tokens of completions that hit the length limit out of the loss
    importance_cap: float | None = None  # truncated importance sampling, trainer over sampler

    def __post_init__(self):
        check(self.clip_low >= 0, "loss.clip_low", "0 or more", self.clip_low)
        check(self.clip_high >= 0, "loss.clip_high", "0 or more", self.clip_high)
        check(self.dual_clip is None or self.dual_clip > 1, "loss.dual_clip", "above 1 or None", self.dual_clip)
        check(self.kl_coefficient >= 0, "loss.kl_coefficient", "0 or more", self.kl_coefficient)
        check(self.kl_in_reward >= 0, "loss.kl_in_reward", "0 or more", self.kl_in_reward)
        check(self.kl_horizon >= 1, "loss.kl_horizon", "1 or more", self.kl_horizon)
        check(self.kl_target is None or self.kl_target > 0, "loss.kl_target", "above 0 or None", self.kl_target)
        check(
            self.kl_target is None or self.kl_coefficient > 0,
            "loss.kl_coefficient",
            "above 0, for loss.kl_target to adapt",
            self.kl_coefficient,
        )
        check(self.advantage_epsilon > 0, "loss.advantage_epsilon", "above 0", self.advantage_epsilon)
        check(
            self.importance_cap is None or self.importance_cap > 0,
            "loss.importance_cap",
            "above 0 or None",
            self.importance_cap,
        )

    @property
    def needs_reference(self) -> bool:
        return self.kl_coefficient > 0 or self.kl_in_reward > 0
