"""The stage that collects preferences: pairs of a policy's answers, of which votes prefer one.

DeepSeek-R1's helpful pairs (arXiv 2501.12948v2, B.3): a judge votes four times with the order swapped, and a pair is
kept where the mean lies further from 0 than 1. The judge sees what follows the thinking; a rule gets whole turns.
What it leaves in DIR/<stage>: data.jsonl, filters.json, samples.jsonl and sampled/, as the stage `collect` does.
"""

from __future__ import annotations

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Sequence
from typing import Any

from r1jax.config import PreferencesConfig
from r1jax.config.serialize import to_json
from r1jax.data import stage_files
from r1jax.data.filters import Count, Report
from r1jax.data.records import DataError, Record, require
from r1jax.rewards.judge.votes import Pair, mean_vote
from r1jax.stages.collect_batches import Batches, Part
from r1jax.stages.collect_policy import Policy
from r1jax.stages.collect_records import Dropped, with_turn
from r1jax.stages.context import RunContext
from r1jax.stages.preference_votes import Voter, voter
from r1jax.text.answers import after_thinking
from r1jax.workdir.files import write_json, write_lines

SHOWN_SAMPLES = 200  # in samples.jsonl
Json = Any


def run(stage: PreferencesConfig, run: RunContext) -> dict[str, Any]:
    """Collects, and says what came of it: {"records", "seen" (pairs), "prompts", "filters": {step: dropped}}.

    Raises:
      DataError: no pair is left, in a line that says what each step has dropped.
      UserError: a judge that answers nothing at all, a rule that gives no number in [-2, 2].
      Preempted: SIGTERM has come; what is sampled is on disk.
    """
    folder = run.workdir.stage(stage.name)
    loaded = run.load(stage.data)
    prompts = [loaded[index] for index in range(len(loaded))]
    for prompt in prompts:
        require(prompt, "question")
    policy = Policy(stage, run)
    with contextlib.ExitStack() as stack:
        judge = stack.enter_context(voter(stage, run))
        batches = stack.enter_context(Batches(stage, run, size=stage.batch_prompts, origin=policy.lineage))
        groups = batches.each("samples", prompts, policy.plain, per_input=stage.samples)
        write_lines(folder.samples.path, _sample_lines(prompts, groups, policy.lineage["step"]))
        candidates, counts = _candidates(stage, prompts, groups)
        votes = _votes(stage, run, prompts, groups, candidates, batches, judge)
        records, more = _preferred(stage, prompts, groups, candidates, votes, {**policy.lineage, "judge": judge.name})
        report = Report((*counts, *more))
        write_json(folder.path / "filters.json", dataclasses.asdict(report))
        if not records:
            raise DataError(
                f"{stage.name}: expected to keep some of {report.counts[0].seen:,} pairs, found none; dropped by "
                f"{report.in_words()}"
            )
        stage_files.write(folder.data_file(), records)
    print(report.table(), file=sys.stderr, flush=True)
    return {
        "records": len(records),
        "seen": report.counts[0].seen,
        "prompts": len(prompts),
        "filters": {count.filter: count.dropped for count in report.counts},
    }


def _candidates(
    stage: PreferencesConfig, prompts: Sequence[Record], groups: Sequence[Sequence[Json]]
) -> tuple[list[list[tuple[int, int]]], list[Count]]:
    """For each prompt the pairs of samples (their numbers) whose answers differ."""
    same, seen = Dropped("different"), 0
    found = []
    for prompt, group in zip(prompts, groups, strict=True):
        answers = [after_thinking(one["text"]).strip() for one in group]
        pairs = []
        for first, second in itertools.combinations(range(len(group)), 2):
            seen += 1
            if answers[first] == answers[second]:
                same.add(_name(stage, prompt, first, second), "the same after the thinking")
            else:
                pairs.append((first, second))
        found.append(pairs)
    return found, [same.count(seen)]


