"""What a search has cost, so that others can be given as much: tokens by kind, and floating-point operations."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from r1jax.config import ModelConfig
from r1jax.models.flops import Work, flops, sampling_work


@dataclasses.dataclass(frozen=True)
class Spent:
    """Tokens that went through a model, and the FLOPs of it all."""

    prefilled: int = 0  # read by the policy: prompts, and prefixes at each expansion
    generated: int = 0  # drawn from the policy, with what was cut off
    scored: int = 0  # read by the value model
    flops: float = 0.0

    def __add__(self, other: Spent) -> Spent:
        mine, theirs = dataclasses.astuple(self), dataclasses.astuple(other)
        return Spent(*(one + another for one, another in zip(mine, theirs, strict=True)))


@dataclasses.dataclass(frozen=True)
class Prices:
    """What the models cost: forward passes, no padding (r1jax.models.flops)."""

    policy: ModelConfig
    value: ModelConfig

    def sampling(self, prompt_tokens: int, completions: Sequence[int]) -> Spent:
        """Of a prompt or prefix, read once, and completions of so many tokens."""
        prefill, decode = sampling_work([(prompt_tokens, completions)])
        cost = flops(self.policy, prefill, "forward") + flops(self.policy, decode, "decode")
        return Spent(prefilled=prompt_tokens, generated=sum(completions), flops=cost)

    def scoring(self, tokens: int) -> Spent:
        """Of one sequence with one score, at its end."""
        work = Work(tokens, tokens * (tokens + 1) // 2, 1)
        return Spent(scored=tokens, flops=flops(self.value, work, "forward"))


def affordable(costs: Sequence[float], budget: float) -> int:
    """How many of independent samples with these FLOPs, in order, the budget pays for; at least one."""
    spent = 0.0
    for count, cost in enumerate(costs):
        spent += cost
        if spent > budget:
            return max(count, 1)
    return max(len(costs), 1)
