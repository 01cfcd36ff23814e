"""How a reward model learns: a pair's chosen answer above the rejected one, or one answer above or below zero.

Both losses are -log sigmoid of a margin, which is positive where the scores are right. The mean is over the scored
answers; of a pair both have the pair's margin, so it is the mean over pairs as well. Both answers of a pair lie in one
row, so that the sums of `LossSums` do not depend on how a batch is packed, split or spread over devices.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from r1jax.learn.policy_losses import LossSums
from r1jax.learn.segments import count_sequences, sequence_sums


class ScoreTerms(NamedTuple):
    """What a score loss is made of; an answer is scored at its last token."""

    scores: Float[Array, "B T"]  # float32, differentiable; ignored where `signs` is 0
    signs: Float[Array, "B T"]  # at an answer's last token 1 (chosen, or label 1) or -1 (rejected, or label 0); else 0
    segments: Int[Array, "B T"]
    pairs: Int[Array, "B T"]  # 1, 2, ... number what the answers of a row belong to: a pair, or one answer alone


def pairwise(terms: ScoreTerms) -> Float[Array, "B T"]:
    """At each token, s_chosen - s_rejected of its pair (Bradley and Terry 1952; Ouyang et al. 2022, eq. 1)."""
    return sequence_sums(_signed(terms), terms.pairs)


def pointwise(terms: ScoreTerms) -> Float[Array, "B T"]:
    """At each last token, the score of its answer, negated where the label is 0.

    -log sigmoid of it is binary cross-entropy with the score as logit: softplus(-s) for label 1, softplus(s) for 0.
    """
    return _signed(terms)


SCORE_MARGINS: dict[str, Callable[[ScoreTerms], Float[Array, "B T"]]] = {"pairwise": pairwise, "pointwise": pointwise}


def score_loss(terms: ScoreTerms, name: str) -> LossSums:
    """The loss `name` of SCORE_MARGINS, summed over the scored answers, and their number as its weight.

    Metrics, over the same: accuracy (of margins above 0; one of 0 counts half), margin, score, score_squared.
    """
    scored_BT = jnp.abs(terms.signs)
    margins_BT = SCORE_MARGINS[name](terms)

    def total(values_BT: Float[Array, "B T"]) -> Float[Array, ""]:
        return jnp.sum(jnp.where(scored_BT > 0, values_BT, 0.0))

    count = jnp.sum(scored_BT)
    fixed_BT, scores_BT = jax.lax.stop_gradient((margins_BT, terms.scores))
    sums = {
        "accuracy": total(0.5 * (1.0 + jnp.sign(fixed_BT))),
        "margin": total(fixed_BT),
        "score": total(scores_BT),
        "score_squared": total(jnp.square(scores_BT)),
    }
    loss = total(jax.nn.softplus(-margins_BT))
    return LossSums(loss, count, count, count_sequences(scored_BT, terms.segments), sums, {})


def _signed(terms: ScoreTerms) -> Float[Array, "B T"]:
    return jnp.where(terms.signs != 0, terms.signs * terms.scores, 0.0)
