"""The parts that models differ in: positions, latent attention, mixtures of experts, adapters."""

from __future__ import annotations

import dataclasses
from typing import Literal

from r1jax.config.checks import check


@dataclasses.dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding. `llama3` is the rescaling of Llama 3.1 and later, `yarn` that of DeepSeek-V3."""

    theta: float = 10_000.0
    scaling: Literal["none", "linear", "llama3", "yarn"] = "none"
    factor: float = 1.0
    low_freq_factor: float = 1.0  # llama3
    high_freq_factor: float = 4.0  # llama3
    original_max_positions: int = 8192  # llama3, yarn
    beta_fast: float = 32.0  # yarn: pairs that turn more often within the original context are kept
    beta_slow: float = 1.0  # yarn: pairs that turn less often are slowed by the whole factor
    mscale: float | None = None  # yarn, DeepSeek's: with mscale_all_dim it decides by how much heads grow
    mscale_all_dim: float | None = None  # yarn, DeepSeek's: latent attention sharpens its softmax by it, squared
    attention_factor: float | None = None  # yarn: by how much rotated heads grow; None: by the paper's formula
    truncate: bool = True  # yarn: whole numbers as bounds of the mixed pairs
    neighbours: bool = False  # pairs are dims (2i, 2i + 1), as DeepSeek stores them, not (i, i + H/2)

    def __post_init__(self):
        check(self.theta > 0, "rope.theta", "a positive number", self.theta)
        check(self.factor >= 1, "rope.factor", "a number of at least 1", self.factor)
        check(
            self.high_freq_factor > self.low_freq_factor,
            "rope.high_freq_factor",
            f"more than rope.low_freq_factor={self.low_freq_factor}",
            self.high_freq_factor,
        )
        check(
            self.beta_fast > self.beta_slow > 0,
            "rope.beta_fast",
            f"more than rope.beta_slow={self.beta_slow}, which is above 0",
            self.beta_fast,
        )


@dataclasses.dataclass(frozen=True)
class LatentConfig:
    """Multi-head latent attention (DeepSeek-V2, arXiv:2405.04434, section 2.1): all heads' keys and values are
    made from one small vector a token, which is what a cache holds, and one rotated key that all heads share.
    """

    kv_rank: int  # of that vector
    query_rank: int | None  # of the one that queries are made from; None: made from the hidden state
    nope_size: int  # a head's part without positions
    rope_size: int  # a head's rotated part
    value_size: int  # of a head's values

    def __post_init__(self):
        for name in ("kv_rank", "nope_size", "rope_size", "value_size"):
            check(getattr(self, name) >= 1, f"latent.{name}", "a positive integer", getattr(self, name))
        check(
            self.query_rank is None or self.query_rank >= 1,
            "latent.query_rank",
            "a positive integer or None",
            self.query_rank,
        )
        check(self.rope_size % 2 == 0, "latent.rope_size", "an even number (rotary pairs)", self.rope_size)


@dataclasses.dataclass(frozen=True)
class MoeConfig:
    """Mixture of experts in place of the feed-forward: Qwen3-MoE (softmax gate), DeepSeek-V3 (sigmoid gate).

    The sigmoid gate has a correction bias that decides which experts are chosen, not how they are weighted; with
    groups, experts are chosen within the `top_groups` groups whose two best experts score highest.
    """

    num_experts: int
    experts_per_token: int
    expert_size: int  # hidden width of one expert
    shared_experts: int = 0  # that every token passes, as one feed-forward of so many times expert_size
    first_dense_layers: int = 0  # layers that keep a dense feed-forward (of model.ffn_size)
    gate: Literal["softmax", "sigmoid"] = "softmax"
    num_groups: int = 1
    top_groups: int = 1
    normalize_weights: bool = True  # the chosen experts' weights are divided by their sum
    weights_scale: float = 1.0  # and then multiplied by this (DeepSeek's routed scaling factor)
    bias_update_rate: float = 0.0  # by which an update moves the correction bias of over- and underused experts

    def __post_init__(self):
        for name in ("num_experts", "experts_per_token", "expert_size", "num_groups", "top_groups"):
            check(getattr(self, name) >= 1, f"moe.{name}", "a positive integer", getattr(self, name))
        for name in ("shared_experts", "first_dense_layers", "bias_update_rate"):
            check(getattr(self, name) >= 0, f"moe.{name}", "0 or more", getattr(self, name))
        check(
            self.num_experts % self.num_groups == 0,
            "moe.num_groups",
            f"a divisor of moe.num_experts={self.num_experts}",
            self.num_groups,
        )
        check(
            self.top_groups <= self.num_groups,
            "moe.top_groups",
            f"at most moe.num_groups={self.num_groups}",
            self.top_groups,
        )
        eligible = self.num_experts // self.num_groups * self.top_groups
        check(
            self.experts_per_token <= eligible,
            "moe.experts_per_token",
            f"at most the {eligible} experts of the chosen groups",
            self.experts_per_token,
        )
        grouped = self.num_groups > 1 or self.bias_update_rate > 0
        check(
            self.gate == "sigmoid" or not grouped,
            "moe.gate",
            "sigmoid (groups and the correction bias are its own)",
            self.gate,
        )


@dataclasses.dataclass(frozen=True)
class LoraConfig:
    """Low-rank adapters (Hu et al. 2021, arXiv:2106.09685) on frozen weights: W + alpha / rank * A B."""

    rank: int = 16
    alpha: float = 32.0
    targets: tuple[str, ...] = ("*",)  # patterns over a layer's linear maps, as ffn.up or *.query
    frozen: Literal["compute", "int8", "nf4"] = "compute"  # how frozen matrices are held: compute dtype, or quantised

    def __post_init__(self):
        check(self.rank >= 1, "lora.rank", "a positive integer", self.rank)
        check(self.alpha > 0, "lora.alpha", "a positive number", self.alpha)
        check(bool(self.targets), "lora.targets", "at least one pattern", self.targets)

    @property
    def scale(self) -> float:
        """By which A B is multiplied."""
        return self.alpha / self.rank
