"""The mixture of experts on one device: gates by hand, values and gradients against a plain loop, balancing."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import moe_reference as reference
import numpy as np
import pytest
from moe_reference import DEEPSEEK, EXPERTS, QWEN3, WIDTH

from r1jax.config import MoeConfig
from r1jax.models import moe

ROWS = ("batch", "length")


def _random(*shape, seed):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


@functools.partial(jax.jit, static_argnames="config")
def _values_and_gradients(params, x, real, d_out, config):
    def run(params, x):
        return reference.module_of(config, params)(x, ROWS, real)

    out, pullback, load = jax.vjp(run, params, x, has_aux=True)
    d_params, d_x = pullback(d_out)
    return out, load, d_x, d_params


def _both(config, params, x, real, d_out):
    found = _values_and_gradients(params, x, real, d_out, config)
    flat = [np.asarray(array).reshape(-1, WIDTH) for array in (x, d_out)]
    out, load, d_x, d_params = reference.mixture(config, params, flat[0], np.asarray(real).ravel(), flat[1])
    return found, (out.reshape(x.shape), load, d_x.reshape(x.shape), d_params)


@pytest.mark.parametrize("config", [QWEN3, DEEPSEEK], ids=["softmax", "sigmoid, groups, shared experts"])
def test_values_and_gradients_equal_a_plain_loop(config):
    real = jnp.asarray(np.random.default_rng(3).random((3, 16)) < 0.8)
    x, d_out = _random(3, 16, WIDTH, seed=1), _random(3, 16, WIDTH, seed=2)
    found, expected = _both(config, reference.params_of(config), x, real, d_out)
    assert expected[1].sum() == 2 * int(real.sum())
    reference.assert_close(found, expected)


def _with_biases(params, values):
    return {**params, "router": {**params["router"], "correction_bias": jnp.asarray(values, jnp.float32)}}


def test_all_tokens_at_the_same_experts_and_experts_without_tokens():
    params = _with_biases(reference.params_of(DEEPSEEK), [9, 9] + [0] * 6)
    x, d_out = _random(3, 16, WIDTH, seed=1), _random(3, 16, WIDTH, seed=2)
    found, expected = _both(DEEPSEEK, params, x, jnp.ones((3, 16), bool), d_out)
    np.testing.assert_array_equal(found[1], [48, 48, 0, 0, 0, 0, 0, 0])
    reference.assert_close(found, expected)


def test_one_token():
    x, d_out = _random(1, 1, WIDTH, seed=1), _random(1, 1, WIDTH, seed=2)
    reference.assert_close(*_both(DEEPSEEK, reference.params_of(DEEPSEEK), x, jnp.ones((1, 1), bool), d_out))


def test_tokens_that_are_not_real_pass_the_shared_experts_alone():
    params = reference.params_of(DEEPSEEK)
    x, nobody = _random(1, 4, WIDTH, seed=1), jnp.zeros((1, 4), bool)
    out, load, _, d_params = _values_and_gradients(params, x, nobody, x, DEEPSEEK)
    module = reference.module_of(DEEPSEEK, params)
    np.testing.assert_allclose(out, module.shared(x, ROWS), rtol=1e-6)
    assert not load.any()
    assert not any(gradient.any() for gradient in jax.tree.leaves(d_params["experts"]))
    everyone = module(x, ROWS)
    np.testing.assert_array_equal(everyone[0], module(x, ROWS, ~nobody)[0])


def test_bfloat16_goes_in_and_comes_out():
    params = reference.params_of(QWEN3)
    x, real = _random(2, 8, WIDTH, seed=1), jnp.ones((2, 8), bool)
    out, _, d_x, d_params = _values_and_gradients(params, x.astype(jnp.bfloat16), real, x.astype(jnp.bfloat16), QWEN3)
    assert out.dtype == d_x.dtype == jnp.bfloat16
    assert {gradient.dtype for gradient in jax.tree.leaves(d_params)} == {jnp.dtype(jnp.float32)}
    rounded = np.asarray(x.astype(jnp.bfloat16), np.float64).reshape(-1, WIDTH)
    expected = reference.mixture(QWEN3, params, rounded, np.ones(16, bool), rounded)[0]
    reference.assert_close(np.asarray(out, np.float64).reshape(-1, WIDTH), expected, rtol=0.03)


def _sigmoid_inverse(scores):
    return jnp.log(jnp.asarray(scores)) - jnp.log1p(-jnp.asarray(scores))


def test_sigmoid_gate_by_hand():
    # Scores of two groups of two. Without bias group 1 (0.6 + 0.5) beats group 0 (0.8 + 0.2), and its two are chosen.
    # A bias of 0.2 on expert 1 turns that round (0.8 + 0.4 > 1.1); its weight stays 0.2: 0.8 / 1 and 0.2 / 1, times 3.
    gate = MoeConfig(4, 2, 1, gate="sigmoid", num_groups=2, top_groups=1, weights_scale=3.0)
    logits = _sigmoid_inverse([[0.8, 0.2, 0.6, 0.5]])
    weights, chosen = moe.choose(logits, jnp.zeros(4), gate)
    np.testing.assert_array_equal(chosen, [[2, 3]])
    np.testing.assert_allclose(weights, [[3 * 0.6 / 1.1, 3 * 0.5 / 1.1]], rtol=1e-6)
    weights, chosen = moe.choose(logits, jnp.array([0, 0.2, 0, 0]), gate)
    np.testing.assert_array_equal(chosen, [[0, 1]])
    np.testing.assert_allclose(weights, [[2.4, 0.6]], rtol=1e-6)
    # As they are: not divided by their sum.
    raw = dataclasses.replace(gate, normalize_weights=False, weights_scale=1.0)
    np.testing.assert_allclose(moe.choose(logits, jnp.zeros(4), raw)[0], [[0.6, 0.5]], rtol=1e-6)


def test_experts_of_groups_that_lost_stay_out_whatever_the_bias():
    # All choice scores are below 0, so an outsider set to 0 would win.
    gate = MoeConfig(4, 2, 1, gate="sigmoid", num_groups=2, top_groups=1)
    _, chosen = moe.choose(jnp.zeros((1, 4)), jnp.array([-2.0, -2.0, -3.0, -3.0]), gate)
    assert set(chosen[0].tolist()) == {0, 1}


def test_groups_of_one_expert():
    gate = MoeConfig(4, 2, 1, gate="sigmoid", num_groups=4, top_groups=2)
    _, chosen = moe.choose(_sigmoid_inverse([[0.1, 0.9, 0.2, 0.3]]), jnp.zeros(4), gate)
    np.testing.assert_array_equal(chosen, [[1, 3]])


def test_softmax_gate_by_hand():
    # Probabilities 1/2, 1/4, 1/8, 1/8; the best two as they are, and divided by 3/4.
    logits = jnp.log(jnp.array([[4.0, 8.0, 2.0, 2.0]]))
    for normalize, expected in ((False, [[1 / 2, 1 / 4]]), (True, [[2 / 3, 1 / 3]])):
        weights, chosen = moe.choose(logits, None, MoeConfig(4, 2, 1, normalize_weights=normalize))
        np.testing.assert_array_equal(chosen, [[1, 0]])
        np.testing.assert_allclose(weights, expected, rtol=1e-6)


def test_the_bias_moves_towards_the_mean_load():
    # Means 2 and 3: below, above, at it.
    load = jnp.array([[1.0, 3.0, 2.0], [9.0, 0.0, 0.0]])
    found = moe.updated_bias(jnp.ones((2, 3)), load, 0.25)
    np.testing.assert_array_equal(found, [[1.25, 0.75, 1.0], [0.75, 1.25, 1.25]])


def test_following_the_bias_evens_out_a_skewed_gate():
    gate = MoeConfig(EXPERTS, 2, 1, gate="sigmoid")
    logits = _random(256, EXPERTS, seed=1) + jnp.linspace(-2, 2, EXPERTS)

    def step(bias_E, _):
        chosen = moe.choose(logits, bias_E, gate)[1]
        load = jnp.sum(jax.nn.one_hot(chosen, EXPERTS), (0, 1))
        return moe.updated_bias(bias_E[None], load[None], 0.02)[0], moe.balance_metrics(load[None])["moe_max_load"]

    _, uneven = jax.lax.scan(step, jnp.zeros(EXPERTS), length=60)
    assert uneven[0] > 2
    assert uneven[-1] < 1.2


def test_balance_metrics_by_hand():
    # Layer 0: mean 2, fullest 4, two of four unused. Layer 1: even. (2 + 1) / 2 and 2 / 8. No tokens at all: 0.
    found = moe.balance_metrics(jnp.array([[4.0, 4.0, 0.0, 0.0], [3.0, 3.0, 3.0, 3.0]]))
    assert {name: float(value) for name, value in found.items()} == {"moe_max_load": 1.5, "moe_unused_share": 0.25}
    assert float(moe.balance_metrics(jnp.zeros((1, 4)))["moe_max_load"]) == 0.0


def _torch_block(name):
    from transformers.models.deepseek_v3 import modeling_deepseek_v3 as deepseek
    from transformers.models.qwen3_moe import modeling_qwen3_moe as qwen3

    shape = {"hidden_size": WIDTH, "num_experts_per_tok": 2, "moe_intermediate_size": 6, "norm_topk_prob": True}
    if name == "softmax":
        return qwen3.Qwen3MoeSparseMoeBlock(qwen3.Qwen3MoeConfig(**shape, num_experts=EXPERTS))
    groups = {"n_group": 4, "topk_group": 2, "routed_scaling_factor": 2.5, "n_shared_experts": 2}
    return deepseek.DeepseekV3MoE(deepseek.DeepseekV3Config(**shape, **groups, n_routed_experts=EXPERTS))


@pytest.mark.slow
@pytest.mark.parametrize(("name", "config"), [("softmax", QWEN3), ("sigmoid", DEEPSEEK)])
def test_equals_transformers(name, config):
    import torch

    params, x = reference.params_of(config), _random(2, 16, WIDTH, seed=1)

    def tensor(array):
        return torch.from_numpy(np.array(array))

    state = {
        "gate.weight": tensor(params["router"]["kernel"].T),
        "experts.gate_up_proj": tensor(
            jnp.concatenate([params["experts"][part].swapaxes(1, 2) for part in ("gate", "up")], axis=1)
        ),
        "experts.down_proj": tensor(params["experts"]["down"].swapaxes(1, 2)),
    }
    if name == "sigmoid":
        state["gate.e_score_correction_bias"] = tensor(params["router"]["correction_bias"])
        for part in ("gate", "up", "down"):
            state[f"shared_experts.{part}_proj.weight"] = tensor(params["shared"][part]["kernel"].T)
    block = _torch_block(name)
    block.load_state_dict(state, strict=True)
    with torch.no_grad():
        expected = block(tensor(x)).numpy()
    found = reference.module_of(config, params)(x, ROWS)[0]
    reference.assert_close(np.asarray(found), expected, rtol=1e-4)
