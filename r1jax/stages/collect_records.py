"""From graded samples to records that say where they come from, and the account of those that became none."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from r1jax.config import CollectConfig
from r1jax.data.filters import Count, pass_rates
from r1jax.data.filters.chain import EXAMPLES
from r1jax.data.records import Record
from r1jax.rewards.verdicts import Verdict
from r1jax.stages.context import RunContext
from r1jax.text.answers import thinking
from r1jax.text.templates import render_prompt

Json = Any


class Dropped:
    """Counts what one step has dropped, as the filters do."""

    def __init__(self, name: str):
        self.name = name
        self._dropped = 0
        self._examples: list[tuple[str, str]] = []

    def add(self, record_id: str, reason: str) -> None:
        self._dropped += 1
        if len(self._examples) < EXAMPLES:
            self._examples.append((record_id, reason))

    def count(self, seen: int) -> Count:
        return Count(self.name, seen, self._dropped, tuple(self._examples))


def sample_records(
    stage: CollectConfig, run: RunContext, prompts: Sequence[Record], groups: Sequence[Sequence[Json]], origin: Json
) -> tuple[list[Record], list[Count]]:
    """A record of each sample that was drawn and could be graded, in order, and the counts of the others.

    Args:
      groups: what a writer made of each prompt: samples, or {"failed": reason}.
      origin: {"checkpoint", "step"} of the writer.
    """
    unanswered, masked = Dropped("answered"), Dropped("graded")
    records = []
    for prompt, group in zip(prompts, groups, strict=True):
        asked = question_tokens(prompt, stage, run)
        for sample, one in enumerate(group):
            name = f"{stage.name}:{prompt['id']}:{sample}"
            if "failed" in one:
                unanswered.add(name, one["failed"])
                continue
            verdict = Verdict.from_json(one["verdict"])
            if verdict.masked:
                names = [reward for reward, score in verdict.scores.items() if score.value is None]
                masked.add(name, f"{', '.join(names)} could not tell")
                continue
            lineage = {
                "prompt_id": prompt["id"],
                "stage": stage.name,
                **origin,
                "seed": one["seed"],
                "sample": sample,
                **scored(verdict),
                "truncated": one["truncated"],
                "num_tokens": one["num_tokens"],
                "num_thinking_tokens": num_thinking_tokens(one["text"], run),
                **asked,
            }
            records.append(with_turn(prompt, name, one["text"], lineage))
    rates = pass_rates(records, stage.filters.min_scores)
    for record in records:
        right, total = rates[record["lineage"]["prompt_id"]]
        record["lineage"]["pass_rate"] = right / total if total else None
    seen = sum(map(len, groups))
    first = unanswered.count(seen)
    return records, [first, masked.count(first.kept)]


def with_turn(source: Record, name: str, turn: str, lineage: Json) -> Record:
    """A record of the data set: the fields of its source, under a name and with a turn of its own."""
    fields = {field: value for field, value in source.items() if not _no_json(value)}
    return {**fields, "id": name, "response": turn, "lineage": lineage}


def scored(verdict: Verdict) -> Json:
    """What a lineage says of a verdict."""
    return {
        "scores": {name: score.value for name, score in verdict.scores.items()},
        "status": verdict.status.value,
    }


def num_thinking_tokens(turn: str, run: RunContext) -> int:
    """The tokens of the thinking alone, 0 without one."""
    text = thinking(turn)
    return 0 if text is None else len(run.tokenizer.encode(text))


def question_tokens(record: Record, stage: CollectConfig, run: RunContext) -> Json:
    """How long its question is as the stage's template asks it, for a lineage, where the filters have a limit to it."""
    if stage.filters.max_question_tokens is None:
        return {}
    return {"num_question_tokens": len(render_prompt(stage.template, record["question"], run.tokenizer).token_ids)}


def prompt_records(prompts: Sequence[Record], records: Sequence[Record], stage: CollectConfig) -> list[Record]:
    """The prompts with the pass rate of all their graded samples, for a curriculum; those that have none are left out.

    Args:
      records: of all samples, before any filter.
    """
    rates = pass_rates(records, stage.filters.min_scores)
    found = []
    for prompt in prompts:
        right, total = rates.get(str(prompt["id"]), (0, 0))
        if total:
            lineage = {"prompt_id": prompt["id"], "stage": stage.name, "pass_rate": right / total, "graded": total}
            fields = {field: value for field, value in prompt.items() if not _no_json(value)}
            found.append({**fields, "lineage": lineage})
    return found


def sample_lines(
    prompts: Sequence[Record], groups: Sequence[Sequence[Json]], step: int | None, limit: int
) -> list[Json]:
    """The first `limit` samples as lines for samples.jsonl, one of each prompt before a second of any."""
    lines = []
    for sample in range(max(map(len, groups), default=0)):
        for prompt, group in zip(prompts, groups, strict=True):
            if len(lines) == limit:
                return lines
            if sample < len(group) and "failed" not in group[sample]:
                lines.append({"step": step or 0, **_line(prompt, sample, group[sample])})
    return lines


def _line(prompt: Record, sample: int, one: Json) -> Json:
    verdict = Verdict.from_json(one["verdict"])
    return {
        "prompt": prompt["id"],
        "sample": sample,
        "question": prompt["question"],
        "gold": prompt.get("answer"),
        "completion": one["text"],
        "answer": verdict.answer,
        "status": verdict.status.value,
        "rewards": {name: score.value for name, score in verdict.scores.items()},
        "tokens": one["num_tokens"],
        "stopped": not one["truncated"],
    }


def _no_json(value: Json) -> bool:
    """Whether a column holds NaN or infinity (an empty cell of a Parquet file), which no JSON line can."""
    if isinstance(value, float):
        return not math.isfinite(value)
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list) else ()
    return any(map(_no_json, inside))
