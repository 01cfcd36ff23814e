"""Records from files and tasks, and one clear line for what is wrong with them."""

import datetime
import gzip
import json

import pyarrow
import pytest
from pyarrow import parquet

from r1jax.config import DataConfig
from r1jax.data.records import DataError
from r1jax.data.sources import load
from r1jax.data.tasks import TASKS

ROWS = [
    {"question": "1 + 1?", "answer": "Two.\n#### 2", "level": 1},
    {"question": "600 + 600?", "answer": "Many.\n#### 1,200", "level": 2},
    {"question": "三加四?", "answer": "#### 7", "level": 3},
]


def write_jsonl(path, rows):
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return str(path)


def test_jsonl_records_have_ids_rewards_and_their_own_columns(tmp_path):
    records = load(DataConfig("jsonl", path=write_jsonl(tmp_path / "sums.jsonl", ROWS), rewards="maths_only"))
    assert records == [{**row, "id": f"sums:{index}", "rewards": "maths_only"} for index, row in enumerate(ROWS)]


def test_ids_and_rewards_of_the_data_win(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"id": 17, "rewards": "code", "question": "?"}])
    assert load(DataConfig("jsonl", path=path)) == [{"id": "17", "rewards": "code", "question": "?"}]


def test_columns_are_renamed_and_the_gold_is_cut_out_of_the_answer(tmp_path):
    rows = [{"Problem": row["question"], "Solution": row["answer"]} for row in ROWS]
    config = DataConfig(
        "jsonl",
        path=write_jsonl(tmp_path / "a.jsonl", rows),
        columns=(("question", "Problem"), ("answer", "Solution"), ("response", "Solution")),
        answer_pattern=r"#### (.+)$",
    )
    record = load(config)[1]
    assert record["question"] == "600 + 600?"
    assert record["answer"] == "1,200"
    assert record["response"] == "Many.\n#### 1,200"


def test_skip_and_limit_count_over_all_files_of_a_folder_or_glob(tmp_path):
    write_jsonl(tmp_path / "b.jsonl", [{"question": "b0"}, {"question": "b1"}])
    write_jsonl(tmp_path / "a.jsonl", [{"question": "a0"}, {"question": "a1"}])
    (tmp_path / "notes.txt").write_text("not data")
    with gzip.open(tmp_path / "c.jsonl.gz", "wt") as file:
        file.write('{"question": "c0"}\n\n{"question": "c1"}\n')

    def questions(path, **settings):
        records = load(DataConfig("jsonl", path=str(path), **settings))
        return [record["question"] for record in records], [record["id"] for record in records]

    assert questions(tmp_path)[0] == ["a0", "a1", "b0", "b1", "c0", "c1"]
    assert questions(tmp_path, skip=1, limit=4) == (["a1", "b0", "b1", "c0"], ["a:1", "b:0", "b:1", "c:0"])
    assert questions(tmp_path / "[bc].*")[0] == ["b0", "b1", "c0", "c1"]
    with pytest.raises(DataError, match=r"no records after the first 6 \(data.skip\)"):
        questions(tmp_path, skip=6)


