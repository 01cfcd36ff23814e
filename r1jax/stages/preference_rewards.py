"""Rewards from reward models: their scores beside those of the rules, in rollouts and at validations.

Between two uses the parameters of a reward model rest in the host's memory; on the devices they lie only while it
scores, one model at a time, when the sampler's cache is gone and no update runs.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from r1jax.config import GrpoConfig
from r1jax.models.flops import Work
from r1jax.rewards.verdicts import RewardError, Score, Status
from r1jax.stages.context import RunContext
from r1jax.stages.grading import Graded, Prompt
from r1jax.stages.scorer import RewardModel, open_reward_model

SCORE = "reward_model_score"  # the mean over the reward models


class PreferenceRewards:
    """The reward models of a stage. Each is opened when it is first asked, and let go of where its weight is 0."""

    def __init__(self, stage: GrpoConfig, run: RunContext):
        self._stage, self._run = stage, run
        self._resting: dict[str, tuple[RewardModel, Any]] = {}  # with parameters on the host, and where they go
        self._work: dict[str, Work] = {}

    def added(self, step: int, prompts: Sequence[Prompt], groups: Sequence[Sequence[Graded]]) -> list[list[Graded]]:
        """The groups of a rollout that begins with `step`, with the scores of the models whose weight is then not 0.

        Only completions of the model's reward sets are scored. One that is longer than the model's rows is masked.
        Raises RewardError for a score that is not finite.
        """
        found = [list(group) for group in groups]
        for one in self._stage.preferences:
            members = [number for number, group in enumerate(found) if group[0].verdict.reward_set in one.sets]
            if not members or one.weight.at(step) == 0:
                continue
            scores = self._scores(one.model, [prompts[n] for n in members], [found[n] for n in members])
            for number, values in zip(members, scores, strict=True):
                found[number] = [
                    with_score(graded, one.model, value, prompts[number])
                    for graded, value in zip(found[number], values, strict=True)
                ]
        self._let_go(step)
        return found

    def figures(self, step: int, prompts: Sequence[Prompt], groups: Sequence[Sequence[Graded]]) -> dict[str, float]:
        """The mean score by each model, `reward_model/NAME`, and the mean of these, over samples of any reward set.

        What is longer than a model's rows is passed over; a model that has scored nothing has no figure.
        """
        found = {}
        for one in self._stage.preferences:
            scores = self._scores(one.model, prompts, groups)
            values = [value for group in scores for value in group if value is not None]
            if values:
                found[f"reward_model/{one.model}"] = float(np.mean(values))
        self._let_go(step)
        return found | ({SCORE: float(np.mean(list(found.values())))} if found else {})

    def take_work(self) -> dict[str, int]:
        """What the models have read since the last call, as metrics."""
        work, self._work = self._work, {}
        return {metric: value for name, one in work.items() for metric, value in one.metrics(f"score/{name}").items()}

    def _scores(
        self, name: str, prompts: Sequence[Prompt], groups: Sequence[Sequence[Graded]]
    ) -> list[list[float | None]]:
        if name not in self._resting:
            opened = open_reward_model(name, self._run)
            layout = jax.tree.map(lambda leaf: leaf.sharding, opened.params)
            self._resting[name] = dataclasses.replace(opened, params=jax.device_get(opened.params)), layout
            del opened  # the devices' copy
        resting, layout = self._resting[name]
        model = dataclasses.replace(resting, params=jax.device_put(resting.params, layout))
        questions = [prompt.record["question"] for prompt, group in zip(prompts, groups, strict=True) for _ in group]
        read = model.scorer.work
        scores = iter(model.scores(questions, [one.text for group in groups for one in group]))
        self._work[name] = self._work.get(name, Work()) + model.scorer.work - read
        return [[next(scores) for _ in group] for group in groups]

    def _let_go(self, step: int) -> None:
        """Frees the models that are not asked at every rollout around `step`."""
        for one in self._stage.preferences:
            if one.weight.at(step) == 0:
                self._resting.pop(one.model, None)


def with_score(graded: Graded, name: str, value: float | None, prompt: Prompt) -> Graded:
    """The completion with a reward model's score after those of its rules; None masks it."""
    if value is not None and not math.isfinite(value):
        raise RewardError(
            f"reward model {name}, record {prompt.record.get('id')!r}: expected a finite score, found {value}; "
            "look at the metrics of that stage"
        )
    score = Score(None, Status.VERIFIER_ERROR) if value is None else Score(value, Status.SCORED)
    scores = {**graded.verdict.scores, name: score}
    return dataclasses.replace(graded, verdict=dataclasses.replace(graded.verdict, scores=scores))
