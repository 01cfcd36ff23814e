"""Optimisers over stacked layers: which parameters are matrices, worked updates, stacked == per layer."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from tiny_rollouts import MODEL, params, step_config

from r1jax.config import OptimizerConfig
from r1jax.learn.optimizer import is_matrix, learning_rate_at, make_optimizer, muon_dims, schedule_factor
from r1jax.models import decoder
from r1jax.parallel.rules import is_dims

# A parameter of each kind, so that a case can be worked by hand.
DIMS = {
    "kernel": ("layers", "embed", "ffn"),
    "out": ("layers", "heads", "head", "embed"),
    "bias": ("layers", "heads", "head"),
    "scale": ("layers", "norm"),
    "embedding": ("vocab", "embed"),
}


def updates_of(config, gradients, values, *, step=0, num_steps=10, dims=DIMS):
    optimizer = make_optimizer(config, num_steps, dims)
    found, _ = optimizer.update(gradients, optimizer.init(values), values, step=step)
    return found


def arrays(layers=2, seed=0, scale=1.0):
    rng = np.random.default_rng(seed)
    shapes = {"kernel": (4, 6), "out": (2, 3, 4), "bias": (2, 3), "scale": (4,)}
    made = {name: rng.normal(0, scale, (layers, *shape)) for name, shape in shapes.items()}
    return jax.tree.map(jnp.float32, {**made, "embedding": rng.normal(0, scale, (5, 4))})


def test_matrices_of_a_decoder_are_told_by_the_names_of_their_dims():
    found = jax.tree.map(is_matrix, decoder.param_dims(MODEL), is_leaf=is_dims)
    flat = {jax.tree_util.keystr(path): matrix for path, matrix in jax.tree.leaves_with_path(found)}
    assert {path for path, matrix in flat.items() if not matrix} == {
        path for path in flat if "scale" in path or "bias" in path
    }
    by_muon = jax.tree.map(lambda dims: muon_dims(dims) is not None, decoder.param_dims(MODEL), is_leaf=is_dims)
    for path, muon in jax.tree.leaves_with_path(by_muon):
        name = jax.tree_util.keystr(path)
        assert muon == ("kernel" in name and "layers" in name), name


def test_muon_takes_heads_and_head_width_as_one_dim_of_a_matrix():
    assert muon_dims(("layers", "embed", "heads", "head")) == optax.contrib.MuonDimensionNumbers((1,), (2, 3))
    assert muon_dims(("layers", "heads", "head", "embed")) == optax.contrib.MuonDimensionNumbers((1, 2), (3,))
    assert muon_dims(("layers", "experts", "ffn", "embed")) == optax.contrib.MuonDimensionNumbers((2,), (3,))
    assert muon_dims(("vocab", "embed")) is None


def test_first_update_of_adamw_is_the_sign_of_the_gradient_and_the_decay():
    """After one step both moments, corrected, are g and g^2: the direction is g / (|g| + eps)."""
    config = OptimizerConfig(learning_rate=0.01, weight_decay=0.5, clip_norm=None)
    gradients, values = arrays(seed=1), arrays(seed=2)
    found = updates_of(config, gradients, values)
    for name in DIMS:
        decay = 0.5 * values[name] if name in ("kernel", "out", "embedding") else 0.0
        expected = -0.01 * (np.sign(gradients[name]) + decay)
        np.testing.assert_allclose(found[name], expected, rtol=1e-4, atol=1e-6, err_msg=name)


def test_weight_decay_leaves_norms_and_biases_alone():
    for name in ("adamw", "muon"):
        config = OptimizerConfig(name, 0.01, muon_learning_rate=0.02, weight_decay=0.5)
        values = arrays()
        found = updates_of(config, jax.tree.map(jnp.zeros_like, values), values)
        matrix_rate = 0.02 if name == "muon" else 0.01
        for leaf, rate in {"kernel": matrix_rate, "out": matrix_rate, "embedding": 0.01}.items():
            np.testing.assert_allclose(found[leaf], -rate * 0.5 * values[leaf], rtol=1e-5)
        assert not found["bias"].any()
        assert not found["scale"].any()


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_update_of_stacked_layers_equals_that_of_each_layer(name):
    """Three steps, so that moments count; without clipping, which looks at all layers together."""
    config = OptimizerConfig(name, 0.01, muon_learning_rate=0.02, weight_decay=0.1, clip_norm=None)
    layers = 3

    def run(values, gradients):
        optimizer = make_optimizer(config, 10, DIMS)
        state = optimizer.init(values)
        for step, gradient in enumerate(gradients):
            updates, state = jax.jit(optimizer.update)(gradient, state, values, step=step)
            values = optax.apply_updates(values, updates)
        return values

    def layer(tree, index):
        return {k: v if k == "embedding" else v[index : index + 1] for k, v in tree.items()}

    values, gradients = arrays(layers), [arrays(layers, seed) for seed in (1, 2, 3)]
    stacked = run(values, gradients)
    for index in range(layers):
        alone = run(layer(values, index), [layer(gradient, index) for gradient in gradients])
        for key, expected in layer(stacked, index).items():
            np.testing.assert_allclose(alone[key], expected, rtol=1e-5, atol=1e-6, err_msg=key)


def test_muon_makes_the_update_of_each_matrix_nearly_orthogonal():
    """Newton-Schulz with Jordan's coefficients brings singular values into about [0.7, 1.2]; widths scale them."""
    config = OptimizerConfig("muon", 0.01, muon_learning_rate=1.0, clip_norm=None)
    found = updates_of(config, arrays(seed=1), arrays())
    # kernel: 4 inputs, 6 outputs: times sqrt(6 / 4). out: 2 x 3 inputs, 4 outputs: times 1.
    for matrices, scale in (
        (np.asarray(found["kernel"]), np.sqrt(6 / 4)),
        (np.asarray(found["out"]).reshape(2, 6, 4), 1.0),
    ):
        values = np.linalg.svd(matrices, compute_uv=False) / scale
        assert values.min() > 0.6
        assert values.max() < 1.3


