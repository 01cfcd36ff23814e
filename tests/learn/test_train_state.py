"""The state: float32 masters, a reference of its own, moments beside their parameters."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_rollouts import MODEL, OPTIMIZER, params, step_config

from r1jax.config import ConfigError, MeshConfig, OptimizerConfig, PolicyLossConfig
from r1jax.learn.state import StepConfig, init_state, refresh_reference, state_shardings
from r1jax.parallel.mesh import make_mesh


def test_masters_are_float32_whatever_the_parameters_come_as():
    half = jax.tree.map(lambda x: x.astype(jnp.bfloat16), params())
    state = init_state(half, config=step_config())
    assert {leaf.dtype for leaf in jax.tree.leaves(state.params)} == {jnp.dtype("float32")}


def test_reference_is_a_copy_with_its_matrices_in_the_compute_dtype():
    config = step_config(model=dataclasses.replace(MODEL, compute_dtype="bfloat16"))
    state = init_state(params(), config=config, reference=True)
    assert state.reference["layers"]["ffn"]["up"]["kernel"].dtype == jnp.bfloat16
    assert state.reference["layers"]["ffn_norm"]["scale"].dtype == jnp.float32
    assert init_state(params(), config=config).reference is None


def test_no_buffer_of_the_state_is_shared():
    """Shared ones could not be donated."""
    state = init_state(params(), config=step_config(), reference=True)
    pointers = [leaf.unsafe_buffer_pointer() for leaf in jax.tree.leaves(state)]
    assert len(pointers) == len(set(pointers))


def test_refreshing_makes_the_policy_the_reference_and_nothing_else():
    state = init_state(params(), config=step_config(), reference=True)
    moved = state._replace(params=jax.tree.map(lambda x: x + 1, state.params), step=jnp.int32(3))
    fresh = refresh_reference(moved, config=step_config())
    jax.tree.map(np.testing.assert_array_equal, fresh.reference, moved.params)
    jax.tree.map(np.testing.assert_array_equal, fresh._replace(reference=None), moved._replace(reference=None))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_moments_live_where_their_parameters_do(optimizer):
    muon = 1e-2 if optimizer == "muon" else None
    config = step_config(optimizer=OptimizerConfig(optimizer, 1e-2, muon_learning_rate=muon))
    mesh = make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    shardings = state_shardings(config, mesh, reference=True)
    shapes = jax.eval_shape(lambda p: init_state(p, config=config, reference=True), params())
    assert jax.tree.structure(shardings) == jax.tree.structure(shapes)
    kernels = [
        (jax.tree_util.keystr(path), sharding.spec)
        for path, sharding in jax.tree.leaves_with_path(shardings)
        if "'up'" in jax.tree_util.keystr(path)
    ]
    # Parameter, reference, and one moment (Muon) or two (AdamW).
    assert len(kernels) == {"muon": 3, "adamw": 4}[optimizer]
    assert {spec for _, spec in kernels} == {jax.sharding.PartitionSpec(None, "fsdp", "tensor")}
    for scalar in (shardings.step, shardings.bad_steps, shardings.total_bad):
        assert scalar.spec == jax.sharding.PartitionSpec()


def test_step_config_refuses_what_a_loss_cannot_use():
    with pytest.raises(ConfigError, match="max_new_tokens"):
        StepConfig(MODEL, OPTIMIZER, 1, PolicyLossConfig(name="dr_grpo"))
    with pytest.raises(ConfigError, match="loss.dual_clip"):
        StepConfig(MODEL, OPTIMIZER, 1, PolicyLossConfig(name="cispo", dual_clip=3.0))
