"""The updates that one rollout serves, and the KL coefficient that they are taken with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from r1jax.config import OnPolicyConfig
from r1jax.learn.kl import adapted_coefficient
from r1jax.stages.session import Session


def first_coefficient(stage: OnPolicyConfig, extras: Mapping[str, Any]) -> float:
    """The KL coefficient to begin with: the config's, or the one that a resumed run had come to by adapting it."""
    if stage.loss.kl_target is None:
        return stage.loss.kl_coefficient
    return extras.get("kl_coefficient", stage.loss.kl_coefficient)


def update_on(
    session: Session,
    stage: OnPolicyConfig,
    batches: Sequence[Mapping[str, Any]],
    figures: Mapping[str, float],
    *,
    kl_coefficient: float,
    num_sequences: int,
) -> float:
    """Takes the steps of a rollout of `num_sequences` completions on its minibatches, and logs them.

    `figures`, those of the rollout, stand in the line of its first step. Returns the KL coefficient of the next
    rollout: the same one, or with `loss.kl_target` the one that the last step's KL asks for.
    """
    for number in range(stage.steps_per_rollout):
        batch = batches[number % stage.minibatches]
        metrics = session.update(batch | {"kl_coefficient": np.float32(kl_coefficient)})
        session.log({**metrics, **figures, "kl_coefficient": kl_coefficient} if number == 0 else metrics)
    if stage.loss.kl_target is None:
        return kl_coefficient
    return adapted_coefficient(
        kl_coefficient,
        float(metrics["kl"]),
        target=stage.loss.kl_target,
        num_sequences=num_sequences,
        horizon=stage.loss.kl_horizon,
    )
