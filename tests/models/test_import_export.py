"""Hugging Face folders into sharded arrays and back: values, bytes on the host, bits, errors, transformers itself."""

import dataclasses
import json
import math
import pathlib
import socket
import subprocess
import sys
import tracemalloc

import jax
import jax.numpy as jnp
import ml_dtypes
import numpy as np
import pytest
from absl import logging
from safetensors.numpy import load_file, save_file
from tiny_models import FAMILIES, params_of

from r1jax.config import ConfigError, MeshConfig, ModelConfig
from r1jax.models import decoder
from r1jax.models.huggingface import importer, tables
from r1jax.models.huggingface.errors import WeightsError
from r1jax.models.huggingface.exporter import export
from r1jax.models.huggingface.importer import load_params, read_model
from r1jax.models.huggingface.tables import stored_shape
from r1jax.models.huggingface.tensor_files import INDEX, SINGLE, TensorFolder
from r1jax.parallel.mesh import make_mesh
from r1jax.parallel.rules import shardings
from r1jax.text.tokenizer import Tokenizer

OPEN = {name: model for name, model in FAMILIES.items() if name != "ungated"}  # that Hugging Face has
OPEN["llama3 with a score"] = dataclasses.replace(FAMILIES["llama3"], head="score")
families = pytest.mark.parametrize("model", OPEN.values(), ids=OPEN.keys())
DENSE = ModelConfig(
    vocab_size=64, hidden_size=16, num_layers=3, num_heads=4, num_kv_heads=2, ffn_size=24, attention_bias=True
)
FOUR_BY_TWO = MeshConfig(data=1, fsdp=4, tensor=2)


def like_on(model, mesh=None, dtype=None):
    """The tree that `load_params` fills: of float32, or `dtype`; on the default device, or sharded over a mesh."""
    shapes = decoder.param_shapes(model)
    if mesh is not None:
        places = shardings(decoder.param_dims(model), shapes, make_mesh(mesh))
        shapes = jax.tree.map(lambda leaf, place: leaf.update(sharding=place), shapes, places)
    return jax.tree.map(lambda leaf: leaf.update(dtype=leaf.dtype if dtype is None else dtype), shapes)


def random_tensors(model, dtype=np.float32, seed=0):
    """What a folder of the model holds: random bits of ordinary size, -0.0 among them."""
    draw = np.random.default_rng(seed)
    leaves = {
        tuple(key.key for key in path): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(decoder.param_shapes(model))
    }
    tensors = {}
    for entry in tables.entries(model):
        shape = stored_shape(leaves[entry.path].shape[entry.names.ndim :], entry.layout)
        own = np.float32 if entry.path[-1] == "correction_bias" else dtype
        for name in entry.names.flat:
            tensors[name] = draw.standard_normal(shape, np.float32).astype(own)
            tensors[name].flat[0] = -0.0
    return tensors


def write_folder(folder, tensors, **config):
    folder.mkdir(exist_ok=True)
    save_file(tensors, folder / SINGLE)
    (folder / "config.json").write_text(json.dumps(config))
    return folder


def tensors_of(folder):
    """All tensors of a folder, read by the library."""
    files = [folder / SINGLE]
    if not files[0].exists():
        files = {folder / name for name in json.loads((folder / INDEX).read_text())["weight_map"].values()}
    return {name: tensor for file in files for name, tensor in load_file(file).items()}


def assert_same_bits(found, expected):
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype, name
        assert found[name].shape == tensor.shape, name
        assert found[name].tobytes() == tensor.tobytes(), name


def off_boundary(shape, dtype):
    """An array that does not begin at a multiple of 64 bytes."""
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = np.empty(size + 80, np.uint8)
    start = -memory.ctypes.data % 64 + 16
    return memory[start : start + size].view(dtype).reshape(shape)


def error_of(folder, model=DENSE):
    with pytest.raises(WeightsError) as caught:
        load_params(folder, model, like_on(model))
    text = str(caught.value)
    assert "\n" not in text
    return text


# ---- import


