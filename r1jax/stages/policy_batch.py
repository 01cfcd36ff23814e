"""From a rollout to what the policy step eats: packed minibatches with log-probs and advantages."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from r1jax.config import GrpoConfig
from r1jax.data.packing import Arrays, Placement, micro_batches, pack, training_sequence, unpack
from r1jax.learn.advantages import group_advantages, kl_penalty
from r1jax.learn.state import TrainState
from r1jax.models.flops import sequences_work
from r1jax.rewards.verdicts import Status
from r1jax.stages.context import RunContext
from r1jax.stages.rollout import Rollout, group_rewards


def policy_batches(
    stage: GrpoConfig, step: int, rollout: Rollout, *, run: RunContext, state: TrainState, score: Callable
) -> tuple[list[dict[str, Any]], dict[str, float]]:
    """The minibatches of a rollout, ready for `policy_step`, and the metrics of its advantages.

    `score(params, batch)` gives log-probs [M, B, T]. Old ones are asked for where more than one update follows or the
    reward needs them, reference ones where the loss or the reward does. Completions that cannot move the policy are
    left out, and counted where the loss counts them (`left_out`); a minibatch without any other has nothing scored.
    """
    sequences = [
        training_sequence(prompt.rendered.token_ids, one.completion.tokens.tolist(), sampler_logps=one.completion.logps)
        for prompt, group in zip(rollout.prompts, rollout.groups, strict=True)
        for one in group
    ]
    parts = split(len(sequences), stage.minibatches, seed=run.seed_of(f"{stage.name}/minibatches"), step=step)
    add_logps(sequences, parts, stage, step, state=state, score=score)
    rewards = [reward for group in rollout.groups for reward in group_rewards(stage, step, run, group)]
    if stage.loss.kl_in_reward > 0:
        rewards = [
            less_kl(reward, sequence, stage.loss.kl_in_reward)
            for reward, sequence in zip(rewards, sequences, strict=True)
        ]
    advantages = group_advantages(
        rewards,
        groups=[number for number, group in enumerate(rollout.groups) for _ in group],
        scaling=stage.loss.advantage_scaling,
        epsilon=stage.loss.advantage_epsilon,
    )
    for one, sequence, advantage, valid in zip(
        rollout.completions, sequences, advantages.values, advantages.valid, strict=True
    ):
        # Only now: a completion that is not trained on pays its KL all the same.
        trained = valid and (one.completion.stopped or not stage.loss.mask_truncated)
        sequence["mask"] = sequence["mask"] * np.float32(trained)
        sequence["advantages"] = np.full_like(sequence["mask"], advantage)

    blank = sequences[0] | {"mask": np.zeros_like(sequences[0]["mask"])}
    batches = []
    for part in parts:
        members = [sequences[index] for index in part]
        skipped = [one["mask"].sum() for one in members if left_out(one, stage)]
        batch, _ = packed([one for one in members if not left_out(one, stage)] or [blank], stage, step)
        batch["skipped_sequences"] = np.float32(np.count_nonzero(skipped))
        batch["skipped_tokens"] = np.float32(np.sum(skipped))
        batches.append(batch)
    return batches, advantages.metrics | solved_shares(rollout, advantages.valid) | scoring_work(rollout, sequences)


def solved_shares(rollout: Rollout, valid: Sequence[bool]) -> dict[str, float]:
    """The shares of groups all right and all wrong: of those that were kept and whose answers a rule judges at all.

    Args:
      valid: of each completion, whether its group was kept and it has a reward.
    """
    kept = iter(valid)
    right = []
    for group in rollout.groups:
        statuses = [one.verdict.status for one in group if next(kept)]
        if any(status is not Status.SCORED for status in statuses):
            right.append([status is Status.CORRECT for status in statuses])
    judged = max(1, len(right))
    return {
        "all_right_share": sum(map(all, right)) / judged,
        "all_wrong_share": sum(not any(group) for group in right) / judged,
    }


def scoring_work(rollout: Rollout, sequences: Sequence[Arrays]) -> dict[str, int]:
    """What the old policy and the reference have read to score the sequences, as metrics."""
    lengths = [
        (len(prompt.rendered.token_ids), len(one.completion.tokens))
        for prompt, group in zip(rollout.prompts, rollout.groups, strict=True)
        for one in group
    ]
    found = {}
    for name, who in (("old_logps", "old"), ("ref_logps", "reference")):
        if name in sequences[0]:
            found |= sequences_work(lengths).metrics(f"score/{who}")
    return found


def micro_batch_capacity(stage: GrpoConfig) -> int:
    """Micro-batches that hold any minibatch, for no completion needs more than a row: one shape, one program."""
    completions = -(-stage.rollout_prompts * stage.group_size // stage.minibatches)
    return -(-completions // stage.batch.micro_batch_rows)


def split(count: int, parts: int, *, seed: int, step: int) -> list[np.ndarray]:
    """The indices of completions, dealt at random to the minibatches of a rollout [v2: 16 of them].

    Some are empty where dynamic sampling left fewer completions than minibatches.
    """
    if parts == 1:
        return [np.arange(count)]
    return np.array_split(np.random.default_rng([seed, step]).permutation(count), parts)


def packed(sequences: Sequence[Arrays], stage: GrpoConfig, step: int) -> tuple[dict[str, Any], Placement]:
    """The sequences as micro-batches [M, B, T], of one shape whatever their number, and where each went."""
    rows, placement = pack(sequences, row_tokens=stage.batch.row_tokens, packed=stage.batch.packed)
    batch = micro_batches(rows, micro_batch_rows=stage.batch.micro_batch_rows, capacity=micro_batch_capacity(stage))
    return batch | {"temperature": np.float32(stage.temperature.at(step))}, placement


def add_logps(
    sequences: Sequence[Arrays],
    parts: Sequence[np.ndarray],
    stage: GrpoConfig,
    step: int,
    *,
    state: TrainState,
    score: Callable,
) -> None:
    """Gives each sequence its `ref_logps` and `old_logps`, where they are needed."""
    models = {}
    if stage.loss.needs_reference:
        models["ref_logps"] = state.reference_policy
    if stage.steps_per_rollout > 1 or stage.loss.kl_in_reward > 0:
        models["old_logps"] = state.policy
    for part in parts:
        if not models or not part.size:
            continue
        batch, placement = packed([sequences[index] for index in part], stage, step)
        for name, params in models.items():  # of the same arrays for both: one program
            scored = unpack(score(params, batch)["logps"], placement)
            for index, logps_T in zip(part, scored, strict=True):
                sequences[index][name] = logps_T


def less_kl(reward: float | None, sequence: Arrays, coefficient: float) -> float | None:
    """The reward of a completion with what KL takes from it: k1 summed over its tokens."""
    if reward is None:
        return None
    old, reference = (sequence[name] * sequence["mask"] for name in ("old_logps", "ref_logps"))
    return reward + kl_penalty(old, reference, coefficient=coefficient)


def left_out(sequence: Arrays, stage: GrpoConfig) -> bool:
    """Whether every term of the sequence's loss is zero: it is masked, or has A = 0 and no other term is there."""
    policy_alone = stage.loss.kl_coefficient == 0 and stage.loss.entropy_coefficient == 0
    return not sequence["mask"].any() or (policy_alone and not sequence["advantages"].any())
