"""`config.json` to `ModelConfig` and back, for the families that transformers calls qwen2, qwen3, qwen3_moe, llama and
deepseek_v3.

The reader is strict: every key of the file is translated, or known to change nothing that is computed, or an error.
What a key means, and what its absence does, is taken from transformers' model code, for parity with it is the aim.
Three facts are easy to miss:

- A Qwen2 attention has biases on queries, keys and values whatever the file says. `attention_bias: true` of the other
  families would give its output projection one too, which none of their published models has; it is refused.
- Qwen3's heads are 128 wide where the file does not say, those of the other families hidden_size / heads.
- DeepSeek-V3's norms of the compressed vectors have an epsilon of 1e-6 whatever `rms_norm_eps` says. Ours have one
  epsilon for all norms, so any other `rms_norm_eps` is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from r1jax.config import LatentConfig, ModelConfig, MoeConfig
from r1jax.config.checks import ConfigError, check
from r1jax.models.huggingface.families import CLASSES, DEEPSEEK_EPS, family
from r1jax.models.huggingface.json_keys import Keys
from r1jax.models.huggingface.plain_keys import read_no_window, read_plain_keys
from r1jax.models.huggingface.rope_json import read_rope, write_rope

_HEADS = {"ForCausalLM": "tokens", "ForSequenceClassification": "score"}

# transformers' activations that ours equal. Its "gelu" is not among them: that is the exact one, ours the tanh form.
_ACTIVATIONS = {"silu": "silu", "swish": "silu", "gelu_pytorch_tanh": "gelu", "gelu_new": "gelu", "relu2": "relu2"}


def read_config(config: dict[str, Any], source: str) -> ModelConfig:
    """The model that a folder's `config.json` describes, with our own choices (dtype, remat) at their defaults.

    `head_size` is None where heads are hidden_size / num_heads wide. An fp8 `quantization_config` says how the files
    store the weights, not what the model is: it is checked and leaves no trace here.

    Args:
      config: the parsed file.
      source: its path, for messages.

    Raises:
      ConfigError: one line that begins with the source and the key: a model_type that is not supported, a key that is
        unknown or absent, a value that would change the mathematics and is not supported.
    """
    model_type = config.get("model_type")
    if model_type not in _READERS:
        raise ConfigError(f"{source}: model_type: expected one of {', '.join(_READERS)}, found {model_type!r}")
    keys = Keys(config)
    try:
        read_plain_keys(keys)
        fields = _shared_fields(keys, model_type) | _READERS[model_type](keys)
        keys.finish()
        return ModelConfig(**fields)
    except ConfigError as error:
        raise ConfigError(f"{source}: {error}") from error


def _head(keys: Keys, model_type: str) -> str:
    """Whether the architecture ends in tokens or in one number (a classifier of one class)."""
    architectures, labels, count = keys.raw("architectures"), keys.raw("id2label"), keys.raw("num_labels")
    if architectures is None:
        return "tokens"
    names = {CLASSES[model_type] + suffix: head for suffix, head in _HEADS.items()}
    single = isinstance(architectures, list) and len(architectures) == 1 and architectures[0] in names
    check(single, "architectures", " or ".join(f"[{name!r}]" for name in names), architectures)
    head = names[architectures[0]]
    if head == "score":
        check(labels is None or (isinstance(labels, dict) and len(labels) == 1), "id2label", "one label", labels)
        check(count in (None, 1), "num_labels", "1", count)
        check(labels is not None or count is not None, "id2label", "one label (absent means two)", None)
    return head


def _shared_fields(keys: Keys, model_type: str) -> dict[str, Any]:
    """What all families say alike."""
    head = _head(keys, model_type)
    activation = keys.text("hidden_act")
    check(activation in _ACTIVATIONS, "hidden_act", " or ".join(_ACTIVATIONS), activation)
    heads, epsilon = keys.integer("num_attention_heads"), keys.number("rms_norm_eps")
    check(heads >= 1, "num_attention_heads", "at least 1", heads)  # others divide by it, before ModelConfig checks it
    check(epsilon > 0, "rms_norm_eps", "a positive number", epsilon)
    return {
        "vocab_size": keys.integer("vocab_size"),
        "hidden_size": keys.integer("hidden_size"),
        "num_layers": keys.integer("num_hidden_layers"),
        "num_heads": heads,
        "num_kv_heads": keys.integer("num_key_value_heads", heads),
        "ffn_size": keys.integer("intermediate_size"),
        "activation": _ACTIVATIONS[activation],
        "norm_eps": epsilon,
        "init_range": keys.number("initializer_range", ModelConfig.init_range),
        "tie_embeddings": keys.flag("tie_word_embeddings", False) and head == "tokens",
        "head": head,
        "rope": read_rope(keys, neighbours=model_type == "deepseek_v3" and keys.flag("rope_interleave", True)),
    }


def _head_size(keys: Keys, default: int | None = None) -> int | None:
    """The width of heads, None where it is the model's divided by their number; `default` where the file is silent."""
    hidden, heads = keys.integer("hidden_size"), keys.integer("num_attention_heads")
    size = keys.integer("head_dim", hidden // heads if default is None else default)
    check(size >= 1, "head_dim", "at least 1", size)
    return None if size * heads == hidden else size


def _read_qwen2(keys: Keys) -> dict[str, Any]:
    read_no_window(keys, by_layer=True)
    keys.only("attention_bias", True)
    keys.integer("num_key_value_heads")  # absent, transformers takes 32
    return {"attention_bias": True, "head_size": _head_size(keys)}


def _read_qwen3(keys: Keys) -> dict[str, Any]:
    read_no_window(keys, by_layer=True)
    keys.only("attention_bias", False, None)
    keys.integer("num_key_value_heads")
    return {"qk_norm": True, "head_size": _head_size(keys, 128)}


def _read_qwen3_moe(keys: Keys) -> dict[str, Any]:
    read_no_window(keys, by_layer=False)
    keys.only("attention_bias", False, None)
    keys.only("decoder_sparse_step", 1)
    keys.integer("num_key_value_heads")
    dense = keys.raw("mlp_only_layers")
    count = len(dense) if isinstance(dense, list) else 0
    check(dense in (None, list(range(count))), "mlp_only_layers", "[] or the first layers in their order", dense)
    moe = MoeConfig(
        num_experts=keys.integer(keys.alias("num_experts", "num_local_experts")),
        experts_per_token=keys.integer("num_experts_per_tok"),
        expert_size=keys.integer("moe_intermediate_size"),
        first_dense_layers=count,
        normalize_weights=keys.flag("norm_topk_prob"),
    )
    return {"qk_norm": True, "head_size": _head_size(keys), "moe": moe}


def _read_llama(keys: Keys) -> dict[str, Any]:
    keys.only("attention_bias", False, None)
    keys.only("mlp_bias", False, None)
    return {"head_size": _head_size(keys)}


def _read_deepseek_v3(keys: Keys) -> dict[str, Any]:
    keys.only("attention_bias", False, None)
    keys.only("rms_norm_eps", DEEPSEEK_EPS)
    keys.only("moe_layer_freq", 1)
    keys.only("scoring_func", "sigmoid")
    keys.only("topk_method", "noaux_tc")
    # Weights of multi-token prediction are left out (`tables.ignored`); the table knows one layer of them.
    keys.only(keys.alias("num_nextn_predict_layers", "num_mtp_layers"), 0, 1, None)
    keys.only("num_key_value_heads", keys.integer("num_attention_heads"), None)
    latent = LatentConfig(
        kv_rank=keys.integer("kv_lora_rank"),
        query_rank=keys.integer_or_none("q_lora_rank"),
        nope_size=keys.integer("qk_nope_head_dim"),
        rope_size=keys.integer("qk_rope_head_dim"),
        value_size=keys.integer("v_head_dim"),
    )
    keys.only("head_dim", latent.rope_size)  # what transformers derives and writes; it sizes the rotary embedding
    keys.only("qk_head_dim", latent.nope_size + latent.rope_size)
    moe = MoeConfig(
        num_experts=keys.integer(keys.alias("n_routed_experts", "num_local_experts")),
        experts_per_token=keys.integer("num_experts_per_tok"),
        expert_size=keys.integer("moe_intermediate_size"),
        shared_experts=keys.integer("n_shared_experts"),
        first_dense_layers=keys.integer("first_k_dense_replace"),
        gate="sigmoid",
        num_groups=keys.integer("n_group"),
        top_groups=keys.integer("topk_group"),
        normalize_weights=keys.flag("norm_topk_prob"),
        weights_scale=keys.number("routed_scaling_factor"),
    )
    return {"latent": latent, "moe": moe}


_READERS: dict[str, Callable[[Keys], dict[str, Any]]] = {
    "qwen2": _read_qwen2,
    "qwen3": _read_qwen3,
    "qwen3_moe": _read_qwen3_moe,
    "llama": _read_llama,
    "deepseek_v3": _read_deepseek_v3,
}


def write_config(model: ModelConfig, *, max_positions: int | None = None) -> dict[str, Any]:
    """The `config.json` of a model, as transformers (4 and 5) and vLLM read it: `read_config` of it is `model` again.

    What a model is not (token ids, dtype) is left to whoever writes the folder, and our own choices (dtype, remat,
    fields of a rope scaling that is not used) are not kept.

    Args:
      max_positions: the longest context that the folder claims; it changes nothing that is computed, but vLLM serves
        none that is longer. None: a guess, for no ModelConfig tells it: the rope scaling's original positions times
        its factor, and 32,768 without one. Published models may claim another number (Llama 3.1: twice as many).

    Raises:
      ConfigError: no family has the model's features.
    """
    name = family(model)
    rope = model.rope
    stretched = rope.scaling in ("llama3", "yarn")
    guess = round(rope.original_max_positions * rope.factor) if stretched else 32_768
    suffix = {head: suffix for suffix, head in _HEADS.items()}[model.head]
    config = {
        "architectures": [CLASSES[name] + suffix],
        "model_type": name,
        "vocab_size": model.vocab_size,
        "hidden_size": model.hidden_size,
        "num_hidden_layers": model.num_layers,
        "num_attention_heads": model.num_heads,
        "num_key_value_heads": model.num_kv_heads,
        "intermediate_size": model.ffn_size,
        "hidden_act": {"silu": "silu", "gelu": "gelu_pytorch_tanh", "relu2": "relu2"}[model.activation],
        "rms_norm_eps": model.norm_eps,
        "initializer_range": model.init_range,
        "tie_word_embeddings": model.tie_embeddings,
        "max_position_embeddings": guess if max_positions is None else max_positions,
        "attention_dropout": 0.0,
        "use_cache": True,
    }
    if model.head == "score":
        config |= {"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}
    return config | write_rope(rope) | _WRITERS[name](model)


def _write_qwen2(model: ModelConfig) -> dict[str, Any]:
    # Published files have no head_dim, and not every reader of this family knows one.
    own_width = {} if model.head_width * model.num_heads == model.hidden_size else {"head_dim": model.head_width}
    return {"use_sliding_window": False, **own_width}


def _write_qwen3(model: ModelConfig) -> dict[str, Any]:
    return {"use_sliding_window": False, "attention_bias": False, "head_dim": model.head_width}


def _write_qwen3_moe(model: ModelConfig) -> dict[str, Any]:
    return _write_qwen3(model) | {
        "decoder_sparse_step": 1,
        "mlp_only_layers": list(range(model.moe.first_dense_layers)),
        "num_experts": model.moe.num_experts,
        "num_experts_per_tok": model.moe.experts_per_token,
        "moe_intermediate_size": model.moe.expert_size,
        "norm_topk_prob": model.moe.normalize_weights,
    }


def _write_llama(model: ModelConfig) -> dict[str, Any]:
    return {"attention_bias": False, "mlp_bias": False, "head_dim": model.head_width}


def _write_deepseek_v3(model: ModelConfig) -> dict[str, Any]:
    latent, moe = model.latent, model.moe
    return {
        "attention_bias": False,
        "rope_interleave": model.rope.neighbours,
        "kv_lora_rank": latent.kv_rank,
        "q_lora_rank": latent.query_rank,
        "qk_nope_head_dim": latent.nope_size,
        "qk_rope_head_dim": latent.rope_size,
        "v_head_dim": latent.value_size,
        "n_routed_experts": moe.num_experts,
        "n_shared_experts": moe.shared_experts,
        "num_experts_per_tok": moe.experts_per_token,
        "moe_intermediate_size": moe.expert_size,
        "moe_layer_freq": 1,
        "first_k_dense_replace": moe.first_dense_layers,
        "n_group": moe.num_groups,
        "topk_group": moe.top_groups,
        "norm_topk_prob": moe.normalize_weights,
        "routed_scaling_factor": moe.weights_scale,
        "scoring_func": "sigmoid",
        "topk_method": "noaux_tc",
        "num_nextn_predict_layers": 0,
    }


_WRITERS: dict[str, Callable[[ModelConfig], dict[str, Any]]] = {
    "qwen2": _write_qwen2,
    "qwen3": _write_qwen3,
    "qwen3_moe": _write_qwen3_moe,
    "llama": _write_llama,
    "deepseek_v3": _write_deepseek_v3,
}