def test_muon_leaves_the_rest_to_adamw():
    gradients, values = arrays(seed=1), arrays()
    adamw = updates_of(OptimizerConfig("adamw", 0.01, clip_norm=None), gradients, values)
    muon = updates_of(OptimizerConfig("muon", 0.01, muon_learning_rate=0.02, clip_norm=None), gradients, values)
    for name in ("embedding", "scale", "bias"):
        np.testing.assert_array_equal(muon[name], adamw[name])


def test_clipping_bounds_the_norm_of_the_whole_gradient():
    """A gradient of norm 10 clipped to 1 gives Adam's moments the same as that gradient over 10."""
    gradients = arrays(seed=1)
    norm = optax.tree.norm(gradients)
    large, unit = (jax.tree.map(lambda g, n=n: g * n / norm, gradients) for n in (10.0, 1.0))
    optimizer = make_optimizer(OptimizerConfig(clip_norm=1.0), 10, DIMS)
    _, clipped = optimizer.update(large, optimizer.init(gradients), gradients, step=0)
    _, expected = optimizer.update(unit, optimizer.init(gradients), gradients, step=0)
    for a, b in zip(jax.tree.leaves(clipped), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        # Four updates of warm-up, then held.
        ({"warmup_steps": 4}, {0: 0.25, 1: 0.5, 3: 1.0, 4: 1.0, 10: 1.0}),
        # From the start, over steps 0..10, to a tenth; it stays there.
        ({"decay": "linear"}, {0: 1.0, 5: 0.55, 10: 0.1, 20: 0.1}),
        # Held for the first half of 11 steps (5.5), then over 4.5 steps: at 7.75 half of the way.
        ({"decay": "linear", "decay_start": 0.5, "final_ratio": 0.0}, {5: 1.0, 10: 0.0}),
        # Cosine: cos(pi / 2) = 0 half of the way: 0.1 + 0.9 / 2.
        ({"decay": "cosine"}, {0: 1.0, 5: 0.55, 10: 0.1}),
        # A decay never begins before the end of the warm-up: over steps 6..10, at 8 half of the way.
        ({"decay": "cosine", "warmup_steps": 6}, {5: 1.0, 6: 1.0, 8: 0.55, 10: 0.1}),
    ],
)
def test_schedules(fields, expected):
    config = OptimizerConfig(learning_rate=2.0, **fields)
    for step, factor in expected.items():
        np.testing.assert_allclose(schedule_factor(config, 11, step), factor, atol=1e-6, err_msg=str(step))
        np.testing.assert_allclose(learning_rate_at(config, 11, step), 2 * factor, atol=1e-6)


def test_the_learning_rate_in_force_is_that_of_the_step_told():
    config = OptimizerConfig(learning_rate=0.01, decay="linear", clip_norm=None)
    values = arrays()
    first, later = (updates_of(config, arrays(seed=1), values, step=step) for step in (0, 6))
    # Over steps 0..9: at 6, 1 - 0.9 * 6 / 9 = 0.4.
    for a, b in zip(jax.tree.leaves(first), jax.tree.leaves(later), strict=True):
        np.testing.assert_allclose(0.4 * a, b, rtol=1e-5, atol=1e-8)


def test_every_parameter_of_a_decoder_moves():
    for name in ("adamw", "muon"):
        optimizer_config = OptimizerConfig(name, 0.01, muon_learning_rate=0.02)
        config = step_config(optimizer=optimizer_config)
        gradients = jax.tree.map(jnp.ones_like, params())
        optimizer = config.make_optimizer()
        update = jax.jit(functools.partial(optimizer.update, step=0))
        found, _ = update(gradients, optimizer.init(params()), params())
        assert all(jnp.any(leaf) for leaf in jax.tree.leaves(found))
