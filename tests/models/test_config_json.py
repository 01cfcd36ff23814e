"""config.json of every family: what it means, what is refused, and that nothing in it is overlooked."""

import copy
import dataclasses
import json
import os
import pathlib

import pytest

from r1jax.config import ConfigError, LatentConfig, ModelConfig, MoeConfig, RopeConfig
from r1jax.models.huggingface.config_json import family, read_config, write_config
from r1jax.models.presets import PRESETS, preset

DATA = pathlib.Path(os.environ.get("R1JAX_TEST_DATA", "R1JAX_TEST_DATA-is-not-set"))
TINY = {
    "qwen2": "tiny-qwen2",
    "qwen3": "tiny-qwen3",
    "qwen3_moe": "tiny-qwen3-moe",
    "llama": "tiny-llama3",
    "deepseek_v3": "tiny-deepseek-v3",
}
# The keys that may be anything without a change to what is computed: a closed list.
WITHOUT_EFFECT = {
    "_name_or_path",
    "aux_loss_alpha",
    "auto_map",
    "bos_token_id",
    "chunk_size_feed_forward",
    "dtype",
    "eos_token_id",
    "ep_size",
    "id2label",  # of a head over tokens
    "label2id",
    "max_position_embeddings",  # where the rope scaling has its own number
    "num_nextn_predict_layers",  # 0 or 1: the layer's tensors are left out
    "max_window_layers",  # where no sliding window is used
    "output_attentions",
    "output_hidden_states",
    "output_router_logits",
    "pad_token_id",
    "problem_type",
    "return_dict",
    "router_aux_loss_coef",
    "seq_aux",
    "sliding_window",
    "torch_dtype",
    "transformers_version",
    "use_cache",
}

