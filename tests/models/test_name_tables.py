"""The tables of names: each array once, each tensor once, with the shapes of published and saved folders."""

import collections
import dataclasses
import gzip
import itertools
import json
import math
import os
import pathlib

import jax
import pytest

from r1jax.config import ConfigError, ModelConfig
from r1jax.models import decoder
from r1jax.models.huggingface.config_json import read_config, write_config
from r1jax.models.huggingface.tables import entries, ignored
from r1jax.models.presets import PRESETS, preset

DATA = pathlib.Path(os.environ.get("R1JAX_TEST_DATA", "R1JAX_TEST_DATA-is-not-set"))


def scored(model):
    return dataclasses.replace(model, head="score", tie_embeddings=False)


DEEPSEEK = preset("tiny-deepseek-v3").model
MODELS = {name: entry.model for name, entry in PRESETS.items() if name.startswith("tiny")}
MODELS |= {f"{name}-score": scored(model) for name, model in MODELS.items()}
MODELS |= {
    "tiny-qwen3-untied": dataclasses.replace(preset("tiny-qwen3").model, tie_embeddings=False),
    "tiny-llama3-tied": dataclasses.replace(preset("tiny-llama3").model, tie_embeddings=True),
    "tiny-deepseek-v3-one-query": dataclasses.replace(
        DEEPSEEK, latent=dataclasses.replace(DEEPSEEK.latent, query_rank=None)
    ),
    "tiny-deepseek-v3-no-dense": dataclasses.replace(
        DEEPSEEK, moe=dataclasses.replace(DEEPSEEK.moe, first_dense_layers=0)
    ),
}


def arrays(model: ModelConfig) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Path -> shape of our tree."""
    leaves = jax.tree_util.tree_leaves_with_path(decoder.param_shapes(model))
    return {tuple(key.key for key in path): leaf.shape for path, leaf in leaves}


def tensors(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Name -> shape of the folder that the table describes."""
    shapes = arrays(model)
    found = {}
    for path, names, layout in entries(model):
        ours = shapes[path][names.ndim :]
        theirs = tuple(math.prod(ours[dim] for dim in dims) for dims in layout)
        found |= dict.fromkeys(names.ravel(), theirs)
    return found


@pytest.mark.parametrize("name", [*MODELS, "qwen2.5-0.5b", "qwen3-30b-a3b", "llama3.3-70b", "deepseek-v3"])
def test_every_array_is_there_once_and_every_name_once(name):
    model = MODELS[name] if name in MODELS else preset(name).model
    shapes, table = arrays(model), entries(model)
    assert collections.Counter(entry.path for entry in table) == dict.fromkeys(shapes, 1)
    names = collections.Counter(itertools.chain.from_iterable(entry.names.ravel() for entry in table))
    assert set(names.values()) == {1}
    for entry in table:
        shape = shapes[entry.path]
        assert entry.names.dtype == object
        assert entry.names.shape == shape[: entry.names.ndim], entry.path
        dims = list(itertools.chain.from_iterable(entry.layout))
        assert sorted(dims) == list(range(len(shape) - entry.names.ndim)), entry.path


