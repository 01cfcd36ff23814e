"""A reward model from pairs or labels to scores: it learns, resumes to the bit, and is found again."""

import dataclasses
import json

import chex
import jax
import numpy as np
import pytest
from test_resume import Stopped, stopping, without_clock
from tiny_preferences import helpful, labelled, pairs, written
from tiny_runs import BASE, EVALUATION, ZERO, lines, run_on_one, tiny_run

from r1jax.checkpoint import Checkpointer, CheckpointError
from r1jax.config import BatchConfig, ConfigError, LoraConfig, OptimizerConfig, PretrainedConfig
from r1jax.models.huggingface.exporter import export
from r1jax.stages.context import open_context
from r1jax.stages.reward_model import HeldOut
from r1jax.stages.scorer import Scorer, open_reward_model, row_lengths
from r1jax.stages.session import Session
from r1jax.stages.weights import load_params, start_params
from r1jax.text.scored_answers import part_ids, question_ids
from r1jax.workdir import Workdir

SHORT_BASE = dataclasses.replace(BASE, num_steps=2, checkpoint_every=2)


def opened(config, path):
    return open_context(config, Workdir(str(path)), jax.devices()[:1])


def of_pairs(folder, *, count=48, **changes):
    """A run of a base and a reward model of pairs that lie in `folder`."""
    return tiny_run(SHORT_BASE, helpful(written(folder / "pairs.jsonl", pairs(count)), start="base", **changes))


def final_state(path):
    from orbax.checkpoint import v1 as ocp

    with Checkpointer(path / "checkpoints", keep=2) as checkpoints:
        step = checkpoints.latest()
    return ocp.load_checkpointables(path / "checkpoints" / str(step))["state"]


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """A run whose reward model has learned its pairs; its config, its folder."""
    folder = tmp_path_factory.mktemp("learned")
    config = of_pairs(folder, count=300, num_steps=30, batch_records=32, validate_every=10, checkpoint_every=10)
    run_on_one(config, str(folder / "run"))
    return config, folder / "run"


def test_pairs_are_told_apart_that_were_never_trained_on(learned):
    _, path = learned
    found = json.loads((path / "helpful" / "eval.json").read_text())
    assert found["held_out_records"] == 60  # a fifth of 300 questions
    assert found["held_out_accuracy"] > 0.9
    assert found["held_out_accuracy"] > found["held_out_longer_accuracy"] + 0.1
    low, high = found["held_out_accuracy_interval"]
    assert 0.8 < low <= found["held_out_accuracy"] <= high
    assert found["held_out_loss"] < 0.3
    summary = json.loads((path / "summary.json").read_text())["stages"]["helpful"]
    assert summary["held_out_accuracy"] == found["held_out_accuracy"]
    metrics = lines(path / "helpful" / "metrics.jsonl")
    assert metrics[0]["loss"] == pytest.approx(np.log(2), abs=0.05)  # a fresh head says next to nothing
    assert [line["step"] for line in metrics if "validation/accuracy" in line] == [10, 20, 30]
    assert metrics[-1]["validation/accuracy"] == found["held_out_accuracy"]
    assert {"accuracy", "margin", "score_mean", "score_std", "positive_tokens", "negative_tokens"} <= metrics[-1].keys()


def test_a_safety_model_reads_the_thinking_as_well(tmp_path):
    changes = {"name": "safety", "loss": "pointwise", "reads": "whole", "num_steps": 50, "batch_records": 32}
    changes |= {"optimizer": OptimizerConfig(learning_rate=3e-3), "checkpoint_every": 50}
    stage = helpful(written(tmp_path / "labelled.jsonl", labelled(300)), **changes)
    run_on_one(tiny_run(stage), str(tmp_path / "run"))
    found = json.loads((tmp_path / "run" / "safety" / "eval.json").read_text())
    assert found["held_out_accuracy"] > 0.9
    assert "held_out_longer_accuracy" not in found


