"""Steps of adapters: what is trained and held, the chain rule, KL from a snapshot, quantised bases, no work in vain."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import qwix
import tiny_rollouts
from tiny_rollouts import batch, relative_difference, single_device, step_config

from r1jax.config import LatentConfig, LoraConfig, MeshConfig, MoeConfig
from r1jax.learn import steps
from r1jax.learn.jit import jit_score, jit_step, place_batch
from r1jax.learn.state import init_state, state_shardings
from r1jax.models import decoder, lora
from r1jax.models.adapters import combined, merged, separate
from r1jax.parallel.mesh import make_mesh

SAME = 1e-5  # |delta gradient| / |gradient|, in float32
LORA = LoraConfig(rank=3, alpha=6.0)
# Widths that no two maps share, so that an array's shape tells which map it belongs to; and none a power of two, as
# the blocks of grouped products are.
DENSE = dataclasses.replace(tiny_rollouts.MODEL, vocab_size=36, hidden_size=20, head_size=6, ffn_size=28, lora=LORA)
DEEPSEEK = dataclasses.replace(
    DENSE,
    num_kv_heads=4,
    head_size=None,
    attention_bias=False,
    qk_norm=False,
    latent=LatentConfig(kv_rank=10, query_rank=11, nope_size=6, rope_size=4, value_size=5),
    moe=MoeConfig(12, 3, 18, shared_experts=3, first_dense_layers=1, gate="sigmoid", num_groups=4, top_groups=2),
)
MODELS = {"dense": DENSE, "deepseek": DEEPSEEK}
MESHES = {
    "data 2 x fsdp 2 x tensor 2": MeshConfig(data=2, fsdp=2, tensor=2),
    "expert 4 x data 2": MeshConfig(data=2, expert=4),
}
LAYOUT = {"packed": True, "rows": 8, "capacity": 1}


@functools.cache
def params(model, seed=3):
    """A base and adapters that change it: of fresh ones B is zero, and with it the gradient of A."""
    draw = np.random.default_rng(seed)
    fresh = lora.init(model, jax.random.key(0))
    drawn = jax.tree.map(lambda leaf: jnp.asarray(0.3 * draw.standard_normal(leaf.shape, np.float32)), fresh)
    return combined(tiny_rollouts.params(dataclasses.replace(model, lora=None)), drawn)


def host(**changes):
    return {name: np.asarray(array) for name, array in batch(**LAYOUT | changes).items()}


def adapter_gradients(policy, rows, *, config):
    frozen = separate(policy)[0]
    return steps.next_token_gradients(lora.trained(policy, config=config.model), rows, config=config, frozen=frozen)[0]


def full_gradients(params, rows, *, config):
    return steps.next_token_gradients(params, rows, config=config)[0]


def gradients_on(mesh, tree, model):
    """By the adapters of a model that has some; by all parameters of one that has none."""
    config = step_config(None, model=model)
    shardings = state_shardings(config, mesh).policy
    run = jit_score(full_gradients if model.lora is None else adapter_gradients, mesh, shardings, config)
    return jax.device_get(run(jax.device_put(tree, shardings), place_batch(host(), mesh)))


@functools.cache
def by_chain_rule(name):
    """Adapters' gradients from those of the kernels of the merged model."""
    model = MODELS[name]
    plain = dataclasses.replace(model, lora=None)
    full = gradients_on(single_device(), merged(params(model), config=model), plain)

    def visit(node, gradients):
        if "lora_a" not in node:
            return {below: visit(node[below], gradients[below]) for below in node}
        a, b = np.asarray(node["lora_a"], np.float64), np.asarray(node["lora_b"], np.float64)
        layers, rank = b.shape[:2]
        a_LIR, b_LRO = a.reshape(layers, -1, rank), b.reshape(layers, rank, -1)
        d_LIO = np.asarray(gradients["kernel"], np.float64).reshape(layers, a_LIR.shape[1], -1)
        scale = 6.0 / 3  # W + scale A B: dA = scale dW B^T, dB = scale A^T dW
        d_a, d_b = scale * d_LIO @ b_LRO.swapaxes(1, 2), scale * a_LIR.swapaxes(1, 2) @ d_LIO
        return {"lora_a": d_a.reshape(a.shape), "lora_b": d_b.reshape(b.shape)}

    return visit(separate(params(model))[1], full)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "mesh_name"),
    [
        ("dense", None),
        ("dense", "data 2 x fsdp 2 x tensor 2"),
        ("deepseek", "expert 4 x data 2"),
        pytest.param("deepseek", None, marks=pytest.mark.slow),
        pytest.param("deepseek", "data 2 x fsdp 2 x tensor 2", marks=pytest.mark.slow),
    ],
)
def test_gradients_of_adapters_follow_from_those_of_the_kernels_by_the_chain_rule(name, mesh_name):
    mesh = single_device() if mesh_name is None else make_mesh(MESHES[mesh_name])
    found, expected = gradients_on(mesh, params(MODELS[name]), MODELS[name]), by_chain_rule(name)
    assert relative_difference(found, expected) <= SAME
    for (path, ours), theirs in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        assert relative_difference(ours, theirs) <= 10 * SAME, jax.tree_util.keystr(path)


