"""Experts over a mesh of virtual devices: equal to the plain loop however uneven, at the cost of a device's share."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import moe_reference as reference
import numpy as np
import pytest
from moe_reference import DEEPSEEK, EXPERTS, QWEN3, WIDTH

from r1jax.config import MeshConfig, MoeConfig
from r1jax.models import expert_parallel, param_dims
from r1jax.models.grouped_matmul import block_rows
from r1jax.parallel.mesh import make_mesh
from r1jax.parallel.rules import shardings

SIZES = {
    "expert 4": {"expert": 4},
    "expert 2, tensor 2, fsdp 2": {"expert": 2, "tensor": 2, "fsdp": 2},
    "data 2, expert 4": {"data": 2, "expert": 4},
    "data 2, expert 2, context 2": {"data": 2, "expert": 2, "context": 2},
    "fsdp 4, tensor 2": {"fsdp": 4, "tensor": 2},
}


def _mesh(sizes):
    config = MeshConfig(**{"data": 1, **sizes})
    return make_mesh(config, jax.devices()[: int(np.prod(list(sizes.values())))])


def _random(*shape, seed):
    return np.random.default_rng(seed).standard_normal(shape, dtype=np.float32)


def _placed(params, mesh):
    """As a layer of the decoder is: its stack's dims without `layers`."""
    stacked = param_dims.select(params, param_dims.DIMS["layers"]["ffn"])
    dims = jax.tree.map(lambda names: names[1:], stacked, is_leaf=lambda node: isinstance(node, tuple))
    return jax.device_put(params, shardings(dims, params, mesh))


def _program(config, rows):
    @jax.jit
    def values_and_gradients(params, x, real, d_out):
        def run(params, x):
            return reference.module_of(config, params)(x, rows, real)

        out, pullback, load = jax.vjp(run, params, x, has_aux=True)
        d_params, d_x = pullback(d_out)
        return out, load, d_x, d_params

    return values_and_gradients


def _expected(config, params, x, real, d_out):
    flat = (array.reshape(-1, WIDTH) for array in (x, d_out))
    out, load, d_x, d_params = reference.mixture(config, params, next(flat), real.ravel(), next(flat))
    return out.reshape(x.shape), load, d_x.reshape(x.shape), d_params


@pytest.mark.parametrize("sizes", SIZES.values(), ids=SIZES)
def test_a_mesh_equals_the_plain_loop_with_even_and_with_one_sided_routing(sizes):
    mesh, program = _mesh(sizes), _program(DEEPSEEK, ("batch", "length"))
    params = reference.params_of(DEEPSEEK)
    x, d_out = _random(8, 64, WIDTH, seed=1), _random(8, 64, WIDTH, seed=2)
    real = np.random.default_rng(3).random((8, 64)) < 0.9
    # Experts 0 and 1, of one group and one device, win everywhere: all other devices idle, and what is meant for one
    # device does not fit in a round.
    for bias in (params["router"]["correction_bias"], jnp.array([9.0, 9, 0, 0, 0, 0, 0, 0])):
        params = {**params, "router": {**params["router"], "correction_bias": bias}}
        with jax.set_mesh(mesh):
            found = program(_placed(params, mesh), x, real, d_out)
        reference.assert_close(found, _expected(DEEPSEEK, params, x, real, d_out))
    assert program._cache_size() == 1


def test_one_sided_routing_takes_rounds_that_even_routing_does_not():
    # What the test above relies on: 64 tokens of 2 experts on each of 8 devices, 4 of which share the experts.
    capacity = expert_parallel.pair_capacity(64 * 2, 4)
    assert 64 * 2 / 4 < capacity < 64 * 2 / 2
    # Many assignments: a fifth more than the mean. Few: no more than a device could ever send to another.
    assert expert_parallel.pair_capacity(40_000, 4) == 12_000
    assert expert_parallel.pair_capacity(2, 4) == 8


@pytest.mark.parametrize("shape", [(3, 5), (1, 1)])
def test_prompts_that_the_devices_do_not_divide(shape):
    mesh, program = _mesh({"fsdp": 2, "expert": 4}), _program(QWEN3, ("prompts", "prompt_length"))
    params = reference.params_of(QWEN3)
    x, d_out, real = _random(*shape, WIDTH, seed=1), _random(*shape, WIDTH, seed=2), np.ones(shape, bool)
    with jax.set_mesh(mesh):
        found = program(_placed(params, mesh), x, real, d_out)
    reference.assert_close(found, _expected(QWEN3, params, x, real, d_out))


def test_one_token_a_lane_while_decoding():
    mesh, program = _mesh({"context": 2, "expert": 4}), _program(QWEN3, ("lanes", "width"))
    params = reference.params_of(QWEN3)
    x, d_out, real = _random(4, 1, WIDTH, seed=1), _random(4, 1, WIDTH, seed=2), np.ones((4, 1), bool)
    with jax.set_mesh(mesh):
        found = program(_placed(params, mesh), x, real, d_out)
    reference.assert_close(found, _expected(QWEN3, params, x, real, d_out))


