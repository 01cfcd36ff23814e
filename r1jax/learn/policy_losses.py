"""The GRPO family: one table of pure functions from per-token terms to (sum of the loss, its weight).

A loss is a per-token term and a way of weighting tokens; KL and entropy are weighted as the policy term is.
Sums and weights are added up over micro-batches, rows and devices, and divided once (`steps.py`), so that how
a batch is split or packed cannot change the result. docs/equations.md has the sources and what we chose where
they are silent.

`bnpo` and `dapo` are the same function here: both divide by the tokens of the whole update. What else DAPO is
made of are other fields (`clip_high`, `dynamic_sampling`, `overlong_tokens`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from r1jax.config import PolicyLossConfig
from r1jax.learn.segments import count_sequences, sequence_shares, sequence_sums


class PolicyTerms(NamedTuple):
    """What a policy loss is made of. Float32, nats; what stands where `mask` is 0 is ignored."""

    logps: Float[Array, "B T"]  # of the policy, differentiable
    old_logps: Float[Array, "B T"]  # of the policy at the start of the rollout, under the trainer's numerics
    advantages: Float[Array, "B T"]  # of GRPO the same at every token of a sequence, of a distillation per token
    mask: Float[Array, "B T"]  # 1 at the completion's tokens that are trained, EOS among them
    segments: Int[Array, "B T"]
    entropy: Float[Array, "B T"]  # of the policy's distribution at each token
    ref_logps: Float[Array, "B T"] | None = None  # of the reference
    sampler_logps: Float[Array, "B T"] | None = None  # as recorded while sampling


class LossSums(NamedTuple):
    """Sums over a micro-batch. The mean loss is the sum of `loss` over the sum of `weight`."""

    loss: Float[Array, ""]
    weight: Float[Array, ""]
    tokens: Float[Array, ""]  # scored
    sequences: Float[Array, ""]  # with a scored token
    sums: dict[str, Float[Array, ""]]  # of metrics, over tokens
    maxima: dict[str, Float[Array, ""]]  # of metrics, each at least 0
    load: Float[Array, "L E"] | None = None  # tokens that each expert was given; None without experts


def _token_ratio(terms: PolicyTerms, log_ratio_BT):
    """log(pi / pi_old) of each token."""
    return log_ratio_BT


def _sequence_ratio(terms: PolicyTerms, log_ratio_BT):
    """Its mean over the sequence: log of GSPO's length-normalised ratio (Zheng et al. 2025, eq. 7)."""
    shares_BT = sequence_shares(terms.mask, terms.segments)
    return sequence_sums(log_ratio_BT * shares_BT, terms.segments)


def _clipped(terms: PolicyTerms, log_ratio_BT, config: PolicyLossConfig):
    """-min(r A, clip(r) A): PPO's surrogate (Schulman et al. 2017, eq. 7; DeepSeek-R1 eq. 1)."""
    ratio_BT = jnp.exp(log_ratio_BT)
    clipped_BT = jnp.clip(ratio_BT, 1.0 - config.clip_low, 1.0 + config.clip_high)
    objective_BT = jnp.minimum(ratio_BT * terms.advantages, clipped_BT * terms.advantages)
    if config.dual_clip is not None:
        # Ye et al. 2020, eq. 5: where A < 0 the objective is bounded below by c A.
        bounded_BT = jnp.maximum(objective_BT, config.dual_clip * terms.advantages)
        objective_BT = jnp.where(terms.advantages < 0, bounded_BT, objective_BT)
    return -objective_BT


def _weighted_likelihood(terms: PolicyTerms, log_ratio_BT, config: PolicyLossConfig):
    """CISPO (MiniMax-M1, eq. 4-5): -sg(clip(r)) A log pi. A cut ratio bounds a gradient and leaves it."""
    ratio_BT = jnp.clip(jnp.exp(log_ratio_BT), 1.0 - config.clip_low, 1.0 + config.clip_high)
    return -jax.lax.stop_gradient(ratio_BT) * terms.advantages * jnp.where(terms.mask > 0, terms.logps, 0.0)


