"""Runs that train adapters: what is saved, handed on, refreshed, evaluated; and runs from a folder's weights."""

import dataclasses
import json

import chex
import jax
import numpy as np
import pytest
import qwix
from tiny_runs import BASE, CHECK, ZERO, lines, run_on_one, tiny_run, with_loss

from r1jax.checkpoint import Checkpointer
from r1jax.config import ConfigError, LoraConfig, PretrainedConfig, RunConfig
from r1jax.models import adapters, lora
from r1jax.models.huggingface.exporter import export
from r1jax.models.huggingface.importer import read_model
from r1jax.stages.context import open_context
from r1jax.stages.session import Session
from r1jax.stages.weights import first_params, load_merged, load_params, load_trained
from r1jax.workdir import Workdir

pytestmark = pytest.mark.slow  # whole runs with adapters

STAGE = dataclasses.replace(with_loss(ZERO, kl_coefficient=0.1), reference_refresh_every=2, num_steps=4)


def lora_run(frozen: str = "compute") -> RunConfig:
    run = tiny_run(BASE, STAGE)
    model = dataclasses.replace(run.model, remat="dots", lora=LoraConfig(rank=2, frozen=frozen))
    return dataclasses.replace(run, model=model)


def opened(config: RunConfig, path) -> object:
    return open_context(config, Workdir(str(path)), jax.devices()[:1])


def leaf_names(tree) -> set[str]:
    return {path[-1].key for path, _ in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run with adapters, and its folder."""
    path = tmp_path_factory.mktemp("lora") / "run"
    run_on_one(lora_run(), str(path))
    return path


def test_adapters_alone_are_saved_and_the_base_stays(finished):
    with opened(lora_run(), finished) as run:
        base = load_params(None, None, run)
        after = load_params(str(finished / "zero" / "checkpoints"), None, run)
        before = load_params(str(finished / "base" / "checkpoints"), None, run)
    saved = {path.name for path in (finished / "zero" / "checkpoints" / "4" / "state").rglob("*")}
    assert not any("kernel" in name for name in saved)
    found, _ = adapters.separate(after)
    chex.assert_trees_all_equal(found, base)
    # Handed from stage to stage, and moved by both.
    a_before, a_after = (lora.trained(tree, config=lora_run().model)["layers"]["ffn"]["up"] for tree in (before, after))
    assert np.abs(a_before["lora_b"]).max() > 0
    assert np.abs(a_after["lora_b"] - a_before["lora_b"]).max() > 0


def test_the_reference_is_the_adapters_snapshot(finished):
    # Refreshed after every second step: the KL of steps 1 and 3 is that of a policy against itself.
    kl = [line["kl"] for line in lines(finished / "zero" / "metrics.jsonl")]
    assert kl[0] == pytest.approx(0, abs=1e-6)
    assert kl[2] == pytest.approx(0, abs=1e-6)
    assert kl[1] > 1e-5
    assert kl[3] > 1e-5


def test_a_run_with_adapters_resumes_bit_for_bit(finished, tmp_path, monkeypatch):
    original, calls = Session.update, []

    def stop(self, batch):
        calls.append(self.stage.name)
        if calls.count("zero") == 3:
            raise KeyboardInterrupt
        return original(self, batch)

    monkeypatch.setattr(Session, "update", stop)
    with pytest.raises(KeyboardInterrupt):
        run_on_one(lora_run(), str(tmp_path / "run"))
    monkeypatch.undo()
    run_on_one(lora_run(), str(tmp_path / "run"))
    with opened(lora_run(), finished) as run:
        whole = load_params(str(finished / "zero" / "checkpoints"), None, run)
        resumed = load_params(str(tmp_path / "run" / "zero" / "checkpoints"), None, run)
    chex.assert_trees_all_equal(resumed, whole)


@pytest.mark.parametrize("frozen", ["int8", "nf4"])
def test_a_quantised_base_is_evaluated_and_merged_as_it_was_trained(frozen, tmp_path):
    config = dataclasses.replace(lora_run(frozen), stages=(BASE,))
    run_on_one(config, str(tmp_path / "run"))
    with opened(config, tmp_path / "run") as run:
        checkpoint = str(tmp_path / "run" / "base" / "checkpoints")
        merged, both, exact = load_merged(checkpoint, None, run), load_params(checkpoint, None, run), first_params(run)
    assert leaf_names(merged) == leaf_names(exact)
    linear = both["layers"]["attention"]["query"]
    quantised = np.asarray(qwix.dequantize(linear["kernel"]))
    delta = config.model.lora.scale * np.einsum("ldr,lrnh->ldnh", linear["lora_a"], linear["lora_b"])
    np.testing.assert_allclose(merged["layers"]["attention"]["query"]["kernel"], quantised + delta, atol=1e-6)
    rounding = np.abs(quantised - exact["layers"]["attention"]["query"]["kernel"]).max()
    assert 1e-5 < rounding < 0.01


def test_adapters_begin_behind_a_stage_that_only_evaluates(tmp_path):
    run = lora_run()
    first = dataclasses.replace(CHECK, start=None)
    config = dataclasses.replace(run, stages=(first, dataclasses.replace(BASE, start="check", num_steps=1)))
    run_on_one(config, str(tmp_path))
    with opened(config, tmp_path) as context:
        trained = load_trained(str(tmp_path / "base" / "checkpoints"), None, context)
    assert leaf_names(trained) == {"lora_a", "lora_b"}


def test_with_adapters_stages_share_the_run_s_weights():
    with pytest.raises(ConfigError, match=r"stages.zero.start: .* with model.lora"):
        dataclasses.replace(lora_run(), stages=(dataclasses.replace(STAGE, start="some/folder"),))


def test_a_run_starts_from_a_folder_of_hugging_face(finished, tmp_path):
    with opened(lora_run(), finished) as run:
        merged = load_merged(str(finished / "zero" / "checkpoints"), None, run)
        plain = dataclasses.replace(run.config.model, lora=None)
        export(merged, plain, tmp_path / "weights", dtype="float32", tokenizer=run.tokenizer)
    assert read_model(tmp_path / "weights") == dataclasses.replace(plain, scan_unroll=1, remat="none")
    check = dataclasses.replace(CHECK, start=None)
    config = dataclasses.replace(
        tiny_run(check, dataclasses.replace(ZERO, start=None, num_steps=1, checkpoint_every=1, evaluation=None)),
        model=PretrainedConfig(path=str(tmp_path / "weights"), scan_unroll=2),
    )
    run_on_one(config, str(tmp_path / "run"))
    with opened(config, tmp_path / "run") as run:
        chex.assert_trees_all_equal(load_params(None, None, run), merged)
    assert "pass@1" in json.loads((tmp_path / "run" / "check" / "eval.json").read_text())
    assert Checkpointer(tmp_path / "run" / "zero" / "checkpoints", keep=1).latest() == 1

    other = dataclasses.replace(
        config, model=dataclasses.replace(plain, norm_eps=1e-5), weights=str(tmp_path / "weights")
    )
    with pytest.raises(ConfigError, match=r"model: expected that of .*config.json, found norm_eps: 1e-06 -> 1e-05"):
        run_on_one(other, str(tmp_path / "other"))