# The tiny DeepSeek: 64 wide, 4 heads of 16 + 8 and values of 24, ranks 48 and 32, 8 experts of 32, 2 shared, layer 0
# dense with 96, 512 tokens.
OF_THE_TINY_DEEPSEEK = {
    "model.embed_tokens.weight": (512, 64),
    "model.norm.weight": (64,),
    "lm_head.weight": (512, 64),
    "model.layers.0.input_layernorm.weight": (64,),
    "model.layers.0.post_attention_layernorm.weight": (64,),
    "model.layers.0.self_attn.q_a_proj.weight": (48, 64),
    "model.layers.0.self_attn.q_a_layernorm.weight": (48,),
    "model.layers.0.self_attn.q_b_proj.weight": (4 * 24, 48),
    "model.layers.0.self_attn.kv_a_proj_with_mqa.weight": (32 + 8, 64),
    "model.layers.0.self_attn.kv_a_layernorm.weight": (32,),
    "model.layers.0.self_attn.kv_b_proj.weight": (4 * (16 + 24), 32),
    "model.layers.0.self_attn.o_proj.weight": (64, 4 * 24),
    "model.layers.0.mlp.gate_proj.weight": (96, 64),
    "model.layers.0.mlp.up_proj.weight": (96, 64),
    "model.layers.0.mlp.down_proj.weight": (64, 96),
    "model.layers.1.mlp.gate.weight": (8, 64),
    "model.layers.1.mlp.gate.e_score_correction_bias": (8,),
    "model.layers.2.mlp.experts.7.gate_proj.weight": (32, 64),
    "model.layers.2.mlp.experts.7.up_proj.weight": (32, 64),
    "model.layers.2.mlp.experts.7.down_proj.weight": (64, 32),
    "model.layers.1.mlp.shared_experts.gate_proj.weight": (2 * 32, 64),
    "model.layers.1.mlp.shared_experts.up_proj.weight": (2 * 32, 64),
    "model.layers.1.mlp.shared_experts.down_proj.weight": (64, 2 * 32),
}
# 64 wide, 4 heads and 2 for keys and values; 16 wide in Qwen2 and Llama, 32 in Qwen3.
OF_THE_OTHERS = {
    "tiny-qwen2": {
        "model.layers.1.self_attn.q_proj.bias": (4 * 16,),
        "model.layers.1.self_attn.k_proj.bias": (2 * 16,),
        "model.layers.1.self_attn.v_proj.weight": (2 * 16, 64),
    },
    "tiny-qwen3": {
        "model.layers.1.self_attn.q_proj.weight": (4 * 32, 64),
        "model.layers.1.self_attn.q_norm.weight": (32,),
        "model.layers.1.self_attn.k_norm.weight": (32,),
        "model.layers.1.self_attn.o_proj.weight": (64, 4 * 32),
    },
    "tiny-qwen3-moe": {
        "model.layers.0.mlp.down_proj.weight": (64, 96),
        "model.layers.1.mlp.gate.weight": (8, 64),
        "model.layers.1.mlp.experts.0.down_proj.weight": (64, 32),
    },
    "tiny-llama3": {"lm_head.weight": (512, 64), "model.layers.0.mlp.up_proj.weight": (96, 64)},
    "tiny-llama3-score": {"score.weight": (1, 64)},
}


@pytest.mark.parametrize(
    ("name", "expected"),
    [("tiny-deepseek-v3", OF_THE_TINY_DEEPSEEK), *OF_THE_OTHERS.items()],
    ids=lambda x: str(x)[:20],
)
def test_names_and_shapes_are_those_of_the_published_layout(name, expected):
    found = tensors(MODELS[name])
    assert {key: found.get(key) for key in expected} == expected


def test_layouts_say_which_of_our_dims_are_flattened_into_theirs():
    table = {entry.path: entry for entry in entries(preset("tiny-qwen2").model)}
    embedding = table["embed", "embedding"]
    assert (embedding.names.shape, embedding.names.item()) == ((), "model.embed_tokens.weight")
    assert embedding.layout == ((0,), (1,))
    attention = ("layers", "attention")
    assert table[*attention, "query", "kernel"].layout == ((1, 2), (0,))  # [D, N, H] -> [N H, D]
    assert table[*attention, "query", "bias"].layout == ((0, 1),)
    assert table[*attention, "out", "kernel"].layout == ((2,), (0, 1))  # [N, H, D] -> [D, N H]


