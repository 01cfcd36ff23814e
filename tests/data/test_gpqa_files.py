"""Benchmarks as their authors publish them: GPQA's CSV and Parquet, MGSM's TSV without names, columns of messages."""

import csv
import json

import pyarrow
import pytest
from pyarrow import parquet

from r1jax.config import ConfigError, DataConfig
from r1jax.data.records import DataError
from r1jax.data.sources import load

ROWS = [
    {
        "Record ID": f"rec{number}",
        "Question": f'Line one, of {number}\nline "two"',
        "Correct Answer": f"{number}",
        "Incorrect Answer 1": "a, b",
        "Incorrect Answer 2": 'a "b"',
        "Incorrect Answer 3": "c\nd",
    }
    for number in range(5)
]
GPQA = {"choices_from": "gpqa", "columns": (("id", "Record ID"),), "rewards": "choice"}


@pytest.fixture
def gpqa(tmp_path):
    path = tmp_path / "gpqa_diamond.csv"
    with path.open("w", newline="", encoding="utf-8-sig") as file:  # spreadsheets put a mark first
        writer = csv.DictWriter(file, list(ROWS[0]))
        writer.writeheader()
        writer.writerows(ROWS)
    return str(path)


def test_gpqa_is_read_from_csv(gpqa):
    records = load(DataConfig("csv", path=gpqa, **GPQA))
    assert [record["id"] for record in records] == [f"rec{number}" for number in range(5)]
    for number, record in enumerate(records):
        assert record["question"].startswith(f'Line one, of {number}\nline "two"\n\nA) ')
        assert record["choices"]["ABCD".index(record["answer"])] == str(number)
        assert {"a, b", 'a "b"', "c\nd"} < set(record["choices"])


def test_parquet_and_csv_give_the_same_choices_in_the_same_order(gpqa, tmp_path):
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "gpqa.parquet")
    fields = ("id", "question", "choices", "answer")
    two = [
        [tuple(map(str, (record[field] for field in fields))) for record in load(DataConfig(kind, path=path, **GPQA))]
        for kind, path in (("csv", gpqa), ("parquet", str(tmp_path / "gpqa.parquet")))
    ]
    assert two[0] == two[1]


def test_the_seed_of_the_data_shuffles_anew(gpqa):
    orders = {tuple(load(DataConfig("csv", path=gpqa, seed=seed, **GPQA))[0]["choices"]) for seed in range(20)}
    assert len(orders) > 3


def test_a_part_of_the_set_is_shuffled_as_the_whole(gpqa):
    whole = load(DataConfig("csv", path=gpqa, **GPQA))
    assert load(DataConfig("csv", path=gpqa, skip=3, **GPQA)) == whole[3:]


def test_a_tsv_without_names_has_numbers_for_columns(tmp_path):
    path = tmp_path / "mgsm_de.tsv"
    path.write_text('Ist "1,5" mehr als 1?\t18\nWie viele\tx\n', encoding="utf-8")
    config = DataConfig("csv", path=str(path), columns=(("question", "0"), ("answer", "1")))
    assert [(one["id"], one["question"], one["answer"]) for one in load(config)] == [
        ("mgsm_de:0", 'Ist "1,5" mehr als 1?', "18"),
        ("mgsm_de:1", "Wie viele", "x"),
    ]


def test_a_glob_reads_all_languages_with_ids_of_their_own(tmp_path):
    for language in ("de", "fr"):
        (tmp_path / f"mgsm_{language}.tsv").write_text(f"{language}?\t1\n")
    config = DataConfig("csv", path=str(tmp_path / "mgsm_*.tsv"), columns=(("question", "0"), ("answer", "1")))
    assert [one["id"] for one in load(config)] == ["mgsm_de:0", "mgsm_fr:0"]


def test_a_row_with_too_few_cells_is_named_by_its_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("question,answer\none,1\ntwo\n")
    with pytest.raises(DataError, match=r"a.csv:3: expected 2 cells \(question, answer\), found 1"):
        load(DataConfig("csv", path=str(path)))


def test_a_broken_quote_is_named_by_its_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('question,answer\n"one,1\n')
    with pytest.raises(DataError, match=r"a.csv:2: not readable as CSV"):
        load(DataConfig("csv", path=str(path)))


def test_bytes_that_are_no_utf_8_are_a_line_too(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"question,answer\n\xff\xfe,1\n")
    with pytest.raises(DataError, match=r"not readable as CSV in UTF-8"):
        load(DataConfig("csv", path=str(path)))


def write(path, *rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_a_column_may_be_a_place_inside_of_one(tmp_path):
    row = {"messages": [{"role": "user", "content": "1 + 1?"}], "reward_model": {"ground_truth": 2}}
    config = DataConfig(
        "jsonl",
        path=write(tmp_path / "a.jsonl", row),
        columns=(("question", "messages.0.content"), ("answer", "reward_model.ground_truth")),
    )
    (record,) = load(config)
    assert (record["question"], record["answer"]) == ("1 + 1?", "2")


def test_a_column_whose_name_has_a_dot_is_itself(tmp_path):
    path = write(tmp_path / "a.jsonl", {"a.b": "whole", "a": {"b": "part"}})
    assert load(DataConfig("jsonl", path=path, columns=(("question", "a.b"),)))[0]["question"] == "whole"


@pytest.mark.parametrize("column", ["messages.1.content", "messages.0.text", "messages.0.content.x", "messages.x"])
def test_a_place_that_is_not_there_is_named(tmp_path, column):
    path = write(tmp_path / "a.jsonl", {"messages": [{"role": "user", "content": "?"}]})
    with pytest.raises(DataError, match=rf"a.jsonl:1: expected the column '{column}' \(for question\), found messages"):
        load(DataConfig("jsonl", path=path, columns=(("question", column),)))


def test_a_csv_needs_a_path_and_a_stage_leaves_no_choices():
    with pytest.raises(ConfigError, match="data.path"):
        DataConfig("csv")
    with pytest.raises(ConfigError, match="data.choices_from"):
        DataConfig("stage", name="zero", choices_from="gpqa")
