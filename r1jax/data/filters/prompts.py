"""Filters on samples as members of a set: of a prompt, or of all questions. Each gives a reason or None a record."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from r1jax.config.filters import FiltersConfig
from r1jax.data.filters.contamination import EvaluationIndex
from r1jax.data.filters.duplicates import near_duplicates
from r1jax.data.filters.turns import prompt_of, question_of, response_of, scores_of, tokens_of
from r1jax.data.records import Record

Reasons = list[str | None]


class Given(NamedTuple):
    """What a filter sees besides the records that are left: all that there were, and what it must not be trained on."""

    records: Sequence[Record]
    evaluation: EvaluationIndex | None


def pass_rates(
    records: Sequence[Record], min_scores: Sequence[tuple[str, float]] = FiltersConfig().min_scores
) -> dict[str, tuple[int, int]]:
    """Prompt -> (correct samples, samples that could be graded), in the order in which the prompts come.

    Correct is what `min_scores` says (FiltersConfig). For all samples of a stage, before any filter.
    """
    rates: dict[str, tuple[int, int]] = {}
    for record in records:
        right, total = rates.setdefault(prompt_of(record), (0, 0))
        scores = scores_of(record)
        known = [(scores[name], least) for name, least in min_scores if name in scores]
        if known and all(score is not None for score, _ in known):
            rates[prompt_of(record)] = (right + all(score >= least for score, least in known), total + 1)
    return rates


def in_range(rate: tuple[int, int], low: float | None, high: float | None) -> bool:
    """Whether a prompt with this pass rate is for the curriculum [low, high]; none that was never graded."""
    right, total = rate
    return total > 0 and (low is None or right >= low * total) and (high is None or right <= high * total)


def by_pass_rate(records: Sequence[Record], config: FiltersConfig, given: Given) -> Reasons:
    """Keeps the prompts that are neither too hard nor too easy, by all their samples."""
    rates = pass_rates(given.records, config.min_scores)
    reasons: Reasons = []
    for record in records:
        right, total = rate = rates[prompt_of(record)]
        kept = in_range(rate, config.min_pass_rate, config.max_pass_rate)
        reasons.append(None if kept else f"{right} of {total} samples of the prompt correct")
    return reasons


def contaminated(records: Sequence[Record], config: FiltersConfig, given: Given) -> Reasons:
    """Drops the questions that share words in a row with an evaluation set."""
    found: dict[str, str | None] = {}
    for record in records:
        question = question_of(record)
        if question not in found:
            place = None if given.evaluation is None else given.evaluation.find(question)
            found[question] = None if place is None else f"in {place[0]}, question {place[1]}"
    return [found[question_of(record)] for record in records]


def repeated(records: Sequence[Record], config: FiltersConfig, given: Given) -> Reasons:
    """Drops what has been said before: the same question and response, but for case, width and spacing."""
    seen: dict[bytes, object] = {}
    reasons: Reasons = []
    for record in records:
        text = "\0".join(" ".join(part.casefold().split()) for part in (question_of(record), response_of(record)))
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        reasons.append(f"the same as {seen[key]}" if key in seen else None)
        seen.setdefault(key, record.get("id"))
    return reasons


def near_questions(records: Sequence[Record], config: FiltersConfig, given: Given) -> Reasons:
    """Of prompts whose questions are nearly the same keeps the first."""
    questions = {prompt_of(record): question_of(record) for record in reversed(records)}
    prompts = list(dict.fromkeys(map(prompt_of, records)))
    originals = near_duplicates(
        [questions[prompt] for prompt in prompts],
        threshold=config.near_duplicate_questions,
        n=config.near_duplicate_ngram,
    )
    reasons = {
        prompt: None if original is None else f"nearly the question of {prompts[original][:40]}"
        for prompt, original in zip(prompts, originals, strict=True)
    }
    return [reasons[prompt_of(record)] for record in records]


def near_responses(records: Sequence[Record], config: FiltersConfig, given: Given) -> Reasons:
    """Of the responses to one prompt that are nearly the same keeps the first."""
    reasons: Reasons = [None] * len(records)
    for members in _by_prompt(records).values():
        originals = near_duplicates(
            [response_of(records[index]) for index in members],
            threshold=config.near_duplicate_responses,
            n=config.near_duplicate_ngram,
        )
        for index, original in zip(members, originals, strict=True):
            if original is not None:
                reasons[index] = f"nearly {records[members[original]].get('id')}"
    return reasons


def surplus(records: Sequence[Record], config: FiltersConfig, given: Given) -> Reasons:
    """Keeps `samples_per_prompt` of a prompt's samples, in their order.

    "first": as they come. "shortest", "longest": by num_tokens, the earlier of equal ones. "random": by a hash of
    (choose_seed, id), so that a sample's chance does not hang on the order, nor on samples of other prompts.
    """
    reasons: Reasons = [None] * len(records)
    for members in _by_prompt(records).values():
        ranked = sorted(members, key=lambda index: _rank(records[index], config))  # stable: earlier ones first
        for index in ranked[config.samples_per_prompt :]:
            reasons[index] = f"the prompt has {config.samples_per_prompt}"
    return reasons


def _rank(record: Record, config: FiltersConfig) -> int | bytes:
    if config.choose_samples == "first":
        return 0
    if config.choose_samples == "random":
        name = f"{config.choose_seed}\0{record.get('id')}"
        return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
    return tokens_of(record, "num_tokens") * (1 if config.choose_samples == "shortest" else -1)


def _by_prompt(records: Sequence[Record]) -> Mapping[str, list[int]]:
    members: dict[str, list[int]] = {}
    for index, record in enumerate(records):
        members.setdefault(prompt_of(record), []).append(index)
    return members
