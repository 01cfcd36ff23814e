"""A suite on a checkpoint: what is finished stays, what is asked again in another way is made again."""

import dataclasses
import io
import json
import pathlib
import shutil

import pytest
from rich.console import Console
from tiny_suites import LOOK, RUN, STAGE, SUITE, results_of, sums, trained

from r1jax.config import ConfigError, DataConfig, RewardConfig, RewardModelConfig, RewardSetConfig
from r1jax.data.records import DataError
from r1jax.errors import UserError
from r1jax.sampler.engine import Sampler
from r1jax.suites import running, table
from r1jax.workdir.files import WorkdirError


@pytest.fixture(scope="module")
def first_run(tmp_path_factory):
    """A workdir, and the results of the suite on its last checkpoint."""
    workdir = trained(tmp_path_factory.mktemp("suite") / "run")
    return workdir, results_of(SUITE, workdir)


@pytest.fixture
def workdir(first_run, tmp_path):
    """A copy of that workdir, its results among its files."""
    return str(shutil.copytree(first_run[0], tmp_path / "run"))


@pytest.fixture
def made(monkeypatch):
    """The benchmarks that are sampled, by the purpose of their draws."""
    purposes = []
    evaluate = running.evaluate
    monkeypatch.setattr(
        running, "evaluate", lambda *args, **kw: purposes.append(kw["purpose"]) or evaluate(*args, **kw)
    )
    return purposes


def file_of(workdir: str, name: str = "benchmarks-2.json") -> pathlib.Path:
    return pathlib.Path(workdir, "base", name)


def test_the_figures_lie_beside_the_checkpoint_with_what_is_published(first_run):
    workdir, results = first_run
    assert json.loads(file_of(workdir).read_text()) == results
    assert list(results) == ["first", "second"]
    for one in results.values():
        assert 0 <= one["pass@1"] <= 1
        assert {"cons@2", "pass@1_interval", "mean_length_tokens"} < set(one)
        assert (one["k"], one["num_prompts"], one["step"], one["stage"], one["suite"]) == (2, 4, 2, "base", "tiny")
        assert one["published"] == {"a model of others": 0.5}


def test_a_sample_of_each_question_is_kept_for_people(first_run):
    lines = [json.loads(line) for line in file_of(first_run[0], "benchmarks-2-first.jsonl").open()]
    assert len({line["prompt"] for line in lines}) == len(lines) == 4
    assert {"question", "gold", "completion", "answer", "status"} < set(lines[0])


def test_what_is_done_by_the_same_protocol_is_not_made_again(first_run, workdir, made):
    assert results_of(SUITE, workdir) == first_run[1]
    assert made == []


def test_again_makes_all_anew_and_finds_the_same(first_run, workdir, made):
    assert results_of(SUITE, workdir, again=True) == first_run[1]
    assert made == ["tiny/first", "tiny/second"]


def test_another_protocol_makes_that_benchmark_anew_and_says_why(workdir, made, capsys):
    suite = dataclasses.replace(SUITE, benchmarks=(SUITE.benchmarks[0], sums("second", skip=4, samples=3)))
    assert results_of(suite, workdir)["second"]["k"] == 3
    assert made == ["tiny/second"]
    assert "second: " in (said := capsys.readouterr().err)
    assert "another protocol (samples: 2 -> 3)" in said


def test_a_sampler_of_another_shape_is_no_other_protocol(workdir, made):
    shape = dataclasses.replace(SUITE.benchmarks[0].evaluation.sampler, chunk_steps=4)
    suite = dataclasses.replace(SUITE, benchmarks=(sums("first", sampler=shape), SUITE.benchmarks[1]))
    results_of(suite, workdir)
    assert made == []


def test_another_checkpoint_has_a_file_of_its_own(workdir, made):
    assert results_of(SUITE, workdir, step=1)["first"]["step"] == 1
    assert made == ["tiny/first", "tiny/second"]
    assert file_of(workdir, "benchmarks-1.json").exists()


def test_other_weights_under_the_same_step_are_evaluated_again(first_run, workdir, made):
    figures = json.loads(file_of(workdir).read_text())
    figures["first"]["protocol"]["weights"] = "another mark"
    file_of(workdir).write_text(json.dumps(figures))
    assert results_of(SUITE, workdir) == first_run[1]
    assert made == ["tiny/first"]


def test_a_checkpoint_may_be_named_by_its_folder(first_run, workdir, made):
    folder = f"{workdir}/base/checkpoints/2"
    assert results_of(SUITE, workdir, checkpoint=folder) == first_run[1]
    assert made == []  # it is the one that was evaluated


