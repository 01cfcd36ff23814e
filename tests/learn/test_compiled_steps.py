"""Compiled steps: one trace each, donation, and the same gradient on one device and on eight."""

import functools
import re

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_rollouts import batch, params, relative_difference, sequences, single_device, step_config

from r1jax.config import MeshConfig
from r1jax.learn import steps
from r1jax.learn.jit import jit_make, jit_score, jit_step, place_batch
from r1jax.learn.state import init_state, state_shardings
from r1jax.parallel.mesh import make_mesh

MESHES = {"data 8": MeshConfig(data=8), "fsdp 4 x tensor 2": MeshConfig(data=1, fsdp=4, tensor=2)}
LAYOUTS = {
    "plain": {"packed": False, "rows": 16, "capacity": 1},
    "micro-batched": {"packed": False, "rows": 8, "capacity": 2},
    "packed": {"packed": True, "rows": 8, "capacity": 2},
}


def start(config, mesh, *, reference=False):
    shardings = state_shardings(config, mesh, reference=reference)
    make = jit_make(functools.partial(init_state, config=config, reference=reference), mesh, shardings)
    return make(params()), shardings


def host(made):
    return {name: np.asarray(array) for name, array in made.items()}


@functools.cache
def single_device_gradients():
    config, mesh = step_config("grpo"), single_device()
    gradients = jit_score(steps.policy_gradients, mesh, state_shardings(config, mesh).params, config)
    return jax.device_get(gradients(params(), place_batch(host(batch(**LAYOUTS["plain"])), mesh)))


@pytest.mark.parametrize(
    ("mesh_name", "layout"),
    [
        ("fsdp 4 x tensor 2", "packed"),
        ("data 8", "packed"),
        *(pytest.param(m, l, marks=pytest.mark.slow) for m in MESHES for l in ("plain", "micro-batched")),
    ],
)
def test_gradient_on_eight_devices_equals_that_on_one(mesh_name, layout):
    config, mesh = step_config("grpo"), make_mesh(MESHES[mesh_name])
    shardings = state_shardings(config, mesh).params
    gradients = jit_score(steps.policy_gradients, mesh, shardings, config)
    found, sums = gradients(jax.device_put(params(), shardings), place_batch(host(batch(**LAYOUTS[layout])), mesh))
    expected, expected_sums = single_device_gradients()
    assert relative_difference(found, expected) <= 1e-5
    assert relative_difference(sums._asdict(), expected_sums._asdict()) <= 1e-5


def test_a_step_on_a_mesh_keeps_the_state_spread_and_equals_that_on_one_device():
    config = step_config("grpo")
    results = []
    for mesh in (single_device(), make_mesh(MESHES["fsdp 4 x tensor 2"])):
        state, shardings = start(config, mesh)
        state, metrics = jit_step(steps.policy_step, mesh, shardings, config)(
            state, place_batch(host(batch(**LAYOUTS["packed"])), mesh)
        )
        kernel = state.params["layers"]["ffn"]["up"]["kernel"]
        assert kernel.sharding == shardings.params["layers"]["ffn"]["up"]["kernel"]
        results.append(jax.device_get((state.params, metrics["loss"], metrics["grad_norm"])))
    # Adam divides by |g|: where a gradient is near 0 its rounding shows in full.
    assert relative_difference(results[1][0], results[0][0]) <= 1e-4
    np.testing.assert_allclose(results[1][1:], results[0][1:], rtol=1e-5)


def test_a_step_is_traced_once_whatever_rows_temperature_and_coefficient():
    config, mesh = step_config("grpo"), single_device()
    traced = chex.assert_max_traces(steps.policy_step, n=1)
    state, shardings = start(config, mesh)
    step = jit_step(traced, mesh, shardings, config)
    for count, temperature, coefficient in ((12, 1.0, 0.05), (4, 0.7, 0.01), (8, 0.9, 0.1)):
        made = batch(
            sequences(count),
            temperature=np.float32(temperature),
            kl_coefficient=np.float32(coefficient),
        )
        state, metrics = step(state, place_batch(host(made), mesh))
        assert np.isfinite(metrics["loss"])
    assert int(state.step) == 3


def test_the_state_given_to_a_step_is_donated():
    config, mesh = step_config("grpo"), single_device()
    state, shardings = start(config, mesh, reference=True)
    step = jit_step(steps.policy_step, mesh, shardings, config)
    after, _ = step(state, place_batch(host(batch()), mesh))
    assert all(leaf.is_deleted() for leaf in jax.tree.leaves(state.params))
    # The reference passes through: it is the same numbers, and usable.
    jax.tree.map(np.testing.assert_array_equal, after.reference, params())


def test_a_step_lowers_ahead_of_time_from_shapes_alone():
    config, mesh = step_config("grpo"), single_device()
    shardings = state_shardings(config, mesh)
    state = jax.eval_shape(functools.partial(init_state, config=config), params())
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(jnp.shape(x), x.dtype), batch())
    lowered = jit_step(steps.policy_step, mesh, shardings, config).lower(state, shapes)
    assert re.search(r"while", lowered.as_text())


def test_a_batch_is_placed_by_rows():
    mesh = make_mesh(MESHES["fsdp 4 x tensor 2"])
    placed = place_batch(host(batch(rows=8, capacity=2)), mesh)
    assert placed["tokens"].sharding.shard_shape(placed["tokens"].shape) == (2, 2, 32)
    assert placed["num_micro"].sharding.is_fully_replicated
    np.testing.assert_array_equal(placed["tokens"], batch(rows=8, capacity=2)["tokens"])


def test_rows_that_do_not_divide_over_the_devices_are_an_error_that_says_so():
    with pytest.raises(ValueError, match="'batch'.*multiple of 8.*found 2"):
        place_batch(host(batch(rows=2)), make_mesh(MESHES["data 8"]))
