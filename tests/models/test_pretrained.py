"""A run's reference to a folder or a preset, spelt out."""

import dataclasses
import json

import pytest

from r1jax.config import (
    ConfigError,
    DataConfig,
    EvaluateConfig,
    EvaluationConfig,
    LoraConfig,
    ModelConfig,
    PretrainedConfig,
    RunConfig,
    TokenizerConfig,
    flags,
    serialize,
)
from r1jax.models.huggingface.config_json import write_config
from r1jax.models.huggingface.tensor_files import WeightsError
from r1jax.models.presets import preset
from r1jax.models.pretrained import resolved


def _run(model: ModelConfig | PretrainedConfig, **fields) -> RunConfig:
    data = DataConfig(kind="task", name="countdown", limit=1)
    stage = EvaluateConfig(name="base", evaluation=EvaluationConfig(data=data))
    return RunConfig(name="r", model=model, tokenizer=TokenizerConfig(task="countdown"), stages=(stage,), **fields)


def test_a_folder_gives_the_model_and_its_weights(tmp_path):
    model = preset("tiny-qwen2").model
    (tmp_path / "config.json").write_text(json.dumps(write_config(model)))
    reference = PretrainedConfig(path=str(tmp_path), remat="full", lora=LoraConfig(rank=4))
    found = resolved(_run(reference))
    assert found.model == dataclasses.replace(model, remat="full", lora=LoraConfig(rank=4))
    assert found.weights == str(tmp_path)
    assert resolved(found) is found
    with pytest.raises(ConfigError, match="weights: expected None or model.path"):
        resolved(_run(reference, weights="elsewhere"))


def test_a_preset_gives_the_shape_and_random_numbers():
    found = resolved(_run(PretrainedConfig(preset="tiny-qwen3", compute_dtype="bfloat16")))
    assert found.model == dataclasses.replace(preset("tiny-qwen3").model, compute_dtype="bfloat16")
    assert found.weights is None


def test_a_score_head_unties_the_embedding():
    found = resolved(_run(PretrainedConfig(preset="tiny-qwen2", head="score"))).model
    assert found.head == "score"
    assert not found.tie_embeddings


def test_what_is_not_there_is_one_line():
    with pytest.raises(WeightsError, match="config.json"):
        resolved(_run(PretrainedConfig(path="/nowhere")))
    with pytest.raises(ConfigError, match="did you mean 'tiny-qwen"):
        resolved(_run(PretrainedConfig(preset="tiny-qwen1")))
    with pytest.raises(ConfigError, match="exactly one of path and preset"):
        PretrainedConfig()


def test_a_reference_is_set_by_flags_and_kept_as_json():
    run = _run(PretrainedConfig(preset="tiny-qwen2"))
    changed = flags.apply(run, [("model.preset", "tiny-qwen3"), ("model.remat", "dots")])
    assert changed.model == PretrainedConfig(preset="tiny-qwen3", remat="dots")
    assert serialize.from_json(serialize.to_json(changed)) == changed
    with pytest.raises(ConfigError, match="expected its fields one by one"):
        flags.apply(run, [("model", "tiny-qwen2")])