def test_scores_of_the_stage_are_asked_for_by_its_name_and_put_the_better_answer_first(learned):
    config, path = learned
    with opened(config, path) as run:
        model = open_reward_model("helpful", run)
        new = pairs(20, seed=5)
        questions = [record["question"] for record in new]
        better, worse = (model.scores(questions, [record[field] for record in new]) for field in ("chosen", "rejected"))
        assert np.mean(np.array(better) > np.array(worse)) > 0.9
        # The summary alone is read: the thinking may be anything.
        silent = [record["chosen"].split("</think>")[1] for record in new]
        np.testing.assert_allclose(model.scores(questions, silent), better, atol=1e-5)
        # A turn that ends while it thinks has an empty summary, which has a score, too; one longer than a row has none.
        assert model.scores([questions[0]] * 2, ["<think> 4 7", " ".join(["4"] * 60)])[1] is None
        assert np.isfinite(model.scores(questions[:1], ["<think> 4 7"])[0])
        with pytest.raises(ConfigError, match=r"stages.base: expected a stage that trains a reward model, found 'Pre"):
            open_reward_model("base", run)


def test_longer_answers_than_those_trained_on_are_scored_where_asked_for(learned):
    config, path = learned
    further = dataclasses.replace(config.stage("helpful"), score_tokens=200)
    longer = dataclasses.replace(config, stages=(config.stage("base"), further))
    turns = ["check 6", " ".join(["4"] * 60), " ".join(["4"] * 300)]  # rows of training have 64
    with opened(config, path) as run:
        short, *none = open_reward_model("helpful", run).scores(["compute 4 + 2 ?"] * 3, turns)
        assert none == [None, None]
    with opened(longer, path) as run:
        model = open_reward_model("helpful", run)
        assert model.row_tokens == 200
        found = model.scores(["compute 4 + 2 ?"] * 3, turns)
        assert found[0] == pytest.approx(short, abs=1e-5)
        assert np.isfinite(found[1])
        assert found[2] is None
        assert run.config.stage("helpful").batch == config.stage("helpful").batch
    with pytest.raises(ConfigError, match=r"helpful.score_tokens: expected 1 or more, or None, found 0"):
        dataclasses.replace(further, score_tokens=0)


def test_the_score_of_an_answer_depends_neither_on_its_batch_nor_on_the_padding(learned):
    config, path = learned
    draw = np.random.default_rng(0)
    sequences = [draw.integers(2, 40, length).tolist() for length in (3, 150, 64, 65, 1, 12, 128, 40, 7)]
    with opened(config, path) as run:
        run = run.scoring()
        params = load_params(str(path / "helpful" / "checkpoints"), None, run)
        scorers = [Scorer(run.config.model, run.mesh, BatchConfig(*sizes)) for sizes in ((160, 2), (300, 1), (150, 5))]
        expected = np.array(scorers[0].scores(params, sequences))
        assert expected.std() > 1e-3
        for scorer in scorers[1:]:
            np.testing.assert_allclose(scorer.scores(params, sequences), expected, atol=1e-5)
        backwards = scorers[0].scores(params, sequences[::-1])[::-1]
        np.testing.assert_allclose(backwards, expected, atol=1e-5)
        np.testing.assert_allclose(scorers[0].scores(params, sequences[4:5])[0], expected[4], atol=1e-5)
        assert scorers[2].scores(params, [[5] * 151, [5]])[0] is None
        assert scorers[0].scores(params, []) == []


def test_matrices_are_held_in_the_compute_dtype(learned):
    config, path = learned
    questions, turns = ["compute 4 + 2 ?"] * 3, ["check 6", "6", "<think> 4 </think> 9 check"]
    with opened(config, path) as run:
        exact = np.array(open_reward_model("helpful", run).scores(questions, turns))
    half = dataclasses.replace(config, model=dataclasses.replace(config.model, compute_dtype="bfloat16"))
    with opened(half, path) as run:
        model = open_reward_model("helpful", run)
        dtypes = {name: str(jax.tree.leaves(model.params[name])[0].dtype) for name in ("embed", "score", "final_norm")}
        assert dtypes == {"embed": "bfloat16", "score": "float32", "final_norm": "float32"}
        np.testing.assert_allclose(model.scores(questions, turns), exact, atol=0.05 * np.ptp(exact))


