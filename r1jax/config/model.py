"""What a model is."""

from __future__ import annotations

import dataclasses
from typing import Literal

from r1jax.config.checks import check
from r1jax.config.model_parts import LatentConfig, LoraConfig, MoeConfig, RopeConfig


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A decoder: Qwen2/2.5 (attention_bias), Qwen3 (qk_norm), Llama 3.x (rope.scaling), Qwen3-MoE (qk_norm, moe),
    DeepSeek-V3/R1 (latent, moe).
    """

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    num_kv_heads: int
    ffn_size: int
    head_size: int | None = None  # None: hidden_size / num_heads
    activation: Literal["silu", "gelu", "relu2"] = "silu"
    gated_ffn: bool = True  # act(x W_gate) * (x W_up); without: act(x W_up)
    attention_bias: bool = False  # on the query, key and value projections
    qk_norm: bool = False  # RMSNorm over the head width of queries and keys
    tie_embeddings: bool = False
    norm_eps: float = 1e-6
    rope: RopeConfig = RopeConfig()
    latent: LatentConfig | None = None  # in place of grouped-query attention
    moe: MoeConfig | None = None  # in place of the feed-forward
    lora: LoraConfig | None = None  # train low-rank adapters; None: train all parameters
    head: Literal["tokens", "score"] = "tokens"  # score: one number a token, for reward models
    init_range: float = 0.02
    zero_init_outputs: bool = False  # start every block as the identity
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["none", "dots", "full"] = "none"  # what the backward pass keeps of a layer
    scan_unroll: int = 1  # layers a scan step; num_layers unrolls fully (some 10 % faster when tiny)
    logits_budget_bytes: int = 256 * 2**20  # [tokens, vocabulary] blocks stay under this

    def __post_init__(self):
        for name in (
            "vocab_size",
            "hidden_size",
            "num_layers",
            "num_heads",
            "num_kv_heads",
            "ffn_size",
            "scan_unroll",
            "logits_budget_bytes",
        ):
            check(getattr(self, name) >= 1, f"model.{name}", "a positive integer", getattr(self, name))
        if self.latent is not None:
            self._check_latent()
        else:
            self._check_grouped()
        if self.moe is not None:
            check(
                self.moe.first_dense_layers < self.num_layers,
                "model.moe.first_dense_layers",
                f"less than model.num_layers={self.num_layers}",
                self.moe.first_dense_layers,
            )
            check(self.gated_ffn, "model.gated_ffn", "True (experts are gated)", self.gated_ffn)
            check(
                self.lora is None or self.moe.bias_update_rate == 0,
                "model.moe.bias_update_rate",
                "0 with model.lora (the correction bias is part of the base, which is frozen)",
                self.moe.bias_update_rate,
            )
        check(
            self.remat != "none" or self.lora is None or self.lora.frozen == "compute",
            "model.remat",
            f"dots or full with model.lora.frozen={self.lora and self.lora.frozen} (without, the backward pass keeps "
            "every layer's kernels written out, and the base is larger than it was)",
            self.remat,
        )
        if self.head == "score":
            check(not self.tie_embeddings, "model.tie_embeddings", "False (a score head has no tokens)", True)

    def _check_grouped(self) -> None:
        check(
            self.num_heads % self.num_kv_heads == 0,
            "model.num_kv_heads",
            f"a divisor of model.num_heads={self.num_heads}",
            self.num_kv_heads,
        )
        if self.head_size is None:
            check(
                self.hidden_size % self.num_heads == 0,
                "model.num_heads",
                f"a divisor of model.hidden_size={self.hidden_size} (or set model.head_size)",
                self.num_heads,
            )
        check(self.head_width % 2 == 0, "model.head_size", "an even number (rotary pairs)", self.head_width)

    def _check_latent(self) -> None:
        check(
            self.num_kv_heads == self.num_heads,
            "model.num_kv_heads",
            f"model.num_heads={self.num_heads} (latent attention shares no heads)",
            self.num_kv_heads,
        )
        for name in ("attention_bias", "qk_norm"):
            check(not getattr(self, name), f"model.{name}", "False with latent attention", getattr(self, name))
        check(self.head_size is None, "model.head_size", "None (model.latent gives the sizes)", self.head_size)

    @property
    def head_width(self) -> int:
        """The width of a query's head."""
        if self.latent is not None:
            return self.latent.nope_size + self.latent.rope_size
        return self.head_size if self.head_size is not None else self.hidden_size // self.num_heads

    @property
    def rotated_width(self) -> int:
        """The dims of a head that are turned to its position."""
        return self.head_width if self.latent is None else self.latent.rope_size


@dataclasses.dataclass(frozen=True)
class PretrainedConfig:
    """A model by reference, in the place of a ModelConfig: set exactly one of `path` and `preset`.

    The other fields are those of ModelConfig that do not decide what the model is, but how it is run.
    """

    path: str | None = None  # a Hugging Face folder: the model is its config.json, the first weights are its own
    preset: str | None = None  # a name out of r1jax.models.presets: that shape, from random weights
    lora: LoraConfig | None = None
    head: Literal["tokens", "score"] | None = None  # None: the one that the model has
    bias_update_rate: float = 0.0  # of the mixture of experts
    compute_dtype: Literal["float32", "bfloat16"] = "float32"
    remat: Literal["none", "dots", "full"] = "none"
    scan_unroll: int = 1
    logits_budget_bytes: int = 256 * 2**20

    def __post_init__(self):
        check(
            (self.path is None) != (self.preset is None),
            "model",
            "exactly one of path and preset",
            (self.path, self.preset),
        )