def test_arrays_hold_the_tensors_turned_as_they_should(tmp_path):
    tensors = random_tensors(DENSE)
    params = load_params(write_folder(tmp_path, tensors), DENSE, like_on(DENSE))
    layer = "model.layers.2."
    # Of q_proj [16 outputs, 16 inputs], row 4 n + h is head n's dim h.
    query = tensors[layer + "self_attn.q_proj.weight"]
    by_hand = np.stack([np.stack([query[4 * n + h] for n in range(4)]) for h in range(4)])  # [H, N, D]
    np.testing.assert_array_equal(params["layers"]["attention"]["query"]["kernel"][2], by_hand.transpose(2, 1, 0))
    bias = tensors[layer + "self_attn.k_proj.bias"]
    np.testing.assert_array_equal(params["layers"]["attention"]["key"]["bias"][2], [bias[:4], bias[4:]])
    out = tensors[layer + "self_attn.o_proj.weight"]
    np.testing.assert_array_equal(params["layers"]["attention"]["out"]["kernel"][2][3, 1], out[:, 3 * 4 + 1])
    np.testing.assert_array_equal(params["head"]["kernel"], tensors["lm_head.weight"].T)
    np.testing.assert_array_equal(params["embed"]["embedding"], tensors["model.embed_tokens.weight"])
    np.testing.assert_array_equal(
        params["layers"]["ffn"]["down"]["kernel"][2], tensors[layer + "mlp.down_proj.weight"].T
    )


@families
def test_a_sharded_import_has_the_values_and_shardings_that_were_asked_for(tmp_path, model):
    folder = write_folder(tmp_path, random_tensors(model, ml_dtypes.bfloat16))
    whole = load_params(folder, model, like_on(model))
    mesh = MeshConfig(data=1, fsdp=2, expert=2, tensor=2)
    like = like_on(model, mesh)
    sharded = load_params(folder, model, like)
    assert jax.tree.structure(sharded) == jax.tree.structure(like)
    for wanted, one, other in zip(*map(jax.tree.leaves, (like, whole, sharded)), strict=True):
        assert other.sharding == wanted.sharding
        assert other.dtype == one.dtype == np.float32
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))
        assert float(jnp.abs(one).max()) > 0.5


@pytest.mark.parametrize("stored", [np.float32, ml_dtypes.bfloat16])
@pytest.mark.parametrize("dtype", [np.float32, jnp.bfloat16])
def test_no_host_holds_more_than_two_shards(tmp_path, monkeypatch, stored, dtype):
    # A device of the CPU takes an array on a boundary of 64 bytes for its own memory: none shall be there by chance.
    monkeypatch.setattr(importer, "_buffer", off_boundary)
    monkeypatch.setattr(importer, "_PIECE_BYTES", 2**20)
    # An embedding of 32 MiB in 8 parts: these are the largest shards.
    model = ModelConfig(
        vocab_size=2**17, hidden_size=64, num_layers=2, num_heads=4, num_kv_heads=2, ffn_size=128, tie_embeddings=True
    )
    files = TensorFolder(write_folder(tmp_path, random_tensors(model, stored)))
    like = like_on(model, FOUR_BY_TWO, dtype)
    largest = max(
        math.prod(leaf.sharding.shard_shape(leaf.shape)) * leaf.dtype.itemsize for leaf in jax.tree.leaves(like)
    )
    assert largest == 2**17 * 64 // 8 * np.dtype(dtype).itemsize
    load_params(files, model, like)  # what Python and jax keep of a first time
    tracemalloc.start()  # sees the arrays of NumPy, whoever holds them
    try:
        params = load_params(files, model, like)
        seen = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 0 < files.host.largest_read <= largest
    assert largest < files.host.peak <= 2 * largest
    assert files.host.live == 0
    # The count is what is there, but for Python's own objects.
    assert seen < files.host.peak + 2**19
    embedding = tensors_of(tmp_path)["model.embed_tokens.weight"].astype(dtype)
    np.testing.assert_array_equal(np.asarray(params["embed"]["embedding"]), embedding)