def test_bfloat16_over_a_mesh():
    mesh, program = _mesh({"expert": 2, "tensor": 2, "fsdp": 2}), _program(QWEN3, ("batch", "length"))
    params = reference.params_of(QWEN3)
    x, real = jnp.asarray(_random(4, 8, WIDTH, seed=1)).astype(jnp.bfloat16), np.ones((4, 8), bool)
    with jax.set_mesh(mesh):
        found = program(_placed(params, mesh), x, real, x)
    assert found[0].dtype == found[2].dtype == jnp.bfloat16
    found = jax.tree.map(lambda array: np.asarray(array, np.float64), found)
    x = np.asarray(x, np.float64)
    reference.assert_close(found, _expected(QWEN3, params, x, real, x), rtol=0.05)


def test_the_backward_pass_keeps_no_whole_weights():
    mesh, params = _mesh({"expert": 2, "fsdp": 4}), reference.params_of(QWEN3)
    x = jnp.asarray(_random(8, 8, WIDTH, seed=1)).astype(jnp.bfloat16)

    def pullback(params, x):
        return jax.vjp(lambda params, x: reference.module_of(QWEN3, params)(x, ("batch", "length"))[0], params, x)[1]

    with jax.set_mesh(mesh):
        found = jax.tree.leaves(jax.eval_shape(pullback, params, x))
    # The three float32 stacks as they came in; what was cast or gathered from them has three dims, too.
    stacks = [array for array in found if array.ndim == 3 and array.shape != x.shape]
    assert sorted(array.shape for array in stacks) == sorted(leaf.shape for leaf in params["experts"].values())
    assert all(array.dtype == jnp.float32 for array in stacks)


def _computations(text):
    """Of each computation of an HLO text its lines, and the name of the entry."""
    found, entry, lines = {}, None, []
    for line in text.splitlines():
        if opened := re.match(r"(ENTRY )?%?([\w.-]+) .*\{$", line):
            lines = found.setdefault(opened[2], [])
            entry = opened[2] if opened[1] else entry
        elif line.startswith("  "):
            lines.append(line)
    return found, entry


def _dot_flops(lines):
    shapes = {}
    for line in lines:
        if named := re.match(r"\s+(?:ROOT )?%([\w.-]+) = \w+\[([\d,]*)\]", line):
            shapes[named[1]] = [int(size) for size in named[2].split(",") if size]
    total = 0
    for line in lines:
        if dot := re.search(r"%([\w.-]+) = .* dot\(%([\w.-]+), .*lhs_contracting_dims=\{([\d,]+)\}", line):
            contracted = [shapes[dot[2]][int(dim)] for dim in dot[3].split(",")]
            total += 2 * int(np.prod(shapes[dot[1]])) * int(np.prod(contracted))
    return total


def _flops(text, blocks):
    """Dot FLOPs of a device. Loops run as often as XLA says; those that depend on the data: over further rounds, never;
    over groups and the blocks in each, `blocks` times in all.
    """
    computations, entry = _computations(text)

    @functools.cache
    def reached(name):
        below = [reached(called) for line in computations[name] for called in _called(line)]
        return frozenset([name]).union(*below)

    def inner_loop(name):
        return not any(" while(" in line for one in reached(name) for line in computations[one])

    @functools.cache
    def count(name):
        total = _dot_flops(computations[name])
        for line in computations[name]:
            for called in _called(line):
                trips = 1
                if " while(" in line:
                    known = re.search(r'"known_trip_count":\{"n":"(\d+)"', line)
                    exchanges = any(" all-to-all(" in each for one in reached(called) for each in computations[one])
                    trips = int(known[1]) if known else 0 if exchanges else blocks if inner_loop(called) else 1
                total += trips * count(called)
        return total

    return count(entry)


def _called(line):
    """Computations that an instruction runs (of a loop the body; conditions and comparisons have no dots)."""
    assert " conditional(" not in line
    return re.findall(r"(?:calls|to_apply|body)=%([\w.-]+)", line)


def test_even_routing_costs_a_device_its_share_and_gathers_no_experts():
    devices, tokens, chosen, width, hidden = 4, 8192, 2, 32, 48
    config = dataclasses.replace(QWEN3, hidden_size=width, moe=MoeConfig(EXPERTS, chosen, hidden))
    params, x = reference.params_of(config), _random(16, tokens // 16, width, seed=1)
    params["router"]["kernel"] *= 0.1
    real = np.ones(x.shape[:2], bool)
    mesh = _mesh({"expert": devices})
    with jax.set_mesh(mesh):
        args = _placed(params, mesh), x, real, x
        compiled = _program(config, ("batch", "length")).lower(*args).compile()
        load = np.asarray(compiled(*args)[1]).reshape(devices, -1)
    text = compiled.as_text()
    assert " all-to-all(" in text
    assert " all-gather(" not in text

    # That routing is even enough to need one round.
    capacity = expert_parallel.pair_capacity(tokens * chosen // devices, devices)
    per_pair = _assignments_per_pair(params, x, devices)
    assert per_pair.max() <= capacity
    block = block_rows(devices * capacity, load.shape[1])
    blocks = int(np.ceil(load / block).sum(1).max())
    # Three matrices, each with a product forward and two backward.
    ideal = 9 * 2 * tokens * chosen * width * hidden / devices
    assert 1.0 <= _flops(text, blocks) / ideal <= 1.3


def _assignments_per_pair(params, x, devices):
    """How many assignments each device has for each, from the router's scores in NumPy."""
    logits = x.reshape(devices, -1, x.shape[-1]) @ np.asarray(params["router"]["kernel"])
    holders = np.argsort(-logits, axis=2)[:, :, :2] // (logits.shape[2] // devices)
    return np.stack([np.bincount(row.ravel(), minlength=devices) for row in holders])
