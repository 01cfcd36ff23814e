"""A reward model: a policy with a score head learns which answers are better, and is judged on records held out."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from r1jax.config import RewardModelConfig
from r1jax.data.iterators import epochs
from r1jax.data.packing import micro_batches
from r1jax.data.scored import pack_scored
from r1jax.learn.state import StepConfig
from r1jax.learn.steps import reward_model_step
from r1jax.scoring import bootstrap_intervals
from r1jax.stages.context import RunContext
from r1jax.stages.reward_data import Example, RewardData, length_figures, longer_chosen_share, read
from r1jax.stages.scorer import Scorer
from r1jax.stages.session import Session
from r1jax.stages.weights import load_params

BOOTSTRAP_RESAMPLES = 1000


def run(stage: RewardModelConfig, run: RunContext) -> int:
    """Trains to the end of the stage; returns the step of the checkpoint that is the reward model.

    What it is worth on the records held out is in eval.json.
    """
    run = run.scoring()
    data = read(stage, run)
    print(f"{stage.name}: {told(stage, data)}", file=sys.stderr, flush=True)
    held_out = HeldOut(stage, data.held_out, run)
    step = train(stage, run, data.train, held_out)
    folder = run.workdir.stage(stage.name)
    params = load_params(str(folder.checkpoints), step, run)
    folder.write_evaluation(held_out.evaluation(params) | data.figures | {"step": step})
    return step


def train(stage: RewardModelConfig, run: RunContext, examples: Sequence[Example], held_out: HeldOut) -> int:
    """The step of the checkpoint that comes of it."""
    config = StepConfig(run.config.model, stage.optimizer, num_steps=stage.num_steps, score_loss=stage.loss)
    with ScoreSession(stage, run, config, held_out) as session:
        batches = epochs(examples, seed=run.seed_of(f"{stage.name}/data"), batch_size=stage.batch_records)
        if "data" in session.extras:
            batches.set_state(session.extras["data"])
        capacity = -(-stage.batch_records // stage.batch.micro_batch_rows)
        while not session.done:
            drawn = next(batches)
            units = [one.unit for one in drawn]
            rows = pack_scored(units, row_tokens=stage.batch.row_tokens, packed=stage.batch.packed)
            batch = micro_batches(rows, micro_batch_rows=stage.batch.micro_batch_rows, capacity=capacity)
            session.log({**session.update(batch), **length_figures(drawn)})
            session.settle({"data": batches.get_state()})
        return session.result_step()


class HeldOut:
    """The records that are never trained on, and what a reward model is worth on them."""

    def __init__(self, stage: RewardModelConfig, examples: Sequence[Example], run: RunContext):
        self._stage, self._examples = stage, examples
        self._scorer = Scorer(run.config.model, run.mesh, stage.batch)
        self._seed = run.seed_of(f"{stage.name}/bootstrap")

    def margins(self, params: Any) -> np.ndarray:
        """Of each record, the signed sum of its scores: positive where they are right. [records], float64."""
        scores = iter(self._scorer.scores(params, [answer for one in self._examples for answer in one.answers]))
        return np.array([sum(sign * next(scores) for sign in one.signs) for one in self._examples], np.float64)

    def figures(self, params: Any) -> dict[str, float]:
        """Accuracy (a margin of 0 counts half), mean loss in nats and mean margin."""
        return _figures(self.margins(params))

    def evaluation(self, params: Any) -> dict[str, Any]:
        """The same for eval.json, with an interval; and of pairs, what the rule "the longer one" would have had."""
        margins = self.margins(params)
        interval = bootstrap_intervals(_right(margins)[:, None], resamples=BOOTSTRAP_RESAMPLES, seed=self._seed)[0]
        found: dict[str, Any] = {f"held_out_{name}": value for name, value in _figures(margins).items()}
        found["held_out_accuracy_interval"] = [float(end) for end in interval]
        if self._stage.loss == "pairwise":
            found["held_out_longer_accuracy"] = longer_chosen_share(self._examples)
        return found


def _figures(margins: np.ndarray) -> dict[str, float]:
    return {
        "accuracy": float(np.mean(_right(margins))),
        "loss": float(np.mean(np.logaddexp(0.0, -margins))),
        "margin": float(np.mean(margins)),
    }


def _right(margins: np.ndarray) -> np.ndarray:
    return 0.5 * (1.0 + np.sign(margins))


class ScoreSession(Session):
    """A session whose model writes no text: it is validated by its accuracy on what is held out."""

    def __init__(self, stage: RewardModelConfig, run: RunContext, config: StepConfig, held_out: HeldOut):
        super().__init__(stage, run, reward_model_step, config)
        self._held_out = held_out

    def update(self, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
        """As any session's; what counts for speed is the tokens that are read, not the few that are scored."""
        metrics = super().update(batch)
        self._tokens += int((batch["segments"] > 0).sum() - batch["mask"].sum())
        return metrics

    def _validate(self) -> float:
        figures = self._held_out.figures(self.state.policy)
        self.validation.add(self.step, figures["accuracy"])
        self.metrics.write(self.step, {f"validation/{name}": value for name, value in figures.items()})
        self._tic = time.monotonic()
        return figures["accuracy"]


def told(stage: RewardModelConfig, data: RewardData) -> str:
    """What came of the records, in a line for the person who watches."""
    seen = data.figures
    parts = [f"{seen['records']:,} {'pairs' if stage.loss == 'pairwise' else 'answers'}"]
    if seen["too_long"]:
        parts.append(f"{seen['too_long']:,} left out that are longer than batch.row_tokens={stage.batch.row_tokens:,}")
    if seen["same_answers"]:
        parts.append(f"{seen['same_answers']:,} left out whose answers read the same")
    if stage.balance_lengths:
        parts.append(f"{seen['left_out_for_balance']:,} left out to balance lengths")
    parts.append(f"{seen['train_records']:,} trained on, {seen['held_out_records']:,} held out")
    names = ("chosen", "rejected") if stage.loss == "pairwise" else ("label 1", "label 0")
    lengths = (
        f"{name} {seen[key]:.1f}" for name, key in zip(names, ("positive_tokens", "negative_tokens"), strict=True)
    )
    parts.append(f"mean tokens: {', '.join(lengths)}")
    if stage.loss == "pairwise":
        before, after = seen["longer_chosen_share_before"], seen["longer_chosen_share"]
        parts.append(
            f"the chosen answer is the longer one in {before:.1%}" + (f", now {after:.1%}" if before != after else "")
        )
    return "; ".join(parts)
