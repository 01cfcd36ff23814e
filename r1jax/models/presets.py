"""Published models by name: their shapes, where the hub has them, and what the paper distilled them with.

The numbers are those of each repository's `config.json`. Where there is a base model it is the one meant, for that is
where the recipe starts; the learning rates are those of DeepSeek-R1's distillation (arXiv:2501.12948v2, B.4.3), None
for models that it does not distil. The `tiny-` models have every feature of their family and are on no hub.
"""

from __future__ import annotations

import dataclasses
import difflib

from r1jax.config import ConfigError, LatentConfig, ModelConfig, MoeConfig, RopeConfig


@dataclasses.dataclass(frozen=True)
class Preset:
    """A model by name."""

    name: str
    model: ModelConfig
    repository: str | None  # on huggingface.co; None: a tiny one
    max_positions: int | None = None  # the longest context that its config.json claims; None: a tiny one
    distill_learning_rate: float | None = None


def preset(name: str) -> Preset:
    """The preset of that name. Raises ConfigError for another name, with the nearest."""
    if name not in PRESETS:
        near = difflib.get_close_matches(name, PRESETS, n=1, cutoff=0.5)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PRESETS)}"
        raise ConfigError(f"preset: expected the name of a model, found {name!r}; {hint}")
    return PRESETS[name]


def _qwen2(width: int, layers: int, heads: int, kv_heads: int, ffn: int, *, tied: bool = False) -> ModelConfig:
    return ModelConfig(
        vocab_size=151_936 if tied else 152_064,
        hidden_size=width,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        ffn_size=ffn,
        attention_bias=True,
        tie_embeddings=tied,
        norm_eps=1e-6,
        rope=RopeConfig(theta=1e6),
    )


def _qwen3(width: int, layers: int, heads: int, kv_heads: int, ffn: int, *, tied: bool = False) -> ModelConfig:
    return ModelConfig(
        vocab_size=151_936,
        hidden_size=width,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=kv_heads,
        ffn_size=ffn,
        head_size=None if heads * 128 == width else 128,
        qk_norm=True,
        tie_embeddings=tied,
        norm_eps=1e-6,
        rope=RopeConfig(theta=1e6),
    )


def _llama3(width: int, layers: int, heads: int, ffn: int, *, factor: float = 8.0, tied: bool = False) -> ModelConfig:
    return ModelConfig(
        vocab_size=128_256,
        hidden_size=width,
        num_layers=layers,
        num_heads=heads,
        num_kv_heads=8,
        ffn_size=ffn,
        tie_embeddings=tied,
        norm_eps=1e-5,
        rope=RopeConfig(
            theta=5e5,
            scaling="llama3",
            factor=factor,
            low_freq_factor=1.0,
            high_freq_factor=4.0,
            original_max_positions=8192,
        ),
    )


_QWEN25_05B = _qwen2(896, 24, 14, 2, 4864, tied=True)
_QWEN25_15B = _qwen2(1536, 28, 12, 2, 8960, tied=True)
_QWEN25_7B = _qwen2(3584, 28, 28, 4, 18_944)
_QWEN25_14B = dataclasses.replace(_qwen2(5120, 48, 40, 8, 13_824), norm_eps=1e-5)
_QWEN25_32B = dataclasses.replace(_qwen2(5120, 64, 40, 8, 27_648), norm_eps=1e-5)
_MATH_ROPE = RopeConfig(theta=1e4)  # for the 4096 positions that the maths models were made with
_QWEN3_30B_A3B = dataclasses.replace(
    _qwen3(2048, 48, 32, 4, 6144), moe=MoeConfig(num_experts=128, experts_per_token=8, expert_size=768)
)
_DEEPSEEK_V3 = ModelConfig(
    vocab_size=129_280,
    hidden_size=7168,
    num_layers=61,
    num_heads=128,
    num_kv_heads=128,
    ffn_size=18_432,
    norm_eps=1e-6,
    rope=RopeConfig(
        theta=1e4,
        scaling="yarn",
        factor=40.0,
        original_max_positions=4096,
        beta_fast=32.0,
        beta_slow=1.0,
        mscale=1.0,
        mscale_all_dim=1.0,
        neighbours=True,
    ),
    latent=LatentConfig(kv_rank=512, query_rank=1536, nope_size=128, rope_size=64, value_size=128),
    moe=MoeConfig(
        num_experts=256,
        experts_per_token=8,
        expert_size=2048,
        shared_experts=1,
        first_dense_layers=3,
        gate="sigmoid",
        num_groups=8,
        top_groups=4,
        normalize_weights=True,
        weights_scale=2.5,
    ),
)

