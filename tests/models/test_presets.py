"""Presets against what is published of them: numbers of parameters, the paper's learning rates."""

import dataclasses
import math

import jax
import pytest

from r1jax.config import ConfigError
from r1jax.models import decoder
from r1jax.models.huggingface.config_json import family
from r1jax.models.presets import PRESETS, preset


def parameters(name):
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(decoder.param_shapes(preset(name).model)))


# As the repositories' safetensors count them (a tied head once).
PARAMETERS = {
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "qwen2.5-7b": 7_615_616_512,
    "qwen2.5-14b": 14_770_033_664,
    "qwen2.5-32b": 32_763_876_352,
    "qwen2.5-math-1.5b": 1_543_714_304,
    "qwen2.5-math-7b": 7_615_616_512,
    "qwen3-0.6b": 596_049_920,
    "qwen3-1.7b": 1_720_574_976,
    "qwen3-4b": 4_022_468_096,
    "qwen3-8b": 8_190_735_360,
    "qwen3-30b-a3b": 30_532_122_624,
    "llama3.1-8b": 8_030_261_248,
    "llama3.2-1b": 1_235_814_400,
    "llama3.3-70b": 70_553_706_496,
    "deepseek-v3": 671_026_419_200,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_the_number_of_parameters_is_the_published_one(name):
    assert parameters(name) == PARAMETERS[name]


def test_all_presets_are_either_counted_or_tiny():
    assert {name for name in PRESETS if not name.startswith("tiny-")} == set(PARAMETERS)
    for name in PRESETS.keys() - PARAMETERS.keys():
        assert 10_000 < parameters(name) < 500_000
        assert preset(name).repository is None


def test_there_is_a_tiny_one_of_every_family():
    tiny = {family(entry.model) for name, entry in PRESETS.items() if name.startswith("tiny-")}
    assert tiny == {family(entry.model) for entry in PRESETS.values()}
    assert len(tiny) == 5


def test_learning_rates_are_those_of_the_paper():
    # arXiv:2501.12948v2, B.4.3
    rates = {
        entry.repository: entry.distill_learning_rate
        for entry in PRESETS.values()
        if entry.distill_learning_rate is not None
    }
    assert rates == {
        "Qwen/Qwen2.5-Math-1.5B": 1e-4,
        "Qwen/Qwen2.5-Math-7B": 8e-5,
        "Qwen/Qwen2.5-14B": 7e-5,
        "Qwen/Qwen2.5-32B": 6e-5,
        "meta-llama/Llama-3.1-8B": 5e-5,
        "meta-llama/Llama-3.3-70B-Instruct": 2e-5,
    }


def test_the_published_ones_know_the_longest_context_that_they_claim():
    claimed = {name: entry.max_positions for name, entry in PRESETS.items() if entry.max_positions is not None}
    assert claimed.keys() == PARAMETERS.keys()
    # Not what the rope tells: 8 x 8192 and 32 x 8192 positions.
    assert claimed["llama3.1-8b"] == claimed["llama3.2-1b"] == 131_072
    assert claimed["qwen2.5-7b"] == 131_072
    assert claimed["qwen2.5-math-7b"] == 4096
    yarn = preset("deepseek-v3").model.rope
    assert claimed["deepseek-v3"] == yarn.factor * yarn.original_max_positions


def test_a_preset_knows_its_name():
    assert all(preset(name).name == name for name in PRESETS)


@pytest.mark.parametrize("size", ["1.5b", "7b"])
def test_the_maths_models_differ_from_the_general_ones_in_theta_alone(size):
    general, maths = preset(f"qwen2.5-{size}").model, preset(f"qwen2.5-math-{size}").model
    assert (general.rope.theta, maths.rope.theta) == (1e6, 1e4)
    assert dataclasses.replace(general, rope=maths.rope) == maths


def test_an_unknown_name_is_an_error_with_the_nearest():
    with pytest.raises(ConfigError, match=r"found 'qwen2\.5-7B'; did you mean 'qwen2\.5-7b'\?"):
        preset("qwen2.5-7B")
    with pytest.raises(ConfigError, match=r"found 'zzz'; there are qwen2\.5-0\.5b, "):
        preset("zzz")