@functools.cache
def _policy_step():
    config, mesh = step_config("grpo", model=DENSE), single_device()
    return config, jit_step(steps.policy_step, mesh, state_shardings(config, mesh, reference=True), config)


@pytest.mark.parametrize("name", MODELS)
def test_only_adapters_have_gradients_and_moments(name):
    model = MODELS[name]
    config = step_config(None, model=model)
    state = jax.eval_shape(functools.partial(init_state, config=config), params(model))
    adapters = sorted(leaf.shape for leaf in jax.tree.leaves(separate(params(model))[1]))
    assert sorted(leaf.shape for leaf in jax.tree.leaves(state.params)) == adapters
    moments = sorted(leaf.shape for leaf in jax.tree.leaves(state.opt_state) if leaf.shape)
    assert moments == sorted(2 * adapters)
    base = {leaf.shape for leaf in jax.tree.leaves(separate(params(model))[0])}
    assert not base & set(moments)
    given = jax.eval_shape(functools.partial(adapter_gradients, config=config), params(model), batch(**LAYOUT))
    assert sorted(leaf.shape for leaf in jax.tree.leaves(given)) == adapters


def test_a_step_moves_every_adapter_and_leaves_the_base_and_the_reference_as_they_are():
    config, step = _policy_step()
    state = init_state(params(DENSE), config=config, reference=True)
    before = jax.device_get(state)
    after, metrics = step(state, host())
    assert metrics["grad_norm"] > 0
    jax.tree.map(np.testing.assert_array_equal, (after.frozen, after.reference), (before.frozen, before.reference))
    for (path, new), old in zip(jax.tree.leaves_with_path(after.params), jax.tree.leaves(before.params), strict=True):
        assert np.abs(new - old).max() > 0, jax.tree_util.keystr(path)


def test_kl_from_a_snapshot_of_adapters_is_that_between_two_merged_models():
    config, step = _policy_step()
    state = init_state(params(DENSE), config=config, reference=True)
    moved = jax.tree.map(lambda leaf: 1.2 * leaf, state.params)
    state = state._replace(params=moved)
    policy, reference = (jax.tree.map(np.asarray, tree) for tree in (state.policy, state.reference_policy))
    rows = host()
    score = jit_score(steps.score, single_device(), state_shardings(config, single_device()).policy, config)
    rows["ref_logps"] = np.asarray(score(reference, rows)["logps"])
    _, metrics = step(state, rows)

    logps, ref_logps = (_plain_logps(merged(tree, config=DENSE), rows) for tree in (policy, reference))
    log_ratio = np.asarray(ref_logps - logps, np.float64)[rows["mask"][0] > 0]
    expected = np.mean(np.expm1(log_ratio) - log_ratio)  # k3 (DeepSeek-R1 eq. 2), mean over the scored tokens
    assert expected > 0.01
    np.testing.assert_allclose(metrics["kl"], expected, rtol=2e-4)


def test_a_fresh_reference_of_adapters_is_the_policy_to_the_bit_in_bfloat16():
    # B is scaled before it is rounded: a scale that is no power of two shows a copy that was rounded already.
    model = dataclasses.replace(DENSE, compute_dtype="bfloat16", lora=LoraConfig(rank=3, alpha=4.5))
    config = step_config("grpo", model=model)
    state = init_state(params(model), config=config, reference=True)
    score = jax.jit(functools.partial(steps.score, config=config))
    ours, reference = (score(policy, host())["logps"] for policy in (state.policy, state.reference_policy))
    np.testing.assert_array_equal(ours, reference)


