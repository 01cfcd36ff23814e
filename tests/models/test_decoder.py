"""The decoder: what its trees hold, and what must not change its outputs."""

import dataclasses
import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from tiny_models import FAMILIES, logits_of, one_segment, params_of, random_tokens

from r1jax.config import MeshConfig, ModelConfig
from r1jax.models import decoder
from r1jax.parallel import mesh, rules

families = pytest.mark.parametrize("config", FAMILIES.values(), ids=FAMILIES.keys())


@families
def test_parameters_have_string_keys_float32_and_a_name_for_every_dim(config):
    params = params_of(config)
    shapes = decoder.param_shapes(config)
    chex.assert_trees_all_equal_shapes_and_dtypes(params, shapes)
    dims = decoder.param_dims(config)
    paths = jax.tree_util.tree_leaves_with_path(params)
    named = dict(jax.tree_util.tree_leaves_with_path(dims, is_leaf=rules.is_dims))
    assert [path for path, _ in paths] == list(named)
    for path, leaf in paths:
        assert all(isinstance(key.key, str) for key in path)
        assert leaf.dtype == jnp.float32
        assert len(named[path]) == leaf.ndim, path
        assert (named[path][0] == "layers") == (path[0].key in ("layers", "dense_layers"))


def test_the_families_differ_in_the_parameters_that_they_should():
    trees = {name: decoder.param_dims(config) for name, config in FAMILIES.items()}
    assert "head" not in trees["qwen2"]
    assert set(trees["qwen2"]["layers"]["attention"]["query"]) == {"kernel", "bias"}
    assert "head" in trees["qwen3"]
    assert "query_norm" in trees["qwen3"]["layers"]["attention"]
    assert set(trees["llama3"]["layers"]["attention"]) == {"query", "key", "value", "out"}
    assert set(trees["ungated"]["layers"]["ffn"]) == {"up", "down"}
    assert set(trees["qwen3_moe"]["layers"]["ffn"]) == {"router", "experts"}
    assert set(trees["qwen3_moe"]["layers"]["ffn"]["router"]) == {"kernel"}
    assert set(trees["deepseek"]["layers"]["ffn"]) == {"router", "experts", "shared"}
    assert "correction_bias" in trees["deepseek"]["layers"]["ffn"]["router"]
    assert set(trees["deepseek"]["dense_layers"]["ffn"]) == {"gate", "up", "down"}
    latent = {"query_down", "query_norm", "query_up", "kv_down", "kv_norm", "kv_up", "out"}
    assert set(trees["deepseek"]["layers"]["attention"]) == latent


def test_a_score_head_takes_the_place_of_the_tokens():
    config = dataclasses.replace(FAMILIES["qwen3"], head="score")
    params, tokens_BT = params_of(config), random_tokens(2, 5)
    assert "head" not in params
    hidden_BTD = decoder.forward(params, tokens_BT, *one_segment(tokens_BT), config=config)
    found = decoder.scores(params, hidden_BTD, config=config)
    np.testing.assert_allclose(found, (hidden_BTD @ params["score"]["kernel"])[..., 0], atol=1e-5)
    with pytest.raises(ValueError, match="head='score'"):
        decoder.logits(params, hidden_BTD, config=config)
    with pytest.raises(ValueError, match="expected a model with head='score'"):
        decoder.scores(params, hidden_BTD, config=FAMILIES["qwen3"])


def test_the_number_of_parameters_of_qwen2_5_0_5b():
    # Embedding 151936 * 896 = 136,134,656. A layer: query 896 * 896 + 896, key and value 2 * (896 * 128 +
    # 128), out 896 * 896, feed-forward 3 * 896 * 4864, two norms of 896: 14,912,384. 24 layers, a final norm
    # of 896: 136,134,656 + 24 * 14,912,384 + 896 = 494,032,768.
    config = ModelConfig(
        vocab_size=151_936,
        hidden_size=896,
        num_layers=24,
        num_heads=14,
        num_kv_heads=2,
        ffn_size=4864,
        attention_bias=True,
        tie_embeddings=True,
    )
    assert sum(leaf.size for leaf in jax.tree.leaves(decoder.param_shapes(config))) == 494_032_768


def test_initial_values_follow_their_names():
    config = dataclasses.replace(FAMILIES["qwen2"], hidden_size=64, init_range=0.02)
    params = jax.jit(functools.partial(decoder.init, config))(jax.random.key(0))
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        expected_mean = {"scale": 1.0}.get(path[-1].key, 0.0)
        expected_std = {"scale": 0.0, "bias": 0.0}.get(path[-1].key, 0.02)
        assert abs(float(leaf.mean()) - expected_mean) < 2e-3, path
        assert abs(float(leaf.std()) - expected_std) < 2e-3, path
    kernels = params["layers"]["ffn"]["up"]["kernel"]
    assert float(jnp.abs(kernels[0] - kernels[1]).max()) > 0.01  # layers are drawn apart


