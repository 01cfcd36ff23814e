"""Stages that train a model to score answers."""

from __future__ import annotations

import dataclasses
from typing import ClassVar, Literal

from r1jax.config.checks import check
from r1jax.config.data import DataConfig
from r1jax.config.learn import BatchConfig
from r1jax.config.references import Leaves
from r1jax.config.stages import TrainingConfig


@dataclasses.dataclass(frozen=True)
class StepsConfig:
    """How a solution falls into steps, and how their scores (probabilities) make one number."""

    end: str = "\n\n"  # the text that ends a step
    combine: Literal["min", "product", "mean", "last"] = "min"

    def __post_init__(self):
        check(bool(self.end), "steps.end", "the text that ends a step", self.end)


@dataclasses.dataclass(frozen=True, kw_only=True)
class RewardModelConfig(TrainingConfig):
    """A score for a question and its answer, from the policy that the stage starts from with a new head.

    Records are pairs (`question`, `chosen`, `rejected`) or single answers (`question`, `response`, `label` 1 or 0).
    DeepSeek-R1's helpful model: pairwise, reads the summary; its safety model: pointwise, reads the whole.
    """

    leaves: ClassVar[Leaves] = "reward_model"

    loss: Literal["pairwise", "pointwise"] = "pairwise"
    reads: Literal["summary", "whole"] = "summary"  # of an answer: what follows the thinking, or all of it
    batch_records: int = 256  # pairs, or single answers, an update; both answers of a pair lie in one row
    held_out: DataConfig | None = None  # never trained on: they give the accuracy
    held_out_share: float = 0.05  # of the questions of `data`, where `held_out` names no other
    steps: StepsConfig | None = None  # a process reward model: a score for each step, together one number
    balance_lengths: bool = False  # as many pairs with a longer chosen answer as with a longer rejected one
    score_tokens: int | None = None  # longest question and answer that it scores for others; None: batch.row_tokens

    @property
    def scoring_batch(self) -> BatchConfig:
        """As it reads for other stages: rows of `score_tokens`, as many at once as in training."""
        longest = self.batch.row_tokens if self.score_tokens is None else self.score_tokens
        return dataclasses.replace(self.batch, row_tokens=longest)

    def __post_init__(self):
        super().__post_init__()
        tokens = self.score_tokens
        check(tokens is None or tokens >= 1, f"{self.name}.score_tokens", "1 or more, or None", tokens)
        check(self.batch_records >= 1, f"{self.name}.batch_records", "1 or more", self.batch_records)
        share = self.held_out_share
        check(0 < share < 1, f"{self.name}.held_out_share", "a share in (0, 1)", share)
        check(
            not self.balance_lengths or self.loss == "pairwise",
            f"{self.name}.balance_lengths",
            "False with the pointwise loss, which compares no answers",
            self.balance_lengths,
        )
        check(
            self.steps is None or (self.loss == "pointwise" and self.reads == "whole"),
            f"{self.name}.steps",
            'loss "pointwise" and reads "whole" with it (each record is a solution up to the end of a step)',
            (self.loss, self.reads),
        )
        check(self.evaluation is None, f"{self.name}.evaluation", "None (a reward model writes no text)", "one")
        check(not self.benchmarks, f"{self.name}.benchmarks", "none (a reward model writes no text)", "some")

    def _check_validation(self) -> None:
        check(self.validation is None, f"{self.name}.validation", "None (held_out is what it is judged on)", "one")
