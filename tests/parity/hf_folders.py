"""Tiny models of every family, made and saved by transformers with all features of the family on.

Every tensor is drawn at random, norms, biases and correction biases too: transformers leaves those at 1 and 0, where
nothing that is done with them shows. Weights are far larger than at a usual initialisation, so that attention is
uneven and an error in it reaches the logits. Dims of different meaning differ in size as far as the family allows.

`tokens_of` gives a model three sequences, of 600, 220 and 60 tokens; the first 100 of the first two are the same.

Here and in `parity_pairs` torch and transformers are imported where they are used: the fast ring collects these files
too, and need not wait for them.
"""

from __future__ import annotations

import pathlib
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pytest

if TYPE_CHECKING:
    import torch
    import transformers

VOCAB = 96
LENGTHS, SHARED = (600, 220, 60), 100

_COMMON = {"vocab_size": VOCAB, "num_hidden_layers": 3, "initializer_range": 0.15, "max_position_embeddings": 640}
_PLAIN_ROPE = {"rope_type": "default", "rope_theta": 2e3}
_QWEN2 = {
    **_COMMON,
    "hidden_size": 64,
    "intermediate_size": 88,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "rms_norm_eps": 1e-2,
}
_LLAMA = {**_QWEN2, "head_dim": 16}
_QWEN3 = {
    **_COMMON,
    "hidden_size": 48,
    "intermediate_size": 80,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "head_dim": 20,
    "rms_norm_eps": 1e-2,
}
_QWEN3_MOE = {
    **_COMMON,
    "hidden_size": 40,
    "intermediate_size": 72,
    "moe_intermediate_size": 28,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "num_experts": 8,
    "num_experts_per_tok": 3,
    "rms_norm_eps": 1e-2,
}
_YARN = {
    "rope_type": "yarn",
    "rope_theta": 500.0,
    "factor": 10.0,
    "original_max_position_embeddings": 64,
    "beta_fast": 4.0,
    "beta_slow": 0.5,
}
_DEEPSEEK = {
    **_COMMON,
    "hidden_size": 56,
    "intermediate_size": 72,
    "moe_intermediate_size": 20,
    "num_attention_heads": 4,
    "num_key_value_heads": 4,
    "kv_lora_rank": 28,
    "qk_nope_head_dim": 12,
    "qk_rope_head_dim": 16,
    "v_head_dim": 10,
    "n_routed_experts": 16,
    "n_shared_experts": 2,
    "num_experts_per_tok": 4,
    "n_group": 4,
    "topk_group": 2,
    "norm_topk_prob": True,
    "routed_scaling_factor": 2.5,
    "rms_norm_eps": 1e-6,
}


class Family(NamedTuple):
    """A model's class in transformers, the arguments of its config, and the seed of its tensors and tokens."""

    name: str
    arguments: dict[str, Any]
    seed: int = 0  # with experts: one for which no choice of them is a near tie (see `parity_pairs`)


