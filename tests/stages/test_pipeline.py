"""The stage graph: what is done is skipped, what is not is resumed, what was made by another config is refused."""

import dataclasses
import json
import shutil
import types

import jax
import numpy as np
import pytest
from tiny_runs import BASE, CHECK, ZERO, lines, run_on_one, tiny_run

from r1jax import pipeline
from r1jax.checkpoint import Checkpointer
from r1jax.config import GrpoConfig
from r1jax.errors import UserError
from r1jax.stages.weights import load_params, start_checkpoint
from r1jax.workdir import Workdir, WorkdirError


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A workdir in which all stages are done."""
    path = tmp_path_factory.mktemp("run")
    run_on_one(tiny_run(BASE, ZERO, CHECK), str(path))
    return path


def test_a_run_leaves_the_files_that_the_docs_name(finished):
    for name in ("config.json", "manifest.json", "summary.json", "report.html"):
        assert (finished / name).is_file(), name
    for name in ("metrics.jsonl", "samples.jsonl", "eval.json", "checkpoints/6", "curves.png"):
        assert (finished / "zero" / name).exists(), name


def test_metrics_have_one_line_a_step(finished):
    assert [line["step"] for line in lines(finished / "base" / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
    zero = lines(finished / "zero" / "metrics.jsonl")
    assert [line["step"] for line in zero] == [1, 2, 3, 4, 5, 6]
    assert all(line["reward"] > 0 and line["tokens_per_second"] > 0 for line in zero)


def test_sampler_and_trainer_agree_on_the_log_probs_of_a_rollout(finished):
    # On-policy: the trainer's log-probs of the first update are those that the sampler recorded.
    assert all(line["mismatch_max"] < 1e-4 for line in lines(finished / "zero" / "metrics.jsonl"))


def test_the_journal_keeps_no_rollout_that_a_checkpoint_has_made_useless(finished):
    kept = sorted(int(path.stem) for path in (finished / "zero" / "journal").glob("*.npz"))
    assert kept == [4, 5]  # checkpoints every 2 of 6 steps: that of step 4 was whole when the last one was saved


def test_the_summary_names_scores_and_protocol(finished):
    stages = json.loads((finished / "summary.json").read_text())["stages"]
    assert list(stages) == ["base", "zero", "check"]
    assert stages["base"].keys() == {"seconds"}  # it has no evaluation
    wanted = {"pass@1", "pass@4", "cons@4", "mean_length_tokens", "language_consistency", "seconds"}
    protocol = {"temperature", "top_p", "k", "num_prompts", "max_tokens"}
    assert wanted | protocol <= stages["zero"].keys()


def test_an_evaluation_stage_scores_the_stage_it_starts_from(finished):
    outputs = Workdir(finished).outputs("check")
    assert outputs == {"checkpoint": str(finished / "base" / "checkpoints"), "step": 6}


def test_running_again_does_nothing(finished, capsys):
    before = {path: path.stat().st_mtime_ns for path in finished.glob("*/metrics.jsonl")}
    run_on_one(tiny_run(BASE, ZERO, CHECK), str(finished))
    assert {path: path.stat().st_mtime_ns for path in finished.glob("*/metrics.jsonl")} == before
    assert "all is done" in capsys.readouterr().err


def test_a_page_that_a_kill_has_left_out_is_written_by_the_next_run(finished, monkeypatch):
    (finished / "report.html").unlink()
    run_on_one(tiny_run(BASE, ZERO, CHECK), str(finished))
    assert "zero" in (finished / "report.html").read_text()
    monkeypatch.setattr(pipeline.page, "write", lambda path: pytest.fail("the page is of this run already"))
    run_on_one(tiny_run(BASE, ZERO, CHECK), str(finished))


def test_a_finished_stage_with_another_config_is_refused(finished):
    changed = dataclasses.replace(ZERO, group_size=8)
    with pytest.raises(WorkdirError, match=r"stage zero .*group_size: 4 -> 8"):
        run_on_one(tiny_run(BASE, changed, CHECK), str(finished))


def test_a_workdir_of_another_run_is_refused(finished):
    other = dataclasses.replace(tiny_run(BASE), name="other")
    with pytest.raises(WorkdirError, match=r"made by the config 'tiny', not by 'other'"):
        run_on_one(other, str(finished))


def test_a_stage_whose_start_is_not_done_is_refused(tmp_path):
    with pytest.raises(WorkdirError, match="starts from base, which is not done"):
        run_on_one(tiny_run(BASE, ZERO), str(tmp_path), stages=["zero"])


def test_a_failing_stage_is_named_and_leaves_the_finished_ones_usable(tmp_path, monkeypatch):
    def fails(stage, run):
        raise ValueError(f"{stage.name} cannot go on")

    monkeypatch.setitem(pipeline.TRAINING, GrpoConfig, fails)
    with pytest.raises(ValueError, match="zero cannot go on"):
        run_on_one(tiny_run(BASE, ZERO), str(tmp_path))
    workdir = Workdir(tmp_path)
    assert workdir.status("base") == "done"
    assert workdir.status("zero") == "failed"
    assert workdir.entry("zero")["error"] == "ValueError: zero cannot go on"


def test_a_base_that_would_be_trained_again_behind_a_stage_made_of_it_is_refused_before_it_is(finished, tmp_path):
    path = shutil.copytree(finished, tmp_path / "run")
    shutil.rmtree(path / "base")
    with pytest.raises(WorkdirError, match=r"stage zero of .* was made of base, which would be run again"):
        run_on_one(tiny_run(BASE, ZERO, CHECK), str(path))
    assert not (path / "base").exists()
    run_on_one(tiny_run(BASE, ZERO, CHECK), str(path), stages=["zero", "check"])  # both are done


def test_a_stage_may_start_from_one_that_only_evaluates(finished):
    # ... and takes what that one took.
    run = types.SimpleNamespace(whole=tiny_run(BASE, ZERO, CHECK), workdir=Workdir(finished))
    assert start_checkpoint("check", run) == start_checkpoint("base", run)
    assert start_checkpoint("base", run) == (str(finished / "base" / "checkpoints"), 6)


def test_several_processes_are_refused_before_anything_is_written(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "process_count", lambda: 4)
    with pytest.raises(UserError, match="expected one process, found 4: .* one process for each run"):
        run_on_one(tiny_run(BASE), str(tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_checkpoint_folder_can_be_a_start(finished, tmp_path, capsys):
    check = dataclasses.replace(CHECK, start=str(finished / "zero" / "checkpoints"))
    run_on_one(tiny_run(check), str(tmp_path))
    assert "evaluation: completion 16/16" in capsys.readouterr().err  # 4 questions x 4 samples, all of them seen
    figures = [json.loads((path / "eval.json").read_text()) for path in (tmp_path / "check", finished / "zero")]
    assert figures[0]["pass@1"] == figures[1]["pass@1"]
    assert figures[0]["mean_length_tokens"] == figures[1]["mean_length_tokens"]


def test_the_learnt_parameters_differ_from_the_start(finished):
    with Checkpointer(finished / "zero" / "checkpoints", keep=2) as checkpoints:
        assert checkpoints.latest() == 6
    before, after = (saved_params(finished, stage) for stage in ("base", "zero"))
    assert all(np.abs(a - b).max() > 1e-4 for a, b in zip(before, after, strict=True))


def saved_params(path, stage: str) -> list[np.ndarray]:
    """The final parameters of a stage, leaf by leaf."""
    with pipeline.open_context(tiny_run(BASE, ZERO, CHECK), Workdir(path)) as context:
        params = load_params(str(path / stage / "checkpoints"), None, context)
    return [np.asarray(leaf) for leaf in jax.tree.leaves(params)]
