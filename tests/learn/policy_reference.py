"""The GRPO family again, in NumPy float64, one sequence and one token at a time: what the fast code is held to.

Written from the papers and not from `r1jax.learn.policy_losses`: plain loops, sequences apart, no packing.
"""

import math

import numpy as np

from r1jax.config import PolicyLossConfig

EPSILON = 1e-6  # of central differences: their error is about 1e-9 here


def cut(value, low, high):
    return min(max(value, low), high)


def surrogate(ratio, advantage, config):
    """The term to be minimised, of a token or (GSPO) of a sequence."""
    objective = min(ratio * advantage, cut(ratio, 1 - config.clip_low, 1 + config.clip_high) * advantage)
    if config.dual_clip is not None and advantage < 0:
        objective = max(objective, config.dual_clip * advantage)
    return -objective


def token_terms(sequence, frozen_logps, config: PolicyLossConfig, beta):
    """The loss of each scored token; `frozen_logps` stand where the gradient does not pass."""
    scored = [t for t in range(len(sequence["logps"])) if sequence["mask"][t]]
    logps, old, advantages = sequence["logps"], sequence["old_logps"], sequence["advantages"]
    mean_log_ratio = sum(logps[t] - old[t] for t in scored) / max(1, len(scored))
    terms = []
    for t in scored:
        if config.name == "gspo":
            term = surrogate(math.exp(mean_log_ratio), advantages[t], config)
        elif config.name == "cispo":
            weight = cut(math.exp(frozen_logps[t] - old[t]), 1 - config.clip_low, 1 + config.clip_high)
            term = -weight * advantages[t] * logps[t]
        else:
            term = surrogate(math.exp(logps[t] - old[t]), advantages[t], config)
        if config.importance_cap is not None:
            term *= min(math.exp(old[t] - sequence["sampler_logps"][t]), config.importance_cap)
        if beta:
            ratio = math.exp(sequence["ref_logps"][t] - logps[t])
            kl = {"k2": math.log(ratio) ** 2 / 2, "k3": ratio - math.log(ratio) - 1}[config.kl_estimator]
            term += beta * kl
        term -= config.entropy_coefficient * sequence["entropy"][t]
        terms.append(term)
    return terms


def mean_loss(sequences, config, *, beta=0.0, max_new_tokens=None, frozen=None):
    """The loss over all sequences, normalised as `config.name` says."""
    frozen = frozen or [sequence["logps"] for sequence in sequences]
    per_sequence = [token_terms(s, f, config, beta) for s, f in zip(sequences, frozen, strict=True)]
    per_sequence = [terms for terms in per_sequence if terms]
    if config.name in ("grpo", "gspo"):
        return sum(sum(terms) / len(terms) for terms in per_sequence) / len(per_sequence)
    if config.name == "dr_grpo":
        return sum(sum(terms) for terms in per_sequence) / (len(per_sequence) * max_new_tokens)
    return sum(sum(terms) for terms in per_sequence) / sum(len(terms) for terms in per_sequence)


def gradient(sequences, config, name, **arguments):
    """Central differences of `mean_loss` with respect to the `name` (logps, entropy) of each token."""
    frozen = [sequence["logps"].copy() for sequence in sequences]
    gradients = []
    for index, sequence in enumerate(sequences):
        gradients.append(np.zeros(len(sequence[name])))
        for t in range(len(sequence[name])):
            losses = []
            for sign in (1, -1):
                moved = {**sequence, name: sequence[name].copy()}
                moved[name][t] += sign * EPSILON
                others = [*sequences[:index], moved, *sequences[index + 1 :]]
                losses.append(mean_loss(others, config, frozen=frozen, **arguments))
            gradients[index][t] = (losses[0] - losses[1]) / (2 * EPSILON)
    return gradients
