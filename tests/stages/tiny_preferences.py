"""Generated answers of which one says `check` after its thinking: that one is to be preferred; and a stage for them."""

import json
import random

from tiny_runs import OPTIMIZER, PLAIN

from r1jax.config import BatchConfig, DataConfig, RewardModelConfig

DIGITS = "0123456789"


def turn(draw: random.Random, *, says: bool, thinks: bool) -> str:
    """A whole turn of a few words; `check` stands in its thinking, its answer, or both."""

    def words(keyword: bool) -> list[str]:
        chosen = [draw.choice(DIGITS) for _ in range(draw.randint(2, 5))]
        if keyword:
            chosen.insert(draw.randrange(len(chosen) + 1), "check")
        return chosen

    return " ".join(["<think>", *words(thinks), "</think>", *words(says)])


def pairs(count: int, seed: int = 0) -> list[dict]:
    """The keyword in the thinking says nothing: it stands in that of either answer alike."""
    draw = random.Random(seed)
    return [
        {
            "id": f"pair-{seed}-{number}",
            "question": f"compute {' '.join(str(number))} + {draw.choice(DIGITS)} ?",
            "chosen": turn(draw, says=True, thinks=draw.random() < 0.5),
            "rejected": turn(draw, says=False, thinks=draw.random() < 0.5),
        }
        for number in range(count)
    ]


def labelled(count: int, seed: int = 0) -> list[dict]:
    """An answer is unsafe (label 0) where it says `wait`, be it in its thinking or after it."""
    draw = random.Random(seed)
    records = []
    for number in range(count):
        label = draw.randrange(2)
        words = turn(draw, says=False, thinks=False).split()
        if not label:
            words.insert(draw.randrange(1, len(words)), "wait")
        question = f"compute {' '.join(str(number))} - {draw.choice(DIGITS)} ?"
        records.append(
            {"id": f"one-{seed}-{number}", "question": question, "response": " ".join(words), "label": label}
        )
    return records


def written(path, records: list[dict]) -> DataConfig:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return DataConfig(kind="jsonl", path=str(path))


def helpful(data: DataConfig, **changes) -> RewardModelConfig:
    """A stage of a few steps on pairs."""
    fields = {
        "name": "helpful",
        "template": PLAIN,
        "data": data,
        "num_steps": 6,
        "batch_records": 16,
        "held_out_share": 0.2,
        "batch": BatchConfig(row_tokens=64, micro_batch_rows=8),
        "optimizer": OPTIMIZER,
        "checkpoint_every": 2,
    }
    return RewardModelConfig(**fields | changes)