# As published, with what surrounds the numbers.
PUBLISHED = {
    "qwen2.5-0.5b": {
        "architectures": ["Qwen2ForCausalLM"],
        "attention_dropout": 0.0,
        "bos_token_id": 151643,
        "eos_token_id": 151643,
        "hidden_act": "silu",
        "hidden_size": 896,
        "initializer_range": 0.02,
        "intermediate_size": 4864,
        "max_position_embeddings": 32768,
        "max_window_layers": 24,
        "model_type": "qwen2",
        "num_attention_heads": 14,
        "num_hidden_layers": 24,
        "num_key_value_heads": 2,
        "rms_norm_eps": 1e-06,
        "rope_theta": 1000000.0,
        "sliding_window": 32768,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "transformers_version": "4.40.1",
        "use_cache": True,
        "use_mrope": False,
        "use_sliding_window": False,
        "vocab_size": 151936,
    },
    "qwen3-4b": {
        "architectures": ["Qwen3ForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 2560,
        "initializer_range": 0.02,
        "intermediate_size": 9728,
        "max_position_embeddings": 40960,
        "max_window_layers": 36,
        "model_type": "qwen3",
        "num_attention_heads": 32,
        "num_hidden_layers": 36,
        "num_key_value_heads": 8,
        "rms_norm_eps": 0.000001,
        "rope_scaling": None,
        "rope_theta": 1000000,
        "sliding_window": None,
        "tie_word_embeddings": True,
        "torch_dtype": "bfloat16",
        "use_cache": False,
        "use_sliding_window": False,
        "vocab_size": 151936,
    },
    "qwen3-30b-a3b": {
        "architectures": ["Qwen3MoeForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "decoder_sparse_step": 1,
        "head_dim": 128,
        "hidden_act": "silu",
        "hidden_size": 2048,
        "initializer_range": 0.02,
        "intermediate_size": 6144,
        "max_position_embeddings": 40960,
        "max_window_layers": 48,
        "mlp_only_layers": [],
        "model_type": "qwen3_moe",
        "moe_intermediate_size": 768,
        "norm_topk_prob": True,
        "num_attention_heads": 32,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 48,
        "num_key_value_heads": 4,
        "output_router_logits": False,
        "rms_norm_eps": 1e-06,
        "rope_scaling": None,
        "rope_theta": 1000000.0,
        "router_aux_loss_coef": 0.001,
        "sliding_window": None,
        "tie_word_embeddings": False,
        "use_sliding_window": False,
        "vocab_size": 151936,
    },
    "llama3.1-8b": {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "attention_dropout": 0.0,
        "hidden_act": "silu",
        "hidden_size": 4096,
        "initializer_range": 0.02,
        "intermediate_size": 14336,
        "max_position_embeddings": 131072,
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": 32,
        "num_hidden_layers": 32,
        "num_key_value_heads": 8,
        "pretraining_tp": 1,
        "rms_norm_eps": 1e-05,
        "rope_scaling": {
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 8192,
            "rope_type": "llama3",
        },
        "rope_theta": 500000.0,
        "tie_word_embeddings": False,
        "vocab_size": 128256,
    },
    "deepseek-v3": {
        "architectures": ["DeepseekV3ForCausalLM"],
        "attention_bias": False,
        "aux_loss_alpha": 0.001,
        "ep_size": 1,
        "first_k_dense_replace": 3,
        "hidden_act": "silu",
        "hidden_size": 7168,
        "intermediate_size": 18432,
        "kv_lora_rank": 512,
        "max_position_embeddings": 163840,
        "model_type": "deepseek_v3",
        "moe_intermediate_size": 2048,
        "moe_layer_freq": 1,
        "n_group": 8,
        "n_routed_experts": 256,
        "n_shared_experts": 1,
        "norm_topk_prob": True,
        "num_attention_heads": 128,
        "num_experts_per_tok": 8,
        "num_hidden_layers": 61,
        "num_key_value_heads": 128,
        "num_nextn_predict_layers": 1,
        "q_lora_rank": 1536,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "quantization_config": {
            "activation_scheme": "dynamic",
            "fmt": "e4m3",
            "quant_method": "fp8",
            "weight_block_size": [128, 128],
        },
        "rms_norm_eps": 1e-06,
        "rope_scaling": {
            "beta_fast": 32,
            "beta_slow": 1,
            "factor": 40,
            "mscale": 1.0,
            "mscale_all_dim": 1.0,
            "original_max_position_embeddings": 4096,
            "type": "yarn",
        },
        "rope_theta": 10000,
        "routed_scaling_factor": 2.5,
        "scoring_func": "sigmoid",
        "seq_aux": True,
        "tie_word_embeddings": False,
        "topk_group": 4,
        "topk_method": "noaux_tc",
        "v_head_dim": 128,
        "vocab_size": 129280,
    },
}


def written(name):
    """The config.json of a family's tiny model."""
    return write_config(preset(TINY[name]).model)


def outcome(config):
    """What reading gives: the model, or None for a refusal."""
    try:
        return read_config(config, "config.json")
    except ConfigError:
        return None


def altered(value):
    """Other values in the place of one."""
    if isinstance(value, bool):
        return [not value]
    if isinstance(value, (int, float)):
        return [value * 2 + 1, "x"]
    if isinstance(value, str):
        return [value + "_other", 7]
    if isinstance(value, list):
        return [[*value, "other"], "x"]
    if isinstance(value, dict):
        inner = [value | {key: other} for key in value for other in altered(value[key])]
        return [*inner, value | {"not_a_key": 1}, "x"]
    return [7, "other"]  # null


def overlooked(config):
    """The keys that can be altered and neither change the model nor are refused; the whole config is read."""
    model = read_config(config, "config.json")
    changes = [(key, config | {key: other}) for key, value in config.items() for other in altered(value)]
    return {key for key, changed in changes if outcome(copy.deepcopy(changed)) == model}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_file_is_the_preset(name):
    assert read_config(PUBLISHED[name], "config.json") == preset(name).model


@pytest.mark.skipif(not DATA.is_dir(), reason="set R1JAX_TEST_DATA to the folder with deepseek_r1_config.json")
def test_the_real_file_of_deepseek_r1_is_the_preset():
    config = json.loads((DATA / "deepseek_r1_config.json").read_text())
    assert read_config(config, "config.json") == preset("deepseek-v3").model


@pytest.mark.parametrize("name", PRESETS)
def test_what_is_written_reads_as_the_same_model(name):
    model = preset(name).model
    for head in ("tokens", "score"):
        model = dataclasses.replace(model, head=head, tie_embeddings=model.tie_embeddings and head == "tokens")
        assert read_config(json.loads(json.dumps(write_config(model))), "config.json") == model


ROPES = [
    RopeConfig(theta=12_345.678),
    RopeConfig(theta=1e6, scaling="linear", factor=2.5),
    RopeConfig(scaling="llama3", factor=32.0, low_freq_factor=1.5, high_freq_factor=3.0, original_max_positions=100),
    RopeConfig(scaling="yarn", factor=4.0, original_max_positions=100, attention_factor=1.25, truncate=False),
    RopeConfig(scaling="yarn", factor=4.0, original_max_positions=100, beta_fast=16.0, beta_slow=2.0, mscale=0.7),
    RopeConfig(scaling="yarn", factor=4.0, original_max_positions=100, mscale=0.7, mscale_all_dim=0.9),
]


@pytest.mark.parametrize("rope", ROPES, ids=str)
@pytest.mark.parametrize("name", TINY)
def test_every_rope_is_read_as_it_was_written_in_the_old_form_and_the_new(name, rope):
    rope = dataclasses.replace(rope, neighbours=name == "deepseek_v3")
    model = dataclasses.replace(preset(TINY[name]).model, rope=rope)
    old = write_config(model)
    assert read_config(old, "config.json") == model
    new = {key: value for key, value in old.items() if key not in ("rope_theta", "rope_scaling")}
    scaling = old["rope_scaling"] or {"rope_type": "default"}
    new["rope_parameters"] = scaling | {"rope_theta": old["rope_theta"]}
    assert read_config(new, "config.json") == model
    assert read_config(old | new, "config.json") == model


def test_a_number_of_original_positions_that_is_absent_is_that_of_all_positions():
    config = written("llama")
    config["max_position_embeddings"] = 4321
    for kind in ("llama3", "yarn"):
        # As transformers fills it in (standardize_rope_params).
        config["rope_scaling"] = {"rope_type": kind, "factor": 2.0}
        if kind == "llama3":
            config["rope_scaling"] |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
        assert read_config(config, "config.json").rope.original_max_positions == 4321


def test_a_theta_that_is_absent_is_ten_thousand():
    config = written("qwen3") | {"rope_scaling": None}
    del config["rope_theta"]
    assert read_config(config, "config.json").rope == RopeConfig(theta=10_000.0)


def test_zero_mscale_is_none_as_in_transformers():
    config = written("deepseek_v3")
    config["rope_scaling"] |= {"mscale": 0, "mscale_all_dim": 0.0}
    rope = read_config(config, "config.json").rope
    assert (rope.mscale, rope.mscale_all_dim) == (None, None)


def test_absent_head_dim_is_128_for_qwen3_and_the_quotient_for_others():
    for name, expected in (("qwen3", 128), ("qwen3_moe", 16), ("llama", 16), ("qwen2", 16)):
        config = written(name)  # 64 wide, 4 heads
        config.pop("head_dim", None)
        assert read_config(config, "config.json").head_width == expected


def test_deepseek_without_rope_interleave_has_neighbours_and_without_query_rank_one_projection():
    config = written("deepseek_v3")
    del config["rope_interleave"]
    config["q_lora_rank"] = None
    model = read_config(config, "config.json")
    assert model.rope.neighbours
    assert model.latent.query_rank is None


def test_first_layers_of_qwen3_moe_may_be_dense():
    config = written("qwen3_moe") | {"mlp_only_layers": [0, 1]}
    assert read_config(config, "config.json").moe.first_dense_layers == 2


def test_the_experts_number_has_two_names():
    config = written("qwen3_moe")
    config["num_local_experts"] = config.pop("num_experts")
    assert read_config(config, "config.json") == preset("tiny-qwen3-moe").model


@pytest.mark.parametrize("window", [{"sliding_window": 8, "max_window_layers": 2}, {"sliding_window": None}], ids=str)
def test_a_window_that_no_layer_has_is_full_attention(window):
    config = written("qwen2") | {"use_sliding_window": True} | window
    assert read_config(config, "config.json") == preset("tiny-qwen2").model


# family, what is set, what the message must have
REFUSED = [
    ("qwen2", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 1}, "use_sliding_window"),
    ("qwen3", {"use_sliding_window": True, "sliding_window": 8}, "use_sliding_window"),
    ("qwen3", {"use_sliding_window": True}, "use_sliding_window"),  # absent, the window is 4096
    ("qwen3_moe", {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 9}, "use_sliding_window"),
    ("qwen3", {"layer_types": ["full_attention", "sliding_attention"]}, "layer_types"),
    ("qwen3", {"layer_types": ["full_attention"]}, "layer_types"),
    ("qwen2", {"attention_bias": False}, "attention_bias: expected True"),
    ("qwen3", {"attention_bias": True}, "attention_bias: expected False"),
    ("llama", {"attention_bias": True}, "attention_bias: expected False"),
    ("deepseek_v3", {"attention_bias": True}, "attention_bias: expected False"),
    ("llama", {"mlp_bias": True}, "mlp_bias: expected False"),
    ("llama", {"attention_dropout": 0.1}, "attention_dropout: expected 0.0"),
    ("llama", {"pretraining_tp": 2}, "pretraining_tp: expected 1"),
    ("llama", {"hidden_act": "gelu"}, "hidden_act: expected silu"),
    ("llama", {"hidden_act": "relu"}, "found 'relu'"),
    ("llama", {"partial_rotary_factor": 0.5}, "partial_rotary_factor: expected 1.0"),
    ("llama", {"use_mrope": True}, "use_mrope"),
    ("llama", {"vocab_size": "512"}, "vocab_size: expected an integer, found '512'"),
    ("llama", {"vocab_size": True}, "vocab_size: expected an integer, found True"),
    ("llama", {"rms_norm_eps": float("nan")}, "rms_norm_eps: expected a number"),
    ("llama", {"tie_word_embeddings": None}, "tie_word_embeddings: expected true or false"),
    ("llama", {"num_attention_heads": 3}, "num_heads"),
    ("llama", {"num_attention_heads": 0}, "num_attention_heads: expected at least 1, found 0"),
    ("deepseek_v3", {"num_attention_heads": -4}, "num_attention_heads: expected at least 1, found -4"),
    ("qwen3", {"head_dim": 0}, "head_dim: expected at least 1, found 0"),
    ("llama", {"rms_norm_eps": -1}, "rms_norm_eps: expected a positive number, found -1.0"),
    ("qwen2", {"rms_norm_eps": 0}, "rms_norm_eps: expected a positive number, found 0.0"),
    ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "rope_scaling.rope_type: expected default or"),
    ("llama", {"rope_scaling": {"type": "longrope", "factor": 2.0}}, "found 'longrope'"),
    ("llama", {"rope_scaling": {"rope_type": "linear", "type": "yarn", "factor": 2.0}}, "rope_scaling.type"),
    ("llama", {"rope_scaling": {"rope_type": "linear"}}, "rope_scaling.factor: expected a number, found None"),
    ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 2.0, "mscale": 1.0}}, "rope_scaling.mscale"),
    ("llama", {"rope_scaling": {"rope_type": "linear", "factor": 0.5}}, "rope.factor"),
    (
        "qwen3",
        {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "original_max_position_embeddings": 0}},
        "original_max_position_embeddings: expected at least 1, found 0",
    ),
    (
        "llama",
        {"rope_scaling": {"rope_type": "llama3", "factor": 2.0, "low_freq_factor": 0, "high_freq_factor": 4.0}},
        "low_freq_factor: expected a positive number, found 0.0",
    ),
    ("llama", {"rope_scaling": {"factor": 2.0}}, "rope_scaling.type: expected a string, found None"),
    ("llama", {"rope_parameters": {"rope_type": "default", "rope_theta": 5e5}}, "rope_parameters"),
    ("llama", {"rope_scaling": None, "rope_parameters": {"rope_type": "default", "rope_theta": 1.0}}, "rope_theta=5"),
    ("qwen3", {"rope_scaling": None, "rope_parameters": {"full_attention": {"rope_theta": 1e6}}}, "rope_parameters"),
    ("qwen3_moe", {"decoder_sparse_step": 2}, "decoder_sparse_step: expected 1"),
    ("qwen3_moe", {"mlp_only_layers": [1]}, "mlp_only_layers"),
    ("qwen3_moe", {"num_local_experts": 4}, "num_local_experts: expected 8"),
    ("qwen3_moe", {"shared_expert_intermediate_size": 8}, "shared_expert_intermediate_size"),
    ("deepseek_v3", {"rms_norm_eps": 1e-5}, "rms_norm_eps: expected 1e-06"),
    ("deepseek_v3", {"scoring_func": "softmax"}, "scoring_func: expected 'sigmoid'"),
    ("deepseek_v3", {"topk_method": "greedy"}, "topk_method: expected 'noaux_tc'"),
    ("deepseek_v3", {"moe_layer_freq": 2}, "moe_layer_freq: expected 1"),
    ("deepseek_v3", {"num_nextn_predict_layers": 2}, "num_nextn_predict_layers: expected 0 or 1"),
    ("deepseek_v3", {"num_key_value_heads": 2}, "num_key_value_heads: expected 4"),
    ("deepseek_v3", {"head_dim": 16}, "head_dim: expected 8"),
    ("deepseek_v3", {"qk_head_dim": 16}, "qk_head_dim: expected 24"),
    ("deepseek_v3", {"rope_interleave": None}, "rope_interleave"),
    ("deepseek_v3", {"first_k_dense_replace": 3}, "first_dense_layers"),
    ("deepseek_v3", {"quantization_config": {"quant_method": "awq", "bits": 4}}, "quantization_config.quant_method"),
    (
        "deepseek_v3",
        {"quantization_config": {"quant_method": "fp8", "activation_scheme": "static", "weight_block_size": [1, 1]}},
        "quantization_config.activation_scheme",
    ),
    (
        "deepseek_v3",
        {"quantization_config": {"quant_method": "fp8", "weight_block_size": None}},
        "quantization_config.weight_block_size",
    ),
    ("llama", {"architectures": ["MistralForCausalLM"]}, "architectures: expected ['LlamaForCausalLM']"),
    ("llama", {"architectures": ["LlamaModel"]}, "architectures"),
    ("llama", {"architectures": ["LlamaForSequenceClassification"]}, "id2label: expected one label"),
    (
        "llama",
        {"architectures": ["LlamaForSequenceClassification"], "id2label": {"0": "no", "1": "yes"}},
        "id2label: expected one label",
    ),
    (
        "llama",
        {"architectures": ["LlamaForSequenceClassification"], "num_labels": 2},
        "num_labels: expected 1, found 2",
    ),
]