def _cut_by_sign(terms: PolicyTerms, ratio_BT, config: PolicyLossConfig):
    """PPO's minimum takes the cut ratio below where A < 0, above where A > 0; a dual clip cuts above where A < 0."""
    low_BT = (ratio_BT < 1.0 - config.clip_low) & (terms.advantages < 0)
    high_BT = (ratio_BT > 1.0 + config.clip_high) & (terms.advantages > 0)
    if config.dual_clip is not None:
        high_BT |= (ratio_BT > config.dual_clip) & (terms.advantages < 0)
    return low_BT, high_BT


def _cut_on_both_sides(terms: PolicyTerms, ratio_BT, config: PolicyLossConfig):
    """CISPO cuts its weight whatever the sign of A; where A is 0 there is nothing to cut."""
    counts_BT = terms.advantages != 0
    return (ratio_BT < 1.0 - config.clip_low) & counts_BT, (ratio_BT > 1.0 + config.clip_high) & counts_BT


class Weighting(NamedTuple):
    tokens: Callable  # (terms) -> weight of each token in the sum
    total: Callable  # (sequences, tokens, max_new_tokens) -> weight of the sum


# Per-sequence means, each sequence alike (DeepSeekMath eq. 3: 1/G sum_i 1/|o_i| sum_t).
SEQUENCE_MEAN = Weighting(
    lambda terms: sequence_shares(terms.mask, terms.segments),
    lambda sequences, tokens, max_new_tokens: sequences,
)
# Every token alike (DAPO eq. 8).
TOKEN_MEAN = Weighting(lambda terms: terms.mask, lambda sequences, tokens, max_new_tokens: tokens)
# Every token alike, over a constant in place of |o_i| (Dr. GRPO, Liu et al. 2025).
FIXED_LENGTH = Weighting(lambda terms: terms.mask, lambda sequences, tokens, max_new_tokens: sequences * max_new_tokens)


class PolicyLoss(NamedTuple):
    ratio: Callable  # (terms, log_ratio_BT) -> log of the ratio in force at each token
    surrogate: Callable  # (terms, log_ratio_BT, config) -> policy term at each token, to be minimised
    cut: Callable  # (terms, ratio_BT, config) -> where the surrogate holds a ratio cut from below, and from above
    weighting: Weighting


POLICY_LOSSES = {
    "grpo": PolicyLoss(_token_ratio, _clipped, _cut_by_sign, SEQUENCE_MEAN),
    "bnpo": PolicyLoss(_token_ratio, _clipped, _cut_by_sign, TOKEN_MEAN),
    "dr_grpo": PolicyLoss(_token_ratio, _clipped, _cut_by_sign, FIXED_LENGTH),
    "dapo": PolicyLoss(_token_ratio, _clipped, _cut_by_sign, TOKEN_MEAN),
    "gspo": PolicyLoss(_sequence_ratio, _clipped, _cut_by_sign, SEQUENCE_MEAN),
    "cispo": PolicyLoss(_token_ratio, _weighted_likelihood, _cut_on_both_sides, TOKEN_MEAN),
}


def _k2(log_ratio_BT):
    """(log pi_ref - log pi)^2 / 2 (Schulman 2020): its gradient is that of the reverse KL, on-policy."""
    return 0.5 * jnp.square(log_ratio_BT)


def _k3(log_ratio_BT):
    """pi_ref / pi - log(pi_ref / pi) - 1, from log(pi_ref / pi) (DeepSeek-R1 eq. 2)."""
    return jnp.expm1(log_ratio_BT) - log_ratio_BT


KL_ESTIMATORS = {"k2": _k2, "k3": _k3}


