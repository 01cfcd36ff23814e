"""What a model is, and the device mesh it lives on."""

from __future__ import annotations

import dataclasses
from typing import Literal

from r1jax.config.checks import check

MESH_AXES = ("data", "fsdp", "context", "expert", "tensor")


@dataclasses.dataclass(frozen=True)
class RopeConfig:
    """Rotary position embedding. `llama3` is the frequency rescaling of Llama 3.1 and later."""

    theta: float = 10_000.0
    scaling: Literal["none", "linear", "llama3"] = "none"
    factor: float = 1.0
    low_freq_factor: float = 1.0
    high_freq_factor: float = 4.0
    original_max_positions: int = 8192

    def __post_init__(self):
        check(self.theta > 0, "rope.theta", "a positive number", self.theta)
        check(self.factor >= 1, "rope.factor", "a number of at least 1", self.factor)
        check(
            self.high_freq_factor > self.low_freq_factor,
            "rope.high_freq_factor",
            f"more than rope.low_freq_factor={self.low_freq_factor}",
            self.high_freq_factor,
        )


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """A dense decoder: Qwen2/2.5 (attention_bias), Qwen3 (qk_norm), Llama 3.x (rope.scaling)."""

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

    @property
    def head_width(self) -> int:
        return self.head_size if self.head_size is not None else self.hidden_size // self.num_heads


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis. One axis may be None: it takes the devices that the others leave."""

    data: int | None = None
    fsdp: int | None = 1
    context: int | None = 1
    expert: int | None = 1
    tensor: int | None = 1

    def __post_init__(self):
        free = [axis for axis in MESH_AXES if getattr(self, axis) is None]
        check(len(free) <= 1, "mesh", "at most one axis left as None", " and ".join(free))
        for axis in MESH_AXES:
            size = getattr(self, axis)
            check(size is None or size >= 1, f"mesh.{axis}", "a positive integer or None", size)