def test_replicas_are_read_once(tmp_path, monkeypatch):
    folder = write_folder(tmp_path, random_tensors(DENSE))
    counted = []
    read = TensorFolder.read
    monkeypatch.setattr(
        TensorFolder, "read", lambda files, name, *rest: counted.append(name) or read(files, name, *rest)
    )
    load_params(folder, DENSE, like_on(DENSE, MeshConfig(data=8)))
    assert sorted(counted) == sorted(tensors_of(folder))
    counted.clear()
    load_params(folder, DENSE, like_on(DENSE, FOUR_BY_TWO))
    assert counted.count("model.layers.0.mlp.up_proj.weight") == 8
    assert counted.count("model.layers.0.self_attn.q_proj.bias") == 2  # heads over tensor=2
    assert counted.count("model.norm.weight") == 1


def test_large_tensors_are_read_in_pieces(tmp_path, monkeypatch):
    monkeypatch.setattr("r1jax.models.huggingface.importer._PIECE_BYTES", 3 * 16 * 4)
    tensors = random_tensors(DENSE)
    files = TensorFolder(write_folder(tmp_path, tensors))
    params = load_params(files, DENSE, like_on(DENSE))
    assert files.host.largest_read <= 3 * 16 * 4
    np.testing.assert_array_equal(params["embed"]["embedding"], tensors["model.embed_tokens.weight"])
    np.testing.assert_array_equal(params["head"]["kernel"], tensors["lm_head.weight"].T)


