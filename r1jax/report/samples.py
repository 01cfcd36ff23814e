"""Completions to leaf through: a bounded number of each stage, evenly chosen, cut and made safe to show.

They are untrusted text. The page escapes them; here they lose what no page can hold (lone surrogates, control
characters) and what would be too long, with a note that says how much.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from etils import epath

from r1jax.report.readings import RunReading, is_finite
from r1jax.text.answers import after_thinking, thinking

SAMPLES_PER_STAGE = 40
PAGE_BYTES = 1_400_000  # of samples in the whole page; each gets its part
LONGEST_BYTES = 6_000  # of one completion
SHORTEST_BYTES = 400
SOURCES = {"training": "samples.jsonl", "evaluation": "eval_samples.jsonl", "data": "data.jsonl"}
RESULTS = {"no_answer": "no answer", "over_limit": "too costly to check"}
ALSO_LABELLED = {1: "good", 0: "bad"}
UNSHOWN = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff\ufffe\uffff]")


@dataclasses.dataclass(frozen=True)
class Part:
    """A turn: its thinking (None where it has none) and what follows. `label` tells those of a pair apart."""

    label: str
    thinking: str | None
    text: str


@dataclasses.dataclass(frozen=True)
class Sample:
    """One completion, or a pair of them.

    Attributes:
      source: "training", "validation", "evaluation", "data", or "as sampled" of a stage that leaves data.
      step: of the stage, None where it was made with the stage's result.
      result: "correct", "wrong", "no answer", ...; "" where there is no verdict.
      truncated: whether it was cut at the length limit.
      facts: further (name, value) pairs in words.
    """

    source: str
    step: int | None
    question: str
    gold: str | None
    parts: tuple[Part, ...]
    result: str
    truncated: bool
    facts: tuple[tuple[str, str], ...]


@dataclasses.dataclass(frozen=True)
class StageSamples:
    """What is shown of one stage. `unread`: lines of its files that are no JSON objects."""

    stage: str
    samples: tuple[Sample, ...]
    seen: int
    unread: int


def samples_of(run: RunReading) -> list[StageSamples]:
    """The samples of every stage that has any."""
    chosen = {stage.name: _Chosen.of_stage(stage.folder) for stage in run.stages}
    count = sum(len(one.records) for one in chosen.values())
    limit = max(SHORTEST_BYTES, min(LONGEST_BYTES, PAGE_BYTES // max(1, count)))
    return [
        StageSamples(
            stage=name,
            samples=tuple(_sample(source, record, limit) for source, record in one.records),
            seen=one.seen,
            unread=one.unread,
        )
        for name, one in chosen.items()
        if one.seen or one.unread
    ]


@dataclasses.dataclass
class _Chosen:
    """Records of a stage's files with the file that each is from, and how many there were."""

    records: list[tuple[str, Mapping[str, Any]]] = dataclasses.field(default_factory=list)
    seen: int = 0
    unread: int = 0

    @classmethod
    def of_stage(cls, folder: epath.Path) -> _Chosen:
        found = cls()
        there = [source for source, name in SOURCES.items() if (folder / name).exists()]
        for source, file in SOURCES.items():
            if source not in there:
                continue
            room = SAMPLES_PER_STAGE // len(there)
            # Of an evaluation half may be mistakes, which are what one looks for and may be rare.
            mistakes = Evenly(room // 2 if source == "evaluation" else 0)
            others = Evenly(room)
            if source == "training" and "data" in there:
                source = "as sampled"  # by a stage that leaves data: what its filters have not seen
            for record in found._read(folder / file):
                wrong = source == "evaluation" and record.get("status") != "correct"
                (mistakes if wrong else others).add(record)
            wrongs = mistakes.chosen()
            rights = others.chosen()[: room - len(wrongs)] if not wrongs else others.chosen(room - len(wrongs))
            found.records += [(source, record) for record in (*rights, *wrongs)]
        return found

    def _read(self, path: epath.Path) -> Iterator[Mapping[str, Any]]:
        """The objects of a JSONL file, of whatever size; other lines are counted."""
        with path.open("rb") as file:
            for line in file:
                if not line.strip():
                    continue
                try:
                    record = json.loads(line)
                except (ValueError, RecursionError):
                    record = None
                if isinstance(record, dict):
                    self.seen += 1
                    yield record
                else:
                    self.unread += 1


class Evenly:
    """Keeps at most `most` of a stream of unknown length, evenly spread over it; the same for the same stream."""

    def __init__(self, most: int):
        self._most, self._every, self._count = most, 1, 0
        self._kept: list[Any] = []

    def add(self, one: Any) -> None:
        """Takes in the next of the stream."""
        if self._most and self._count % self._every == 0:
            self._kept.append(one)
            if len(self._kept) >= 2 * self._most:
                self._kept, self._every = self._kept[::2], 2 * self._every
        self._count += 1

    def chosen(self, most: int | None = None) -> list[Any]:
        """What is kept, at most `most` of it."""
        most = self._most if most is None else min(most, self._most)
        count = len(self._kept)
        if count <= most:
            return list(self._kept)
        return [self._kept[place * count // most] for place in range(most)]


def shown(value: Any, limit: int) -> str:
    """A value as text that a page can hold: at most `limit` bytes, its middle left out with a note."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return UNSHOWN.sub(_visible, shortened(text, limit))


def shortened(text: str, limit: int) -> str:
    """The text, or its first two thirds and last third of `limit` bytes around a note: answers stand at the end."""
    if len(text) <= limit // 4:  # a character has four bytes at most
        return text
    coded = text.encode("utf-8", "surrogatepass")
    if len(coded) <= limit:
        return text
    head = coded[: 2 * limit // 3].decode("utf-8", "ignore")
    tail = coded[-(limit // 3) :].decode("utf-8", "ignore")
    return f"{head}\n[... {len(text) - len(head) - len(tail):,} characters left out ...]\n{tail}"


def _visible(match: re.Match[str]) -> str:
    code = ord(match[0])
    if code < 0x20:
        return chr(0x2400 + code)  # the sign that Unicode has for the control character
    return "\n" if code in (0x2028, 0x2029) else "\N{REPLACEMENT CHARACTER}"


def _sample(source: str, record: Mapping[str, Any], limit: int) -> Sample:
    if source == "data":
        return _data_sample(record, limit)
    facts = [(name.replace("_", " "), record.get(name)) for name in ("answer", "tokens", "reverse_kl")]
    status = str(record.get("status", ""))
    return Sample(
        source=shown(record.get("kind", source), 40),
        step=record["step"] if isinstance(record.get("step"), int) else None,
        question=shown(record.get("question", ""), limit // 2),
        gold=_short(record.get("gold")),
        parts=(_part("", record.get("completion", ""), limit),),
        result=RESULTS.get(status, shown(status.replace("_", " "), 40)),
        truncated=record.get("stopped") is False,
        facts=_facts([*facts, *_scores(record.get("rewards"))]),
    )


def _data_sample(record: Mapping[str, Any], limit: int) -> Sample:
    """A record of data.jsonl: a response, a labelled one, or a pair."""
    lineage = record.get("lineage") if isinstance(record.get("lineage"), dict) else {}
    keys = ("chosen", "rejected") if "chosen" in record else ("response",)
    parts = [_part(key if len(keys) > 1 else "", record.get(key) or "", limit // len(keys)) for key in keys]
    label = record.get("label")
    status = str(lineage.get("status") or "")
    facts = [
        ("label", ALSO_LABELLED.get(label, label) if is_finite(label) else label),
        ("preference", record.get("delta")),
        ("language", record.get("language")),
        ("from", lineage.get("stage")),
        ("sample", lineage.get("sample")),
        ("tokens", lineage.get("num_tokens")),
        ("pass rate", lineage.get("pass_rate")),
        ("refined", lineage.get("refined")),
        ("refined by", lineage.get("refined_by")),
    ]
    return Sample(
        source="data",
        step=lineage["step"] if isinstance(lineage.get("step"), int) else None,
        question=shown(record.get("question") or "", limit // 2),
        gold=_short(record.get("answer")),
        parts=tuple(parts),
        result=RESULTS.get(status, shown(status.replace("_", " "), 40)),
        truncated=lineage.get("truncated") is True,
        facts=_facts([*facts, *_scores(lineage.get("scores"))]),
    )


def _part(label: str, turn: Any, limit: int) -> Part:
    turn = turn if isinstance(turn, str) else json.dumps(turn, ensure_ascii=False)
    thought, rest = thinking(turn), after_thinking(turn)
    return Part(label, None if thought is None else shown(thought.strip(), limit), shown(rest.strip(), limit))


def _scores(scores: Any) -> Iterable[tuple[str, Any]]:
    return scores.items() if isinstance(scores, dict) else ()


def _facts(pairs: Sequence[tuple[str, Any]]) -> tuple[tuple[str, str], ...]:
    return tuple((_short(name) or "", _short(value) or "") for name, value in pairs if value not in (None, [], ""))


def _short(value: Any) -> str | None:
    """A value for a line of its own: a number with few digits, a text of at most 200 bytes."""
    if value is None:
        return None
    if is_finite(value):
        return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
    return shown(value, 200).replace("\n", " ")