def test_layers_of_the_second_stack_are_numbered_after_those_of_the_first():
    table = {entry.path: entry.names for entry in entries(DEEPSEEK)}
    assert list(table["dense_layers", "ffn_norm", "scale"]) == ["model.layers.0.post_attention_layernorm.weight"]
    assert list(table["layers", "ffn_norm", "scale"]) == [
        "model.layers.1.post_attention_layernorm.weight",
        "model.layers.2.post_attention_layernorm.weight",
    ]
    experts = table["layers", "ffn", "experts", "up"]
    assert experts.shape == (2, 8)
    assert experts[1, 7] == "model.layers.2.mlp.experts.7.up_proj.weight"


def test_a_tied_model_has_no_head_and_leaves_one_in_the_folder_out():
    tied, untied = preset("tiny-qwen3").model, MODELS["tiny-qwen3-untied"]
    assert "lm_head.weight" not in tensors(tied)
    assert ignored("lm_head.weight", tied) == "the head is tied to the embedding"
    assert ignored("lm_head.weight", untied) is None
    assert "score head" in ignored("lm_head.weight", scored(tied))


def test_what_is_left_out_has_a_reason_and_nothing_else_is():
    assert "second token" in ignored("model.layers.3.eh_proj.weight", DEEPSEEK)
    assert "second token" in ignored("model.layers.3.mlp.experts.0.up_proj.weight", DEEPSEEK)
    # Two layers after the last, or one in another family: then the folder is of another model.
    assert ignored("model.layers.4.eh_proj.weight", DEEPSEEK) is None
    assert ignored("model.layers.30.eh_proj.weight", DEEPSEEK) is None
    assert ignored("model.layers.2.mlp.up_proj.weight", preset("tiny-llama3").model) is None
    for name in ("model.layers.0.self_attn.rotary_emb.inv_freq", "model.rotary_emb.inv_freq"):
        assert "rotary" in ignored(name, DEEPSEEK)
    for model in MODELS.values():
        assert [name for name in tensors(model) if ignored(name, model) is not None] == []


def test_a_model_of_no_family_has_no_table():
    with pytest.raises(ConfigError, match="model.gated_ffn"):
        entries(dataclasses.replace(preset("tiny-llama3").model, gated_ffn=False))


@pytest.mark.skipif(not DATA.is_dir(), reason="set R1JAX_TEST_DATA to the folder with deepseek_r1_params.json.gz")
def test_all_tensors_of_deepseek_r1_are_mapped_with_their_shapes():
    with gzip.open(DATA / "deepseek_r1_params.json.gz", "rt") as file:
        published = {name: tuple(facts["shape"]) for name, facts in json.load(file).items()}
    model = read_config(json.loads((DATA / "deepseek_r1_config.json").read_text()), "deepseek_r1_config.json")
    mapped = tensors(model)
    left = {name: shape for name, shape in published.items() if name not in mapped}
    assert {name: published.get(name) for name in mapped} == mapped

    left_out = {name for name in left if ignored(name, model)}
    assert {name.split(".")[2] for name in left_out} == {"61"}
    scales = {name: shape for name, shape in left.items() if name not in left_out}
    for name, shape in scales.items():
        weight = name.removesuffix("_scale_inv")
        assert weight != name
        assert shape == tuple(-(-size // 128) for size in mapped[weight]), name
    assert len(published) == 91_991 == len(mapped) + len(left_out) + len(scales)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_a_folder_that_transformers_saves_has_exactly_these_tensors(name, tmp_path):
    transformers = pytest.importorskip("transformers")
    safetensors = pytest.importorskip("safetensors")
    config = write_config(MODELS[name])
    theirs = transformers.CONFIG_MAPPING[config["model_type"]](**config)
    getattr(transformers, config["architectures"][0])(theirs).save_pretrained(tmp_path)
    with safetensors.safe_open(str(tmp_path / "model.safetensors"), "np") as file:
        saved = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
    assert saved == tensors(MODELS[name])
    assert read_config(json.loads((tmp_path / "config.json").read_text()), "config.json") == MODELS[name]