@pytest.mark.parametrize(("name", "changes", "message"), REFUSED, ids=[f"{n}-{list(c)[-1]}" for n, c, _ in REFUSED])
def test_what_would_change_the_mathematics_is_refused_by_its_name(name, changes, message):
    config = written(name) | changes
    with pytest.raises(ConfigError) as caught:
        read_config(config, "folder/config.json")
    text = str(caught.value)
    assert text.startswith("folder/config.json: ")
    assert message in text
    assert "\n" not in text


def test_an_unknown_key_is_refused_with_the_nearest():
    with pytest.raises(ConfigError, match=r"rope_thetta: .* found 3; did you mean 'rope_theta'\?"):
        read_config(written("llama") | {"rope_thetta": 3}, "config.json")
    with pytest.raises(ConfigError, match="final_logit_softcapping: .* found 30.0; remove it if"):
        read_config(written("llama") | {"final_logit_softcapping": 30.0}, "config.json")


def test_an_unknown_model_type_is_refused_with_those_supported():
    expected = "config.json: model_type: expected one of qwen2, qwen3, qwen3_moe, llama, deepseek_v3, found 'gemma2'"
    with pytest.raises(ConfigError, match=expected):
        read_config({"model_type": "gemma2"}, "config.json")
    with pytest.raises(ConfigError, match="found None"):
        read_config({}, "config.json")