def test_scores_on_several_devices_are_those_on_one(learned):
    config, path = learned
    draw = np.random.default_rng(1)
    sequences = [draw.integers(2, 40, length).tolist() for length in (3, 70, 12, 64, 9)]
    found = []
    for mesh, devices in (({}, 1), ({"data": 2, "fsdp": 2, "tensor": 2}, 8)):
        there = dataclasses.replace(config, mesh=dataclasses.replace(config.mesh, **mesh))
        with open_context(there, Workdir(str(path)), jax.devices()[:devices]) as run:
            run = run.scoring()
            params = load_params(str(path / "helpful" / "checkpoints"), None, run)
            found.append(Scorer(run.config.model, run.mesh, BatchConfig(80, 4)).scores(params, sequences))
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)


def test_rows_are_padded_to_lengths_that_double():
    assert row_lengths(1000) == [64, 128, 256, 512, 1000]
    assert row_lengths(40) == [40]
    assert row_lengths(64) == [64]


MOMENTS = {
    "before an update": (Session, "update", 2 + 4, False),
    "in a validation": (HeldOut, "figures", 1, False),
    "before a save": (Checkpointer, "save", 3, False),
    "after a save": (Checkpointer, "save", 2, True),
    "before the accuracy is written": (HeldOut, "evaluation", 1, False),
}


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted")
    config = of_pairs(folder, validate_every=3, keep_best=True)
    run_on_one(config, str(folder / "run"))
    return config, folder / "run"


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_stage_that_was_stopped_resumes_to_the_same_bits(moment, uninterrupted, tmp_path, monkeypatch):
    config, whole = uninterrupted
    owner, name, call, after = MOMENTS[moment]
    with monkeypatch.context() as patch:
        stopping(patch, owner, name, call=call, after=after)
        with pytest.raises(Stopped):
            run_on_one(config, str(tmp_path))
    run_on_one(config, str(tmp_path))
    chex.assert_trees_all_equal(final_state(tmp_path / "helpful"), final_state(whole / "helpful"))
    assert without_clock(tmp_path / "helpful" / "metrics.jsonl") == without_clock(whole / "helpful" / "metrics.jsonl")
    written_down = [(path / "helpful" / "eval.json").read_text() for path in (tmp_path, whole)]
    assert written_down[0] == written_down[1]


@pytest.mark.parametrize("tied", [False, True], ids=["own head", "tied head"])
def test_it_starts_from_the_policy_with_a_head_of_its_own(tied, tmp_path):
    config = of_pairs(tmp_path)
    config = dataclasses.replace(config, model=dataclasses.replace(config.model, tie_embeddings=tied))
    run_on_one(config, str(tmp_path / "run"), stages=["base"])
    folder = str(tmp_path / "run" / "base" / "checkpoints")
    with opened(config, tmp_path / "run") as run:
        policy = load_params(folder, None, run)
        start = start_params(config.stage("helpful"), run.scoring())
        with pytest.raises(CheckpointError, match="score"):
            load_params(folder, None, run.scoring())  # a policy's checkpoint is no reward model
    assert ("head" in policy) is not tied
    score = start.pop("score")["kernel"]
    assert score.shape == (config.model.hidden_size, 1)
    assert 0 < np.abs(score).max() < 0.1
    chex.assert_trees_all_equal(start, {name: below for name, below in policy.items() if name != "head"})


def test_a_run_of_reward_models_alone_starts_from_folders_and_goes_on_from_them(learned, tmp_path):
    config, path = learned
    with opened(config, path) as run:
        policy = load_params(str(path / "base" / "checkpoints"), None, run)
        export(policy, run.config.model, tmp_path / "policy", dtype="float32", tokenizer=run.tokenizer)
    stage = dataclasses.replace(config.stage("helpful"), start=None, num_steps=2, validate_every=None)
    again = dataclasses.replace(stage, name="again", start=str(path / "helpful" / "checkpoints"))
    onward = dataclasses.replace(stage, name="onward", start="again")
    alone = dataclasses.replace(
        config, stages=(stage, again, onward), model=PretrainedConfig(path=str(tmp_path / "policy"), head="score")
    )
    run_on_one(alone, str(tmp_path / "run"))
    with opened(alone, tmp_path / "run") as run:
        start, gone_on = (start_params(one, run) for one in (stage, again))
        np.testing.assert_array_equal(start["embed"]["embedding"], policy["embed"]["embedding"])
        before = load_params(str(path / "helpful" / "checkpoints"), None, run)
        chex.assert_trees_all_equal(gone_on, before)
        found = open_reward_model("onward", run).scores(["compute 4 + 2 ?"], ["check 6"])
        assert np.isfinite(found[0])
    with pytest.raises(ConfigError, match=r"model.head: expected tokens \(stages other than those of reward models"):
        opened(dataclasses.replace(alone, stages=(SHORT_BASE,)), tmp_path / "other")


