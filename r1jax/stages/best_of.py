"""What the reward models of a run say of an evaluation's samples: their mean score, and the best of k by each."""

from __future__ import annotations

import numpy as np

from r1jax import scoring
from r1jax.config import EvaluationConfig
from r1jax.rewards.verdicts import Status
from r1jax.search.choosing import best_is_right, weighted_votes
from r1jax.stages.context import RunContext
from r1jax.stages.grading import Graded, Prompt
from r1jax.stages.scorer import RewardModel, open_reward_model


def figures(
    evaluation: EvaluationConfig, prompts: list[Prompt], graded: list[list[Graded]], *, run: RunContext, seed: int
) -> dict[str, float | list[float] | None]:
    """For each reward model of `scored_by`: `reward_model/NAME`, the mean score of all samples, `best@k/NAME`, and
    `weighted_cons@k/NAME` where answers vote.

    The second is how often the sample that the model likes best is right, with a 95 % interval over the questions;
    ties by expectation; the third the majority in which each vote counts by the model's score of its sample. Samples
    that are longer than the model's rows, or could not be graded, are passed over; a question without any others has
    no best one, and no majority is not right. None where nothing is left.
    """
    found: dict[str, float | list[float] | None] = {}
    for name in evaluation.scored_by:
        model = open_reward_model(name, run)
        scores = scores_of(model, prompts, graded)
        every = [score for group in scores for score in group if score is not None]
        found[f"reward_model/{name}"] = float(np.mean(every)) if every else None
        best = [best_of_group(group, samples) for group, samples in zip(scores, graded, strict=True)]
        known = np.array([share for share in best if share is not None], np.float64)
        key = f"best@{evaluation.samples}/{name}"
        found[key] = float(known.mean()) if known.size else None
        if known.size:
            low, high = scoring.bootstrap_intervals(
                known[:, None], resamples=evaluation.bootstrap_resamples, seed=seed
            )[0]
            found[f"{key}_interval"] = [float(low), float(high)]
        if evaluation.answers_vote:
            found[f"weighted_cons@{evaluation.samples}/{name}"] = weighted(model, scores, graded, run)
    return found


def weighted(
    model: RewardModel, scores: list[list[float | None]], graded: list[list[Graded]], run: RunContext
) -> float:
    """How often the weighted majority is right, over the questions."""
    right = weighted_votes(
        [[None if one.verdict.masked else one.verdict.answer for one in group] for group in graded],
        [model.vote_weights(group) for group in scores],
        [[one.verdict.status is Status.CORRECT for one in group] for group in graded],
        equivalent=run.rewards.equivalent,
    )
    return float(np.mean([0.0 if share is None else share for share in right]))


def scores_of(model: RewardModel, prompts: list[Prompt], graded: list[list[Graded]]) -> list[list[float | None]]:
    """The reward model's score of every sample, [P][G]."""
    questions = [prompt.record["question"] for prompt, group in zip(prompts, graded, strict=True) for _ in group]
    scores = iter(model.scores(questions, [one.text for group in graded for one in group]))
    return [[next(scores) for _ in group] for group in graded]


def best_of_group(scores: list[float | None], samples: list[Graded]) -> float | None:
    """The share of right ones among the graded samples with the highest score; None where no such sample has one."""
    return best_is_right(
        [None if one.verdict.masked else score for score, one in zip(scores, samples, strict=True)],
        [one.verdict.status is Status.CORRECT for one in samples],
    )
