"""The families of models that transformers has code for and our decoder computes: which one a model belongs to."""

from __future__ import annotations

import functools
from typing import Any

from r1jax.config import ModelConfig
from r1jax.config.checks import check

# The classes of a family are named after these.
CLASSES = {
    "qwen2": "Qwen2",
    "qwen3": "Qwen3",
    "qwen3_moe": "Qwen3Moe",
    "llama": "Llama",
    "deepseek_v3": "DeepseekV3",
}

DEEPSEEK_EPS = 1e-6  # of the norms within DeepSeek-V3's attention, whatever its rms_norm_eps


def family(model: ModelConfig) -> str:
    """The model_type that has the model's features.

    Raises:
      ConfigError: none has all of them; the text names a feature and the family that comes nearest.
    """
    near = _nearest(model)
    check_that = functools.partial(_check_for_family, near)
    check_that(model.gated_ffn, "model.gated_ffn", "True", model.gated_ffn)
    if near == "deepseek_v3":
        check_that(model.moe is not None, "model.moe", "a mixture of experts", None)
        check_that(model.moe.gate == "sigmoid", "model.moe.gate", "sigmoid", model.moe.gate)
        check_that(model.norm_eps == DEEPSEEK_EPS, "model.norm_eps", str(DEEPSEEK_EPS), model.norm_eps)
        return near
    check_that(not model.rope.neighbours, "model.rope.neighbours", "False", True)
    bias = near == "qwen2"
    check_that(model.attention_bias == bias, "model.attention_bias", str(bias), model.attention_bias)
    if near == "qwen3_moe":
        check_that(model.qk_norm, "model.qk_norm", "True", False)
        check_that(model.moe.gate == "softmax", "model.moe.gate", "softmax", model.moe.gate)
        check_that(model.moe.shared_experts == 0, "model.moe.shared_experts", "0", model.moe.shared_experts)
        check_that(model.moe.weights_scale == 1, "model.moe.weights_scale", "1", model.moe.weights_scale)
    return near


def _nearest(model: ModelConfig) -> str:
    if model.latent is not None:
        return "deepseek_v3"
    if model.moe is not None:
        return "qwen3_moe"
    if model.qk_norm:
        return "qwen3"
    return "qwen2" if model.attention_bias else "llama"


def _check_for_family(name: str, holds: bool, field: str, expected: str, found: Any) -> None:
    check(holds, field, f"{expected} (of {name}, the nearest Hugging Face family)", found)
