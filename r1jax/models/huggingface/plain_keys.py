"""Keys of `config.json` that must not, or cannot, change what is computed here.

They are those that all families may have, how the files store the weights (a quantisation by blocks, which reading them
undoes), and Qwen's sliding window, where it is off.
"""

from __future__ import annotations

from r1jax.config.checks import check
from r1jax.models.huggingface.json_keys import Keys

# Without effect on what is computed here, whatever their value.
_HARMLESS = frozenset(
    {
        "auto_map",  # names code in the folder; what is computed is told by the architecture's name, which is checked
        "aux_loss_alpha",  # of losses that others add in training
        "router_aux_loss_coef",
        "output_router_logits",
        "seq_aux",
        "chunk_size_feed_forward",
        "dtype",
        "torch_dtype",
        "ep_size",
        "finetuning_task",
        "label2id",
        "model_type",
        "output_attentions",
        "output_hidden_states",
        "problem_type",
        "return_dict",
        "task_specific_params",
        "tokenizer_class",
        "torchscript",
        "transformers_version",
        "use_cache",
    }
)
# Generation's settings, which older transformers wrote into config.json.
_GENERATION = frozenset(
    {
        "bad_words_ids",
        "begin_suppress_tokens",
        "diversity_penalty",
        "do_sample",
        "early_stopping",
        "encoder_no_repeat_ngram_size",
        "exponential_decay_length_penalty",
        "length_penalty",
        "max_length",
        "min_length",
        "no_repeat_ngram_size",
        "num_beam_groups",
        "num_beams",
        "num_return_sequences",
        "output_scores",
        "prefix",
        "remove_invalid_values",
        "repetition_penalty",
        "return_dict_in_generate",
        "suppress_tokens",
        "temperature",
        "top_k",
        "top_p",
        "typical_p",
    }
)
_TOOLS = ("_", "unsloth_")  # notes of a tool to itself


def _is_harmless(name: str) -> bool:
    return name in _HARMLESS or name in _GENERATION or name.endswith("_token_id") or name.startswith(_TOOLS)


def read_plain_keys(keys: Keys) -> None:
    """Passes what is without effect; refuses what transformers can do to any family and our decoder cannot.

    Raises:
      ConfigError: a value other than the one that means "off".
    """
    keys.skip(_is_harmless)
    keys.only("attention_dropout", 0.0, None)
    for name in ("is_encoder_decoder", "is_decoder", "add_cross_attention", "tie_encoder_decoder", "use_mrope"):
        keys.only(name, False, None)
    keys.only("cross_attention_hidden_size", None)
    keys.only("pretraining_tp", 1, None)
    keys.only("pruned_heads", {}, None)
    keys.only("use_bfloat16", False)
    full = ["full_attention"] * keys.integer("num_hidden_layers")
    types = keys.raw("layer_types")
    check(types in (None, full), "layer_types", "full_attention for each layer (no other type is supported)", types)
    quantization = keys.object("quantization_config")
    if quantization is not None:
        _read_quantization(quantization)


def _read_quantization(keys: Keys) -> None:
    """Weights in float8 with one scale a block, as DeepSeek-V3 is published."""
    check(keys.raw("quant_method") == "fp8", "quantization_config.quant_method", "'fp8'", keys.raw("quant_method"))
    keys.only("fmt", "e4m3")
    keys.only("activation_scheme", "dynamic")  # how others quantise activations; a static one would have tensors
    block = keys.raw("weight_block_size")
    pair = isinstance(block, list) and len(block) == 2 and all(isinstance(size, int) and size > 0 for size in block)
    check(pair, "quantization_config.weight_block_size", "two positive integers", block)
    keys.skip(lambda name: name in ("modules_to_not_convert", "ignored_layers"))  # the tensors' dtypes tell
    keys.finish()


def read_no_window(keys: Keys, *, by_layer: bool) -> None:
    """Passes the three keys of Qwen's sliding window where they mean full attention.

    Args:
      by_layer: only layers from `max_window_layers` on would have the window; otherwise all.

    Raises:
      ConfigError: a layer would have the window.
    """
    used, window = keys.flag("use_sliding_window", False), keys.raw("sliding_window")
    no_window = "sliding_window" in keys and window is None  # absent, transformers takes 4096
    first = keys.integer("max_window_layers", 0)
    reached = not by_layer or first < keys.integer("num_hidden_layers")
    off = not used or no_window or not reached
    check(off, "use_sliding_window", "False (attention is to all earlier tokens)", used)
