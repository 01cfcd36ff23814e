"""Logical dims go to mesh axes by one table, and whatever does not fit is an error that names it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

from r1jax.config import MESH_AXES, ConfigError, MeshConfig
from r1jax.parallel import mesh, rules


@pytest.fixture(scope="module")
def fsdp4_tensor2():
    return mesh.make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))


def test_dims_go_to_their_axes(fsdp4_tensor2):
    dims = ("layers", "embed", "heads", "head")
    assert rules.spec(dims, (3, 16, 4, 8), fsdp4_tensor2) == P(None, "fsdp", "tensor", None)
    rows = ("batch", "length", "act_embed")
    assert rules.spec(rows, (8, 5, 16), fsdp4_tensor2) == P(("data", "fsdp", "expert"), "context", None)
    assert rules.spec((None, "vocab"), (3, 32), fsdp4_tensor2) == P(None, "tensor")


def test_the_table_names_axes_of_the_mesh_only():
    assert {axis for axes in rules.RULES.values() for axis in axes or ()} <= set(MESH_AXES)


def test_an_unknown_dim_is_an_error(fsdp4_tensor2):
    with pytest.raises(ValueError, match="unknown dim 'embd'"):
        rules.spec(("embd",), (16,), fsdp4_tensor2)


def test_an_axis_used_twice_is_an_error(fsdp4_tensor2):
    with pytest.raises(ValueError, match="'tensor' is used by both 'heads' and 'ffn'"):
        rules.spec(("heads", "ffn"), (4, 32), fsdp4_tensor2)


def test_a_wrong_number_of_dims_is_an_error(fsdp4_tensor2):
    with pytest.raises(ValueError, match="one name a dim"):
        rules.spec(("embed",), (16, 4), fsdp4_tensor2)


def test_an_indivisible_dim_is_an_error_that_names_the_array(fsdp4_tensor2):
    tree = {"ffn": {"up": jax.ShapeDtypeStruct((18, 32), jnp.float32)}}
    with pytest.raises(ConfigError, match=r"ffn\.up: .*'embed' to be a multiple of 4 .*found 18"):
        rules.shardings({"ffn": {"up": ("embed", "ffn")}}, tree, fsdp4_tensor2)


def test_kv_heads_fewer_than_their_devices_are_replicated_and_otherwise_must_divide():
    tensor4 = mesh.make_mesh(MeshConfig(data=2, tensor=4))
    assert rules.spec(("kv_heads",), (2,), tensor4) == P(None)
    assert rules.spec(("kv_heads",), (8,), tensor4) == P("tensor")
    with pytest.raises(ConfigError, match="'kv_heads'"):
        rules.spec(("kv_heads",), (6,), tensor4)
    with pytest.raises(ConfigError, match="'heads'"):
        rules.spec(("heads",), (2,), tensor4)


def test_constrain_places_activations_under_a_mesh_and_does_nothing_without(fsdp4_tensor2):
    x = jnp.zeros((8, 4, 6))

    def place(x):
        return rules.constrain(x, ("batch", "length", "act_ffn"))

    assert jax.jit(place)(x).sharding.is_fully_replicated
    with jax.set_mesh(fsdp4_tensor2):
        placed = jax.jit(place)(x)
    assert placed.sharding.shard_shape(x.shape) == (2, 4, 3)


class Pair(NamedTuple):
    first: tuple
    second: tuple


def test_named_tuples_are_nodes_of_a_tree_and_plain_tuples_of_names_its_leaves():
    assert rules.is_dims(())
    assert rules.is_dims(("embed", None))
    assert not rules.is_dims(Pair(("embed",), ("norm",)))
    assert not rules.is_dims((("embed",), ("norm",)))
