"""The folder of adapters for PEFT: what its files say, and when it is there."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_models import FAMILIES

from r1jax.config import LoraConfig
from r1jax.models import lora
from r1jax.models.huggingface.errors import WeightsError
from r1jax.models.huggingface.peft_adapter import export_adapter

MODEL = dataclasses.replace(FAMILIES["llama3"], lora=LoraConfig(rank=2, alpha=3.0, targets=("*.query", "ffn.down")))


def adapters():
    draw = np.random.default_rng(0)
    return jax.tree.map(lambda leaf: draw.standard_normal(leaf.shape, np.float32), lora.trained_shapes(MODEL))


def exported(folder, **given):
    trained = jax.tree.map(jax.numpy.asarray, adapters())
    export_adapter(trained, MODEL, folder, **given)


def test_the_files_hold_the_adapters_turned_as_theirs(tmp_path):
    exported(tmp_path / "out")
    found = load_file(tmp_path / "out" / "adapter_model.safetensors")
    assert len(found) == MODEL.num_layers * 2 * 2
    ours = adapters()["layers"]
    name = "base_model.model.model.layers.2.self_attn.q_proj.lora_"
    np.testing.assert_array_equal(found[name + "A.weight"], ours["attention"]["query"]["lora_a"][2].T)
    b = ours["attention"]["query"]["lora_b"][2]  # [rank, heads, head]
    np.testing.assert_array_equal(found[name + "B.weight"], b.reshape(2, -1).T)
    name = "base_model.model.model.layers.0.mlp.down_proj.lora_"
    np.testing.assert_array_equal(found[name + "A.weight"], ours["ffn"]["down"]["lora_a"][0].T)
    config = json.loads((tmp_path / "out" / "adapter_config.json").read_text())
    assert config.items() >= {"r": 2, "lora_alpha": 3, "task_type": "CAUSAL_LM", "modules_to_save": None}.items()


def test_the_base_s_folder_is_found_from_anywhere_and_a_name_on_the_hub_stays(tmp_path, monkeypatch):
    (tmp_path / "base").mkdir()
    monkeypatch.chdir(tmp_path)
    cases = [
        ("base", str(tmp_path / "base")),
        ("meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B"),
        ("gs://bucket/base", "gs://bucket/base"),
        (None, None),
    ]
    for number, (given, expected) in enumerate(cases):
        out = tmp_path / str(number)
        exported(out, base=given)
        assert json.loads((out / "adapter_config.json").read_text())["base_model_name_or_path"] == expected


def test_the_folder_is_whole_when_it_appears_and_others_may_read_it(tmp_path, monkeypatch):
    (tmp_path / ".out.unfinished").mkdir()  # of a killed one
    (tmp_path / ".out.unfinished" / "half").write_text("")
    exported(tmp_path / "out")
    weights, config = (tmp_path / "out" / name for name in ("adapter_model.safetensors", "adapter_config.json"))
    assert sorted((tmp_path / "out").iterdir()) == [config, weights]
    assert weights.stat().st_mode == config.stat().st_mode

    def full(*_):
        raise OSError("no space left")

    monkeypatch.setattr("r1jax.models.huggingface.peft_adapter.write_json", full)
    with pytest.raises(OSError, match="no space left"):
        exported(tmp_path / "other")
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_a_bucket_and_a_folder_with_something_in_it_are_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(WeightsError, match=r"gs://bucket/x: expected a local folder"):
        exported("gs://bucket/x")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "note").write_text("mine")
    with pytest.raises(WeightsError, match=r"found something in it"):
        exported(tmp_path)