def test_an_end_in_the_middle_loses_one_benchmark(workdir, monkeypatch, made):
    file_of(workdir).unlink()
    evaluate = running.evaluate

    def ends(*args, purpose, **kwargs):
        if purpose == "tiny/second":
            raise KeyboardInterrupt
        return evaluate(*args, purpose=purpose, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(running, "evaluate", ends)
        with pytest.raises(KeyboardInterrupt):
            results_of(SUITE, workdir)
    assert list(json.loads(file_of(workdir).read_text())) == ["first"]
    assert list(results_of(SUITE, workdir)) == ["first", "second"]
    assert made == ["tiny/first", "tiny/second"]


def test_edited_data_is_asked_again(workdir, tmp_path, made):
    path = tmp_path / "sums.jsonl"
    path.write_text('{"question": "compute 4 + 2 ?", "answer": "6"}\n')
    data = DataConfig(kind="jsonl", path=str(path), rewards="maths")
    suite = dataclasses.replace(SUITE, benchmarks=(sums("own", data=data),))
    results_of(suite, workdir)
    results_of(suite, workdir)
    moved = dataclasses.replace(data, path=str(shutil.copy(path, tmp_path / "run" / "sums.jsonl")))
    results_of(dataclasses.replace(SUITE, benchmarks=(sums("own", data=moved),)), workdir)
    assert made == ["tiny/own"]
    path.write_text('{"question": "compute 4 + 3 ?", "answer": "7"}\n')
    results_of(suite, workdir)
    assert made == ["tiny/own"] * 2


def test_what_is_wrong_with_the_last_benchmark_is_said_before_the_first_is_sampled(workdir, monkeypatch, tmp_path):
    def sampled(*args, **kwargs):
        raise AssertionError("something was sampled")

    monkeypatch.setattr(Sampler, "generate", sampled)
    file_of(workdir).unlink()
    path = tmp_path / "long.jsonl"
    path.write_text(json.dumps({"id": "long", "question": "4 " * 40, "answer": "6"}) + "\n")
    for changes, words in (
        ({"data": DataConfig(kind="jsonl", path=str(path), rewards="maths")}, "record long: expected a prompt"),
        ({"data": DataConfig(kind="jsonl", path=f"{path}.gz", rewards="maths")}, "does not exist"),
    ):
        suite = dataclasses.replace(SUITE, benchmarks=(SUITE.benchmarks[0], sums("long", **changes)))
        with pytest.raises(DataError, match=words):
            results_of(suite, workdir)


def test_rewards_that_cannot_run_are_said_before_anything_is_sampled(workdir, monkeypatch):
    def sampled(*args, **kwargs):
        raise AssertionError("something was sampled")

    monkeypatch.setattr(Sampler, "generate", sampled)
    judged = dataclasses.replace(SUITE.benchmarks[0].evaluation.data, rewards="judge")
    suite = dataclasses.replace(
        SUITE,
        sets=(RewardSetConfig("judge", (RewardConfig("judge"),)),),
        benchmarks=(sums("judged", data=judged),),
    )
    with pytest.raises(UserError, match="rewards.judge.url"):
        results_of(suite, workdir)


def test_the_first_weights_are_evaluated_in_the_folder_of_the_stage_that_looks_at_them(workdir):
    results = results_of(SUITE.only(["first"]), workdir, stage=LOOK)
    assert results["first"]["step"] == 0
    assert json.loads(pathlib.Path(workdir, "look", "benchmarks-0.json").read_text()) == results


def test_a_stage_that_leaves_no_policy_is_refused(workdir):
    shared = {"template": STAGE.template, "data": STAGE.data, "optimizer": STAGE.optimizer, "batch": STAGE.batch}
    scorer = RewardModelConfig(name="scorer", num_steps=1, **shared)
    with pytest.raises(ConfigError, match="stages.scorer: expected a stage that leaves a policy"):
        results_of(SUITE, workdir, stage=scorer, config=dataclasses.replace(RUN, stages=(STAGE, scorer)))


def test_a_file_that_is_something_else_is_not_written_over(workdir):
    file_of(workdir).write_text("[1, 2]")
    with pytest.raises(WorkdirError, match="expected an object of benchmarks"):
        results_of(SUITE, workdir)
    assert file_of(workdir).read_text() == "[1, 2]"


def printed(results, width: int) -> str:
    console = Console(file=io.StringIO(), width=width)
    table.render(results, "base 2", console)
    return console.file.getvalue()


def test_the_table_has_ours_theirs_and_the_protocol(first_run):
    results = json.loads(json.dumps(first_run[1]))
    results["first"] |= {"pass@1": 0.375, "pass@1_interval": [0.2, 0.5], "truncation_rate": 0.25}
    del results["second"]["cons@2"]  # programs do not vote
    text = printed(results, 100)
    assert "37.5 %" in text
    assert "20.0-50.0" in text
    row = next(line for line in text.splitlines() if line.startswith("a model of others"))
    assert row.split()[-4:] == ["50.0", "%", "50.0", "%"]
    majority = next(line for line in text.splitlines() if "cons@k" in line)
    assert majority.rstrip().endswith("-")
    assert "first: 4 questions x k=2, temperature 0.6, top-p 0.95, at most 8 tokens, template plain, 25.0 % cut" in text


def test_a_narrow_terminal_gets_several_tables(first_run):
    results = {f"bench{number}": figures for number in range(4) for figures in first_run[1].values()}
    text = printed(results, 60)
    assert max(map(len, (line for line in text.splitlines() if "pass@1" in line))) <= 60
    assert sum("pass@1" in line for line in text.splitlines()) == 2
