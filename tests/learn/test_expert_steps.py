"""Steps of mixtures of experts: one gradient on every mesh and layout, load and bias counted by hand, remat, Muon."""

import collections
import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import tiny_rollouts
from tiny_rollouts import batch, relative_difference, sequences, single_device, step_config

from r1jax.config import ConfigError, LatentConfig, LoraConfig, MeshConfig, MoeConfig, OptimizerConfig, RopeConfig
from r1jax.learn import steps
from r1jax.learn.jit import jit_score, jit_step, place_batch
from r1jax.learn.optimizer import make_optimizer
from r1jax.learn.state import init_state, state_shardings
from r1jax.models import decoder, moe
from r1jax.parallel.mesh import make_mesh

pytestmark = pytest.mark.slow  # steps of mixtures over many meshes

SAME = 1e-5  # |delta gradient| / |gradient|, in float32
RATE = 0.125  # a power of two: biases move by it exactly
_COMMON = dataclasses.replace(
    tiny_rollouts.MODEL, attention_bias=False, qk_norm=False, num_layers=3, scan_unroll=1, init_range=0.3
)
DEEPSEEK = dataclasses.replace(
    _COMMON,
    num_kv_heads=4,
    rope=RopeConfig(neighbours=True),
    latent=LatentConfig(kv_rank=10, query_rank=12, nope_size=6, rope_size=4, value_size=5),
    moe=MoeConfig(
        num_experts=8,
        experts_per_token=3,
        expert_size=10,
        shared_experts=2,
        first_dense_layers=1,
        gate="sigmoid",
        num_groups=4,
        top_groups=2,
        weights_scale=2.5,
    ),
)
MODELS = {
    "deepseek": DEEPSEEK,
    "qwen3_moe": dataclasses.replace(
        _COMMON, qk_norm=True, head_size=8, moe=MoeConfig(num_experts=8, experts_per_token=2, expert_size=12)
    ),
}
MOVING = dataclasses.replace(DEEPSEEK, moe=dataclasses.replace(DEEPSEEK.moe, bias_update_rate=RATE))
MESHES = {
    "expert 4 x data 2": MeshConfig(data=2, expert=4),
    "expert 2 x fsdp 2 x tensor 2": MeshConfig(data=1, fsdp=2, expert=2, tensor=2),
}
LAYOUTS = {
    "plain": {"packed": False, "rows": 16, "capacity": 1},
    "micro-batched": {"packed": False, "rows": 8, "capacity": 2},
    "packed": {"packed": True, "rows": 8, "capacity": 1},
    "packed and micro-batched": {"packed": True, "rows": 2, "capacity": 4},  # on one device
}
GRADIENTS = {"grpo": steps.policy_gradients, None: steps.next_token_gradients}
STEPS = {"grpo": steps.policy_step, None: steps.next_token_step}


@functools.cache
def params(model):
    """As fresh ones, but with correction biases that count."""
    made = decoder.init(model, jax.random.key(0))
    router = made["layers"]["ffn"]["router"]
    if "correction_bias" in router:
        router["correction_bias"] = 0.2 * jax.random.normal(jax.random.key(1), router["correction_bias"].shape)
    return made


def host(layout):
    made = {name: np.asarray(array) for name, array in batch(**LAYOUTS[layout]).items()}
    assert (made["num_micro"] > 1) == ("micro-batched" in layout)
    return made


@functools.cache
def gradients(name, loss, layout, mesh_name=None):
    config = step_config(loss, model=MODELS[name])
    mesh = single_device() if mesh_name is None else make_mesh(MESHES[mesh_name])
    shardings = state_shardings(config, mesh).params
    run = jit_score(GRADIENTS[loss], mesh, shardings, config)
    return jax.device_get(run(jax.device_put(params(MODELS[name]), shardings), place_batch(host(layout), mesh)))