@jax.jit
def _plain_logps(tree, rows):
    plain = dataclasses.replace(DENSE, lora=None)
    rows = {name: array[0] for name, array in rows.items() if jnp.ndim(array) == 3}
    hidden_BTD = decoder.forward(tree, rows["tokens"], rows["positions"], rows["segments"], config=plain)
    logps_BTV = jax.nn.log_softmax(decoder.logits(tree, hidden_BTD, config=plain))
    return jnp.take_along_axis(logps_BTV, rows["targets"][..., None], axis=-1)[..., 0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "mesh_name"),
    [
        ("int8", None),
        ("nf4", None),
        pytest.param("int8", "data 2 x fsdp 2 x tensor 2", marks=pytest.mark.slow),
        pytest.param("nf4", "expert 4 x data 2", marks=pytest.mark.slow),
    ],
)
def test_gradients_on_a_quantised_base_are_those_on_what_it_stands_for(kind, mesh_name):
    mesh = single_device() if mesh_name is None else make_mesh(MESHES[mesh_name])
    model = dataclasses.replace(DEEPSEEK, lora=dataclasses.replace(LORA, frozen=kind), remat="dots")
    adapters = lora.trained(params(model), config=model)
    held = lora.frozen(params(model), config=model)
    found = gradients_on(mesh, combined(held, adapters), model)
    is_quantised = lambda leaf: isinstance(leaf, qwix.QArray)  # noqa: E731
    written_out = jax.tree.map(
        lambda leaf: qwix.dequantize(leaf) if is_quantised(leaf) else leaf, held, is_leaf=is_quantised
    )
    expected = gradients_on(single_device(), combined(written_out, adapters), DEEPSEEK)
    assert relative_difference(found, expected) <= SAME
    # What it stands for is another model than the one it was made from.
    assert relative_difference(written_out, separate(params(model))[0]) > 1e-3


def _products(model, mesh):
    """Shapes, as sets of sizes, of all products of two arrays in the compiled gradient."""
    config = step_config(None, model=model)
    shardings = state_shardings(config, mesh).policy
    run = jit_score(full_gradients if model.lora is None else adapter_gradients, mesh, shardings, config)
    text = run.lower(params(model) if model.lora else tiny_rollouts.params(model), host()).compile().as_text()
    found = re.findall(r" = f32\[([\d,]+)\]\S* dot\(", text)
    assert found
    return {frozenset(int(size) for size in shape.split(",") if size != "1") for shape in found}


@pytest.mark.parametrize(
    ("name", "mesh_name"),
    [("dense", None), ("deepseek", None), pytest.param("deepseek", "expert 4 x data 2", marks=pytest.mark.slow)],
)
def test_gradients_of_frozen_kernels_are_not_computed(name, mesh_name):
    model = MODELS[name]
    mesh = single_device() if mesh_name is None else make_mesh(MESHES[mesh_name])
    plain = dataclasses.replace(model, lora=None)
    # Their gradients are products of the kernels' shapes, inputs by outputs.
    width, vocab = plain.hidden_size, plain.vocab_size
    kernels = {"head": {width, vocab}, "ffn": {width, plain.ffn_size}}
    if model.latent is None:
        kernels |= {"query, out": {width, 4 * 6}, "key, value": {width, 2 * 6}}
    else:
        kernels |= {"query_down": {width, 11}, "query_up": {11, 4 * 10}, "kv_down": {width, 10 + 4}}
        kernels |= {"kv_up": {10, 4 * 11}, "shared": {width, 3 * 18}, "experts": {width, 18}, "router": {width, 12}}
    in_full, with_adapters = _products(plain, mesh), _products(model, mesh)
    assert {name for name, sizes in kernels.items() if frozenset(sizes) not in in_full} == set()
    assert {name for name, sizes in kernels.items() if frozenset(sizes) in with_adapters} == set()
    assert frozenset({width, LORA.rank}) in with_adapters