# What may be absent, and then means what transformers takes it for.
OPTIONAL = {
    "architectures",
    "attention_bias",
    "attention_dropout",
    "decoder_sparse_step",
    "head_dim",
    "initializer_range",
    "max_position_embeddings",
    "mlp_bias",
    "mlp_only_layers",
    "moe_layer_freq",
    "num_nextn_predict_layers",
    "rope_interleave",
    "rope_scaling",
    "rope_theta",
    "scoring_func",
    "tie_word_embeddings",
    "topk_method",
    "use_cache",
    "use_sliding_window",
}


@pytest.mark.parametrize("name", TINY)
def test_a_size_that_is_absent_is_an_error_that_names_it(name):
    config = written(name)
    optional = OPTIONAL | ({"num_key_value_heads"} if name in ("llama", "deepseek_v3") else set())
    for key in config.keys() - optional - {"model_type"}:
        with pytest.raises(ConfigError, match=f"^config.json: {key}: expected .*, found None"):
            read_config({k: value for k, value in config.items() if k != key}, "config.json")


@pytest.mark.parametrize("name", [*TINY.values(), "deepseek-v3"])
def test_no_key_is_overlooked(name):
    config = PUBLISHED[name] if name in PUBLISHED else write_config(preset(name).model)
    quantization = PUBLISHED["deepseek-v3"]["quantization_config"]
    assert overlooked(config | {"quantization_config": quantization}) <= WITHOUT_EFFECT


