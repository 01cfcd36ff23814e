"""How completions are sampled."""

from __future__ import annotations

import dataclasses

from r1jax.config.checks import check


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