def test_numbers_in_text_fields_become_text(tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", [{"question": "?", "answer": 204, "level": 5}])
    assert load(DataConfig("jsonl", path=path))[0] == {
        "id": "a:0",
        "question": "?",
        "answer": "204",
        "level": 5,
        "rewards": "default",
    }


def test_parquet_records_are_those_of_jsonl(tmp_path):
    day = datetime.date(2024, 2, 1)
    table = pyarrow.Table.from_pylist([{**row, "day": day, "tags": ["x", "y"]} for row in ROWS])
    parquet.write_table(table, tmp_path / "sums.parquet")
    records = load(DataConfig("parquet", path=str(tmp_path), skip=1, answer_pattern=r"#### (.+)$"))
    assert records[0] == {
        "id": "sums:1",
        "question": "600 + 600?",
        "answer": "1,200",
        "level": 2,
        "day": "2024-02-01",
        "tags": ["x", "y"],
        "rewards": "default",
    }
    assert len(records) == 2


def test_a_task_makes_its_records_from_the_config():
    config = DataConfig("task", name="chained_sums", split="test", seed=9, skip=3, limit=2, rewards="sums")
    records = load(config)
    assert records == [{**TASKS["chained_sums"].make(9, number, "test"), "rewards": "sums"} for number in (3, 4)]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "jsonl", "path": "{folder}/none.jsonl"}, r"data.path: \S+none.jsonl does not exist"),
        ({"kind": "jsonl", "path": "{folder}/*.json"}, r"has no file that ends in .jsonl or .jsonl.gz"),
        ({"kind": "jsonl", "path": "{folder}/broken.jsonl"}, r"broken.jsonl:3: not JSON \(Expecting"),
        ({"kind": "jsonl", "path": "{folder}/latin.jsonl"}, r"latin.jsonl:1: not JSON \('utf-8' codec"),
        (
            {"kind": "jsonl", "path": "{folder}/list.jsonl"},
            r"list.jsonl:2: expected a JSON object, found list",
        ),
        ({"kind": "jsonl", "path": "{folder}/empty.jsonl"}, r"empty.jsonl has no records after the first 0"),
        ({"kind": "jsonl", "path": "{folder}/twice.jsonl"}, r"two records with the id 'x'"),
        ({"kind": "jsonl", "path": "{folder}/nested.jsonl"}, r"nested.jsonl:1: .* as answer, found list"),
        (
            {"kind": "jsonl", "path": "{folder}/good.jsonl", "columns": (("answer", "Solution"),)},
            r"good.jsonl:1: expected the column 'Solution' \(for answer\), found question, answer, level",
        ),
        (
            {"kind": "jsonl", "path": "{folder}/good.jsonl", "answer_pattern": r"#### (\d)$"},
            r"record good:1: data.answer_pattern .* does not match .* ends in 'Many.\\n#### 1,200'",
        ),
        (
            {"kind": "jsonl", "path": "{folder}/twice.jsonl", "answer_pattern": "(.)"},
            r"record x: data.answer_pattern is set, but it has no answer",
        ),
        ({"kind": "jsonl", "path": "{folder}/good.jsonl", "answer_pattern": "("}, r"is no regex"),
        ({"kind": "jsonl", "path": "{folder}/good.jsonl", "answer_pattern": "a"}, r"a group .* none in 'a'"),
        ({"kind": "parquet", "path": "{folder}/fake.parquet"}, r"fake.parquet: not a readable Parquet file"),
        ({"kind": "task", "name": "sums", "limit": 1}, r"expected a task \(chained_sums, .* found 'sums'"),
        (
            {"kind": "task", "name": "countdown", "limit": 1, "split": "dev"},
            r"expected train, validation, test for a task, found 'dev'",
        ),
    ],
)
def test_bad_data_is_an_error_of_one_line_that_names_the_place(tmp_path, settings, message):
    write_jsonl(tmp_path / "good.jsonl", ROWS)
    (tmp_path / "broken.jsonl").write_text('{"question": "a"}\n\n{"question": \n')
    (tmp_path / "latin.jsonl").write_bytes('{"question": "é"}\n'.encode("latin-1"))
    (tmp_path / "list.jsonl").write_text('{"question": "a"}\n[1]\n')
    (tmp_path / "empty.jsonl").write_text("")
    (tmp_path / "fake.parquet").write_text("not parquet at all")
    write_jsonl(tmp_path / "twice.jsonl", [{"id": "x"}, {"id": "x"}])
    write_jsonl(tmp_path / "nested.jsonl", [{"answer": ["a"]}])
    if "path" in settings:
        settings = {**settings, "path": settings["path"].format(folder=tmp_path)}
    with pytest.raises(DataError, match=message) as raised:
        load(DataConfig(**settings))
    assert "\n" not in str(raised.value)


def test_a_response_is_cut_and_put_into_its_form(tmp_path):
    path = tmp_path / "gsm.jsonl"
    path.write_text(json.dumps({"question": "1 + 2?", "answer": "One and {two}.\n#### 3"}) + "\n")
    config = DataConfig(
        kind="jsonl",
        path=str(path),
        columns=(("response", "answer"),),
        answer_pattern=r"#### (.+)$",
        response_pattern=r"(?s)(.*)\n####",
        response_format="<think>{response}</think><answer>{answer}</answer>",
    )
    (record,) = load(config)
    assert record["answer"] == "3"
    assert record["response"] == "<think>One and {two}.</think><answer>3</answer>"


def test_a_form_that_names_a_missing_field_is_an_error_that_names_the_record(tmp_path):
    path = tmp_path / "gsm.jsonl"
    path.write_text(json.dumps({"id": "a1", "question": "1 + 2?", "response": "three"}) + "\n")
    config = DataConfig(kind="jsonl", path=str(path), response_format="{response} {answer}")
    with pytest.raises(DataError, match=r"record a1: data.response_format names answer"):
        load(config)


def test_fields_with_structure_come_as_they_are_or_as_json_text(tmp_path):
    tests = {"kind": "stdio", "cases": []}
    rows = [{"unit_tests": tests, "options": ["1", "2"]}, {"unit_tests": json.dumps(tests), "options": '["1", "2"]'}]
    columns = (("tests", "unit_tests"), ("choices", "options"))
    records = load(DataConfig("jsonl", path=write_jsonl(tmp_path / "a.jsonl", rows), columns=columns))
    assert [record["tests"] for record in records] == [tests, tests]
    assert [record["choices"] for record in records] == [["1", "2"], ["1", "2"]]


@pytest.mark.parametrize("value", ["{", "3", 3])
def test_a_field_with_structure_that_has_none_is_named(tmp_path, value):
    path = write_jsonl(tmp_path / "a.jsonl", [{"choices": value}])
    with pytest.raises(DataError, match=r"a\.jsonl:1: expected (choices as JSON|a list or an object as choices)"):
        load(DataConfig("jsonl", path=path))
