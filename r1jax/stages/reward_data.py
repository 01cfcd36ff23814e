"""Records as a reward model is trained on them: what is read of each answer, what is held out, lengths balanced."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from r1jax.config import DataConfig, RewardModelConfig
from r1jax.data.packing import Arrays
from r1jax.data.records import DataError, require
from r1jax.data.scored import scored_unit
from r1jax.stages.context import RunContext
from r1jax.stages.edited_lines import named_line
from r1jax.text.scored_answers import part_ids, question_ids


@dataclasses.dataclass(frozen=True)
class Example:
    """A pair of answers (the chosen one first), or one answer, to a question."""

    id: str
    question: str
    answers: tuple[tuple[int, ...], ...]  # token ids of the question and of what is read of the answer
    signs: tuple[int, ...]  # of each: 1 (chosen, or label 1) or -1 (rejected, or label 0)
    lengths: tuple[int, ...]  # tokens of what is read of each answer

    @property
    def unit(self) -> Arrays:
        """As `data.scored.pack_scored` takes it."""
        return scored_unit(list(zip(self.answers, self.signs, strict=True)))

    @property
    def positions(self) -> int:
        """Tokens that it takes up in a row."""
        return sum(map(len, self.answers))

    @property
    def longer(self) -> int:
        """1 where the chosen answer is longer, -1 where the rejected one is, else 0."""
        return int(np.sign(self.lengths[0] - self.lengths[-1]))


@dataclasses.dataclass(frozen=True)
class RewardData:
    """What is trained on, what is held out, and what came of the records in numbers."""

    train: list[Example]
    held_out: list[Example]
    figures: dict[str, float]


def read(stage: RewardModelConfig, run: RunContext) -> RewardData:
    """The examples of the stage's data; DataError names a record that cannot be used, or says that none is left.

    Left out are those longer than a row, and pairs whose answers read the same.
    """
    found = examples(stage.data, stage, run)
    fitting = fit(found, stage)
    told = telling(fitting)
    kept = balanced(told, seed=run.seed_of(f"{stage.name}/balance")) if stage.balance_lengths else told
    too_long = len(found) - len(fitting)
    if stage.held_out is None:
        train, held_out = split(kept, stage.held_out_share, seed=run.seed_of(f"{stage.name}/held_out"))
    else:
        other = examples(stage.held_out, stage, run)
        fitting_other = fit(other, stage)
        too_long += len(other) - len(fitting_other)
        train, held_out = kept, telling(fitting_other)
        if shared := {one.question for one in train} & {one.question for one in held_out}:
            raise DataError(
                f"{stage.name}: expected no question of held_out in data, found {len(shared)}, such as "
                f"{min(shared)[:60]!r}; leave them out of one of the two"
            )
    if not train or not held_out:
        raise DataError(
            f"{stage.name}: expected examples to train on and examples to hold out, found {len(train)} and "
            f"{len(held_out)} ({len(found)} records, {too_long} longer than "
            f"batch.row_tokens={stage.batch.row_tokens}, {len(fitting) - len(told)} pairs whose answers read the same, "
            f"{len(told) - len(kept)} left out to balance lengths)"
        )
    if stage.loss == "pointwise" and len({one.signs for one in train}) < 2:
        raise DataError(f"{stage.name}: expected records of label 1 and of label 0, found one of them alone")
    figures = {
        "records": len(found),
        "too_long": too_long,  # of both sources
        "same_answers": len(fitting) - len(told),
        "left_out_for_balance": len(told) - len(kept),
        "train_records": len(train),
        "held_out_records": len(held_out),
        **length_figures(train),
    }
    if stage.loss == "pairwise":
        figures["longer_chosen_share_before"] = longer_chosen_share(told)
        figures["longer_chosen_share"] = longer_chosen_share(kept)
    return RewardData(train, held_out, figures)


def examples(data: DataConfig, stage: RewardModelConfig, run: RunContext) -> list[Example]:
    """The example of each record of a source."""
    make = {"pairwise": pair_example, "pointwise": single_example}[stage.loss]
    found = []
    for number, record in enumerate(run.load(data)):
        with named_line(number, data, run):
            found.append(make(record, stage, run))
    return found


def fit(found: Sequence[Example], stage: RewardModelConfig) -> list[Example]:
    """Those that a row holds; DataError where there are records and it holds none of them."""
    longest = stage.batch.row_tokens
    fitting = [one for one in found if one.positions <= longest]
    if found and not fitting:
        both = "the question and an answer" if stage.loss == "pointwise" else "both answers, each with its question"
        raise DataError(
            f"{stage.name}: expected records of at most batch.row_tokens={longest} tokens ({both}), found "
            f"{len(found)} longer ones, the shortest of {min(one.positions for one in found)}; raise it"
        )
    return fitting


def telling(found: Sequence[Example]) -> list[Example]:
    """Those whose answers differ in what is read of them."""
    return [one for one in found if len(set(one.answers)) == len(one.answers)]


def pair_example(record: Mapping[str, Any], stage: RewardModelConfig, run: RunContext) -> Example:
    """That of a record with `question`, `chosen` and `rejected` (whole turns)."""
    return _example(record, {"chosen": 1, "rejected": -1}, stage, run)


def single_example(record: Mapping[str, Any], stage: RewardModelConfig, run: RunContext) -> Example:
    """That of a record with `question`, `response` (a whole turn) and `label`, 1 or 0.

    With `steps` the response is a solution up to the end of a step, and the label may be a share: the example then has
    label 1 with that chance, drawn by its id. The mean loss of many such is that of their shares.
    """
    label = require(record, "label")
    share = stage.steps is not None and isinstance(label, int | float) and 0 <= label <= 1
    if not share and label not in (0, 1):
        expected = "a label of 1 or 0" if stage.steps is None else "a label in [0, 1]"
        raise DataError(f"{stage.name}: record {record['id']}: expected {expected}, found {label!r}")
    seed = run.seed_of(f"{stage.name}/labels")
    drawn = int.from_bytes(_draw(seed, record["id"])[:8], "big") / 2**64 < label if share else label
    return _example(record, {"response": 1 if drawn else -1}, stage, run)


def _example(
    record: Mapping[str, Any], fields: Mapping[str, int], stage: RewardModelConfig, run: RunContext
) -> Example:
    question = _text(record, "question", stage)
    prompt = question_ids(stage.template, question, run.tokenizer)
    parts = [part_ids(_text(record, field, stage), stage.reads, run.tokenizer) for field in fields]
    return Example(
        id=record["id"],
        question=question,
        answers=tuple((*prompt, *part) for part in parts),
        signs=tuple(fields.values()),
        lengths=tuple(map(len, parts)),
    )


def _text(record: Mapping[str, Any], field: str, stage: RewardModelConfig) -> str:
    value = require(record, field)
    if not isinstance(value, str):
        raise DataError(f"{stage.name}: record {record['id']}: expected text as {field}, found {type(value).__name__}")
    return value


def balanced(pairs: Sequence[Example], *, seed: int) -> list[Example]:
    """The pairs, in order, less so many that the chosen answer is the longer one as often as the rejected one.

    Those of one length stay. Which of the others stay is drawn by their ids: the same ones whatever their order.
    """
    sides = [[one for one in pairs if one.longer == sign] for sign in (1, -1)]
    least = min(map(len, sides))
    stay = {id(one) for side in sides for one in sorted(side, key=lambda one: _draw(seed, one.id))[:least]}
    return [one for one in pairs if one.longer == 0 or id(one) in stay]


def split(found: Sequence[Example], share: float, *, seed: int) -> tuple[list[Example], list[Example]]:
    """The examples to train on and those held out, each in order: all of a question go to one side.

    That is a share of the questions, at least one of them; drawn by their text: the same ones whatever their order.
    """
    questions = sorted({one.question for one in found}, key=lambda question: _draw(seed, question))
    out = set(questions[: max(1, round(share * len(questions)))])
    return [one for one in found if one.question not in out], [one for one in found if one.question in out]


def _draw(seed: int, text: str) -> bytes:
    return hashlib.sha256(f"{seed}/{text}".encode("utf-8", "surrogatepass")).digest()


def length_figures(found: Sequence[Example]) -> dict[str, float]:
    """Mean tokens of the answers with a sign of 1 and with one of -1; NaN where there are none."""
    tokens = {1: [], -1: []}
    for one in found:
        for sign, length in zip(one.signs, one.lengths, strict=True):
            tokens[sign].append(length)
    means = {sign: float(np.mean(lengths)) if lengths else float("nan") for sign, lengths in tokens.items()}
    return {"positive_tokens": means[1], "negative_tokens": means[-1]}


def longer_chosen_share(pairs: Sequence[Example]) -> float:
    """How often the rule "the longer one" is right; equal lengths count half. Balanced pairs have 0.5."""
    return float(np.mean([0.5 * (1 + one.longer) for one in pairs])) if pairs else float("nan")
