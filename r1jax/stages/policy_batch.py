"""From a rollout to what the policy step eats: packed minibatches with log-probs and advantages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from r1jax.config import GrpoConfig
from r1jax.data.packing import Placement, micro_batches, pack, training_sequence, unpack
from r1jax.learn.advantages import group_advantages, kl_penalty
from r1jax.learn.state import TrainState
from r1jax.rewards.verdicts import Status
from r1jax.stages.context import RunContext
from r1jax.stages.grading import Graded, Prompt
from r1jax.stages.rollout import Rollout, group_rewards


def policy_batches(
    stage: GrpoConfig, step: int, rollout: Rollout, *, run: RunContext, state: TrainState, score: Callable
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The minibatches of a rollout, ready for `policy_step`, and the metrics of its advantages.

    `score(params, batch)` gives log-probs [M, B, T]. Old ones are asked for where more than one update follows or the
    reward needs them, reference ones where the loss or the reward does.
    """
    sequences = [
        completion_sequence(prompt, one, stage)
        for prompt, group in zip(rollout.prompts, rollout.groups, strict=True)
        for one in group
    ]
    parts = split(len(sequences), stage.minibatches, seed=run.seed_of(f"{stage.name}/minibatches"), step=step)
    batches, placements = [], []
    for part in parts:
        rows, placement = pack(
            [sequences[index] for index in part], row_tokens=stage.batch.row_tokens, packed=stage.batch.packed
        )
        batch = micro_batches(rows, micro_batch_rows=stage.batch.micro_batch_rows, capacity=micro_batch_capacity(stage))
        batch["temperature"] = np.float32(stage.temperature.at(step))
        if stage.loss.needs_reference:
            batch["ref_logps"] = score(state.reference, batch)["logps"]
        if stage.steps_per_rollout > 1 or stage.loss.kl_in_reward > 0:
            batch["old_logps"] = score(state.params, batch)["logps"]
        batches.append(batch)
        placements.append(placement)

    rewards = [reward for group in rollout.groups for reward in group_rewards(stage, step, run, group)]
    if stage.loss.kl_in_reward > 0:
        rewards = less_kl(rewards, stage.loss.kl_in_reward, batches, parts, placements)
    advantages = group_advantages(
        rewards,
        groups=[number for number, group in enumerate(rollout.groups) for _ in group],
        scaling=stage.loss.advantage_scaling,
        epsilon=stage.loss.advantage_epsilon,
        correct=[one.verdict.status is Status.CORRECT for one in rollout.completions],
    )
    for batch, part, placement in zip(batches, parts, placements, strict=True):
        batch |= advantage_arrays(advantages.values[part], advantages.valid[part], placement, batch["mask"])
    return batches, advantages.metrics


def micro_batch_capacity(stage: GrpoConfig) -> int:
    """Micro-batches that hold any minibatch, for no completion needs more than a row: one shape, one program."""
    completions = -(-stage.rollout_prompts * stage.group_size // stage.minibatches)
    return -(-completions // stage.batch.micro_batch_rows)


def completion_sequence(prompt: Prompt, one: Graded, stage: GrpoConfig) -> dict[str, np.ndarray]:
    """The training sequence of a completion; its mask is 0 where truncated completions are left out of the loss."""
    left_out = stage.loss.mask_truncated and not one.completion.stopped
    sequence = training_sequence(
        prompt.rendered.token_ids, one.completion.tokens.tolist(), sampler_logps=one.completion.logps
    )
    return sequence | {"mask": sequence["mask"] * (0.0 if left_out else 1.0)}


def split(count: int, parts: int, *, seed: int, step: int) -> list[np.ndarray]:
    """The indices of completions, dealt at random to the minibatches of a rollout [v2: 16 of them]."""
    if parts == 1:
        return [np.arange(count)]
    return np.array_split(np.random.default_rng([seed, step]).permutation(count), parts)


def less_kl(
    rewards: Sequence[float | None],
    coefficient: float,
    batches: Sequence[dict[str, Any]],
    parts: Sequence[np.ndarray],
    placements: Sequence[Placement],
) -> list[float | None]:
    """The rewards with what KL takes from them: k1 summed over each completion's tokens."""
    charged = list(rewards)
    for batch, part, placement in zip(batches, parts, placements, strict=True):
        mask_MBT = batch["mask"]
        old = unpack(batch["old_logps"] * mask_MBT, placement)
        reference = unpack(batch["ref_logps"] * mask_MBT, placement)
        for index, old_T, ref_T in zip(part, old, reference, strict=True):
            if charged[index] is not None:
                charged[index] += kl_penalty(old_T, ref_T, coefficient=coefficient)
    return charged


def advantage_arrays(
    advantages_N: np.ndarray, valid_N: np.ndarray, placement: Placement, mask_MBT: np.ndarray
) -> dict[str, np.ndarray]:
    """`advantages` [M, B, T] at every position of a completion; `mask` 0 where it is not valid (masked samples)."""
    T = mask_MBT.shape[-1]
    advantages_RT = np.zeros((mask_MBT.size // T, T), np.float32)
    mask_RT = mask_MBT.reshape(-1, T).copy()
    spans = zip(placement.rows, placement.starts, placement.lengths, strict=True)
    for advantage, valid, (row, start, length) in zip(advantages_N, valid_N, spans, strict=True):
        advantages_RT[row, start : start + length] = advantage
        mask_RT[row, start : start + length] *= valid
    return {"advantages": advantages_RT.reshape(mask_MBT.shape), "mask": mask_RT.reshape(mask_MBT.shape)}