FAMILIES = {
    "qwen2_tied": Family("Qwen2", {**_QWEN2, "tie_word_embeddings": True, "rope_parameters": _PLAIN_ROPE}),
    "qwen2_untied": Family(
        "Qwen2",
        {**_QWEN2, "tie_word_embeddings": False, "rope_parameters": _PLAIN_ROPE},
    ),
    "qwen2_yarn": Family("Qwen2", {**_QWEN2, "rope_parameters": _YARN}),
    "qwen3": Family("Qwen3", {**_QWEN3, "rope_parameters": _PLAIN_ROPE}),
    "qwen3_linear": Family(
        "Qwen3",
        {
            **_QWEN3,
            "tie_word_embeddings": True,
            "rope_parameters": {"rope_type": "linear", "rope_theta": 2e3, "factor": 4.0},
        },
    ),
    "qwen3_moe": Family(
        "Qwen3Moe",
        {
            **_QWEN3_MOE,
            "norm_topk_prob": True,
            "mlp_only_layers": [0],
            "rope_parameters": _PLAIN_ROPE,
        },
        seed=181,
    ),
    "qwen3_moe_raw_weights": Family(
        "Qwen3Moe",
        {
            **_QWEN3_MOE,
            "norm_topk_prob": False,
            "mlp_only_layers": [],
            "rope_parameters": _PLAIN_ROPE,
        },
        seed=309,
    ),
    "llama": Family(
        "Llama",
        {
            **_LLAMA,
            "rope_parameters": {  # of 8 pairs, 1 is kept, 2 are mixed, 5 are slowed
                "rope_type": "llama3",
                "rope_theta": 1e4,
                "factor": 8.0,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
                "original_max_position_embeddings": 64,
            },
        },
    ),
    "llama_tied": Family("Llama", {**_LLAMA, "tie_word_embeddings": True, "rope_parameters": _PLAIN_ROPE}),
    "deepseek_v3": Family(
        "DeepseekV3",
        {
            **_DEEPSEEK,
            "q_lora_rank": 36,
            "first_k_dense_replace": 1,
            "rope_interleave": True,
            "rope_parameters": {**_YARN, "mscale": 0.7, "mscale_all_dim": 1.0},
        },
        seed=294,
    ),
    "deepseek_v3_whole_queries": Family(
        "DeepseekV3",
        {
            **_DEEPSEEK,
            "q_lora_rank": None,
            "first_k_dense_replace": 2,
            "rope_interleave": False,
            "rope_parameters": {**_YARN, "mscale": 1.0, "mscale_all_dim": 1.0},
        },
        seed=60,
    ),
}


def make(name: str, folder: pathlib.Path) -> transformers.PreTrainedModel:
    """Saves the model of a family to `folder`, and returns what transformers loads from there (float32, eager).

    Skips the test where torch or transformers is not installed.
    """
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    family = FAMILIES[name]
    config = getattr(transformers, f"{family.name}Config")(**family.arguments)
    model = getattr(transformers, f"{family.name}ForCausalLM")(config)
    draw = torch.Generator().manual_seed(family.seed)
    for tensor_name, tensor in _tensors(model).items():
        mean, std = _distribution(tensor_name)
        with torch.no_grad():
            tensor.copy_(mean + std * torch.randn(tensor.shape, generator=draw))
    model.save_pretrained(folder)
    return transformers.AutoModelForCausalLM.from_pretrained(
        folder, dtype=torch.float32, attn_implementation="eager", experts_implementation="eager"
    ).eval()


def _tensors(model: torch.nn.Module) -> dict[str, torch.Tensor]:
    """All that a folder holds of a model, by the model's own names."""
    return dict(model.named_parameters()) | {
        name: buffer for name, buffer in model.named_buffers() if name.endswith("correction_bias")
    }


def _distribution(name: str) -> tuple[float, float]:
    """Mean and standard deviation of a tensor."""
    if name.endswith("norm.weight"):
        return 1.0, 0.3
    if name.endswith("correction_bias"):
        return 0.0, 0.2
    if name.endswith(".bias"):
        return 0.0, 0.5
    return 0.0, 0.15


def tokens_of(name: str) -> list[np.ndarray]:
    """Three sequences of LENGTHS; the first two begin with the same SHARED tokens."""
    draw = np.random.default_rng(FAMILIES[name].seed)
    first, second, third = (draw.integers(0, VOCAB, length, np.int32) for length in LENGTHS)
    second[:SHARED] = first[:SHARED]
    return [first, second, third]


def by_folder_names(tensors: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    """Tensors by the names that a folder has: in the model, the experts of a layer are two arrays for all of them."""
    found = {}
    for name, tensor in tensors.items():
        array = tensor.detach().numpy()
        layer, _, part = name.partition(".experts.")
        if part == "gate_up_proj":
            for expert, both in enumerate(array):
                gate, up = np.split(both, 2)
                found[f"{layer}.experts.{expert}.gate_proj.weight"] = gate
                found[f"{layer}.experts.{expert}.up_proj.weight"] = up
        elif part == "down_proj":
            for expert, down in enumerate(array):
                found[f"{layer}.experts.{expert}.down_proj.weight"] = down
        else:
            found[name] = array
    return found