def policy_loss(
    terms: PolicyTerms,
    config: PolicyLossConfig,
    *,
    kl_coefficient: float | Float[Array, ""],
    max_new_tokens: int | None = None,
) -> LossSums:
    """The loss of `config.name` with its KL and entropy terms, as sums over one micro-batch.

    Args:
      kl_coefficient: beta in force; it may be traced. Whether there is a KL term at all is
        `config.kl_coefficient > 0`.
      max_new_tokens: the configured maximum completion length; `dr_grpo` needs it.
    Errors: ValueError where the reference's log-probs or `max_new_tokens` are needed and absent.
    """
    ratio, surrogate, _, weighting = POLICY_LOSSES[config.name]
    if config.name == "dr_grpo" and max_new_tokens is None:
        raise ValueError("loss dr_grpo: expected max_new_tokens (the configured maximum), found None; set it")
    if config.kl_coefficient > 0 and terms.ref_logps is None:
        raise ValueError(
            f"loss.kl_coefficient is {config.kl_coefficient}: expected ref_logps, found None; "
            "score the batch with the reference first"
        )
    scored_BT = terms.mask > 0
    # Before any exponential: an infinite one at padding would turn into NaN in the gradient.
    log_ratio_BT = ratio(terms, jnp.where(scored_BT, terms.logps - terms.old_logps, 0.0))
    policy_BT = surrogate(terms, log_ratio_BT, config)
    if config.importance_cap is not None:
        policy_BT = policy_BT * _importance_weights(terms, config.importance_cap)
    loss_BT = policy_BT
    kl_BT = None
    if terms.ref_logps is not None:
        kl_BT = KL_ESTIMATORS[config.kl_estimator](jnp.where(scored_BT, terms.ref_logps - terms.logps, 0.0))
    if config.kl_coefficient > 0:
        loss_BT = loss_BT + kl_coefficient * kl_BT
    if config.entropy_coefficient != 0:
        loss_BT = loss_BT - config.entropy_coefficient * terms.entropy
    # A select, not a product: whatever stands at padding stays there.
    loss = jnp.sum(jnp.where(scored_BT, loss_BT * weighting.tokens(terms), 0.0))
    tokens = jnp.sum(terms.mask)
    sequences = count_sequences(terms.mask, terms.segments)
    weight = loss_weight(config, sequences=sequences, tokens=tokens, max_new_tokens=max_new_tokens)
    return LossSums(loss, weight, tokens, sequences, *_metrics(terms, log_ratio_BT, kl_BT, config))


def loss_weight(config: PolicyLossConfig, *, sequences, tokens, max_new_tokens: int | None):
    """The weight that `sequences` with a scored token, of `tokens` scored tokens in all, have in the loss."""
    return POLICY_LOSSES[config.name].weighting.total(sequences, tokens, max_new_tokens)


def _importance_weights(terms: PolicyTerms, cap: float):
    """min(pi_old of the trainer / pi of the sampler, cap), a constant to the gradient (Yao et al. 2025)."""
    if terms.sampler_logps is None:
        raise ValueError(f"loss.importance_cap is {cap}: expected sampler_logps, found None; pass the recorded ones")
    gap_BT = jnp.where(terms.mask > 0, terms.old_logps - terms.sampler_logps, 0.0)
    return jax.lax.stop_gradient(jnp.minimum(jnp.exp(gap_BT), cap))


def _metrics(terms, log_ratio_BT, kl_BT, config):
    """What is watched: sums over scored tokens (to be divided by their number) and maxima."""
    mask_BT = terms.mask

    def total(x_BT):
        return jnp.sum(jnp.where(mask_BT > 0, x_BT, 0.0))

    ratio_BT = jnp.exp(log_ratio_BT)
    low_BT, high_BT = POLICY_LOSSES[config.name].cut(terms, ratio_BT, config)
    sums = {
        "entropy": total(terms.entropy),
        "ratio": total(ratio_BT),
        "clip_low_share": total(low_BT),
        "clip_high_share": total(high_BT),
    }
    maxima = {"ratio_max": jnp.max(jnp.where(mask_BT > 0, ratio_BT, 0.0))}
    if kl_BT is not None:
        sums["kl"] = total(kl_BT)
    if terms.sampler_logps is not None:
        gap_BT = jnp.where(mask_BT > 0, jnp.abs(terms.old_logps - terms.sampler_logps), 0.0)
        sums["mismatch"] = total(gap_BT)
        maxima["mismatch_max"] = jnp.max(gap_BT)
    return jax.lax.stop_gradient((sums, maxima))