TINY_MODEL = preset("tiny-llama3").model
NO_FAMILY = [
    ({"gated_ffn": False, "activation": "relu2"}, "model.gated_ffn: expected True"),
    ({"qk_norm": True, "attention_bias": True}, "model.attention_bias: expected False"),
    ({"rope": RopeConfig(neighbours=True)}, "model.rope.neighbours: expected False"),
    ({"moe": MoeConfig(num_experts=4, experts_per_token=2, expert_size=8)}, "model.qk_norm: expected True"),
    (
        {"moe": MoeConfig(num_experts=4, experts_per_token=2, expert_size=8, shared_experts=1), "qk_norm": True},
        "model.moe.shared_experts: expected 0",
    ),
    (
        {"moe": MoeConfig(num_experts=4, experts_per_token=2, expert_size=8, gate="sigmoid"), "qk_norm": True},
        "model.moe.gate: expected softmax",
    ),
    (
        {"moe": MoeConfig(num_experts=4, experts_per_token=2, expert_size=8, weights_scale=2.0), "qk_norm": True},
        "model.moe.weights_scale: expected 1",
    ),
    (
        {"latent": LatentConfig(kv_rank=8, query_rank=8, nope_size=8, rope_size=4, value_size=8), "num_kv_heads": 4},
        "model.moe: expected a mixture of experts",
    ),
]