@pytest.mark.slow
def test_with_adapters_the_base_is_shared_and_adapters_and_head_are_saved(tmp_path, monkeypatch):
    config = of_pairs(tmp_path)
    model = dataclasses.replace(config.model, remat="dots", lora=LoraConfig(rank=2))
    config = dataclasses.replace(config, model=model)
    run_on_one(config, str(tmp_path / "whole"))
    with monkeypatch.context() as patch:
        stopping(patch, Session, "update", call=2 + 4, after=False)
        with pytest.raises(Stopped):
            run_on_one(config, str(tmp_path / "run"))
    run_on_one(config, str(tmp_path / "run"))
    saved = final_state(tmp_path / "run" / "helpful")
    chex.assert_trees_all_equal(saved, final_state(tmp_path / "whole" / "helpful"))
    assert set(saved["params"]) == {"layers", "score"}
    with opened(config, tmp_path / "run") as run:
        found = open_reward_model("helpful", run).scores(["compute 4 + 2 ?"] * 2, ["check 6", "6"])
        before = load_params(str(tmp_path / "run" / "base" / "checkpoints"), None, run)
        start = start_params(config.stage("helpful"), run.scoring())
    assert found[0] != found[1]
    chex.assert_trees_all_equal(start["layers"], before["layers"])  # the policy's adapters are gone on from


def test_the_best_validated_checkpoint_is_the_result_where_asked_for(uninterrupted):
    _, path = uninterrupted
    accuracies = {
        line["step"]: line["validation/accuracy"]
        for line in lines(path / "helpful" / "metrics.jsonl")
        if "validation/accuracy" in line
    }
    assert list(accuracies) == [3, 6]
    found = json.loads((path / "helpful" / "eval.json").read_text())
    assert found["step"] == max(accuracies, key=lambda step: accuracies[step])
    assert found["held_out_accuracy"] == max(accuracies.values())


def test_no_stage_writes_with_a_reward_model(tmp_path):
    data = written(tmp_path / "pairs.jsonl", pairs(4))
    with pytest.raises(
        ConfigError, match=r"stages.zero.start: expected an earlier stage that leaves a policy \(none\) .* found 'help"
    ):
        tiny_run(helpful(data), dataclasses.replace(ZERO, start="helpful"))
    with pytest.raises(ConfigError, match=r"helpful.evaluation: expected None \(a reward model writes no text\)"):
        helpful(data, evaluation=EVALUATION)
    with pytest.raises(ConfigError, match=r"helpful.validation: expected None \(held_out is"):
        helpful(data, validation=EVALUATION, validate_every=2)
    with pytest.raises(ConfigError, match=r"helpful.keep_best: expected validate_every to be set too"):
        helpful(data, keep_best=True)


def test_what_is_read_is_the_same_in_training_and_scoring(learned):
    """The question without the forced prefix, then the part of the turn, then the end of the text."""
    config, path = learned
    with opened(config, path) as run:
        template = dataclasses.replace(config.stage("helpful").template, forced_prefix="<think>")
        encode, eos = run.tokenizer.encode, run.tokenizer.eos_id
        assert question_ids(template, "compute 4 ?", run.tokenizer) == encode("compute 4 ?")
        assert part_ids("<think> 4 </think> so 7", "summary", run.tokenizer) == [*encode("so 7"), eos]
        assert part_ids("<think> 4 </think> 7 <eos>", "whole", run.tokenizer) == [*encode("<think> 4 </think> 7"), eos]
        assert part_ids("<think> 4", "summary", run.tokenizer) == [eos]
