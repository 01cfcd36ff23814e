"""From the rewards of a rollout to advantages, on the host (NumPy, float64 inside).

A = (R - mean) / (std + epsilon) over the completions of one prompt (DeepSeek-R1 eq. 3). A completion without
a verdict is in neither mean nor std, and a group left with fewer than two is dropped: there is nothing to
compare.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

Scaling = Literal["group", "batch", "none"]


class Advantages(NamedTuple):
    values: np.ndarray  # float32 [N], 0 where not valid
    valid: np.ndarray  # bool [N]: has a reward and belongs to a group that was kept
    metrics: dict[str, float]


def group_advantages(
    rewards: Sequence[float | None],
    groups: Sequence[int],
    *,
    scaling: Scaling,
    epsilon: float,
) -> Advantages:
    """Advantages of N completions, each compared with the others of its group.

    Args:
      rewards: one a completion; None where the verifier could not tell (masked).
      groups: the prompt that each completion answers; completions of a group need not stand together.
      scaling: what R - mean is divided by: the group's std (GRPO), that of all valid rewards of the batch
        (Liu et al. 2025, "Tricks or Traps"), or nothing (Dr. GRPO). Stds have ddof 0 and `epsilon` added.
      epsilon: a group with a std below it has advantage 0, whatever the scaling.
    Metrics: reward (mean over valid ones), reward_std (over the batch), zero_variance_share (of the
      groups kept), groups, dropped_groups, masked_samples.
    Errors: ValueError for lengths that differ or a reward that is not finite.
    """
    if len(rewards) != len(groups):
        raise ValueError(f"expected one group a reward, found {len(rewards)} rewards, {len(groups)} groups")
    scored = np.array([reward is not None for reward in rewards], bool)
    values = np.array([0.0 if reward is None else reward for reward in rewards], np.float64)
    if not np.isfinite(values).all():
        at = int(np.flatnonzero(~np.isfinite(values))[0])
        raise ValueError(f"expected finite rewards, found {values[at]} at completion {at}")
    members = _members(groups)
    kept = {group: rows[scored[rows]] for group, rows in members.items() if scored[rows].sum() >= 2}
    valid = np.zeros(len(values), bool)
    for rows in kept.values():
        valid[rows] = True
    batch_std = float(np.std(values[valid])) if valid.any() else 0.0

    advantages = np.zeros(len(values), np.float64)
    zero_variance = 0
    for rows in kept.values():
        std = float(np.std(values[rows]))
        if std < epsilon:
            zero_variance += 1
        else:
            divisor = {"group": std + epsilon, "batch": batch_std + epsilon, "none": 1.0}[scaling]
            advantages[rows] = (values[rows] - values[rows].mean()) / divisor
    metrics = {
        "reward": float(values[valid].mean()) if valid.any() else math.nan,
        "reward_std": batch_std,
        "groups": float(len(kept)),
        "dropped_groups": float(len(members) - len(kept)),
        "masked_samples": float((~scored).sum()),
        "zero_variance_share": zero_variance / max(1, len(kept)),
    }
    return Advantages(advantages.astype(np.float32), valid, metrics)


def _members(groups: Sequence[int]) -> dict[int, np.ndarray]:
    order: dict[int, list[int]] = {}
    for row, group in enumerate(groups):
        order.setdefault(group, []).append(row)
    return {group: np.array(rows) for group, rows in order.items()}


def overlong_penalty(num_tokens: int, *, max_new_tokens: int, overlong_tokens: int) -> float:
    """DAPO's soft overlong punishment (eq. 13), in tokens: 0, then linearly to -1 over the last
    `overlong_tokens`.

    A completion of exactly `max_new_tokens` has -1.
    """
    over = num_tokens - (max_new_tokens - overlong_tokens)
    return -min(1.0, max(0.0, over / overlong_tokens))


def kl_penalty(old_logps: np.ndarray, ref_logps: np.ndarray, *, coefficient: float) -> float:
    """What `kl_in_reward` adds to a reward: -coefficient * the sum over the tokens of k1 = log pi_old - log pi_ref.

    k1 stands here only: as a loss its gradient is zero in expectation on-policy (Schulman 2020).
    """
    difference = np.asarray(old_logps, np.float64) - np.asarray(ref_logps, np.float64)
    return -coefficient * float(difference.sum())
