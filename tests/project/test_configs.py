"""The experiment files: each loads, is a page, and its miniatures run from end to end in a shrunken form."""

import ast
import json
import pathlib

import jax
import pytest

from r1jax import pipeline
from r1jax.config import GrpoConfig, PretrainConfig, RunConfig
from r1jax.config.load import load_config

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "experiments" / "configs"
FILES = sorted(CONFIGS.glob("*.py"))
# Data and vocabulary of these are generated: they need nothing but themselves.
MINIATURES = [path for path in FILES if load_config(str(path)).tokenizer.task is not None]


def stem(path: pathlib.Path) -> str:
    return path.stem


@pytest.mark.parametrize("path", FILES, ids=stem)
def test_a_config_loads_and_is_hashable(path):
    config = load_config(str(path))
    assert config.name == path.stem
    assert {config: True}[load_config(str(path))]  # made twice, it is one key


@pytest.mark.parametrize("path", FILES, ids=stem)
def test_a_config_is_a_page_with_its_command_and_time(path):
    page = ast.get_docstring(ast.parse(path.read_text()))
    assert all(f"\n{head}\n" in page for head in ("What it shows", "Command", "Time"))
    assert f"--config=experiments/configs/{path.name}" in page


def timed(path: pathlib.Path):
    """One of them goes through at every change."""
    return path if path.stem == "tiny_zero" else pytest.param(path, marks=pytest.mark.slow)


def shrunken(config: RunConfig) -> list[tuple[str, str]]:
    """Overrides that leave a few steps, records and tokens of each stage, and one small layer of the model.

    Prompts keep their limit: that those of the task fit is part of what is tested.
    """
    overrides = [("model.hidden_size", "16"), ("model.ffn_size", "16"), ("model.num_layers", "1")]
    for stage in config.stages:
        fields = {"num_steps": "2", "data.limit": "32", "batch.row_tokens": "64"}
        if isinstance(stage, PretrainConfig):
            fields |= {"gate": "none", "batch_rows": "2", "batch.micro_batch_rows": "2"}
        if isinstance(stage, GrpoConfig):
            fields |= {"rollout_prompts": "4", "group_size": "2", "max_new_tokens": "8"}
            fields |= {"sampler.lanes": "4", "sampler.width": "2"}
        if stage.evaluation is not None:
            fields |= {"evaluation.data.limit": "4", "evaluation.samples": "2", "evaluation.bootstrap_resamples": "2"}
            fields |= {"evaluation.sampling.max_new_tokens": "8"}
            fields |= {"evaluation.sampler.lanes": "4", "evaluation.sampler.width": "2"}
        overrides += [(f"stages.{stage.name}.{field}", value) for field, value in fields.items()]
    return overrides


@pytest.mark.parametrize("path", [timed(path) for path in MINIATURES], ids=stem)
def test_a_miniature_runs_from_end_to_end(path, tmp_path):
    config = load_config(str(path), shrunken(load_config(str(path))))
    pipeline.run(config, str(tmp_path), devices=jax.devices()[:1])
    figures = json.loads((tmp_path / "summary.json").read_text())["stages"]
    assert list(figures) == [stage.name for stage in config.stages]
    for stage in config.stages:
        steps = [json.loads(line)["step"] for line in (tmp_path / stage.name / "metrics.jsonl").open()]
        assert steps[-1] == 2
        if stage.evaluation is not None:
            assert figures[stage.name]["num_prompts"] == 4