_TINY = {"vocab_size": 512, "hidden_size": 64, "num_layers": 2, "num_heads": 4, "num_kv_heads": 2, "ffn_size": 96}
_TINY_YARN = RopeConfig(theta=1e6, scaling="yarn", factor=4.0, original_max_positions=64)
_TINY_QWEN2 = ModelConfig(**_TINY, attention_bias=True, tie_embeddings=True, rope=_TINY_YARN)
_TINY_QWEN3 = ModelConfig(**_TINY, head_size=32, qk_norm=True, tie_embeddings=True, rope=_TINY_YARN)
_TINY_QWEN3_MOE = ModelConfig(
    **_TINY | {"num_layers": 3},
    head_size=32,
    qk_norm=True,
    rope=_TINY_YARN,
    moe=MoeConfig(num_experts=8, experts_per_token=2, expert_size=32, first_dense_layers=1),
)
_TINY_LLAMA3 = ModelConfig(
    **_TINY,
    norm_eps=1e-5,
    rope=RopeConfig(theta=5e5, scaling="llama3", factor=8.0, original_max_positions=64),
)
_TINY_DEEPSEEK_V3 = ModelConfig(
    **_TINY | {"num_layers": 3, "num_kv_heads": 4},
    rope=RopeConfig(
        theta=1e4,
        scaling="yarn",
        factor=4.0,
        original_max_positions=64,
        mscale=0.7,
        mscale_all_dim=1.0,
        neighbours=True,
    ),
    latent=LatentConfig(kv_rank=32, query_rank=48, nope_size=16, rope_size=8, value_size=24),
    moe=MoeConfig(
        num_experts=8,
        experts_per_token=3,
        expert_size=32,
        shared_experts=2,
        first_dense_layers=1,
        gate="sigmoid",
        num_groups=4,
        top_groups=2,
        weights_scale=2.5,
    ),
)

PRESETS: dict[str, Preset] = {
    entry.name: entry
    for entry in (
        Preset("qwen2.5-0.5b", _QWEN25_05B, "Qwen/Qwen2.5-0.5B", 32_768),
        Preset("qwen2.5-1.5b", _QWEN25_15B, "Qwen/Qwen2.5-1.5B", 131_072),
        Preset("qwen2.5-7b", _QWEN25_7B, "Qwen/Qwen2.5-7B", 131_072),
        Preset("qwen2.5-14b", _QWEN25_14B, "Qwen/Qwen2.5-14B", 131_072, 7e-5),
        Preset("qwen2.5-32b", _QWEN25_32B, "Qwen/Qwen2.5-32B", 131_072, 6e-5),
        Preset(
            "qwen2.5-math-1.5b", dataclasses.replace(_QWEN25_15B, rope=_MATH_ROPE), "Qwen/Qwen2.5-Math-1.5B", 4096, 1e-4
        ),
        Preset("qwen2.5-math-7b", dataclasses.replace(_QWEN25_7B, rope=_MATH_ROPE), "Qwen/Qwen2.5-Math-7B", 4096, 8e-5),
        Preset("qwen3-0.6b", _qwen3(1024, 28, 16, 8, 3072, tied=True), "Qwen/Qwen3-0.6B-Base", 32_768),
        Preset("qwen3-1.7b", _qwen3(2048, 28, 16, 8, 6144, tied=True), "Qwen/Qwen3-1.7B-Base", 32_768),
        Preset("qwen3-4b", _qwen3(2560, 36, 32, 8, 9728, tied=True), "Qwen/Qwen3-4B-Base", 32_768),
        Preset("qwen3-8b", _qwen3(4096, 36, 32, 8, 12_288), "Qwen/Qwen3-8B-Base", 32_768),
        Preset("qwen3-30b-a3b", _QWEN3_30B_A3B, "Qwen/Qwen3-30B-A3B-Base", 32_768),
        Preset("llama3.1-8b", _llama3(4096, 32, 32, 14_336), "meta-llama/Llama-3.1-8B", 131_072, 5e-5),
        Preset("llama3.2-1b", _llama3(2048, 16, 32, 8192, factor=32.0, tied=True), "meta-llama/Llama-3.2-1B", 131_072),
        Preset("llama3.3-70b", _llama3(8192, 80, 64, 28_672), "meta-llama/Llama-3.3-70B-Instruct", 131_072, 2e-5),
        Preset("deepseek-v3", _DEEPSEEK_V3, "deepseek-ai/DeepSeek-V3-Base", 163_840),
        Preset("tiny-qwen2", _TINY_QWEN2, None),
        Preset("tiny-qwen3", _TINY_QWEN3, None),
        Preset("tiny-qwen3-moe", _TINY_QWEN3_MOE, None),
        Preset("tiny-llama3", _TINY_LLAMA3, None),
        Preset("tiny-deepseek-v3", _TINY_DEEPSEEK_V3, None),
    )
}
