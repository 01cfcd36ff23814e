"""On-policy distillation: the student samples, and a teacher says of every token how it would have liked it.

A rollout y ~ p_old(. | x) of the student is scored by both models under teacher forcing, at the temperature T of the
rollout (every log-probability is of logits / T). A token's advantage is

    A_t = log p_teacher(y_t | x, y_<t) - log p_old(y_t | x, y_<t)

and the update is that of a policy loss (`learn.policy_losses`, the token mean `bnpo` by default). -A_t is a one-sample
estimate of the reverse KL of the next token, KL(p || p_teacher) = sum_v p(v) (log p(v) - log p_teacher(v)), and the
expectation of A_t grad log p(y_t) is minus its gradient, for sum_v grad p(v) = 0: docs/distillation.md has the lines,
the sources (MiniLLM, arXiv:2306.08543; GKD, arXiv:2306.13649) and what is done otherwise than there.

No reward is asked. A rollout is journalled with both models' log-probs before its first update, so that a run that was
killed trains on the very same.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from r1jax.config import DistillConfig
from r1jax.data.iterators import epochs
from r1jax.data.packing import Arrays, unpack
from r1jax.learn.jit import jit_score, place_batch
from r1jax.learn.state import StepConfig, TrainState, state_shardings
from r1jax.learn.steps import policy_step, score
from r1jax.stages import distill_rollout as rollouts
from r1jax.stages.context import RunContext
from r1jax.stages.distill_rollout import DistillRollout
from r1jax.stages.distill_teacher import Teacher, open_teacher
from r1jax.stages.edited_lines import named_line
from r1jax.stages.grading import render_one
from r1jax.stages.policy_batch import packed, split
from r1jax.stages.session import Session
from r1jax.stages.updates import first_coefficient, update_on

# Of an id that the teacher lacks, as the padding of a student's longer embedding: nats. Finite, as a gradient must be.
NEVER = math.log(1e-9)

Score = Callable[[dict[str, Any]], np.ndarray]  # batch -> log-probs of its targets [M, B, T]


def run(stage: DistillConfig, run: RunContext) -> int:
    """Trains to the end of the stage; returns the step of the checkpoint that later stages take.

    ConfigError where the teacher is none that can score the student's tokens.
    """
    records = run.load(stage.data)
    for number, record in enumerate(records):  # one that cannot be asked is found now, not when it is drawn
        with named_line(number, stage.data, run):
            render_one(record, stage.template, run, max_prompt_tokens=stage.sampler.max_prompt_tokens)
    teacher = open_teacher(stage.teacher, run)
    longest = int(stage.max_new_tokens.largest)
    config = StepConfig(
        model=run.config.model,
        optimizer=stage.optimizer,
        num_steps=stage.num_steps,
        loss=stage.loss,
        max_new_tokens=longest,
    )
    sampler = run.sampler(stage.sampler, longest)
    compiled = jit_score(score, run.mesh, state_shardings(config, run.mesh).policy, config)

    def scored_by(params: Any) -> Score:
        return lambda batch: np.asarray(compiled(params, place_batch(batch, run.mesh))["logps"])

    with Session(stage, run, policy_step, config) as session:
        prompts = epochs(records, seed=run.seed_of(f"{stage.name}/data"), batch_size=stage.rollout_prompts)
        if "data" in session.extras:
            prompts.set_state(session.extras["data"])
        kl_coefficient = first_coefficient(stage, session.extras)
        while not session.done:
            step = session.step
            rollout = rollouts.replay(step, run, stage)
            if rollout is None:
                sampler.load(session.state.policy)
                rollout = rollouts.collect(stage, step, run=run, sampler=sampler, prompts=prompts)
                add_scores(rollout, stage, step, run=run, student=scored_by(session.state.policy), teacher=teacher)
                rollouts.journal(rollout, step, run, stage)
            else:
                prompts.set_state(rollout.data_state)
            batches, figures = distill_batches(stage, step, rollout, run=run, state=session.state, scored_by=scored_by)
            figures |= rollouts.figures(rollout, run)
            kl_coefficient = update_on(
                session,
                stage,
                batches,
                figures,
                kl_coefficient=kl_coefficient,
                num_sequences=len(rollout.completions),
            )
            session.log_samples(rollouts.sample_lines(rollout, run, run.config.logging.samples_per_step))
            session.settle({"data": rollout.data_state, "kl_coefficient": kl_coefficient})
        return session.result_step()


def add_scores(
    rollout: DistillRollout, stage: DistillConfig, step: int, *, run: RunContext, student: Score, teacher: Teacher
) -> None:
    """Gives the rollout both models' log-probs of its tokens."""
    sequences = rollout.sequences()
    of_student = logps_of(sequences, stage, step, run=run, score=student)
    known = [clipped(one, teacher.model.vocab_size) for one in sequences]
    of_teacher = logps_of(known, stage, step, run=run, score=teacher.logps)
    rollout.old_logps, rollout.teacher_logps = [], []
    for index, one in enumerate(rollout.completions):
        there = slice(-len(one.tokens), None)  # a completion's tokens are the last of its positions
        rollout.old_logps.append(of_student[index][there])
        rollout.teacher_logps.append(as_far_as_known(of_teacher[index][there], one.tokens < teacher.model.vocab_size))