def test_a_float8_folder_equals_its_dequantised_twin(tmp_path):
    # Blocks of 128: hidden and feed-forward sizes are no multiples, and shards over 2 devices cut blocks in two.
    model = ModelConfig(
        vocab_size=32, hidden_size=192, num_layers=2, num_heads=4, num_kv_heads=2, ffn_size=328, tie_embeddings=True
    )
    draw = np.random.default_rng(1)
    coded, plain = {}, {}
    for name, tensor in random_tensors(model).items():
        if tensor.ndim == 1 or "embed" in name:
            coded[name] = plain[name] = tensor
            continue
        rows, columns = tensor.shape
        values = tensor.astype(ml_dtypes.float8_e4m3fn)
        scales = draw.uniform(0.5, 2.0, (-(-rows // 128), -(-columns // 128))).astype(np.float32)
        coded[name], coded[name + "_scale_inv"] = values, scales
        block_of = np.ix_(np.arange(rows) // 128, np.arange(columns) // 128)
        plain[name] = values.astype(np.float32) * scales[block_of]
    quantization = {"quant_method": "fp8", "fmt": "e4m3", "weight_block_size": [128, 128]}
    one = write_folder(tmp_path / "coded", coded, quantization_config=quantization)
    other = write_folder(tmp_path / "plain", plain)
    like = like_on(model, MeshConfig(data=2, fsdp=2, tensor=2))
    up = like["layers"]["ffn"]["up"]["kernel"]
    assert up.sharding.shard_shape(up.shape) == (2, 96, 164)
    files = TensorFolder(one)
    jax.tree.map(np.testing.assert_array_equal, load_params(files, model, like), load_params(other, model, like))
    largest = 2 * 96 * 164 * 4
    assert files.host.peak <= 2 * largest


def test_what_like_leaves_out_is_not_read(tmp_path):
    model = FAMILIES["llama3"]
    tensors = random_tensors(model)
    del tensors["lm_head.weight"]
    like = like_on(model)
    del like["head"]
    params = load_params(write_folder(tmp_path, tensors), model, like)
    assert jax.tree.structure(params) == jax.tree.structure(like)
    with pytest.raises(ValueError, match=r"no Hugging Face names for adapter\.x"):
        load_params(tmp_path, model, like | {"adapter": {"x": like["final_norm"]["scale"]}})


def test_tensors_that_do_not_fit_are_listed(tmp_path):
    tensors = random_tensors(DENSE)
    del tensors["model.layers.1.self_attn.v_proj.bias"]
    tensors["model.layers.3.mlp.up_proj.weight"] = np.zeros((24, 16), np.float32)
    tensors["model.norm.weight"] = np.zeros(17, np.float32)
    tensors["model.layers.0.mlp.up_proj.weight"] = np.zeros((24, 16), np.int8)
    text = error_of(write_folder(tmp_path, tensors))
    assert "model.layers.1.self_attn.v_proj.bias is in the model, not in the folder" in text
    assert "model.layers.3.mlp.up_proj.weight is in the folder, not in the model" in text
    assert "model.norm.weight is [17], expected [16]" in text
    assert "model.layers.0.mlp.up_proj.weight: expected one of F32, F16, BF16, F8_E4M3, found I8" in text


def test_of_many_problems_eight_are_shown(tmp_path):
    tensors = random_tensors(DENSE) | {f"other.{number}": np.zeros(1, np.float32) for number in range(11)}
    text = error_of(write_folder(tmp_path, tensors))
    assert text.count("is in the folder, not in the model") == 8
    assert text.endswith("and 3 more")


def test_what_is_left_out_on_purpose_is_said_with_its_reason(tmp_path, monkeypatch):
    model = FAMILIES["qwen2"]  # tied
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    tensors = random_tensors(model)
    load_params(write_folder(tmp_path, tensors), model, like_on(model))
    assert said == []
    tensors["lm_head.weight"] = tensors["model.embed_tokens.weight"]
    for layer in range(2):
        tensors[f"model.layers.{layer}.self_attn.rotary_emb.inv_freq"] = np.zeros(2, np.float32)
    load_params(write_folder(tmp_path, tensors), model, like_on(model))
    assert sorted(said) == sorted(
        [
            f"{tmp_path}: 1 tensors left out: the head is tied to the embedding",
            f"{tmp_path}: 2 tensors left out: a table of rotary frequencies, which follow from config.json",
        ]
    )


def test_a_folder_s_model_is_read_from_its_config(tmp_path):
    with pytest.raises(WeightsError, match=r"config\.json: expected this file, found none"):
        read_model(tmp_path)
    (tmp_path / "config.json").write_text("{,}")
    with pytest.raises(WeightsError, match=r"config\.json: expected JSON"):
        read_model(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "mamba"}')
    with pytest.raises(ConfigError, match=r"config\.json: model_type.*mamba"):
        read_model(tmp_path)


# ---- export


@families
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize("mesh", [None, MeshConfig(data=1, fsdp=2, expert=2, tensor=2)], ids=["one device", "eight"])
def test_import_and_export_keep_every_bit(tmp_path, model, dtype, mesh):
    tensors = random_tensors(model, jnp.dtype(dtype))
    params = load_params(write_folder(tmp_path / "in", tensors), model, like_on(model, mesh))
    export(params, model, tmp_path / "out", dtype=dtype)
    assert_same_bits(tensors_of(tmp_path / "out"), tensors)
    assert read_model(tmp_path / "out") == model
    assert json.loads((tmp_path / "out" / "config.json").read_text())["torch_dtype"] == dtype
    assert sorted(file.name for file in tmp_path.iterdir()) == ["in", "out"]  # nothing unfinished stays


def test_bfloat16_is_the_nearest(tmp_path):
    model = FAMILIES["qwen3"]
    params = params_of(model)
    export(params, model, tmp_path / "out")
    found = tensors_of(tmp_path / "out")["model.embed_tokens.weight"]
    np.testing.assert_array_equal(found, np.asarray(params["embed"]["embedding"]).astype(ml_dtypes.bfloat16))


def test_files_are_no_larger_than_asked_and_the_index_finds_every_tensor(tmp_path):
    tensors = random_tensors(DENSE)
    params = load_params(write_folder(tmp_path / "in", tensors), DENSE, like_on(DENSE))
    export(params, DENSE, tmp_path / "out", dtype="float32", max_shard_bytes=6000)
    index = json.loads((tmp_path / "out" / INDEX).read_text())
    files = sorted(set(index["weight_map"].values()))
    count = len(files)
    assert count > 3
    assert files == [f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1)]
    assert index["metadata"]["total_size"] == sum(tensor.nbytes for tensor in tensors.values())
    for file in files:
        held = load_file(tmp_path / "out" / file)
        assert sum(tensor.nbytes for tensor in held.values()) <= 6000
        assert {name for name, where in index["weight_map"].items() if where == file} == set(held)
    assert_same_bits(tensors_of(tmp_path / "out"), tensors)
    assert TensorFolder(tmp_path / "out").tensors.keys() == tensors.keys()
    assert (tmp_path / "out" / files[0]).read_bytes().count(b'"format":"pt"') == 1


def test_a_folder_with_something_in_it_is_not_overwritten(tmp_path):
    model = FAMILIES["qwen3"]
    (tmp_path / "note").write_text("mine")
    with pytest.raises(WeightsError, match=r"expected a folder that is empty or not there, found something in it"):
        export(params_of(model), model, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["note"]
    (tmp_path / "empty").mkdir()
    export(params_of(model), model, tmp_path / "empty")
    written = tmp_path / "empty"
    assert (written / SINGLE).stat().st_mode == (written / "config.json").stat().st_mode  # others may read it
    with pytest.raises(WeightsError, match=r"expected a local folder"):
        export(params_of(model), model, "gs://bucket/model")


def test_a_model_that_no_family_has_is_not_exported(tmp_path):
    with pytest.raises(ConfigError, match="gated_ffn"):
        export(params_of(FAMILIES["ungated"]), FAMILIES["ungated"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_export_left_is_replaced(tmp_path):
    (tmp_path / ".out.unfinished").mkdir()
    (tmp_path / ".out.unfinished" / "model-00001-of-00009.safetensors").write_text("half")
    model = FAMILIES["qwen3"]
    export(params_of(model), model, tmp_path / "out")
    assert sorted(file.name for file in (tmp_path / "out").iterdir()) == ["config.json", SINGLE]
    assert not (tmp_path / ".out.unfinished").exists()


def test_the_tokenizer_goes_with_the_model(tmp_path):
    model = FAMILIES["qwen3"]
    tokenizer = Tokenizer.from_texts_wordlevel(["one", "two"])
    tokenizer.save(str(tmp_path / "tokenizer"))
    (tmp_path / "tokenizer" / "merges.txt").write_text("a b")
    (tmp_path / "tokenizer" / "model.safetensors").write_text("no business of ours")
    ids = {"eos_token_id": 1, "pad_token_id": 0}
    names = {"config.json", "generation_config.json", SINGLE, "tokenizer.json", "tokenizer_config.json"}
    for out, given, found in [
        ("written", {"tokenizer": tokenizer}, names),
        ("copied", {"tokenizer_folder": tmp_path / "tokenizer"}, names | {"merges.txt"}),
        ("of a file", {"tokenizer_folder": tmp_path / "tokenizer" / "tokenizer.json"}, names),
    ]:
        export(params_of(model), model, tmp_path / out, **given)
        assert {file.name for file in (tmp_path / out).iterdir()} == found
        assert json.loads((tmp_path / out / "generation_config.json").read_text()) == ids
        assert json.loads((tmp_path / out / "config.json").read_text()).items() >= ids.items()
        assert Tokenizer.load(str(tmp_path / out)).encode("two one") == [3, 2]


def test_what_we_do_not_track_comes_from_the_source(tmp_path):
    model = FAMILIES["qwen3"]
    (tmp_path / "source").mkdir()
    source = {"max_position_embeddings": 40960, "eos_token_id": 7, "bos_token_id": 5, "hidden_size": 99}
    (tmp_path / "source" / "config.json").write_text(json.dumps(source | {"quantization_config": {}}))
    export(params_of(model), model, tmp_path / "out", source=tmp_path / "source")
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config.items() >= {"max_position_embeddings": 40960, "eos_token_id": 7, "bos_token_id": 5}.items()
    assert config["hidden_size"] == 16
    assert "quantization_config" not in config
    assert not (tmp_path / "out" / "generation_config.json").exists()
    export(params_of(model), model, tmp_path / "longer", source=tmp_path / "source", max_positions=50_000)
    assert json.loads((tmp_path / "longer" / "config.json").read_text())["max_position_embeddings"] == 50_000


def source_folder(folder, config, generation):
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "generation_config.json").write_text(json.dumps(generation))
    return folder


def exported_texts_of(folder):
    return [json.loads((folder / name).read_text()) for name in ("config.json", "generation_config.json")]


def test_all_tokens_that_ended_a_text_still_do_and_sampling_stays_as_it_was(tmp_path):
    model = FAMILIES["llama3"]
    sampling = {"do_sample": True, "temperature": 0.6, "top_p": 0.9, "bos_token_id": 20}
    source = source_folder(
        tmp_path / "source",
        {"eos_token_id": [21, 28], "bos_token_id": 20},
        sampling | {"eos_token_id": [21, 29], "pad_token_id": 30},
    )
    tokenizer = Tokenizer.from_texts_wordlevel(["one"])  # padding 0, EOS 1
    for out, given, stops, pad in [
        ("with", {"tokenizer": tokenizer}, [21, 28, 29, 1], 0),
        ("without", {}, [21, 28, 29], None),
    ]:
        export(params_of(model), model, tmp_path / out, source=source, **given)
        config, generation = exported_texts_of(tmp_path / out)
        assert config["eos_token_id"] == stops
        assert config["bos_token_id"] == 20
        assert config.get("pad_token_id") == pad
        assert generation == sampling | {"eos_token_id": stops, "pad_token_id": 30 if pad is None else pad}


def test_an_end_of_text_is_not_called_padding(tmp_path):
    # transformers' classifiers look for the last token that is not padding.
    model = FAMILIES["llama3"]
    tokenizer = Tokenizer.from_texts_wordlevel(["one"], pad_token="<pad>")
    tokenizer.save(str(tmp_path / "tokenizer"))
    settings = json.loads((tmp_path / "tokenizer" / "tokenizer_config.json").read_text())
    del settings["pad_token"]
    (tmp_path / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(settings))
    for name, before, after in [
        ("none", {}, None),
        ("own", {"pad_token_id": 9}, 9),
        ("eos", {"pad_token_id": 1}, None),
    ]:
        source = source_folder(tmp_path / f"source {name}", before, {})
        export(params_of(model), model, tmp_path / name, source=source, tokenizer_folder=tmp_path / "tokenizer")
        for text in exported_texts_of(tmp_path / name):
            assert text["eos_token_id"] == 1
            assert text.get("pad_token_id") == after


def test_stop_ids_that_are_none_are_refused(tmp_path):
    source = source_folder(tmp_path / "source", {"eos_token_id": ["</s>"]}, {})
    with pytest.raises(WeightsError, match=r"eos_token_id: expected an integer, a list .* found \['</s>'\]"):
        export(params_of(FAMILIES["llama3"]), FAMILIES["llama3"], tmp_path / "out", source=source)


def test_a_context_that_is_a_guess_is_said(tmp_path, monkeypatch):
    model = FAMILIES["llama3"]
    said = []
    monkeypatch.setattr(logging, "warning", lambda text, *values: said.append(text % values))
    source = source_folder(tmp_path / "source", {"max_position_embeddings": 100}, {})
    export(params_of(model), model, tmp_path / "one", max_positions=200)
    export(params_of(model), model, tmp_path / "two", source=source)
    assert said == []
    export(params_of(model), model, tmp_path / "three")
    assert "max_position_embeddings is 128, which is a guess" in said[0]  # 8 x 16
    assert "max_positions" in said[0]
    assert "source" in said[0]


def test_the_folder_one_is_in_can_be_exported_to(tmp_path, monkeypatch):
    model = FAMILIES["qwen3"]
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export(params_of(model), model, ".")
    assert (tmp_path / "here" / SINGLE).exists()


def test_an_export_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("r1jax.models.huggingface.exporter.write_tensors", full)
    with pytest.raises(OSError, match="no space left"):
        export(params_of(FAMILIES["qwen3"]), FAMILIES["qwen3"], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_an_expert_is_gathered_without_the_others(tmp_path):
    # Four devices hold two experts each; a program that needs one must not bring all of them together.
    from r1jax.models.huggingface.exporter import _gather

    model = FAMILIES["deepseek"]
    leaf = like_on(model, MeshConfig(data=2, expert=4))["layers"]["ffn"]["experts"]["up"]
    position = np.array([1, 5], np.int32)
    program = _gather(None).lower(leaf, position, layout=((1,), (0,)), dtype=np.dtype(np.float32)).compile()
    one_expert_bytes = math.prod(leaf.shape[2:]) * 4
    assert program.memory_analysis().temp_size_in_bytes <= 4 * one_expert_bytes
    assert "all-gather" not in program.as_text()


# ---- several processes

TWO_PROCESSES = """
import os
import sys

tests, source, target, address, number = sys.argv[1:]
sys.path.insert(0, tests)
os.environ.update(
    JAX_PLATFORMS="cpu", JAX_COORDINATOR_ADDRESS=address, JAX_NUM_PROCESSES="2", JAX_PROCESS_ID=number
)
os.environ["XLA_FLAGS"] = "--xla_force_host_platform_device_count=2"
from r1jax.parallel import hosts

hosts.initialize()
from test_import_export import DENSE, like_on
from r1jax.config import MeshConfig
from r1jax.models.huggingface.exporter import export
from r1jax.models.huggingface.importer import load_params
from r1jax.models.huggingface.tensor_files import TensorFolder

files = TensorFolder(source)
seen, read = [], files.read
files.read = lambda name, index, dtype: seen.append((name, index[0].start)) or read(name, index, dtype)
params = load_params(files, DENSE, like_on(DENSE, MeshConfig(data=1, fsdp=2, tensor=2)))
export(params, DENSE, target, dtype="float32", max_shard_bytes=6000)
print([start for name, start in seen if name == "model.layers.1.self_attn.o_proj.weight"], flush=True)
"""


@pytest.mark.slow
def test_two_processes_read_their_own_parts_and_the_first_writes(tmp_path):
    tensors = random_tensors(DENSE)
    folder = write_folder(tmp_path / "in", tensors)
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    here = pathlib.Path(__file__).parent
    command = [sys.executable, "-c", TWO_PROCESSES, here, folder, tmp_path / "out", address]
    processes = [
        subprocess.Popen([*command, str(number)], stdout=subprocess.PIPE, text=True, cwd=here.parents[1])
        for number in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=300)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert [process.returncode for process in processes] == [0, 0]
    # o_proj is [D, heads * H]: fsdp, whose halves are the two processes, shares its rows.
    assert [output.splitlines()[-1] for output in outputs] == ["[0, 0]", "[8, 8]"]
    assert_same_bits(tensors_of(tmp_path / "out"), tensors)


# ---- transformers itself


def huggingface_model(family, **changes):
    import transformers

    kinds = {
        "qwen2": (transformers.Qwen2Config, transformers.Qwen2ForCausalLM),
        "llama": (transformers.LlamaConfig, transformers.LlamaForCausalLM),
    }
    make_config, make_model = kinds[family]
    config = make_config(
        vocab_size=96,
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        initializer_range=0.2,
        max_position_embeddings=512,
        **changes,
    )
    import torch

    torch.manual_seed(0)
    model = make_model(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.normal_(std=0.3)
    return model


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "float32"])
@pytest.mark.parametrize(
    ("family", "tied"), [("qwen2", True), ("qwen2", False), ("llama", False)], ids=["qwen2-tied", "qwen2", "llama"]
)
def test_transformers_writes_what_we_read_and_reads_what_we_write(tmp_path, family, tied, dtype):
    import torch
    import transformers

    rope = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    changes = {"rope_parameters": rope | {"original_max_position_embeddings": 64}} if family == "llama" else {}
    theirs = huggingface_model(family, tie_word_embeddings=tied, **changes).to(getattr(torch, dtype))
    theirs.save_pretrained(tmp_path / "in", max_shard_size="30KB")
    assert (tmp_path / "in" / INDEX).exists()
    model = read_model(tmp_path / "in")
    params = load_params(tmp_path / "in", model, like_on(model, FOUR_BY_TWO))
    export(params, model, tmp_path / "out", dtype=dtype, source=tmp_path / "in", max_shard_bytes=30_000)
    assert_same_bits(tensors_of(tmp_path / "out"), tensors_of(tmp_path / "in"))
    back = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out")
    assert type(back) is type(theirs)
    assert back.dtype == getattr(torch, dtype)
    assert back.config.max_position_embeddings == 512
    expected = theirs.state_dict()
    assert back.state_dict().keys() == expected.keys()
    for name, tensor in back.state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    # Their own folder, loaded: `.to(bfloat16)` has rounded the rotary frequencies of `theirs`, which no file holds.
    again = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "in")
    tokens = torch.arange(20)[None]
    assert torch.equal(back(tokens).logits, again(tokens).logits)
