"""Configs as JSON, their hash, and what differs between two."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import typing

import pytest

from r1jax import config as config_package
from r1jax.config import (
    BatchConfig,
    ConfigError,
    DataConfig,
    EvaluationConfig,
    GateConfig,
    GrpoConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainConfig,
    RunConfig,
    SftConfig,
    TokenizerConfig,
    constant,
)
from r1jax.config.serialize import differences, element_hints, fingerprint, from_json, to_json, without_none

DATA = DataConfig("jsonl", path="a.jsonl", columns=(("question", "q"),))
EVALUATION = EvaluationConfig(DATA)
TRAINING = {"data": DATA, "num_steps": 40, "optimizer": OptimizerConfig(), "batch": BatchConfig(2048, 2)}
RUN = RunConfig(
    name="test",
    model=ModelConfig(vocab_size=32, hidden_size=8, num_layers=1, num_heads=2, num_kv_heads=1, ffn_size=16),
    tokenizer=TokenizerConfig(path="tok"),
    stages=(
        PretrainConfig(name="base", gate=GateConfig(EVALUATION, accuracy=0.5), **TRAINING),
        SftConfig(name="cold", start="base", **TRAINING),
        GrpoConfig(name="zero", start="cold", evaluation=EVALUATION, **TRAINING),
    ),
)


def test_a_config_survives_the_way_through_a_json_file():
    restored = from_json(json.loads(json.dumps(to_json(RUN))))
    assert restored == RUN
    assert hash(restored) == hash(RUN)  # tuples again, not lists


def test_every_config_class_has_only_field_types_that_json_and_flags_know():
    def leaves(hint):
        hint, _ = without_none(hint)
        if typing.get_origin(hint) is tuple:
            for one in element_hints(hint, 1):
                yield from leaves(one)
        else:
            yield hint

    known = (bool, int, float, str)
    for name in config_package.__all__:
        cls = getattr(config_package, name)
        if not dataclasses.is_dataclass(cls):
            continue
        hints = typing.get_type_hints(cls)
        for field, hint in ((one.name, hints[one.name]) for one in dataclasses.fields(cls)):
            for leaf in leaves(hint):
                literal = typing.get_origin(leaf) is typing.Literal
                assert leaf in known or literal or dataclasses.is_dataclass(leaf), f"{name}.{field}: {hint}"


def test_configs_that_are_equal_have_equal_json_however_their_numbers_were_written():
    assert to_json(constant(1)) == to_json(constant(1.0))
    assert json.dumps(to_json(OptimizerConfig(learning_rate=1))) == json.dumps(
        to_json(OptimizerConfig(learning_rate=1.0))
    )


def test_the_hash_is_the_same_in_another_process_and_differs_for_another_config():
    code = (
        "from r1jax.config import MeshConfig; from r1jax.config.serialize import fingerprint\n"
        "print(fingerprint(MeshConfig()))"
    )
    for seed in ("1", "2"):
        printed = subprocess.run(
            [sys.executable, "-c", code],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        assert printed.strip() == fingerprint(config_package.MeshConfig())
    assert fingerprint(config_package.MeshConfig(fsdp=2)) != fingerprint(config_package.MeshConfig())


def test_differences_name_stages_and_rewards_by_name():
    changed = dataclasses.replace(
        RUN, seed=1, stages=(RUN.stages[0], RUN.stages[1], dataclasses.replace(RUN.stages[2], num_steps=80))
    )
    assert differences(to_json(RUN), to_json(changed)) == ["stages.zero.num_steps: 40 -> 80", "seed: 0 -> 1"]
    assert differences(to_json(RUN), to_json(RUN)) == []


def test_differences_show_what_only_one_side_has_and_values_of_another_type():
    assert differences({"a": 1, "b": [1, 2]}, {"b": [1], "c": None}) == [
        "a: 1 -> absent",
        "b.1: 2 -> absent",
        "c: absent -> null",
    ]
    assert differences({"a": True}, {"a": 1}) == ["a: true -> 1"]


def test_json_of_another_version_is_refused_by_the_name_that_is_not_known():
    with pytest.raises(ConfigError, match="found 'OldConfig'"):
        from_json({"class": "OldConfig"})
    with pytest.raises(ConfigError, match="MeshConfig has no field pipeline"):
        from_json({"class": "MeshConfig", "pipeline": 2})
