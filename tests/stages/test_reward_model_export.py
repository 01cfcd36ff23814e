"""A reward model's stage, run and exported by the commands, gives in transformers the scores that it gives here."""

import pathlib
import subprocess
import sys

import jax
import numpy as np
import pytest
from tiny_preferences import pairs, written

from r1jax.stages.context import open_context
from r1jax.stages.scorer import open_reward_model
from r1jax.text.scored_answers import part_ids, question_ids
from r1jax.workdir import Workdir

ROOT = pathlib.Path(__file__).resolve().parents[2]


def command(name: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, f"experiments/{name}.py", *arguments], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("adapters", [False, True], ids=["whole", "adapters merged"])
def test_the_exported_reward_model_scores_the_same_in_transformers(adapters, tmp_path):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    data = written(tmp_path / "pairs.jsonl", pairs(64))
    lora = "dataclasses.replace(run.model, lora=LoraConfig(rank=2))" if adapters else "run.model"
    config = tmp_path / "config.py"
    config.write_text(
        f"""
import dataclasses, sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
from r1jax.config import DataConfig, LoraConfig
from tiny_preferences import helpful
from tiny_runs import BASE, tiny_run

def get_config():
    run = tiny_run(BASE, helpful(DataConfig(kind="jsonl", path={data.path!r}), start="base"))
    return dataclasses.replace(run, model={lora})
"""
    )
    where = (f"--config={config}", f"--workdir={tmp_path / 'run'}")
    command("run", *where)
    command("export", *where, "--stage=helpful", f"--folder={tmp_path / 'exported'}", "--dtype=float32")

    from r1jax.config.load import load_config

    record = pairs(1, seed=9)[0]
    with open_context(load_config(str(config), []), Workdir(tmp_path / "run"), jax.devices()[:1]) as run:
        model = open_reward_model("helpful", run)
        fields = ("chosen", "rejected")
        ours = model.scores([record["question"]] * 2, [record[field] for field in fields])
        rows = [
            question_ids(model.template, record["question"], run.tokenizer)
            + part_ids(record[field], "summary", run.tokenizer)
            for field in fields
        ]
    theirs, report = transformers.AutoModelForSequenceClassification.from_pretrained(
        tmp_path / "exported", dtype=torch.float32, output_loading_info=True
    )
    assert not any(report.values()), report
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "exported")
    assert theirs.config.pad_token_id == tokenizer.pad_token_id
    longest = max(map(len, rows))
    padded = torch.tensor([row + [tokenizer.pad_token_id] * (longest - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (longest - len(row)) for row in rows])
    with torch.no_grad():
        found = theirs(padded, attention_mask=mask).logits
    assert found.shape == (2, 1)
    np.testing.assert_allclose(found[:, 0].numpy(), ours, atol=1e-5)
    assert abs(ours[0] - ours[1]) > 1e-3