# Of all that differ in one of them from the plain rollout on one device, the fast ring runs those with most at once.
_FAST = {
    ("deepseek", "grpo", "packed and micro-batched", None),
    ("qwen3_moe", None, "packed and micro-batched", None),
    ("deepseek", "grpo", "micro-batched", "expert 4 x data 2"),
    ("deepseek", None, "packed", "expert 2 x fsdp 2 x tensor 2"),
    ("qwen3_moe", None, "packed", "expert 4 x data 2"),
}
_ALL = [
    (name, loss, layout, mesh)
    for name in MODELS
    for loss in GRADIENTS
    for layout in LAYOUTS
    for mesh in (None, *MESHES)
    if (layout, mesh) != ("plain", None) and (mesh is None or layout != "packed and micro-batched")
]


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, marks=[] if case in _FAST else pytest.mark.slow) for case in _ALL],
    ids=lambda case: ", ".join(str(part) for part in case),
)
def test_gradients_do_not_depend_on_devices_and_layout(case):
    name, loss, layout, mesh = case
    found, sums = gradients(name, loss, layout, mesh)
    expected, expected_sums = gradients(name, loss, "plain")
    assert relative_difference(found, expected) <= SAME
    assert relative_difference(sums._asdict(), expected_sums._asdict()) <= SAME
    # How many tokens an expert was given is a count.
    np.testing.assert_array_equal(sums.load, expected_sums.load)


@pytest.mark.parametrize("name", MODELS)
def test_no_part_of_the_gradient_is_lost_among_larger_ones(name):
    """The norm above is that of the whole tree: an array with a small gradient could be wrong and not show."""
    mesh = {"deepseek": "expert 2 x fsdp 2 x tensor 2", "qwen3_moe": "expert 4 x data 2"}[name]
    found, expected = gradients(name, None, "packed", mesh)[0], gradients(name, None, "plain")[0]
    for (path, ours), theirs in zip(jax.tree.leaves_with_path(found), jax.tree.leaves(expected), strict=True):
        if path[-1].key == "correction_bias":
            assert not ours.any()
        else:
            assert relative_difference(ours, theirs) <= 5 * SAME, jax.tree_util.keystr(path)


@functools.cache
def counted_load(name):
    """Tokens that each expert of each layer is given [L, E]: layer by layer, sequence by sequence, no padding."""
    model = MODELS[name]
    load_LE = np.zeros((decoder.stacks(model)[-1][2], model.moe.num_experts))
    longest = max(len(one["tokens"]) for one in sequences())
    choices = jax.jit(functools.partial(_choices, model=model))
    for one in sequences():
        length = len(one["tokens"])
        chosen_LTC = choices(params(model), np.pad(one["tokens"], (0, longest - length))[None])
        for layer, chosen_TC in enumerate(np.asarray(chosen_LTC)[:, :length]):
            load_LE[layer] += np.bincount(chosen_TC.ravel(), minlength=model.moe.num_experts)
    return load_LE


def _choices(tree, tokens_BT, *, model):
    """The experts [L, T, C] of one sequence's tokens, from the layers run one after the other."""
    positions_BT = jnp.arange(tokens_BT.shape[1])[None]
    rotation = decoder.rope.rotations(positions_BT, model.rope, model.rotated_width)
    x_BTD, found = tree["embed"]["embedding"][tokens_BT], []
    rows, one_segment = ("batch", "length"), jnp.ones_like(positions_BT)
    for name, experts, count in decoder.stacks(model):
        for index in range(count):
            layer = jax.tree.map(lambda leaf, i=index: leaf[i], tree[name])
            block = decoder.make_block(layer, config=model, experts=experts)
            if experts:
                attended = block.attention(block.attention_norm(x_BTD), rotation, one_segment, rows)
                seen_TD = block.ffn_norm(x_BTD + attended)[0]
                found.append(moe.route(seen_TD, layer["ffn"]["router"], moe=model.moe)[1])
            x_BTD = block(x_BTD, rotation, one_segment, rows)[0]
    return jnp.stack(found)


@functools.cache
def compiled_step(model, loss, optimizer=tiny_rollouts.OPTIMIZER):
    config, mesh = step_config(loss, model=model, optimizer=optimizer), single_device()
    return config, jit_step(STEPS[loss], mesh, state_shardings(config, mesh), config)


def test_load_in_the_metrics_is_that_counted_by_hand_however_the_batch_is_split():
    load_LE = counted_load("deepseek")
    tokens = sum(len(one["tokens"]) for one in sequences())
    np.testing.assert_array_equal(load_LE.sum(1), 3 * tokens)  # three experts a token, none for padding
    config, step = compiled_step(MOVING, "grpo")
    for layout in ("packed and micro-batched", "packed"):
        state = init_state(jax.tree.map(jnp.copy, params(MOVING)), config=config)
        _, metrics = step(state, host(layout))
        # The fullest expert over the mean, mean over layers; the share of all layers' experts without a token.
        expected = np.mean([layer.max() / layer.mean() for layer in load_LE])
        np.testing.assert_allclose(metrics["moe_max_load"], expected, rtol=1e-6)
        assert metrics["moe_unused_share"] == np.mean(load_LE == 0)


