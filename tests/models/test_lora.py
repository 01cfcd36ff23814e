"""Adapters beside a frozen base: what is trained, what is unchanged, what is held how."""

import dataclasses

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import qwix
from tiny_models import FAMILIES, logits_of, one_segment, params_of, random_tokens

from r1jax.config import ConfigError, LoraConfig, MeshConfig
from r1jax.models import adapters, decoder, decoding, lora
from r1jax.parallel.mesh import make_mesh

LORA = LoraConfig(rank=3, alpha=6.0)
CONFIGS = {name: dataclasses.replace(FAMILIES[name], lora=LORA) for name in ("qwen2", "deepseek")}


def _drawn(tree, seed=3):
    """Numbers for both halves of the adapters: fresh ones change nothing."""
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: jnp.asarray(0.3 * draw.standard_normal(leaf.shape, np.float32)), tree)


def test_patterns_choose_linear_maps_and_an_unmatched_one_is_an_error():
    config = dataclasses.replace(CONFIGS["qwen2"], lora=LoraConfig(targets=("*.query", "ffn.down")))
    assert {path[1:] for path in lora.targets(config)} == {("attention", "query"), ("ffn", "down")}
    wrong = dataclasses.replace(config, lora=LoraConfig(targets=("attention.*", "*.qkv")))
    with pytest.raises(ConfigError, match=r"model.lora.targets: .* found '\*.qkv'; this model has attention.key, "):
        lora.targets(wrong)


def test_routers_and_experts_are_not_adapted():
    names = {".".join(path) for path in lora.linears(CONFIGS["deepseek"])}
    assert {"layers.ffn.shared.up", "dense_layers.ffn.up", "layers.attention.kv_up"} <= names
    assert not any("router" in name or "experts" in name for name in names)


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_shapes_and_dims_agree(config):
    shapes, dims = lora.trained_shapes(config), lora.trained_dims(config)
    chex.assert_trees_all_equal_structs(shapes, jax.tree.map(lambda d: 0, dims, is_leaf=lambda d: isinstance(d, tuple)))
    query = shapes["layers"]["attention"]["query" if config.latent is None else "query_up"]
    assert query["lora_a"].shape[-1] == query["lora_b"].shape[1] == LORA.rank
    out = shapes["layers"]["attention"]["out"]
    assert out["lora_a"].shape[1:-1] == decoder.param_shapes(config)["layers"]["attention"]["out"]["kernel"].shape[1:-1]


@pytest.mark.parametrize("config", CONFIGS.values(), ids=CONFIGS.keys())
def test_fresh_adapters_change_nothing_and_drawn_ones_equal_their_merge(config):
    base, tokens_BT = params_of(config), random_tokens(2, 6)
    plain = dataclasses.replace(config, lora=None)
    fresh = lora.init(config, jax.random.key(0))
    expected = logits_of(base, tokens_BT, *one_segment(tokens_BT), plain)
    found = logits_of(adapters.combined(base, fresh), tokens_BT, *one_segment(tokens_BT), config)
    np.testing.assert_array_equal(found, expected)

    both = adapters.combined(base, _drawn(fresh))
    found = logits_of(both, tokens_BT, *one_segment(tokens_BT), config)
    assert np.abs(found - expected).max() > 0.1
    merged = adapters.merged(both, config=config)
    chex.assert_trees_all_equal_shapes_and_dtypes(merged, base)
    np.testing.assert_allclose(found, logits_of(merged, tokens_BT, *one_segment(tokens_BT), plain), atol=2e-4)
    # The sampler takes both trees too, and folds them.
    prepared, folded = (decoding.prepare(tree, config=c) for tree, c in ((both, config), (merged, plain)))
    chex.assert_trees_all_close(prepared, folded, atol=1e-6)


def test_only_adapters_have_gradients_to_ask_for():
    config = CONFIGS["qwen2"]
    both = adapters.combined(params_of(config), _drawn(lora.init(config, jax.random.key(0))))
    base, trained = lora.frozen(both, config=config), lora.trained(both, config=config)
    chex.assert_trees_all_equal(adapters.combined(base, trained), both)
    assert {path[-1].key for path, _ in jax.tree_util.tree_leaves_with_path(trained)} == {"lora_a", "lora_b"}
    score = dataclasses.replace(config, tie_embeddings=False, head="score")
    assert "score" in lora.trained_shapes(score)
    assert "score" not in lora.frozen_shapes(score)


