"""Group relative policy optimisation: sample groups, grade them, compare within each group, update.

A rollout is collected under one policy, written to the journal with its verdicts, and only then trained on:
`minibatches` x `inner_epochs` updates against the log-probs that the policy had at its start.
"""

from __future__ import annotations

import numpy as np

from r1jax.config import GrpoConfig
from r1jax.learn.jit import jit_score, place_batch
from r1jax.learn.state import StepConfig, state_shardings
from r1jax.learn.steps import policy_step, score
from r1jax.stages import rollout as rollouts
from r1jax.stages.context import RunContext
from r1jax.stages.evaluate import sample_lines
from r1jax.stages.mixed_prompts import open_prompts
from r1jax.stages.policy_batch import policy_batches
from r1jax.stages.preference_rewards import PreferenceRewards
from r1jax.stages.preference_session import PreferenceSession
from r1jax.stages.updates import first_coefficient, update_on


def run(stage: GrpoConfig, run: RunContext) -> int:
    """Trains to the end of the stage; returns the step of the checkpoint that later stages take."""
    prompts = open_prompts(stage, run)
    preferences = PreferenceRewards(stage, run)
    longest = int(stage.max_new_tokens.largest)
    config = StepConfig(
        model=run.config.model,
        optimizer=stage.optimizer,
        num_steps=stage.num_steps,
        loss=stage.loss,
        max_new_tokens=longest,
    )
    sampler = run.sampler(stage.sampler, longest)
    compiled_score = jit_score(score, run.mesh, state_shardings(config, run.mesh).policy, config)

    def score_batch(params, batch):
        scores = compiled_score(params, place_batch(batch, run.mesh))
        return {name: np.asarray(values) for name, values in scores.items()}

    with PreferenceSession(stage, run, policy_step, config, preferences) as session:
        session.look_before_training()
        if "data" in session.extras:
            prompts.set_state(session.extras["data"])
        kl_coefficient = first_coefficient(stage, session.extras)
        while not session.done:
            step = session.step
            rollout = rollouts.replay(step, run, stage)
            if rollout is None:
                sampler.load(session.state.policy)
                rollout = rollouts.collect(
                    stage, step, run=run, sampler=sampler, prompts=prompts.at(step), preferences=preferences
                )
                rollouts.journal(rollout, step, run, stage)
            else:
                prompts.set_state(rollout.data_state)
            batches, figures = policy_batches(stage, step, rollout, run=run, state=session.state, score=score_batch)
            figures |= rollouts.figures(rollout, run)
            kl_coefficient = update_on(
                session,
                stage,
                batches,
                figures,
                kl_coefficient=kl_coefficient,
                num_sequences=len(rollout.completions),
            )
            session.log_samples(sample_lines(rollout.prompts, rollout.groups, run.config.logging.samples_per_step))
            refresh = stage.reference_refresh_every
            if stage.loss.needs_reference and refresh is not None and session.step % refresh == 0:
                session.refresh_reference()
            session.settle({"data": rollout.data_state, "kl_coefficient": kl_coefficient})
        return session.result_step()