def test_load_of_softmax_gates_and_experts_that_no_token_chose():
    np.testing.assert_array_equal(gradients("qwen3_moe", None, "plain")[1].load, counted_load("qwen3_moe"))
    np.testing.assert_array_equal(gradients("deepseek", None, "plain")[1].load, counted_load("deepseek"))
    config, step = compiled_step(MOVING, "grpo")
    # Layer 0: a bias that no score of at most 1 makes up for sends every token to experts 0, 1 and 2 or 3 of its
    # groups 0 and 1: at least 4 of 8 are idle.
    bias_LE = np.zeros((2, 8), np.float32)
    bias_LE[0] = [9, 9, 9, 2, 0, 0, 0, 0]
    tree = _with_bias(params(MOVING), bias_LE)
    after, metrics = step(init_state(tree, config=config), host("packed"))
    assert float(metrics["moe_unused_share"]) >= 5 / 16
    moved_LE = np.asarray(_bias(after.params)) - bias_LE
    np.testing.assert_array_equal(moved_LE[0], RATE * np.array([-1, -1, -1, 1, 1, 1, 1, 1]))


def _bias(tree):
    return tree["layers"]["ffn"]["router"]["correction_bias"]


def _with_bias(tree, bias_LE):
    made = jax.tree.map(jnp.copy, tree)
    made["layers"]["ffn"]["router"]["correction_bias"] = jnp.asarray(bias_LE)
    return made


def test_an_update_moves_the_bias_by_the_rate_towards_the_mean_load_and_a_skipped_one_does_not():
    config, step = compiled_step(MOVING, "grpo")
    good = host("packed and micro-batched")
    bad = {**good, "advantages": np.where(good["mask"] > 0, np.float32(np.inf), 0)}
    nothing = {**good, "mask": 0 * good["mask"]}
    before_LE = np.asarray(_bias(params(MOVING)))
    state = init_state(jax.tree.map(jnp.copy, params(MOVING)), config=config)
    for batch_of_step in (bad, nothing):
        state, metrics = step(state, batch_of_step)
        assert metrics["skipped"] == 1
        np.testing.assert_array_equal(_bias(state.params), before_LE)
    state, metrics = step(state, good)
    assert metrics["skipped"] == 0
    load_LE = counted_load("deepseek")
    sign_LE = np.sign(load_LE.mean(1, keepdims=True) - load_LE)
    assert set(sign_LE.ravel()) >= {-1.0, 1.0}
    np.testing.assert_array_equal(_bias(state.params), before_LE + np.float32(RATE) * sign_LE.astype(np.float32))


def test_the_bias_moves_alike_on_a_mesh():
    # The load is that of all devices: each sees a part of the rows.
    config, mesh = step_config("grpo", model=MOVING), make_mesh(MESHES["expert 4 x data 2"])
    shardings = state_shardings(config, mesh)
    state = jax.device_put(init_state(jax.tree.map(jnp.copy, params(MOVING)), config=config), shardings)
    state, metrics = jit_step(steps.policy_step, mesh, shardings, config)(state, place_batch(host("packed"), mesh))
    load_LE = counted_load("deepseek")
    expected_LE = moe.updated_bias(_bias(params(MOVING)), jnp.asarray(load_LE, jnp.float32), RATE)
    np.testing.assert_array_equal(_bias(state.params), expected_LE)
    np.testing.assert_allclose(metrics["moe_max_load"], np.mean(load_LE.max(1) / load_LE.mean(1)), rtol=1e-6)


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_optimisers_and_weight_decay_never_touch_the_bias(name):
    optimizer = OptimizerConfig(name, 0.1, weight_decay=0.5, muon_learning_rate=0.1 if name == "muon" else None)
    config = step_config(None, model=DEEPSEEK, optimizer=optimizer)
    given = gradients("deepseek", None, "plain")[0]
    assert not np.any(_bias(given))
    made = config.make_optimizer()
    state = made.init(params(DEEPSEEK))
    update = jax.jit(functools.partial(made.update, step=0))
    for _ in range(2):
        updates, state = update(given, state, params(DEEPSEEK))
    assert not np.any(_bias(updates))
    moved = [bool(jnp.any(leaf)) for leaf in jax.tree.leaves(updates)]
    assert moved.count(False) == 1  # the bias alone