@pytest.mark.parametrize(("kind", "error"), [("int8", 0.02), ("nf4", 0.2)])
def test_a_quantised_base_is_near_and_takes_its_share_of_memory(kind, error):
    config = dataclasses.replace(CONFIGS["qwen2"], remat="full", lora=dataclasses.replace(LORA, frozen=kind))
    params, tokens_BT = params_of(config), random_tokens(2, 6)
    held = lora.frozen(params, config=config)
    kernel, exact = held["layers"]["ffn"]["up"]["kernel"], params["layers"]["ffn"]["up"]["kernel"]
    assert isinstance(kernel, qwix.QArray)
    distance = jnp.abs(qwix.dequantize(kernel) - exact)
    assert 0 < float(distance.max()) < error * float(jnp.abs(exact).max()) * 2
    assert held["layers"]["attention"]["query"]["bias"].dtype == jnp.float32
    # Used as what it stands for: written out first, the numbers are the same.
    fresh = lora.init(config, jax.random.key(0))
    written = adapters.combined(adapters.dequantized(held, jnp.float32), fresh)
    found = logits_of(adapters.combined(held, fresh), tokens_BT, *one_segment(tokens_BT), config)
    np.testing.assert_allclose(found, logits_of(written, tokens_BT, *one_segment(tokens_BT), config), atol=1e-5)
    assert kernel.qvalue.dtype == (jnp.int8 if kind == "int8" else jnp.uint4)


@pytest.mark.parametrize("kind", ["compute", "int8", "nf4"])
def test_the_frozen_base_lies_on_the_mesh_as_its_kernels_would(kind):
    config = dataclasses.replace(CONFIGS["qwen2"], remat="full", lora=dataclasses.replace(LORA, frozen=kind))
    mesh = make_mesh(MeshConfig(data=2, fsdp=2, tensor=2))
    where = lora.frozen_shardings(config, mesh)
    held = jax.jit(lambda p: lora.frozen(p, config=config), out_shardings=where)(params_of(config))
    kernel = held["layers"]["ffn"]["up"]["kernel"]
    local = getattr(kernel, "qvalue", kernel).addressable_shards[0].data
    assert local.shape == (3, 8, 12)  # layers, width over fsdp, feed-forward over tensor


def test_scales_lie_beside_what_they_scale():
    # 128 inputs are two tiles of 64, which fsdp=2 shares; in 24 there is one of 8 in each of three, which it does not.
    config = dataclasses.replace(
        FAMILIES["qwen2"], hidden_size=128, ffn_size=24, remat="full", lora=dataclasses.replace(LORA, frozen="nf4")
    )
    where = lora.frozen_shardings(config, make_mesh(MeshConfig(data=2, fsdp=2, tensor=2)))
    up, down = (where["layers"]["ffn"][name]["kernel"] for name in ("up", "down"))
    assert tuple(up.scale.spec) == tuple(up.qvalue.spec) == (None, "fsdp", "tensor")
    assert tuple(down.scale.spec) == (None, None, "fsdp")


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_the_backward_pass_keeps_no_kernel_written_out(remat):
    config = dataclasses.replace(CONFIGS["qwen2"], lora=dataclasses.replace(LORA, frozen="nf4"), remat=remat)
    params = params_of(config)
    held, trained = lora.frozen(params, config=config), lora.init(config, jax.random.key(0))
    tokens_BT = random_tokens(2, 6)

    def loss(trained):
        both = adapters.combined(held, trained)
        return decoder.forward(both, tokens_BT, *one_segment(tokens_BT), config=config).sum()

    _, pullback = jax.vjp(loss, trained)
    shape = params["layers"]["ffn"]["up"]["kernel"].shape
    kept = [leaf.dtype for leaf in jax.tree.leaves(pullback) if leaf.shape == shape]
    assert jnp.float32 not in kept
    with pytest.raises(ConfigError, match="model.remat: expected dots or full with model.lora.frozen=nf4"):
        dataclasses.replace(config, remat="none")
