"""Records of a reward model: what is held out, how lengths are balanced, and what cannot be used is named."""

import types

import numpy as np
import pytest
from tiny_preferences import helpful, labelled, pairs, written
from tiny_runs import BASE, tiny_run

from r1jax.config import BatchConfig, ConfigError, DataConfig
from r1jax.data import sources
from r1jax.data.records import DataError
from r1jax.data.scored import pack_scored, scored_unit
from r1jax.stages.context import load_tokenizer
from r1jax.stages.reward_data import Example, balanced, longer_chosen_share, pair_example, read, single_example, split
from r1jax.stages.reward_model import told

RUN = types.SimpleNamespace(
    tokenizer=load_tokenizer(tiny_run(BASE).tokenizer), seed_of=lambda purpose: len(purpose), load=sources.load
)
STAGE = helpful(DataConfig(kind="jsonl", path="pairs.jsonl"))


def pair(name: str, chosen: int, rejected: int, question: str | None = None) -> Example:
    answers = ((5,) * chosen, (6,) * rejected)
    return Example(name, question or name, answers, (1, -1), (chosen, rejected))


def test_balanced_pairs_have_the_longer_answer_chosen_as_often_as_rejected():
    found = [pair(f"long {n}", 4, 2) for n in range(7)] + [pair(f"short {n}", 2, 3) for n in range(3)]
    found += [pair(f"same {n}", 2, 2) for n in range(2)]
    kept = balanced(found, seed=1)
    sides = [one.longer for one in kept]
    assert (sides.count(1), sides.count(-1), sides.count(0)) == (3, 3, 2)
    assert longer_chosen_share(kept) == 0.5
    assert longer_chosen_share(found) == pytest.approx((7 + 1) / 12)
    names = [one.id for one in kept]
    assert names == [one.id for one in found if one.id in names]  # in their order
    assert {one.id for one in balanced(found[::-1], seed=1)} == set(names)  # whatever that is
    assert {one.id for one in balanced(found, seed=2)} != set(names)


def test_all_pairs_of_a_question_lie_on_one_side():
    found = [pair(f"{q}/{n}", 3, 2, question=f"question {q}") for q in range(20) for n in range(3)]
    train, held_out = split(found, 0.25, seed=3)
    assert (len(train), len(held_out)) == (45, 15)
    assert not {one.question for one in train} & {one.question for one in held_out}
    again, out = split(found[::-1], 0.25, seed=3)
    assert {one.id for one in out} == {one.id for one in held_out}
    assert len(split(found[:6], 0.01, seed=3)[1]) == 3  # one question at least
    assert {one.id for one in split(found, 0.25, seed=4)[1]} != {one.id for one in held_out}


def test_the_stage_s_data_is_counted(tmp_path):
    records = pairs(60)
    records[7]["rejected"] = "<think> wait </think>" + records[7]["chosen"].split("</think>")[1]  # reads the same
    stage = helpful(written(tmp_path / "pairs.jsonl", records), balance_lengths=True)
    data = read(stage, RUN)
    seen = data.figures
    assert (seen["records"], seen["same_answers"]) == (60, 1)
    assert seen["left_out_for_balance"] > 0
    assert seen["longer_chosen_share"] == 0.5 < seen["longer_chosen_share_before"]
    assert seen["train_records"] == len(data.train)
    assert seen["held_out_records"] == len(data.held_out)
    assert len(data.train) + len(data.held_out) == 60 - 1 - seen["left_out_for_balance"]
    assert seen["positive_tokens"] == np.mean([one.lengths[0] for one in data.train])
    same = read(stage, RUN)
    assert same == data


def test_held_out_records_may_be_a_file_of_their_own(tmp_path):
    train = written(tmp_path / "train.jsonl", labelled(20))
    other = [record | {"question": f"{record['question']} ?"} for record in labelled(10, seed=1)]
    fields = {"loss": "pointwise", "reads": "whole"}
    data = read(helpful(train, **fields, held_out=written(tmp_path / "other.jsonl", other)), RUN)
    assert (len(data.train), len(data.held_out)) == (20, 10)
    with pytest.raises(DataError, match=r"helpful: expected no question of held_out in data, found 20, such as"):
        read(helpful(train, **fields, held_out=train), RUN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"chosen": None}, "record p: expected the field 'chosen'"),
        ({"rejected": ["4"]}, "record p: expected text as rejected, found list"),
        ({"question": None}, "record p: expected the field 'question'"),
    ],
)
def test_a_pair_that_cannot_be_used_is_named(changes, message):
    with pytest.raises(DataError, match=message):
        pair_example({"id": "p", "question": "4 ?", "chosen": "7", "rejected": "8"} | changes, STAGE, RUN)


