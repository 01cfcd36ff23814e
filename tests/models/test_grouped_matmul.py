"""The grouped matmul against a plain loop, its gradients too, on every platform's form, and what it computes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.models import grouped_matmul as module
from r1jax.models.grouped_matmul import grouped_matmul

M, D, F = 40, 6, 10
SIZES = {
    "even": [10, 10, 10, 10],
    "uneven, with rows beyond the last group": [1, 0, 17, 9],
    "one group has all": [0, 0, 40, 0],
    "nothing": [0, 0, 0, 0],
    "the last rows alone": [0, 0, 0, 1],
}


def _random(*shape, seed):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape, dtype=np.float32))


ROWS, WEIGHTS, D_OUT = _random(M, D, seed=0), _random(4, D, F, seed=1), _random(M, F, seed=2)


def _reference(sizes, rows=ROWS, weights=WEIGHTS, d_out=D_OUT):
    """Output and gradients of sum(output * d_out), in float64."""
    rows, weights, d_out = (np.asarray(x, np.float64) for x in (rows, weights, d_out))
    out, d_rows, d_weights = np.zeros_like(d_out), np.zeros_like(rows), np.zeros_like(weights)
    start = 0
    for group, size in enumerate(sizes):
        part = slice(start, start + size)
        out[part] = rows[part] @ weights[group]
        d_rows[part] = d_out[part] @ weights[group].T
        d_weights[group] = rows[part].T @ d_out[part]
        start += size
    return out, d_rows, d_weights


@jax.jit
def _values_and_gradients(rows, weights, d_out, sizes):
    out, pullback = jax.vjp(lambda rows, weights: grouped_matmul(rows, weights, sizes), rows, weights)
    return out, *pullback(d_out)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_values_and_gradients_equal_a_plain_loop(sizes):
    found = _values_and_gradients(ROWS, WEIGHTS, D_OUT, jnp.asarray(sizes))
    for ours, theirs in zip(found, _reference(sizes), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_the_kernels_for_tpu_interpreted_equal_a_plain_loop(sizes):
    # Wide enough for two tiles along every dim.
    rows, weights, d_out = _random(200, 130, seed=3), _random(4, 130, 140, seed=4), _random(200, 140, seed=5)
    sizes = np.asarray(sizes) * 4
    out, d_rows, d_weights = _reference(sizes, rows, weights, d_out)
    interpreted = functools.partial(module._rows_on_tpu, interpret=True)
    sizes_E = jnp.asarray(sizes, jnp.int32)
    np.testing.assert_allclose(interpreted(rows, weights, sizes_E), out, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(interpreted(d_out, weights, sizes_E, transposed=True), d_rows, rtol=1e-4, atol=1e-4)
    found = module._weights_on_tpu(rows, d_out, sizes_E, interpret=True)
    np.testing.assert_allclose(found, d_weights, rtol=1e-4, atol=1e-4)


def test_lowered_for_tpu_it_is_the_kernels_and_for_cpu_the_loops():
    sizes = jnp.asarray(SIZES["even"])
    traced = _values_and_gradients.trace(ROWS, WEIGHTS, D_OUT, sizes)
    on_tpu, on_cpu = (traced.lower(lowering_platforms=(name,)).as_text() for name in ("tpu", "cpu"))
    assert on_tpu.count("tpu_custom_call") == 3
    assert "tpu_custom_call" not in on_cpu
    assert "stablehlo.dot_general" in on_cpu
    assert "stablehlo.dot_general" not in on_tpu


def test_bfloat16_sums_in_float32():
    # 257 rows of ones against d_out of ones: bfloat16 cannot count past 256.
    rows, d_out = jnp.ones((257, 8), jnp.bfloat16), jnp.ones((257, 8), jnp.bfloat16)
    weights = jnp.ones((1, 8, 8), jnp.bfloat16)
    out, d_rows, d_weights = _values_and_gradients(rows, weights, d_out, jnp.asarray([257]))
    assert {x.dtype for x in (out, d_rows, d_weights)} == {jnp.dtype(jnp.bfloat16)}
    np.testing.assert_array_equal(np.asarray(out, np.float32), np.full((257, 8), 8.0))
    assert float(d_weights[0, 0, 0]) in (256.0, 258.0)  # 257 rounded once


def test_a_block_is_a_small_share_of_a_group():
    assert module.block_rows(4096, 16) == 64
    assert module.block_rows(100_000, 4) == 128
    assert module.block_rows(64, 64) == 8
    assert module.block_rows(3, 64) == 3
