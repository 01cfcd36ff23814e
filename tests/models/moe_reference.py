"""A mixture of experts as a plain loop in NumPy, float64, with its gradients worked out by hand."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from r1jax.config import ModelConfig, MoeConfig
from r1jax.models.moe import MixtureOfExperts

WIDTH, EXPERTS = 8, 8
_MODEL = ModelConfig(vocab_size=8, hidden_size=WIDTH, num_layers=1, num_heads=1, num_kv_heads=1, ffn_size=1)
_SHAPE = {"num_experts": EXPERTS, "experts_per_token": 2, "expert_size": 6}
_SIGMOID = MoeConfig(**_SHAPE, gate="sigmoid", num_groups=4, top_groups=2, weights_scale=2.5, shared_experts=2)
QWEN3 = dataclasses.replace(_MODEL, moe=MoeConfig(**_SHAPE))
DEEPSEEK = dataclasses.replace(_MODEL, moe=_SIGMOID)


def params_of(config: ModelConfig, seed: int = 0):
    """Random parameters, large enough that an error in any shows."""
    draw = np.random.default_rng(seed)
    shapes = nnx.to_pure_dict(nnx.state(nnx.eval_shape(lambda: MixtureOfExperts(config, rngs=nnx.Rngs(0)))))
    return jax.tree.map(lambda leaf: jnp.asarray(0.5 * draw.standard_normal(leaf.shape, np.float32)), shapes)


def module_of(config: ModelConfig, params) -> MixtureOfExperts:
    """The module with these parameters."""
    graph = nnx.split(nnx.eval_shape(lambda: MixtureOfExperts(config, rngs=nnx.Rngs(0))))[0]
    return nnx.merge(graph, params)


def _silu(x):
    sigmoid = 1 / (1 + np.exp(-x))
    return x * sigmoid, sigmoid * (1 + x * (1 - sigmoid))


def _feed_forward(x, gate, up, down, d_out):
    """The output, and the gradients of x and the three matrices for the cotangent `d_out(output)`."""
    act, slope = _silu(x @ gate)
    linear = x @ up
    out = (act * linear) @ down
    d_hidden = d_out @ down.T
    d_gate, d_up = d_hidden * linear * slope, d_hidden * act
    return out, d_gate @ gate.T + d_up @ up.T, {
        "gate": x.T @ d_gate,
        "up": x.T @ d_up,
        "down": (act * linear).T @ d_out,
    }  # fmt: skip


def chosen_by(scores, bias, moe: MoeConfig) -> np.ndarray:
    """A mask [T, E] of the experts of each token."""
    choice = scores + bias
    mask = np.zeros(scores.shape, bool)
    for token, row in enumerate(choice):
        groups = row.reshape(moe.num_groups, -1)
        worth = np.sort(groups, axis=1)[:, -2:].sum(1)
        eligible = np.repeat(np.isin(np.arange(moe.num_groups), np.argsort(-worth)[: moe.top_groups]), groups.shape[1])
        mask[token, np.argsort(np.where(eligible, -row, np.inf))[: moe.experts_per_token]] = True
    return mask


def mixture(config: ModelConfig, params, x, real, d_out):
    """Output, load, and the gradients of sum(output * d_out) by x and by the parameters, of tokens [T, D]."""
    moe = config.moe
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    x, d_out = np.asarray(x, np.float64), np.asarray(d_out, np.float64)
    router, experts = params["router"], params["experts"]
    logits = x @ router["kernel"]
    if moe.gate == "softmax":
        scores = np.exp(logits - logits.max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
    else:
        scores = 1 / (1 + np.exp(-logits))
    mask = chosen_by(scores, router.get("correction_bias", 0.0), moe) & np.asarray(real)[:, None]
    total = np.where(mask, scores, 0).sum(1, keepdims=True)
    total[total == 0] = 1
    weights = moe.weights_scale * np.where(mask, scores, 0) / total

    out, d_x, d_weights = np.zeros_like(x), np.zeros_like(x), np.zeros_like(weights)
    d_experts = jax.tree.map(np.zeros_like, experts)
    for e in range(moe.num_experts):  # every expert on every token
        matrices = [experts[name][e] for name in ("gate", "up", "down")]
        part, d_part, d_matrices = _feed_forward(x, *matrices, weights[:, e : e + 1] * d_out)
        out += weights[:, e : e + 1] * part
        d_weights[:, e] = (part * d_out).sum(1)
        d_x += d_part
        for name, gradient in d_matrices.items():
            d_experts[name][e] = gradient
    along = (d_weights * weights).sum(1, keepdims=True) / moe.weights_scale
    d_scores = np.where(mask, moe.weights_scale * (d_weights - along) / total, 0)
    if moe.gate == "softmax":
        d_logits = scores * (d_scores - (d_scores * scores).sum(1, keepdims=True))
    else:
        d_logits = d_scores * scores * (1 - scores)
    d_x += d_logits @ router["kernel"].T
    d_params = {"router": {"kernel": x.T @ d_logits}, "experts": d_experts}
    if moe.gate == "sigmoid":
        d_params["router"]["correction_bias"] = np.zeros(moe.num_experts)
    if moe.shared_experts:
        matrices = [params["shared"][name]["kernel"] for name in ("gate", "up", "down")]
        part, d_part, d_matrices = _feed_forward(x, *matrices, d_out)
        out, d_x = out + part, d_x + d_part
        d_params["shared"] = {name: {"kernel": gradient} for name, gradient in d_matrices.items()}
    return out, mask.sum(0), d_x, d_params


def assert_close(found, expected, rtol: float = 1e-5) -> None:
    """Trees of arrays, each to `rtol` of its own largest number."""

    def check(path, ours, theirs):
        atol = rtol * max(np.abs(theirs).max(), 1e-3)
        np.testing.assert_allclose(ours, theirs, rtol=rtol, atol=atol, err_msg=jax.tree_util.keystr(path))

    jax.tree_util.tree_map_with_path(check, found, expected)
