"""Data sets between stages: what is written is read, what people change is taken, what they break is named."""

import json

import hypothesis
import hypothesis.strategies as st
import pytest

from r1jax.data.records import DataError
from r1jax.data.stage_files import fingerprint, read, write

RECORD = {
    "id": "a:0",
    "lineage": {"prompt_id": "a", "stage": "zero", "step": 40, "scores": {"maths": 1.0, "judge": None}},
    "num_tokens": 12,
    "language": "zh",
    "answer": "72",
    "response": "<think>想\n一想</think>答案是 \\boxed{72}。",
    "question": "“多少”？",
}


def lines_of(path):
    return path.read_text(encoding="utf-8").split("\n")


def test_what_is_written_is_read(tmp_path):
    path = tmp_path / "stage" / "data.jsonl"
    records = [
        RECORD,
        {"id": "b", "chosen": "x", "rejected": "y", "delta": -1.5, "votes": [1, 2], "free": {"a": [None]}},
    ]
    write(path, records)
    assert read(path) == records
    assert [one.name for one in path.parent.iterdir()] == ["data.jsonl"]  # nothing is left of the writing


def test_a_line_is_for_people_question_and_response_first(tmp_path):
    write(path := tmp_path / "data.jsonl", [RECORD])
    line, end = lines_of(path)
    assert end == ""
    assert line.startswith('{"question": "“多少”？", "response": "<think>想\\n一想</think>答案是')
    assert list(json.loads(line)) == ["question", "response", "answer", "language", "num_tokens", "id", "lineage"]


def test_equal_records_make_equal_lines(tmp_path):
    write(one := tmp_path / "one.jsonl", [RECORD | {"b": 1, "a": 2}])
    write(other := tmp_path / "other.jsonl", [{"a": 2, "b": 1} | RECORD])
    assert one.read_bytes() == other.read_bytes()


def test_what_people_change_is_taken(tmp_path):
    write(path := tmp_path / "data.jsonl", [RECORD, RECORD | {"id": "a:1"}, RECORD | {"id": "a:2"}])
    first, second, *_ = lines_of(path)
    edited = first.replace('"answer": "72"', '"answer": 73, "note": "better"')
    by_hand = '{"question": "Hi?", "response": "Hello!"}'
    path.write_bytes(b"\xef\xbb\xbf" + "\r\n".join([by_hand, second, "", "  ", edited]).encode())
    hello, kept, changed = read(path)
    assert kept == RECORD | {"id": "a:1"}
    assert changed == RECORD | {"answer": "73", "note": "better"}
    assert hello["question"] == "Hi?"
    assert hello["id"].startswith("hand:")


def test_an_id_of_a_line_without_one_stays_when_other_lines_come_and_go(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_text('{"question": "a"}\n{"question": "b"}\n{"question": "b"}\n')
    a, b, again = (one["id"] for one in read(path))
    assert len({a, b, again}) == 3
    path.write_text('{"question": "c"}\n{"question": "b", "id": null}\n{"question": "a"}\n')
    assert [one["id"] for one in read(path)][1:] != [b, a]  # null is a field, so another content
    path.write_text('{"question": "c"}\n{"question": "b"}\n{"question": "a"}\n')
    assert [one["id"] for one in read(path)][1:] == [b, a]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('{"question": "x"', "expected a JSON object on one line, found Expecting ',' delimiter at column 17"),
        ('{"question": "x",}', "expected a JSON object on one line, found"),
        ("[1]", "expected a JSON object, found list"),
        ('"x"', "expected a JSON object, found str"),
        ('{"a": NaN}', "expected a JSON object on one line, found NaN, which is no JSON"),
        ("[" * 100_000, "expected a JSON object on one line, found "),
        ('{"a": ' + "9" * 5000 + "}", "expected a JSON object on one line, found "),
        ('{"response": ["x"]}', "expected text as response, found list"),
        ('{"question": true}', "expected text as question, found bool"),
        ('{"chosen": {}}', "expected text as chosen, found dict"),
        ('{"lineage": "zero"}', "expected an object as lineage, found str"),
        ('{"id": "first"}', "expected an id of its own, found 'first', which line 1 has; change it, or leave it out"),
    ],
)
def test_a_broken_line_is_one_line_with_its_number(tmp_path, line, message):
    path = tmp_path / "data.jsonl"
    path.write_text('{"id": "first"}\n\n' + line + "\n")
    with pytest.raises(DataError) as caught:
        read(path)
    assert str(caught.value).startswith(f"{path}:3: {message}")
    assert "\n" not in str(caught.value)


def test_bytes_that_are_no_utf8_are_named(tmp_path):
    path = tmp_path / "data.jsonl"
    path.write_bytes(b'{"a": 1}\n{"a": "\xff"}\n')
    with pytest.raises(DataError, match="data.jsonl:2: expected UTF-8, found byte 0xff"):
        read(path)


def test_no_file_and_no_records_are_told(tmp_path):
    with pytest.raises(DataError, match="expected the data set of a finished stage, found no such file"):
        read(tmp_path / "data.jsonl")
    (tmp_path / "data.jsonl").write_text("\n \n")
    with pytest.raises(DataError, match="expected records, found none"):
        read(tmp_path / "data.jsonl")


def test_what_json_lacks_is_refused_and_the_old_file_stays(tmp_path):
    write(path := tmp_path / "data.jsonl", [RECORD])
    before = path.read_bytes()
    with pytest.raises(ValueError, match="not JSON compliant"):
        write(path, [RECORD, {"id": "b", "score": float("nan")}])
    assert path.read_bytes() == before


def test_the_fingerprint_is_of_the_content_not_of_its_spelling(tmp_path):
    write(path := tmp_path / "data.jsonl", [RECORD, RECORD | {"id": "b"}])
    mark = fingerprint(read(path))
    assert len(mark) == 16
    respelt = [json.dumps(dict(sorted(json.loads(line).items())), indent=None) for line in lines_of(path) if line]
    path.write_text("\n\n".join(respelt))
    assert fingerprint(read(path)) == mark
    assert fingerprint(read(path)[::-1]) != mark
    path.write_text("\n".join(respelt).replace("72", "73", 1))
    assert fingerprint(read(path)) != mark


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**60), 2**60)
    | st.floats(allow_nan=False, allow_infinity=False)
    # JSON's escapes of two halves side by side are one character: no half but a low one is drawn.
    | st.text(st.characters(exclude_categories=["Cs"]) | st.characters(min_codepoint=0xDC00, max_codepoint=0xDFFF)),
    lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), one),
    max_leaves=6,
)


@hypothesis.given(st.lists(st.fixed_dictionaries({"free": ANY_JSON, "response": st.text()}), min_size=1, max_size=4))
@hypothesis.settings(
    max_examples=100,
    deadline=None,
    derandomize=True,
    suppress_health_check=[hypothesis.HealthCheck.function_scoped_fixture],
)
def test_any_content_survives_the_file(tmp_path, records):
    named = [one | {"id": str(number)} for number, one in enumerate(records)]
    write(tmp_path / "data.jsonl", named)
    assert read(tmp_path / "data.jsonl") == named
    (tmp_path / "data.jsonl").read_bytes().decode("utf-8")  # for any editor
