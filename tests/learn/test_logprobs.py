"""Log-probs and entropies in blocks: the same numbers and gradients as the plain way, without its memory."""

import contextlib
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.config import MeshConfig
from r1jax.learn.logprobs import LEAST_BLOCKS, block_positions, token_logps
from r1jax.parallel.mesh import make_mesh

B, T, D, V = 3, 7, 4, 11
WHOLE = 1 << 30
NO_MESH = jax.sharding.get_abstract_mesh()
# Bytes of the logits of so many positions of the B rows.
BLOCKS = {positions: positions * B * V * 4 for positions in (1, 2, 3, 6)}


def inputs(dtype=jnp.float32):
    rng = np.random.default_rng(0)
    hidden_BTD = jnp.asarray(rng.normal(size=(B, T, D)), dtype)
    unembed_DV = jnp.asarray(rng.normal(size=(D, V)), jnp.float32)
    targets_BT = jnp.asarray(rng.integers(0, V, (B, T)))
    return hidden_BTD, unembed_DV, targets_BT


def float64_reference(hidden_BTD, unembed_DV, targets_BT, temperature):
    logits = np.asarray(hidden_BTD, np.float64) @ np.asarray(unembed_DV, np.float64) / temperature
    logps = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    entropy = -(np.exp(logps) * logps).sum(-1)
    return np.take_along_axis(logps, np.asarray(targets_BT)[..., None], -1)[..., 0], entropy


@pytest.mark.parametrize("budget_bytes", [WHOLE, *BLOCKS.values(), 1])
@pytest.mark.parametrize("temperature", [1.0, 0.6])
def test_values_equal_the_float64_reference_whatever_the_budget(budget_bytes, temperature):
    found = token_logps(*inputs(), temperature=temperature, budget_bytes=budget_bytes)
    for got, want in zip(found, float64_reference(*inputs(), temperature), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)


def test_worked_by_hand():
    # Logits (log 1, log 3) at temperature 1: p = (1/4, 3/4), H = log 4 - 3/4 log 3. At 0.5: p = (1/10, 9/10).
    hidden_BTD = jnp.ones((1, 1, 1))
    unembed_DV = jnp.log(jnp.asarray([[1.0, 3.0]]))
    targets_BT = jnp.asarray([[1]])
    logps, entropy = token_logps(hidden_BTD, unembed_DV, targets_BT, temperature=1.0, budget_bytes=WHOLE)
    np.testing.assert_allclose(logps[0, 0], np.log(0.75), rtol=1e-6)
    np.testing.assert_allclose(entropy[0, 0], np.log(4) - 0.75 * np.log(3), rtol=1e-6)
    logps, _ = token_logps(hidden_BTD, unembed_DV, targets_BT, temperature=0.5, budget_bytes=WHOLE)
    np.testing.assert_allclose(logps[0, 0], np.log(0.9), rtol=1e-6)


def gradients(budget_bytes, hidden_BTD, unembed_DV, targets_BT):
    """Of a sum that weighs every log-prob and entropy differently."""
    weights_BT = jnp.arange(1.0, B * T + 1).reshape(B, T)

    def total(hidden_BTD, unembed_DV):
        logps, entropy = token_logps(hidden_BTD, unembed_DV, targets_BT, temperature=0.7, budget_bytes=budget_bytes)
        return jnp.sum(weights_BT * logps + jnp.sqrt(weights_BT) * entropy)

    return jax.grad(total, argnums=(0, 1))(hidden_BTD, unembed_DV)


@pytest.mark.parametrize("budget_bytes", [BLOCKS[1], BLOCKS[3]])
def test_gradients_in_blocks_equal_those_in_one(budget_bytes):
    for blocks, whole in zip(gradients(budget_bytes, *inputs()), gradients(WHOLE, *inputs()), strict=True):
        np.testing.assert_allclose(blocks, whole, rtol=2e-5, atol=1e-5)


def test_bfloat16_hidden_states_give_float32_results_and_a_float32_gradient_of_the_head():
    logps, entropy = token_logps(*inputs(jnp.bfloat16), temperature=1.0, budget_bytes=BLOCKS[2])
    assert logps.dtype == entropy.dtype == jnp.float32
    hidden_grad, unembed_grad = gradients(BLOCKS[2], *inputs(jnp.bfloat16))
    assert (hidden_grad.dtype, unembed_grad.dtype) == (jnp.bfloat16, jnp.float32)


def test_large_logits_stay_finite():
    hidden_BTD, unembed_DV, targets_BT = inputs()
    logps, entropy = token_logps(1e4 * hidden_BTD, unembed_DV, targets_BT, temperature=1.0, budget_bytes=WHOLE)
    assert np.isfinite(logps).all()
    assert np.isfinite(entropy).all()
    np.testing.assert_allclose(entropy, 0, atol=1e-5)