def as_far_as_known(logps_T: np.ndarray, known_T: np.ndarray) -> np.ndarray:
    """Log-probs up to the first id that the teacher's embedding lacks: there `NEVER`, and behind it, unread, NaN."""
    if known_T.all():
        return logps_T
    first = int(known_T.argmin())
    return np.concatenate([logps_T[:first], [NEVER], np.full(len(logps_T) - first - 1, np.nan)]).astype(np.float32)


def distill_batches(
    stage: DistillConfig,
    step: int,
    rollout: DistillRollout,
    *,
    run: RunContext,
    state: TrainState,
    scored_by: Callable[[Any], Score],
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The minibatches of a scored rollout, ready for `policy_step`, and the metrics of what is trained on.

    A minibatch whose completions are all masked has nothing scored, and makes no update.
    """
    sequences = rollout.sequences()
    work = {}
    if stage.loss.needs_reference:
        work = rollouts.scoring_work(rollout).metrics("score/reference")
        reference = logps_of(sequences, stage, step, run=run, score=scored_by(state.reference_policy))
        for sequence, logps_T in zip(sequences, reference, strict=True):
            sequence["ref_logps"] = logps_T
    trained = 0
    for one, sequence in zip(rollout.completions, sequences, strict=True):
        teacher_T, old_T = sequence.pop("teacher_logps"), sequence["old_logps"]
        counts_T = np.isfinite(teacher_T) & (one.stopped or not stage.loss.mask_truncated)
        sequence["mask"] = np.where(counts_T, sequence["mask"], np.float32(0))
        sequence["advantages"] = np.where(sequence["mask"] > 0, teacher_T - old_T, np.float32(0))
        trained += int(sequence["mask"].sum())
        if stage.steps_per_rollout == 1:
            del sequence["old_logps"]  # the update's own are the same, without rounding
    parts = split(len(sequences), stage.minibatches, seed=run.seed_of(f"{stage.name}/minibatches"), step=step)
    batches = [packed([sequences[index] for index in part], stage, step)[0] for part in parts]
    untrained = 1.0 - trained / sum(len(one.tokens) for one in rollout.completions)
    return batches, {"untrained_share": untrained, **work}


def logps_of(
    sequences: list[Arrays], stage: DistillConfig, step: int, *, run: RunContext, score: Score
) -> list[np.ndarray]:
    """A model's log-probs of every target of the sequences, in pieces of the shape that updates have."""
    found: list[np.ndarray] = [np.zeros(0, np.float32)] * len(sequences)
    for part in split(len(sequences), stage.minibatches, seed=run.seed_of(f"{stage.name}/minibatches"), step=step):
        read = ("tokens", "targets", "mask")  # of these alone, so that one program serves every call
        batch, placement = packed([{name: sequences[index][name] for name in read} for index in part], stage, step)
        for index, logps_T in zip(part, unpack(score(batch), placement), strict=True):
            found[index] = logps_T
    return found


def clipped(sequence: Arrays, vocab_size: int) -> Arrays:
    """The sequence with ids that a vocabulary lacks replaced by its last one."""
    return sequence | {name: np.minimum(sequence[name], vocab_size - 1) for name in ("tokens", "targets")}