def _votes(
    stage: PreferencesConfig,
    run: RunContext,
    prompts: Sequence[Record],
    groups: Sequence[Sequence[Json]],
    candidates: Sequence[Sequence[tuple[int, int]]],
    batches: Batches,
    judge: Voter,
) -> list[list[list[Json]]]:
    """The votes on every pair of every prompt; those of a judge are journalled (a rule is asked again)."""
    pairs = [
        [[prompt["question"], group[first]["text"], group[second]["text"]] for first, second in chosen]
        for prompt, group, chosen in zip(prompts, groups, candidates, strict=True)
    ]

    def cast(batch: Sequence[list[list[str]]]) -> list[list[list[Json]]]:
        found = iter(judge.votes([Pair(*texts) for one in batch for texts in one]))
        return [[next(found) for _ in one] for one in batch]

    def work(batch: Sequence[list[list[str]]], first: int, part: Part) -> list[list[list[Json]]]:
        del first, part
        return cast(batch)

    if stage.rule is not None:
        return cast(pairs)
    judged_by = run.config.rewards.judge
    how = {
        "votes": stage.votes,
        "temperature": stage.vote_temperature,
        **{name: to_json(judged_by)[name] for name in ("model", "max_tokens")},
    }
    return batches.each("votes", pairs, work, how=how, unit="prompt")


def _preferred(
    stage: PreferencesConfig,
    prompts: Sequence[Record],
    groups: Sequence[Sequence[Json]],
    candidates: Sequence[Sequence[tuple[int, int]]],
    votes: Sequence[Sequence[Sequence[Json]]],
    origin: Json,
) -> tuple[list[Record], list[Count]]:
    """The records of the pairs that are kept: of each prompt those with the largest difference, earlier ones first."""
    unvoted, even, surplus = Dropped("voted"), Dropped("preferred"), Dropped("surplus")
    records = []
    for prompt, group, pairs, cast in zip(prompts, groups, candidates, votes, strict=True):
        found = []
        for (first, second), of_pair in zip(pairs, cast, strict=True):
            delta = mean_vote([(vote["swapped"], vote["value"]) for vote in of_pair])
            if delta is None:
                reason = next(vote["reason"] for vote in of_pair if vote["value"] is None)
                unvoted.add(_name(stage, prompt, first, second), str(reason))
            elif abs(delta) <= stage.min_delta:
                even.add(_name(stage, prompt, first, second), f"a mean vote of {delta:g}")
            else:
                found.append((-abs(delta), first, second, delta, of_pair))
        found.sort(key=lambda one: one[:3])
        for place, (_, first, second, delta, of_pair) in enumerate(found):
            name = _name(stage, prompt, first, second)
            if place >= stage.pairs_per_prompt:
                surplus.add(name, f"the prompt has {stage.pairs_per_prompt}")
                continue
            better, worse = (first, second) if delta > 0 else (second, first)
            records.append(_record(stage, prompt, name, group, better, worse, abs(delta), of_pair, origin))
    first = unvoted.count(sum(map(len, candidates)))
    second = even.count(first.kept)
    return records, [first, second, surplus.count(second.kept)]


def _record(
    stage: PreferencesConfig,
    prompt: Record,
    name: str,
    group: Sequence[Json],
    better: int,
    worse: int,
    delta: float,
    votes: Sequence[Json],
    origin: Json,
) -> Record:
    """`votes` stay as they were cast, on the pair in the order of its samples; `delta` is in favour of `chosen`."""
    both = {"chosen": group[better], "rejected": group[worse]}
    lineage = {
        "prompt_id": prompt["id"],
        "stage": stage.name,
        **origin,
        "seed": group[better]["seed"],
        "samples": {"chosen": better, "rejected": worse},
        "num_tokens": {side: one["num_tokens"] for side, one in both.items()},
        "truncated": {side: one["truncated"] for side, one in both.items()},
    }
    record = with_turn(prompt, name, "", lineage)
    del record["response"]
    return {**record, **{side: one["text"] for side, one in both.items()}, "delta": delta, "votes": list(votes)}


def _name(stage: PreferencesConfig, prompt: Record, first: int, second: int) -> str:
    return f"{stage.name}:{prompt['id']}:{first}-{second}"


def _sample_lines(prompts: Sequence[Record], groups: Sequence[Sequence[Json]], step: int | None) -> list[Json]:
    """Some samples, one of each prompt before a second of any."""
    lines = [
        {
            "step": step or 0,
            "prompt": prompt["id"],
            "sample": sample,
            "question": prompt["question"],
            "gold": prompt.get("answer"),
            "completion": group[sample]["text"],
            "tokens": group[sample]["num_tokens"],
            "stopped": not group[sample]["truncated"],
        }
        for sample in range(max(map(len, groups), default=0))
        for prompt, group in zip(prompts, groups, strict=True)
        if sample < len(group)
    ]
    return lines[:SHOWN_SAMPLES]