def test_zero_initialised_outputs_make_every_block_the_identity():
    config = dataclasses.replace(FAMILIES["qwen3"], zero_init_outputs=True)
    params = jax.jit(functools.partial(decoder.init, config))(jax.random.key(0))
    tokens_BT = random_tokens(2, 5)
    forward = jax.jit(functools.partial(decoder.forward, config=config))
    hidden_BTD = forward(params, tokens_BT, *one_segment(tokens_BT))
    embedded = params["embed"]["embedding"][tokens_BT]
    chex.assert_trees_all_close(hidden_BTD, decoder.final_norm(params, embedded, config=config), rtol=1e-6, atol=1e-6)


@families
def test_causal_by_gradient(config):
    params = params_of(config)
    tokens_BT = random_tokens(1, 6)
    positions_BT, segments_BT = one_segment(tokens_BT)

    def hidden(embedded_TD):
        # Token t reads row t of its own table, so a gradient to the table is a gradient to the input.
        own = {**params, "embed": {"embedding": embedded_TD}}
        rows = jnp.arange(6)[None]
        return decoder.forward(own, rows, positions_BT, segments_BT, config=config)[0].sum(-1)

    jacobian_TSD = jax.jit(jax.jacobian(hidden))(params["embed"]["embedding"][tokens_BT[0]])
    reaches_TS = np.abs(jacobian_TSD).max(-1) > 0
    np.testing.assert_array_equal(reaches_TS, np.tril(np.ones((6, 6), bool)))


@families
def test_packed_equals_unpacked(config):
    params = params_of(config)
    first, second = random_tokens(1, 4, seed=1), random_tokens(1, 3, seed=2)
    padding = jnp.zeros((1, 2), jnp.int32)
    tokens_BT = jnp.concatenate([first, second, padding], axis=1)
    positions_BT = jnp.array([[0, 1, 2, 3, 0, 1, 2, 0, 0]])
    segments_BT = jnp.array([[1, 1, 1, 1, 2, 2, 2, 0, 0]])
    packed = logits_of(params, tokens_BT, positions_BT, segments_BT, config)
    chex.assert_trees_all_close(packed[:, :4], logits_of(params, first, *one_segment(first), config), atol=3e-5)
    chex.assert_trees_all_close(packed[:, 4:7], logits_of(params, second, *one_segment(second), config), atol=3e-5)


def test_padding_is_finite_and_touches_nothing():
    config = FAMILIES["qwen3"]
    params = params_of(config)
    segments_BT = jnp.array([[1, 1, 1, 0, 0], [0, 0, 0, 0, 0]])
    positions_BT = jnp.array([[0, 1, 2, 0, 0], [0, 0, 0, 0, 0]])
    real = segments_BT > 0

    @jax.jit
    @functools.partial(jax.value_and_grad, has_aux=True)
    def loss(params, tokens_BT):
        hidden_BTD = decoder.forward(params, tokens_BT, positions_BT, segments_BT, config=config)
        values = decoder.logits(params, hidden_BTD, config=config)
        return jnp.where(real[..., None], jnp.sin(values), 0.0).sum(), values

    tokens_BT = random_tokens(2, 5)
    (_, values), gradient = loss(params, tokens_BT)
    chex.assert_tree_all_finite((values, gradient))
    other = jnp.where(real, tokens_BT, (tokens_BT + 5) % 32)
    (_, other_values), other_gradient = loss(params, other)
    np.testing.assert_array_equal(values[0, :3], other_values[0, :3])
    chex.assert_trees_all_equal(gradient, other_gradient)


def test_order_within_a_sequence_matters():
    config = FAMILIES["llama3"]
    params = params_of(config)
    tokens_BT = jnp.array([[3, 4, 5, 6]])
    swapped_BT = jnp.array([[4, 3, 5, 6]])
    last = logits_of(params, tokens_BT, *one_segment(tokens_BT), config)[0, -1]
    last_swapped = logits_of(params, swapped_BT, *one_segment(swapped_BT), config)[0, -1]
    assert float(jnp.abs(last - last_swapped).max()) > 1e-3


def test_rope_theta_and_scaling_reach_the_logits():
    config = FAMILIES["llama3"]
    params, tokens_BT = params_of(config), random_tokens(1, 8)
    plain = logits_of(params, tokens_BT, *one_segment(tokens_BT), config)
    for rope in (
        dataclasses.replace(config.rope, theta=100.0),
        dataclasses.replace(config.rope, scaling="none"),
    ):
        other = dataclasses.replace(config, rope=rope)
        changed = logits_of(params, tokens_BT, *one_segment(tokens_BT), other)
        assert float(jnp.abs(changed - plain).max()) > 1e-2


