"""Mixture of experts (Shazeer et al. 2017): each token passes a few of many small feed-forwards.

Two gates: softmax over all experts (Qwen3-MoE) and sigmoid with a correction bias and groups (DeepSeek-V3,
arXiv:2412.19437, section 2.1.2). No token is dropped. The bias takes no part in gradients: what balances the experts
is `updated_bias`, after each update.
"""

from __future__ import annotations

import dataclasses
import functools

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Bool, Float, Int

from r1jax.config import ModelConfig, MoeConfig
from r1jax.models import expert_parallel
from r1jax.models.dispatch import ExpertWeights
from r1jax.models.layers import FeedForward
from r1jax.parallel.rules import Dims


def choose(
    logits_TE: Float[Array, "T E"], bias_E: Float[Array, " E"] | None, moe: MoeConfig
) -> tuple[Float[Array, "T C"], Int[Array, "T C"]]:
    """Weights and numbers of the C experts of each token, in the order of the scores they were chosen by.

    `bias_E` is the correction bias of the sigmoid gate. It says who is chosen, never with what weight.
    """
    scores_TE = jax.nn.softmax(logits_TE) if moe.gate == "softmax" else jax.nn.sigmoid(logits_TE)
    choice_TE = scores_TE if bias_E is None else scores_TE + bias_E
    if moe.top_groups < moe.num_groups:
        choice_TE = _within_best_groups(choice_TE, moe)
    _, chosen_TC = jax.lax.top_k(choice_TE, moe.experts_per_token)
    weights_TC = jnp.take_along_axis(scores_TE, chosen_TC, axis=1)
    if moe.normalize_weights:
        # Sigmoids may all underflow; of a softmax the largest cannot, and there the term rounds away.
        weights_TC /= weights_TC.sum(axis=1, keepdims=True) + 1e-20
    return moe.weights_scale * weights_TC, chosen_TC


def _within_best_groups(choice_TE: Array, moe: MoeConfig) -> Array:
    """Scores, minus infinity outside the groups whose two best experts (or only one) score highest."""
    grouped_TGM = choice_TE.reshape(choice_TE.shape[0], moe.num_groups, -1)
    best_TG = jax.lax.top_k(grouped_TGM, min(2, grouped_TGM.shape[2]))[0].sum(axis=2)
    groups_TC = jax.lax.top_k(best_TG, moe.top_groups)[1]
    eligible_TG = (groups_TC[:, :, None] == jnp.arange(moe.num_groups)).any(axis=1)
    return jnp.where(eligible_TG[:, :, None], grouped_TGM, -jnp.inf).reshape(choice_TE.shape)


class Router(nnx.Module):
    """A score a token and expert: a linear map in float32, and the bias by which the sigmoid gate is balanced."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        experts = config.moe.num_experts
        kernel = jax.random.normal(rngs.params(), (config.hidden_size, experts), jnp.float32)
        self.kernel = nnx.Param(config.init_range * kernel)
        if config.moe.gate == "sigmoid":
            self.correction_bias = nnx.Param(jnp.zeros((experts,), jnp.float32))

    def parameters(self) -> expert_parallel.RouterParams:
        """As a dict of arrays."""
        return {name: param.astype(jnp.float32) for name, param in nnx.to_pure_dict(nnx.state(self)).items()}


def route(
    x_TD: Float[Array, "T D"], router: expert_parallel.RouterParams, *, moe: MoeConfig
) -> tuple[Float[Array, "T C"], Int[Array, "T C"]]:
    """The experts of each token and their weights (see `choose`)."""
    # On TPU a product of float32 runs in bfloat16 unless told otherwise: enough to choose other experts.
    logits_TE = jnp.matmul(x_TD.astype(jnp.float32), router["kernel"], precision=jax.lax.Precision.HIGHEST)
    return choose(logits_TE, router.get("correction_bias"), moe)


class Experts(nnx.Module):
    """The feed-forwards' weights, stacked."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        moe, width = config.moe, config.hidden_size

        def normal(*shape: int, scale: float = config.init_range) -> nnx.Param:
            return nnx.Param(scale * jax.random.normal(rngs.params(), (moe.num_experts, *shape), jnp.float32))

        self.gate, self.up = normal(width, moe.expert_size), normal(width, moe.expert_size)
        out_range = 0.0 if config.zero_init_outputs else config.init_range
        self.down = normal(moe.expert_size, width, scale=out_range)


class MixtureOfExperts(nnx.Module):
    """The sum over a token's experts of weight x expert(x), and the shared experts that every token passes.

    Parameters (E experts of width F): `router` (kernel [D, E]; correction_bias [E] with a sigmoid gate), `experts`
    (gate, up [E, D, F], down [E, F, D]) and, with shared experts, the feed-forward `shared`.
    """

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        moe = config.moe
        self.router = Router(config, rngs=rngs)
        self.experts = Experts(config, rngs=rngs)
        if moe.shared_experts:
            wide = dataclasses.replace(config, ffn_size=moe.shared_experts * moe.expert_size)
            self.shared = FeedForward(wide, rngs=rngs)
        self.moe, self.activation = moe, config.activation

    def __call__(
        self, x: Float[Array, "*rows D"], rows: Dims, real: Bool[Array, "*rows"] | None = None
    ) -> tuple[Float[Array, "*rows D"], Float[Array, " E"]]:
        """The output, in the dtype of `x`, and how many real tokens of all devices were given to each expert.

        `rows` name the leading dims of `x`. Tokens that are not `real` (None: all are) pass no expert but the shared
        ones. Counts are float32.
        """
        out, load_E = expert_parallel.mix(
            x,
            rows,
            jnp.ones(x.shape[:-1], bool) if real is None else real,
            route=functools.partial(route, moe=self.moe),
            router=self.router.parameters(),
            experts=ExpertWeights(self.experts.gate[...], self.experts.up[...], self.experts.down[...]),
            activation=self.activation,
        )
        return (out + self.shared(x, rows) if self.moe.shared_experts else out), load_E


def updated_bias(
    bias_LE: Float[Array, "L E"], load_LE: Float[Array, "L E"], rate: float | Float[Array, ""]
) -> Float[Array, "L E"]:
    """The correction bias after an update: up by `rate` for experts below their layer's mean load, down for those
    above (DeepSeek-V3, arXiv:2412.19437, section 2.1.2). `load_LE` counts the tokens each expert was given.
    """
    return bias_LE + rate * jnp.sign(load_LE.mean(axis=1, keepdims=True) - load_LE)


def balance_metrics(load_LE: Float[Array, "L E"]) -> dict[str, Float[Array, ""]]:
    """How even the load of L layers' E experts is.

    moe_max_load: the fullest expert's load over its layer's mean, mean over layers (1: even, E: one has all).
    moe_unused_share: the share of experts that were given no token.
    """
    mean_L = jnp.maximum(load_LE.mean(axis=1), jnp.finfo(jnp.float32).tiny)
    return {
        "moe_max_load": jnp.mean(load_LE.max(axis=1) / mean_L),
        "moe_unused_share": jnp.mean(load_LE == 0, dtype=jnp.float32),
    }
