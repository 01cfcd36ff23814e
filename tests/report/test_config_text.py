"""The resolved config as text: every field once, defaults told apart."""

import json

import programmes

from r1jax.config.serialize import from_json, to_json
from r1jax.report.config_text import sections


def parts():
    config = programmes.config()
    return {one.path: one for one in sections(to_json(config), config)}


def test_each_part_and_each_stage_has_a_section():
    found = parts()
    assert list(found)[:4] == ["run", "model", "tokenizer", "stages.base"]
    assert found["stages.zero"].kind == "GrpoConfig"
    assert {"students.small", "rewards", "mesh", "logging"} <= set(found)
    assert [line.text for line in found["run"].lines] == ["name: tiny_r1", "weights: null", "seed: 0"]


def test_what_is_set_is_told_apart_from_what_is_a_default():
    lines = {line.text: line.is_default for line in parts()["stages.zero"].lines}
    assert lines["start: base"] is False
    assert lines["num_steps: 60"] is False
    assert lines["group_size: 16"] is True
    assert lines["loss: PolicyLossConfig"] is True  # as a whole
    assert lines["  name: grpo"] is True
    assert lines["sampler: SamplerConfig"] is False
    assert lines["  max_prompt_tokens: 32"] is False


def test_lists_of_parts_are_indented():
    lines = [line.text for line in parts()["stages.all_scenarios_rl"].lines]
    at = lines.index("preferences:")
    assert lines[at + 1 : at + 3] == ["  - PreferenceConfig", "    model: helpful"]
    assert "    sets: [general]" in lines


def test_every_value_of_the_config_is_in_the_text():
    def leaves(value):
        for key, inner in value.items():
            if isinstance(inner, dict):
                yield from leaves(inner)
            elif isinstance(inner, list) and inner and isinstance(inner[0], dict):
                for one in inner:
                    yield from leaves(one)
            elif key != "class":
                yield key

    written = to_json(programmes.config())
    texts = [line.text.strip() for one in sections(written) for line in one.lines]
    keys = list(leaves(written))
    assert [text.partition(":")[0] for text in texts if ":" in text and not text.endswith(":")].count("seed") >= 1
    for key in set(keys):
        assert sum(text.startswith(f"{key}: ") for text in texts) >= keys.count(key), key


def test_a_config_that_cannot_be_read_back_is_shown_without_defaults():
    written = json.loads(json.dumps(to_json(programmes.config())))
    found = sections(written | {"new": [1, "two", "three \n"]})
    assert not any(line.is_default for one in found for line in one.lines)
    assert 'new: [1, two, "three \\n"]' in [line.text for line in found[0].lines]
    assert from_json(written) == programmes.config()