@pytest.mark.parametrize(("changes", "message"), NO_FAMILY, ids=[message for _, message in NO_FAMILY])
def test_a_model_of_no_family_is_refused_by_the_feature(changes, message):
    model = dataclasses.replace(TINY_MODEL, **changes)
    with pytest.raises(ConfigError, match=message):
        family(model)
    with pytest.raises(ConfigError, match=message):
        write_config(model)


def test_other_epsilons_of_deepseek_are_refused():
    model = dataclasses.replace(preset("tiny-deepseek-v3").model, norm_eps=1e-5)
    with pytest.raises(ConfigError, match="model.norm_eps: expected 1e-06"):
        family(model)


def test_families_by_their_features():
    assert {name: family(preset(tiny).model) for name, tiny in TINY.items()} == {name: name for name in TINY}


def test_our_own_choices_are_not_in_the_file():
    model = preset("tiny-llama3").model
    ours = dataclasses.replace(model, compute_dtype="bfloat16", remat="full", scan_unroll=2, zero_init_outputs=True)
    assert write_config(ours) == write_config(model)
    assert isinstance(read_config(write_config(ours), "config.json"), ModelConfig)


def test_the_claimed_context():
    assert write_config(preset("deepseek-v3").model)["max_position_embeddings"] == 163_840  # 40 x 4096
    assert write_config(preset("qwen2.5-7b").model)["max_position_embeddings"] == 32_768
    for name, published in PUBLISHED.items():
        claimed = preset(name).max_positions
        if name.startswith("qwen3"):  # the preset is the base model, the file above that of the chat model
            assert claimed == 32_768
        else:
            assert claimed == published["max_position_embeddings"]
        assert write_config(preset(name).model, max_positions=claimed)["max_position_embeddings"] == claimed


@pytest.mark.slow
@pytest.mark.parametrize("name", TINY)
def test_transformers_default_config_is_read_and_no_key_of_it_overlooked(name):
    transformers = pytest.importorskip("transformers")
    config = json.loads(json.dumps(transformers.AutoConfig.for_model(name).to_dict()))
    model = read_config(config, "config.json")
    assert (model.hidden_size, model.num_layers) == (config["hidden_size"], config["num_hidden_layers"])
    assert family(model) == name
    # Its sliding_window is null, so that using it changes nothing.
    assert overlooked(config) <= WITHOUT_EFFECT | {"use_sliding_window"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PRESETS if name.startswith("tiny") or name in PUBLISHED])
def test_transformers_reads_what_is_written_and_its_own_file_reads_as_the_same_model(name):
    transformers = pytest.importorskip("transformers")
    model = preset(name).model
    config = write_config(model)
    theirs = transformers.CONFIG_MAPPING[config["model_type"]](**copy.deepcopy(config))
    assert theirs.rope_parameters["rope_theta"] == model.rope.theta
    assert theirs.rope_parameters["rope_type"] == {"none": "default"}.get(model.rope.scaling, model.rope.scaling)
    again = json.loads(theirs.to_json_string())
    assert read_config(again, "config.json") == model
    again = json.loads(theirs.to_json_string(use_diff=False))
    assert read_config(again, "config.json") == model
