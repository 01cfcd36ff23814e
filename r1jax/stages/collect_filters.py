"""The filters around refinement, and one account of all that was dropped on the way.

Before a refinement stand the filters on what it cannot mend (wrong, cut, said before, contaminated, of a prompt that is
too easy): nothing is spent on those. After it stand all others, and the first once more on what it has made.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from r1jax.config import CollectConfig, FiltersConfig
from r1jax.data import filters
from r1jax.data.filters import Count, Report
from r1jax.data.records import DataError, Record, require
from r1jax.stages.context import RunContext

_NOTHING = FiltersConfig(
    min_scores=(),
    finished=False,
    thinking=None,
    thinking_language_share=None,
    summary_language_share=None,
    paragraph_words=None,
    paragraph_characters=None,
    code_in_thinking=True,
    repeated_line_share=None,
    repeated_ngram_share=None,
    decontamination_ngram=None,
    exact_duplicates=True,
    near_duplicate_questions=None,
    near_duplicate_responses=None,
)
_BEYOND_MENDING = (
    "min_scores",
    "finished",
    "max_question_tokens",
    "min_pass_rate",
    "max_pass_rate",
    "decontamination_ngram",
    "exact_duplicates",
)
_READABLE = (
    "thinking_language_share",
    "paragraph_words",
    "paragraph_characters",
    "code_in_thinking",
    "repeated_line_share",
    "repeated_ngram_share",
    "repetition_characters",
    "finished",
    "max_tokens",
)
_GIVEN = ("max_tokens", "max_question_tokens", "decontamination_ngram")


def before_refinement(config: FiltersConfig) -> FiltersConfig:
    """Those of the config's filters that no other wording would change."""
    return dataclasses.replace(_NOTHING, **{name: getattr(config, name) for name in _BEYOND_MENDING})


def after_refinement(config: FiltersConfig) -> FiltersConfig:
    """The config's filters without those on prompts that have been applied: pass rates are of all samples."""
    return dataclasses.replace(config, min_pass_rate=None, max_pass_rate=None, decontamination_ngram=None)


def on_written_thinking(config: FiltersConfig) -> FiltersConfig:
    """Those that look at how a thinking reads, and how long it has made the turn."""
    chosen = {name: getattr(config, name) for name in _READABLE}
    return dataclasses.replace(_NOTHING, thinking="required", **chosen)


def on_given(config: FiltersConfig) -> FiltersConfig | None:
    """Those that a record meets whose response is given: lengths and decontamination; None where neither is on."""
    chosen = {name: getattr(config, name) for name in _GIVEN}
    return None if set(chosen.values()) == {None} else dataclasses.replace(_NOTHING, **chosen)


def evaluation_texts(stage: CollectConfig, run: RunContext) -> Mapping[str, list[str]]:
    """The questions of the stage's evaluation sets, by the names under which a report shows them; and the solutions of
    sets that have any (`solution`, a text), numbered as their questions. Answers are none: a number is in everything.
    """
    texts: dict[str, list[str]] = {}
    for data in stage.evaluation_sets:
        name, records = data.name or data.path, run.load(data)
        texts.setdefault(name, []).extend(require(record, "question") for record in records)
        solutions = [found if isinstance(found := record.get("solution"), str) else "" for record in records]
        if any(solutions):
            first = len(texts[name]) - len(solutions)
            before = texts.setdefault(f"solutions of {name}", [])
            before += [""] * (first - len(before)) + solutions
    return texts


class Funnel:
    """What is left of the records after each step, and what each has dropped.

    Attributes:
      counts: of all steps so far, in their order.
    """

    def __init__(self, stage: CollectConfig, evaluation_sets: Mapping[str, Sequence[str]]):
        self._stage, self._evaluation_sets = stage, evaluation_sets
        self.counts: list[Count] = []

    def add(self, counts: Sequence[Count], records: Sequence[Record]) -> list[Record]:
        """Takes note of a step's counts; DataError where it has left no record."""
        self.counts += counts
        if not records:
            seen = self.counts[0].seen if self.counts else 0
            raise DataError(
                f"{self._stage.name}: expected to keep some of {seen:,} samples, found none; dropped by "
                f"{Report(tuple(self.counts)).in_words()}"
            )
        return list(records)

    def filter(self, records: Sequence[Record], config: FiltersConfig, of: str = "") -> list[Record]:
        """What the filters keep; in the account, their names begin with `of`.

        DataError where that is nothing: a line that says what every step has dropped.
        """
        try:
            kept, report = filters.apply(records, config, self._evaluation_sets)
        except DataError as error:
            before = Report(tuple(self.counts)).in_words()
            raise DataError(f"{self._stage.name}: {of}{error} (before that: {before})") from error
        self.counts += [dataclasses.replace(count, filter=of + count.filter) for count in report.counts]
        return kept

    def report(self) -> Report:
        """The account so far."""
        return Report(tuple(self.counts))

    def dropped(self) -> dict[str, int]:
        """Step -> how many it has dropped; a filter that has looked twice counts both."""
        found: dict[str, int] = {}
        for count in self.counts:
            found[count.filter] = found.get(count.filter, 0) + count.dropped
        return found