@functools.cache
def _gradients(config: ModelConfig):
    params, tokens_BT = params_of(config), random_tokens(2, 6)

    def loss(params):
        hidden_BTD = decoder.forward(params, tokens_BT, *one_segment(tokens_BT), config=config)
        return jnp.sin(decoder.logits(params, hidden_BTD, config=config)).mean()

    return jax.jit(jax.value_and_grad(loss))(params)


@pytest.mark.parametrize(
    "change", [{"scan_unroll": 3}, {"scan_unroll": 2}, {"remat": "dots"}, {"remat": "full"}], ids=str
)
def test_unrolling_and_recomputation_change_neither_loss_nor_gradients(change):
    config = FAMILIES["qwen2"]
    chex.assert_trees_all_close(
        _gradients(config), _gradients(dataclasses.replace(config, **change)), rtol=2e-5, atol=2e-6
    )


def test_recomputation_really_recomputes():
    def matmuls(remat: str) -> int:
        config = dataclasses.replace(FAMILIES["qwen2"], remat=remat, scan_unroll=3)
        tokens_BT = random_tokens(1, 4)

        def loss(params):
            return decoder.forward(params, tokens_BT, *one_segment(tokens_BT), config=config).sum()

        # As traced: on a CPU the compiler may merge what the trace asks to compute twice.
        return str(jax.make_jaxpr(jax.grad(loss))(params_of(config))).count("dot_general")

    assert matmuls("none") < matmuls("dots") < matmuls("full")


def test_bfloat16_compute_stays_near_float32_and_keeps_float32_gradients():
    config = FAMILIES["qwen2"]
    half = dataclasses.replace(config, compute_dtype="bfloat16")
    params = jax.tree.map(lambda leaf: 0.2 * leaf, params_of(config))  # the usual size of weights
    tokens_BT = random_tokens(2, 6)

    def hidden_and_logits(params, config):
        hidden_BTD = decoder.forward(params, tokens_BT, *one_segment(tokens_BT), config=config)
        return hidden_BTD, decoder.logits(params, hidden_BTD, config=config)

    run = jax.jit(hidden_and_logits, static_argnums=1)
    hidden, exact = run(params, config)
    half_hidden, rounded = run(params, half)
    assert (hidden.dtype, half_hidden.dtype) == (jnp.float32, jnp.bfloat16)
    assert rounded.dtype == jnp.float32
    np.testing.assert_allclose(rounded, exact, atol=0.02)
    gradient = jax.jit(jax.grad(lambda params: jnp.sin(hidden_and_logits(params, half)[1]).mean()))(params)
    assert {leaf.dtype for leaf in jax.tree.leaves(gradient)} == {jnp.dtype("float32")}


@pytest.mark.parametrize(
    ("family", "shape"),
    [
        ("qwen2", MeshConfig(data=1, fsdp=4, tensor=2)),
        ("ungated", MeshConfig(data=2, fsdp=2, context=2)),
        ("qwen3", MeshConfig(data=2, tensor=4)),  # 2 key/value heads: replicated
    ],
    ids=["fsdp4_tensor2", "data2_fsdp2_context2", "data2_tensor4"],
)
def test_sharded_equals_single_device(family, shape):
    config = FAMILIES[family]
    params, tokens_BT = params_of(config), random_tokens(8, 6)
    positions_BT, segments_BT = one_segment(tokens_BT)

    def loss(params, tokens_BT):
        hidden_BTD = decoder.forward(params, tokens_BT, positions_BT, segments_BT, config=config)
        return jnp.sin(decoder.logits(params, hidden_BTD, config=config)).mean()

    expected = jax.jit(jax.value_and_grad(loss))(params, tokens_BT)
    made = mesh.make_mesh(shape)
    placement = rules.shardings(decoder.param_dims(config), decoder.param_shapes(config), made)
    with jax.set_mesh(made):
        rows = jax.NamedSharding(made, rules.spec(("batch", "length"), tokens_BT.shape, made))
        step = jax.jit(jax.value_and_grad(loss), in_shardings=(placement, rows), out_shardings=(None, placement))
        found = step(jax.device_put(params, placement), jax.device_put(tokens_BT, rows))
    chex.assert_trees_all_close(jax.device_get(found), jax.device_get(expected), rtol=1e-4, atol=1e-6)


def test_sharded_init_makes_the_same_numbers_in_place():
    config = FAMILIES["qwen2"]
    expected = jax.jit(functools.partial(decoder.init, config))(jax.random.key(3))
    made = mesh.make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    placement = rules.shardings(decoder.param_dims(config), decoder.param_shapes(config), made)
    found = jax.jit(functools.partial(decoder.init, config), out_shardings=placement)(jax.random.key(3))
    kernel = found["layers"]["ffn"]["up"]["kernel"]
    assert kernel.sharding.shard_shape(kernel.shape) == (3, 4, 12)  # [L, D / 4, F / 2]
    chex.assert_trees_all_close(jax.device_get(found), jax.device_get(expected), rtol=1e-6)
