"""What a trained reward model says of answers: one number each, many at once.

Each answer has a row of its own, padded to one of a few lengths, so that few programs are compiled whatever lengths
come; short rows go through in larger numbers. An answer's score depends neither on what is scored beside it nor on the
padding (to rounding: rows of other lengths are summed in another order).

A process reward model reads a turn once for each of its steps: up to the step's end and the end-of-text token, just as
its records were read in training. A prefix that several turns share is read once.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from r1jax.config import (
    BatchConfig,
    ModelConfig,
    OptimizerConfig,
    RewardModelConfig,
    StepsConfig,
    TemplateConfig,
    check,
)
from r1jax.learn.jit import jit_make, jit_score, place_batch
from r1jax.learn.state import StepConfig, reference_copy
from r1jax.learn.steps import sequence_scores
from r1jax.models.flops import Work
from r1jax.search.combining import combined, probability
from r1jax.search.steps import prefixes
from r1jax.stages.context import RunContext
from r1jax.stages.weights import load_params, start_checkpoint
from r1jax.text.scored_answers import Reads, part_ids, question_ids
from r1jax.text.tokenizer import Tokenizer

SHORTEST_ROW = 64
PREFIX_CHARS = 1 << 25  # of the prefixes of turns that are read together: long turns of many steps have gigabytes
AHEAD = 2  # micro-batches on their way while one is read: the devices neither wait nor hold them all


def row_lengths(longest: int) -> list[int]:
    """The lengths that rows are padded to: doubling up to the longest, one program each."""
    lengths = [min(SHORTEST_ROW, longest)]
    while lengths[-1] < longest:
        lengths.append(min(2 * lengths[-1], longest))
    return lengths


class Scorer:
    """Scores sequences of tokens with a model that has a score head.

    Args:
      batch: `row_tokens` is the longest sequence; `micro_batch_rows` of that length go through at once, and of shorter
        ones as many more as have the same number of tokens.

    Attributes:
      work: what has been read so far.
    """

    def __init__(self, model: ModelConfig, mesh: jax.sharding.Mesh, batch: BatchConfig):
        self._mesh, self._batch = mesh, batch
        self.work = Work()
        self._lengths = row_lengths(batch.row_tokens)
        self._score = jit_score(sequence_scores, mesh, None, model)

    def scores(self, params: Any, sequences: Sequence[Sequence[int]]) -> list[float | None]:
        """The score at the last token of each sequence, in order; None of one longer than `batch.row_tokens`.

        Args:
          params: of the model, on the mesh (combined, where there are adapters).
          sequences: token ids, at least one each.
        """
        groups: dict[int, list[int]] = {}
        for index, sequence in enumerate(sequences):
            fitting = next((length for length in self._lengths if len(sequence) <= length), None)
            if fitting is not None:  # else it could be read in part alone, which is no score of it
                groups.setdefault(fitting, []).append(index)
                self.work += Work(len(sequence), len(sequence) * (len(sequence) + 1) // 2, 1)
        found: list[float | None] = [None] * len(sequences)
        launched: collections.deque[tuple[list[int], jax.Array]] = collections.deque()

        def read_until(left: int) -> None:
            while len(launched) > left:
                part, scores_1BT = launched.popleft()
                scores_BT = np.asarray(scores_1BT)[0]
                for row, index in enumerate(part):
                    found[index] = float(scores_BT[row, len(sequences[index]) - 1])

        for length, members in groups.items():
            rows = self._batch.micro_batch_rows * (self._batch.row_tokens // length)
            for start in range(0, len(members), rows):
                part = members[start : start + rows]
                batch = place_batch(_padded([sequences[index] for index in part], rows, length), self._mesh)
                launched.append((part, self._score(params, batch)))
                read_until(left=AHEAD)
        read_until(left=0)
        return found


def _padded(sequences: Sequence[Sequence[int]], rows: int, length: int) -> dict[str, np.ndarray]:
    """One micro-batch [1, rows, length] with a sequence a row."""
    names = ("tokens", "positions", "segments")
    batch = {name: np.zeros((1, rows, length), np.int32) for name in names}
    for row, sequence in enumerate(sequences):
        count = len(sequence)
        batch["tokens"][0, row, :count] = sequence
        batch["positions"][0, row, :count] = np.arange(count)
        batch["segments"][0, row, :count] = 1
    return batch | {"num_micro": np.int32(1)}


@dataclasses.dataclass(frozen=True)
class RewardModel:
    """A scorer with its parameters, and how it reads: as in the stage that trained it."""

    scorer: Scorer
    params: Any
    template: TemplateConfig
    reads: Reads
    tokenizer: Tokenizer
    steps: StepsConfig | None = None  # of a process reward model
    row_tokens: int | None = None  # the longest question and turn that has a score

    def scores(self, questions: Sequence[str], turns: Sequence[str]) -> list[float | None]:
        """A score for each question and its answer, a whole assistant's turn; None where they are longer than a row.

        That of a process reward model is the probabilities of the turn's steps, combined: a number in [0, 1].
        """
        if self.steps is None:
            return self._read(questions, turns)
        found = self.step_scores(questions, turns)
        return [None if scores is None else combined(scores, self.steps.combine) for scores in found]

    def step_scores(self, questions: Sequence[str], turns: Sequence[str]) -> list[list[float] | None]:
        """Of a process reward model: for each turn a probability after each of its steps, the whole turn the last.

        None where a step ends beyond a row. ConfigError where the model was trained without `steps`.
        """
        check(self.steps is not None, "steps", "a process reward model (RewardModelConfig.steps)", None)
        scores: list[list[float] | None] = []
        cut: list[tuple[str, list[str]]] = []
        held = 0
        for question, turn in zip(questions, turns, strict=True):
            parts = prefixes(turn, self.steps.end)
            cut.append((question, parts))
            held += sum(map(len, parts))
            if held > PREFIX_CHARS:
                scores += self._of_steps(cut)
                cut, held = [], 0
        return scores + self._of_steps(cut)

    def _of_steps(self, cut: Sequence[tuple[str, Sequence[str]]]) -> list[list[float] | None]:
        asked = [(question, prefix) for question, parts in cut for prefix in parts]
        found = iter(self.probabilities([question for question, _ in asked], [prefix for _, prefix in asked]))
        scores = [[next(found) for _ in parts] for _, parts in cut]
        return [None if None in one else one for one in scores]

    def probabilities(self, questions: Sequence[str], turns: Sequence[str]) -> list[float | None]:
        """The logistic function of what the model says at the end of each turn, however many steps it has."""
        asked = list(zip(questions, turns, strict=True))
        distinct = list(dict.fromkeys(asked))
        logits = self._read([question for question, _ in distinct], [turn for _, turn in distinct])
        known = dict(zip(distinct, (None if one is None else probability(one) for one in logits), strict=True))
        return [known[one] for one in asked]

    def vote_weights(self, scores: Sequence[float | None]) -> list[float | None]:
        """What each of `scores` counts for in a weighted vote: a probability."""
        if self.steps is not None:
            return list(scores)
        return [None if score is None else probability(score) for score in scores]

    def read_ids(self, question: str, turn: str) -> list[int]:
        """What the model reads, and a record of it is trained as: question, turn (or its summary), end of text."""
        return [
            *question_ids(self.template, question, self.tokenizer),
            *part_ids(turn, self.reads, self.tokenizer),
        ]

    def _read(self, questions: Sequence[str], turns: Sequence[str]) -> list[float | None]:
        opened = {one: question_ids(self.template, one, self.tokenizer) for one in dict.fromkeys(questions)}
        return self.scorer.scores(
            self.params,
            [
                [*opened[question], *part_ids(turn, self.reads, self.tokenizer)]
                for question, turn in zip(questions, turns, strict=True)
            ],
        )


def open_reward_model(name: str, run: RunContext) -> RewardModel:
    """The reward model that the stage `name` of the run has trained; matrices are in the compute dtype.

    Raises ConfigError where that stage trains none, WorkdirError where it is not done.
    """
    run = run.of(name)
    stage = run.config.stage(name)
    check(
        isinstance(stage, RewardModelConfig),
        f"stages.{name}",
        "a stage that trains a reward model",
        type(stage).__name__,
    )
    folder, step = start_checkpoint(name, run)
    run = run.scoring()
    params = load_params(folder, step, run)
    model = run.config.model
    if model.lora is None and model.compute_dtype != "float32":
        config = StepConfig(model, OptimizerConfig(), num_steps=1)
        layout = jax.tree.map(lambda leaf: leaf.sharding, params)
        params = jit_make(lambda params: reference_copy(params, config=config), run.mesh, layout)(params)
    return RewardModel(
        Scorer(model, run.mesh, stage.scoring_batch),
        params,
        stage.template,
        stage.reads,
        run.tokenizer,
        stage.steps,
        stage.scoring_batch.row_tokens,
    )
