"""The filters one after another, and the account of what each has dropped."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

from r1jax.config.filters import TOKENS, FiltersConfig
from r1jax.data.filters import content, prompts, readability
from r1jax.data.filters.contamination import EvaluationIndex
from r1jax.data.filters.prompts import Given, Reasons
from r1jax.data.records import DataError, Record

EXAMPLES = 3  # dropped samples that the report names for each filter

# name -> (whether it is on, what it says of one record)
RECORD_FILTERS: dict[str, tuple[Callable[[FiltersConfig], bool], Callable[[Record, FiltersConfig], str | None]]] = {
    "finished": (lambda c: c.finished, content.finished),
    "correct": (lambda c: bool(c.min_scores), content.correct),
    "form": (lambda c: c.thinking is not None, content.form),
    "length": (
        lambda c: any(getattr(c, name) is not None for name in TOKENS),
        content.length,
    ),
    "code": (lambda c: not c.code_in_thinking, readability.code),
    "paragraphs": (
        lambda c: (c.paragraph_words, c.paragraph_characters) != (None, None),
        readability.paragraphs,
    ),
    "repetition": (
        lambda c: (c.repeated_line_share, c.repeated_ngram_share) != (None, None),
        readability.repetition,
    ),
    "language": (
        lambda c: (c.thinking_language_share, c.summary_language_share) != (None, None),
        readability.language,
    ),
    "states_answer": (lambda c: c.summary_states_answer, content.states_answer),
}

# Then those that look at the records that are left together: name -> (whether it is on, what it says of each).
SET_FILTERS: dict[
    str, tuple[Callable[[FiltersConfig], bool], Callable[[Sequence[Record], FiltersConfig, Given], Reasons]]
] = {
    "pass_rate": (lambda c: (c.min_pass_rate, c.max_pass_rate) != (None, None), prompts.by_pass_rate),
    "contamination": (lambda c: c.decontamination_ngram is not None, prompts.contaminated),
    "duplicates": (lambda c: not c.exact_duplicates, prompts.repeated),
    "near_questions": (lambda c: c.near_duplicate_questions is not None, prompts.near_questions),
    "near_responses": (lambda c: c.near_duplicate_responses is not None, prompts.near_responses),
    "surplus": (lambda c: c.samples_per_prompt is not None, prompts.surplus),
}


@dataclasses.dataclass(frozen=True)
class Count:
    """What one filter has seen and dropped, and the first it dropped: (id, reason)."""

    filter: str
    seen: int
    dropped: int
    examples: tuple[tuple[str, str], ...]

    @property
    def kept(self) -> int:
        return self.seen - self.dropped


@dataclasses.dataclass(frozen=True)
class Report:
    """The filters that were on, in their order. `dataclasses.asdict` of it is JSON."""

    counts: tuple[Count, ...]

    def table(self) -> str:
        """A line for each filter: seen, dropped, kept, and an example."""
        names = [count.filter for count in self.counts]
        wide = max([len("filter"), *map(len, names)])
        lines = [f"{'filter':{wide}} {'seen':>8} {'dropped':>8} {'kept':>8}  for example"]
        for count in self.counts:
            example = " · ".join(f"{name}: {reason}" for name, reason in count.examples[:1])
            lines.append(
                f"{count.filter:{wide}} {count.seen:8,} {count.dropped:8,} {count.kept:8,}  {example}".rstrip()
            )
        return "\n".join(lines)

    def in_words(self) -> str:
        """One line: what each filter dropped, and why the first of it went."""
        parts = [
            f"{count.filter} {count.dropped:,} (e.g. {count.examples[0][0]}: {count.examples[0][1]})"
            for count in self.counts
            if count.dropped
        ]
        return ", ".join(parts) or "none"


def apply(
    records: Sequence[Record],
    config: FiltersConfig,
    evaluation_sets: Mapping[str, Sequence[str]] | None = None,
) -> tuple[list[Record], Report]:
    """The records that every filter keeps, in their order, and what each filter did.

    Args:
      records: samples, with `lineage.scores` for "correct" and "pass_rate"; a filter that needs a field which a
        record lacks raises DataError, naming both.
      evaluation_sets: name -> questions (or solutions) that must not be trained on; without any there is no
        "contamination" filter.
    Raises:
      DataError: nothing is left; the line says what each filter dropped.
    """
    if not evaluation_sets:  # a report that names the filter says that something was compared
        config = dataclasses.replace(config, decontamination_ngram=None)
    evaluation = None
    if config.decontamination_ngram is not None:
        evaluation = EvaluationIndex(evaluation_sets, config.decontamination_ngram)
    given = Given(records, evaluation)
    counts = {name: [0, []] for name, (is_on, _) in {**RECORD_FILTERS, **SET_FILTERS}.items() if is_on(config)}
    judges = [(name, judge) for name, (is_on, judge) in RECORD_FILTERS.items() if is_on(config)]
    kept = [record for record in records if _passes(record, judges, config, counts)]
    for name, (is_on, judge) in SET_FILTERS.items():
        if is_on(config):
            reasons = judge(kept, config, given)
            kept = [one for one, why in zip(kept, reasons, strict=True) if _noted(one, why, counts[name])]
    report = _report(len(records), counts)
    if not kept:
        raise DataError(
            f"filters: expected to keep some of {len(records):,} samples, found none; dropped by {report.in_words()}"
        )
    return kept, report


def _passes(record: Record, judges: Sequence, config: FiltersConfig, counts: Mapping[str, list]) -> bool:
    return all(_noted(record, judge(record, config), counts[name]) for name, judge in judges)


def _noted(record: Record, reason: str | None, count: list) -> bool:
    """Whether there is no reason against the record; counts it where there is one."""
    if reason is None:
        return True
    count[0] += 1
    if len(count[1]) < EXAMPLES:
        count[1].append((str(record.get("id", "?")), reason))
    return False


def _report(seen: int, counts: Mapping[str, list]) -> Report:
    rows = []
    for name, (dropped, examples) in counts.items():
        rows.append(Count(name, seen, dropped, tuple(examples)))
        seen -= dropped
    return Report(tuple(rows))
