"""A workdir is read as it is, finished or not, and a broken one is named."""

import json

import pytest

from r1jax.report.readings import ReportError, largest_k, read, read_lines


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def test_stages_come_in_the_order_of_the_manifest(tmp_path):
    write(tmp_path / "manifest.json", json.dumps({"stages": {"zero": {}, "base": {}}}))
    for name in ("base", "zero", "extra"):
        write(tmp_path / name / "metrics.jsonl", '{"step": 1, "loss": 2.0}\n')
    assert [stage.name for stage in read(tmp_path).stages] == ["zero", "base", "extra"]


def test_a_series_leaves_out_what_is_not_finite_or_not_there(tmp_path):
    texts = ['{"step": 1, "kl": 0.5}', '{"step": 2, "kl": null}', '{"step": 3}', '{"step": 4, "kl": 1}']
    write(tmp_path / "zero" / "metrics.jsonl", "\n".join(texts) + "\n")
    assert read(tmp_path).stages[0].series("kl") == ([1, 4], [0.5, 1.0])


def test_a_last_line_that_is_being_written_is_left_out(tmp_path):
    path = write(tmp_path / "metrics.jsonl", '{"step": 1, "loss": 2.0}\n{"step": 2, "lo')
    assert [line["step"] for line in read_lines(path)] == [1]


def test_a_broken_line_is_named_by_its_number(tmp_path):
    path = write(tmp_path / "metrics.jsonl", '{"step": 1}\nnonsense\n{"step": 3}\n')
    with pytest.raises(ReportError, match=r"metrics.jsonl:2: expected a JSON object, found 'nonsense'"):
        read_lines(path)


def test_a_line_without_a_step_is_named_by_its_number(tmp_path):
    path = write(tmp_path / "metrics.jsonl", '{"step": 1}\n{"loss": 1.0}\n')
    with pytest.raises(ReportError, match=r"metrics.jsonl:2: expected a JSON object with a step"):
        read_lines(path)


def test_a_folder_that_is_not_there_is_one_clear_line(tmp_path):
    with pytest.raises(ReportError, match="found no folder"):
        read(tmp_path / "nowhere")


def test_a_folder_without_stages_is_one_clear_line(tmp_path):
    with pytest.raises(ReportError, match="expected stages"):
        read(tmp_path)


def test_the_largest_k_is_that_of_the_score_asked_for():
    figures = [{"pass@1": 0.1, "pass@16": 0.5, "cons@16": 0.2, "pass@64_interval": [0, 1]}, {"cons@4": 0.3}]
    assert largest_k(figures, "pass") == 16
    assert largest_k(figures, "cons") == 16
    assert largest_k([{"loss": 1.0}], "pass") is None


def test_a_reward_model_leaves_no_records_though_it_counts_those_it_read(tmp_path):
    write(tmp_path / "manifest.json", json.dumps({"stages": {"data": {"outputs": {"records": 7}}, "helpful": {}}}))
    figures = {"helpful": {"records": 40, "held_out_accuracy": 0.9}}
    write(tmp_path / "summary.json", json.dumps({"stages": figures}))
    assert [stage.records for stage in read(tmp_path).stages] == [7, None]