def test_memory_stays_near_the_budget_in_the_backward_pass_too():
    rows, positions, vocabulary, budget_bytes = 2, 256, 4096, 1 << 20

    @functools.partial(jax.jit, static_argnums=3)
    def grad(hidden_BTD, unembed_DV, targets_BT, budget_bytes):
        def total(hidden_BTD, unembed_DV):
            logps, _ = token_logps(hidden_BTD, unembed_DV, targets_BT, temperature=1.0, budget_bytes=budget_bytes)
            return jnp.sum(logps)

        return jax.grad(total, argnums=(0, 1))(hidden_BTD, unembed_DV)

    shapes = (
        jax.ShapeDtypeStruct((rows, positions, 8), jnp.float32),
        jax.ShapeDtypeStruct((8, vocabulary), jnp.float32),
        jax.ShapeDtypeStruct((rows, positions), jnp.int32),
    )
    logits_bytes = rows * positions * vocabulary * 4
    in_blocks, whole = (
        grad.lower(*shapes, budget).compile().memory_analysis().temp_size_in_bytes for budget in (budget_bytes, WHOLE)
    )
    assert whole >= logits_bytes
    assert in_blocks <= 4 * budget_bytes < logits_bytes


def test_positions_that_nobody_scores_cost_no_logits_and_change_nothing():
    hidden_BTD, unembed_DV, targets_BT = inputs()
    mask_BT = jnp.asarray(np.random.default_rng(1).integers(0, 2, (B, T)), jnp.float32)
    assert 0 < int(mask_BT.sum(axis=1).max()) < T

    def total(hidden_BTD, unembed_DV, mask, budget_bytes):
        logps, entropy = token_logps(
            hidden_BTD, unembed_DV, targets_BT, temperature=0.7, budget_bytes=budget_bytes, mask_BT=mask
        )
        return jnp.sum(jnp.where(mask_BT > 0, logps + 0.5 * entropy, 0.0))

    value_and_grads = jax.value_and_grad(total, argnums=(0, 1))
    want = value_and_grads(hidden_BTD, unembed_DV, None, WHOLE)
    found = value_and_grads(hidden_BTD, unembed_DV, mask_BT, BLOCKS[1])
    for got, expected in zip(jax.tree.leaves(found), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)
    # One position a block, scored ones first: a block that no row scores is not computed, so its NaN is not seen.
    most = int(mask_BT.sum(axis=1).max())
    row = int(mask_BT.sum(axis=1).argmin())
    last = int(np.flatnonzero(np.asarray(mask_BT[row]) == 0)[-1])  # sorted to the very end of its row
    assert most < T
    poisoned = hidden_BTD.at[row, last].set(jnp.nan)
    logps, entropy = token_logps(
        poisoned, unembed_DV, targets_BT, temperature=0.7, budget_bytes=BLOCKS[1], mask_BT=mask_BT
    )
    assert bool(jnp.isfinite(logps).all() & jnp.isfinite(entropy).all())


@pytest.mark.parametrize("budget_bytes", [1, 100, 1000, 4321, 10**5, 10**9])
def test_no_block_is_larger_than_the_budget_but_that_of_a_single_position(budget_bytes):
    for positions in (1, 7, 100, 4097):
        block = block_positions(B, positions, V, budget_bytes=budget_bytes, mesh=NO_MESH)
        assert 1 <= block <= positions
        assert block == 1 or block * B * V * 4 <= budget_bytes
        # Where they do not all fit, there are blocks enough for some to be left out.
        assert block == positions or -(-positions // block) >= min(positions, LEAST_BLOCKS)


def test_the_budget_is_that_of_one_device_of_the_mesh_in_use():
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    rows, positions, vocabulary = 4, 64, 64
    on_each = rows * positions * vocabulary * 4 // 8
    shapes = (
        jax.ShapeDtypeStruct((rows, positions, D), jnp.float32),
        jax.ShapeDtypeStruct((D, vocabulary), jnp.float32),
        jax.ShapeDtypeStruct((rows, positions), jnp.int32),
    )

    def has_blocks(budget_bytes, mesh=None):
        with contextlib.nullcontext() if mesh is None else jax.set_mesh(mesh):
            traced = jax.make_jaxpr(functools.partial(token_logps, temperature=1.0, budget_bytes=budget_bytes))(*shapes)
        return "scan[" in str(traced)

    assert not has_blocks(on_each, mesh)
    assert has_blocks(on_each - 1, mesh)
    assert has_blocks(8 * on_each - 1)
    assert not has_blocks(8 * on_each)