def test_a_label_is_one_or_zero():
    record = {"id": "s", "question": "4 ?", "response": "7"}
    assert single_example(record | {"label": 1}, STAGE, RUN).signs == (1,)
    assert single_example(record | {"label": 0}, STAGE, RUN).signs == (-1,)
    assert single_example(record | {"label": False}, STAGE, RUN).signs == (-1,)
    for label in (2, 0.5, "safe", [1]):
        with pytest.raises(DataError, match="record s: expected a label of 1 or 0, found"):
            single_example(record | {"label": label}, STAGE, RUN)


def test_labels_of_one_kind_teach_nothing(tmp_path):
    stage = helpful(
        written(tmp_path / "ones.jsonl", [record | {"label": 1} for record in labelled(9)]),
        loss="pointwise",
        reads="whole",
    )
    with pytest.raises(DataError, match="helpful: expected records of label 1 and of label 0"):
        read(stage, RUN)


def test_pairs_longer_than_a_row_are_left_out_and_counted(tmp_path):
    records = pairs(40)
    other = [record | {"question": f"{record['question']} ?"} for record in pairs(12, seed=1)]
    for record in (records[3], records[20], other[5]):
        record["chosen"] += " 4" * 60
    stage = helpful(written(tmp_path / "pairs.jsonl", records))
    data = read(stage, RUN)
    assert (data.figures["records"], data.figures["too_long"]) == (40, 2)
    used = {one.id for one in data.train + data.held_out}
    assert used == {record["id"] for record in records} - {records[3]["id"], records[20]["id"]}
    assert "40 pairs; 2 left out that are longer than batch.row_tokens=64; 30 trained on" in told(stage, data)
    assert "left out" not in told(stage, read(helpful(written(tmp_path / "short.jsonl", pairs(40))), RUN))
    apart = read(helpful(stage.data, held_out=written(tmp_path / "other.jsonl", other)), RUN)
    assert apart.figures["too_long"] == 3
    assert (apart.figures["train_records"], apart.figures["held_out_records"]) == (38, 11)


def test_data_that_no_row_holds_is_an_error_that_says_how_long_it_is(tmp_path):
    # 2 x (2 of the question, 1 of the answer, the end) = 8
    records = [{"id": str(n), "question": f"{n} ?", "chosen": "7", "rejected": "8"} for n in range(6)]
    data = written(tmp_path / "pairs.jsonl", records)
    fits = helpful(data, batch=BatchConfig(row_tokens=8, micro_batch_rows=1))
    assert [one.positions for one in read(fits, RUN).train] == [8] * 5
    short = helpful(data, batch=BatchConfig(row_tokens=7, micro_batch_rows=1))
    with pytest.raises(
        DataError, match=r"at most batch.row_tokens=7 tokens .*, found 6 longer ones, the shortest of 8"
    ):
        read(short, RUN)


def test_one_question_leaves_nothing_to_train_on(tmp_path):
    records = [record | {"question": "4 ?"} for record in pairs(5)]
    with pytest.raises(
        DataError, match=r"expected examples to train on and examples to hold out, found 0 and 5 \(5 rec"
    ):
        read(helpful(written(tmp_path / "pairs.jsonl", records)), RUN)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"batch_records": 0}, "helpful.batch_records: expected 1 or more"),
        ({"held_out_share": 0.0}, r"helpful.held_out_share: expected a share in \(0, 1\)"),
        ({"held_out_share": 1.0}, r"helpful.held_out_share: expected a share in \(0, 1\)"),
        ({"loss": "pointwise", "balance_lengths": True}, "helpful.balance_lengths: expected False with the pointwise"),
        ({"validate_every": 0}, "helpful.validate_every: expected 1 or more"),
    ],
)
def test_a_value_of_the_stage_without_a_meaning_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        helpful(STAGE.data, **changes)


def test_rows_hold_whole_pairs_and_tell_their_answers_apart():
    units = [scored_unit([([1, 2, 3], 1), ([4, 5], -1)]), scored_unit([([6], 1), ([7, 8], -1)])]
    rows = pack_scored(units, row_tokens=10, packed=True)
    expected = {
        "tokens": [1, 2, 3, 4, 5, 6, 7, 8, 0, 0],
        "pairs": [1, 1, 1, 1, 1, 2, 2, 2, 0, 0],
        "segments": [1, 1, 1, 2, 2, 3, 4, 4, 0, 0],
        "positions": [0, 1, 2, 0, 1, 0, 0, 1, 0, 0],
        "signs": [0, 0, 1, 0, -1, 1, 0, -1, 0, 0],
        "mask": [0, 0, 1, 0, 1, 1, 0, 1, 0, 0],
    }
    assert {name: array.tolist() for name, array in rows.items()} == {name: [row] for name, row in expected.items()}