def test_adapters_with_a_moving_bias_are_refused():
    with pytest.raises(ConfigError, match=r"^model.moe.bias_update_rate: expected 0 with model.lora .*found 0.125$"):
        dataclasses.replace(MOVING, lora=LoraConfig())
    dataclasses.replace(DEEPSEEK, lora=LoraConfig())


EXPERT_DIMS = {"up": ("layers", "experts", "embed", "ffn"), "down": ("layers", "experts", "ffn", "embed")}


def test_muon_updates_stacked_experts_as_each_one_alone():
    """Three steps, so that momentum counts; without clipping, which looks at all arrays together."""
    config = OptimizerConfig("muon", 0.01, muon_learning_rate=0.02, weight_decay=0.1, clip_norm=None)
    draw = np.random.default_rng(0)
    values, *given = (
        {name: jnp.float32(draw.normal(size=(2, 3, *shape))) for name, shape in {"up": (4, 6), "down": (6, 4)}.items()}
        for _ in range(4)
    )

    def run(values, gradients):
        optimizer = make_optimizer(config, 10, EXPERT_DIMS)
        state = optimizer.init(values)
        update = jax.jit(optimizer.update)
        for step, gradient in enumerate(gradients):
            updates, state = update(gradient, state, values, step=step)
            values = optax.apply_updates(values, updates)
        return values

    stacked = run(values, given)
    for layer, expert in np.ndindex(2, 3):
        one = np.s_[layer : layer + 1, expert : expert + 1]
        alone = run(*jax.tree.map(lambda leaf, one=one: leaf[one], (values, given)))
        for name, expected in alone.items():
            np.testing.assert_allclose(stacked[name][one], expected, rtol=1e-5, atol=1e-6, err_msg=name)
    # Nearly orthogonal each by itself: [4, 6], up scaled by sqrt(6 / 4).
    first = make_optimizer(dataclasses.replace(config, weight_decay=0.0, muon_learning_rate=1.0), 10, EXPERT_DIMS)
    updates, _ = first.update(given[0], first.init(values), values, step=0)
    for name, scale in {"up": np.sqrt(6 / 4), "down": 1.0}.items():
        singular = np.linalg.svd(np.asarray(updates[name]), compute_uv=False) / scale
        assert singular.shape == (2, 3, 4)
        assert 0.6 < singular.min() <= singular.max() < 1.3


@functools.cache
def _remat_gradients(remat):
    model = dataclasses.replace(DEEPSEEK, remat=remat)
    run = jax.jit(functools.partial(steps.next_token_gradients, config=step_config(None, model=model)))
    return run(params(model), host("plain"))[0]


@pytest.mark.parametrize("remat", ["dots", "full"])
def test_remat_changes_no_gradient_of_experts(remat):
    assert relative_difference(_remat_gradients(remat), _remat_gradients("none")) <= SAME


def _counted(jaxpr, found):
    """How often each primitive stands in a traced program, in all the programs inside it."""
    for equation in jaxpr.eqns:
        found[equation.primitive.name] += 1
        for value in equation.params.values():
            for part in value if isinstance(value, (tuple, list)) else (value,):
                inner = getattr(part, "jaxpr", part)
                if hasattr(inner, "eqns"):
                    _counted(inner, found)
    return found


@pytest.mark.parametrize("mesh_name", [None, "expert 4 x data 2"])
def test_kept_products_of_experts_are_not_computed_again(mesh_name):
    mesh = single_device() if mesh_name is None else make_mesh(MESHES[mesh_name])
    found = {}
    for remat in ("none", "dots", "full"):
        config = step_config(None, model=dataclasses.replace(MODELS["qwen3_moe"], remat=remat))
        with jax.set_mesh(mesh):
            traced = jax.make_jaxpr(functools.partial(steps.next_token_gradients, config=config))
            found[remat] = _counted(
                traced(params(config.model), batch(**LAYOUTS["plain"])).jaxpr, collections.Counter()
            )
    # A grouped product asks once for the platform. Three forward, two backward for each; the third of the forward
    # ones is not needed for any gradient, so two are computed again where nothing is kept. (Over devices, the trace has
    # those of further rounds too.)
    products = {remat: count["platform_index"] for remat, count in found.items()}
    assert products["dots"] == products["none"] == products["full"] - 2
    assert mesh_name is not None or products["none"] == 9
    if mesh_name is not None:  # nor are rows sent again
        assert found["none"]["all_to_all"] == found["dots"]["all_to_all"] < found["full"]["all_to_all"]
