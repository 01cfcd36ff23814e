"""Checkpoints: bit-exact round trips, other meshes, what is kept, refusals in words, kills during a save."""

from __future__ import annotations

import os
import pathlib
import signal
import subprocess
import sys
import textwrap
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from r1jax.checkpoint import Checkpointer, CheckpointError, restore_params

ROOT = pathlib.Path(__file__).resolve().parents[2]


class State(NamedTuple):
    params: dict[str, Any]
    opt_state: Any
    step: jax.Array
    reference: Any = None


def make_state(seed: int = 0, width: int = 8, reference: bool = False) -> State:
    keys = jax.random.split(jax.random.key(seed), 2)
    params = {
        "layers": {"query": jax.random.normal(keys[0], (2, width, 8))},
        "embed": jax.random.normal(keys[1], (16, width)).astype(jnp.bfloat16),
    }
    opt_state = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(1e-3)).init(params)
    return State(params, opt_state, jnp.int32(seed), params if reference else None)


def abstract(tree, sharding=None):
    return jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding if sharding is None else sharding(x)),
        tree,
    )


def assert_same_bits(left, right):
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for one, two in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert one.dtype == two.dtype
        assert np.asarray(one).tobytes() == np.asarray(two).tobytes()


def test_a_state_of_named_tuples_with_a_none_comes_back_bit_exact_with_its_extras(tmp_path):
    state, extras = make_state(3), {"iterator": {"epoch": 1, "next": None}, "weights": [1, 2.5]}
    with Checkpointer(tmp_path, keep=1) as checkpointer:
        checkpointer.save(3, state, extras)
        restored, restored_extras = checkpointer.restore(abstract(state))
    assert_same_bits(restored, state)
    assert restored.reference is None
    assert restored_extras == extras


def test_a_new_process_would_find_the_newest_and_may_ask_for_an_older_one(tmp_path):
    with Checkpointer(tmp_path, keep=2) as checkpointer:
        checkpointer.save(5, make_state(5))
        checkpointer.save(10, make_state(10))
    with Checkpointer(tmp_path, keep=2) as checkpointer:
        assert checkpointer.latest() == 10
        assert int(checkpointer.restore(abstract(make_state()))[0].step) == 10
        state, extras = checkpointer.restore(abstract(make_state()), step=5)
        assert int(state.step) == 5
        assert extras == {}


def test_a_state_saved_on_one_mesh_restores_onto_another_bit_exact(tmp_path):
    devices = np.array(jax.devices())
    before = jax.sharding.Mesh(devices.reshape(4, 2), ("fsdp", "tensor"), axis_types=(AxisType.Auto,) * 2)
    after = jax.sharding.Mesh(devices[:2], ("data",), axis_types=(AxisType.Auto,))
    array = jax.random.normal(jax.random.key(0), (8, 6))
    state = State(
        {"w": jax.device_put(array, NamedSharding(before, PartitionSpec("fsdp", "tensor")))}, (), jnp.int32(1)
    )
    target = NamedSharding(after, PartitionSpec(None, "data"))
    with Checkpointer(tmp_path, keep=1) as checkpointer:
        checkpointer.save(1, state)
        like = abstract(state)._replace(params=abstract(state.params, lambda _: target))
        restored, _ = checkpointer.restore(like)
    assert restored.params["w"].sharding == target
    np.testing.assert_array_equal(restored.params["w"], array)


def test_typed_keys_come_back_as_keys(tmp_path):
    with Checkpointer(tmp_path, keep=1) as checkpointer:
        checkpointer.save(1, {"key": jax.random.key(7)})
        restored, _ = checkpointer.restore(abstract({"key": jax.random.key(0)}))
    assert jax.random.uniform(restored["key"]) == jax.random.uniform(jax.random.key(7))


def test_the_newest_and_the_best_are_kept_and_the_earlier_of_equal_scores_is_best(tmp_path):
    with Checkpointer(tmp_path, keep=1) as checkpointer:
        assert checkpointer.best() is None
        for step, score in [(1, 0.25), (2, 0.5), (3, 0.5), (4, None), (5, 0.0)]:
            checkpointer.save(step, make_state(step), score=score)
        assert checkpointer.best() == 2
        assert checkpointer.steps() == [2, 5]
    with Checkpointer(tmp_path, keep=1) as checkpointer:  # scores are read back
        assert checkpointer.best() == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["2", "5"]


def test_a_donated_state_does_not_change_what_is_being_saved(tmp_path):
    update = jax.jit(lambda tree: jax.tree.map(lambda x: x + 1, tree), donate_argnums=0)
    state = {"w": jnp.zeros((1024, 1024))}
    with Checkpointer(tmp_path, keep=3) as checkpointer:
        for step in range(3):
            checkpointer.save(step, state)
            for _ in range(20):
                state = update(state)
        for step in range(3):
            restored, _ = checkpointer.restore(abstract(state), step=step)
            np.testing.assert_array_equal(restored["w"], np.full((1024, 1024), 20.0 * step))


def test_extras_that_change_after_the_save_are_saved_as_they_were(tmp_path):
    extras = {"iterator": {"next": 1}}
    with Checkpointer(tmp_path, keep=1) as checkpointer:
        checkpointer.save(1, {"w": jnp.zeros((2048, 2048))}, extras)
        extras["iterator"]["next"] = 2
        assert checkpointer.restore(abstract({"w": jnp.zeros((2048, 2048))}))[1] == {"iterator": {"next": 1}}


def test_params_alone_load_from_the_stage_its_checkpoints_or_one_checkpoint(tmp_path):
    folder = tmp_path / "base" / "checkpoints"
    with Checkpointer(folder, keep=2) as checkpointer:
        checkpointer.save(1, make_state(1))
        checkpointer.save(2, make_state(2))
    like = abstract(make_state().params)
    assert_same_bits(restore_params(tmp_path / "base", like), make_state(2).params)
    assert_same_bits(restore_params(folder, like, step=1), make_state(1).params)
    assert_same_bits(restore_params(folder / "1", like), make_state(1).params)


def test_a_relative_folder_will_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with Checkpointer("runs/base/checkpoints", keep=1) as checkpointer:
        checkpointer.save(1, make_state(1))
    assert_same_bits(restore_params("runs/base", abstract(make_state().params)), make_state(1).params)


def test_another_shape_dtype_or_name_is_named_in_one_line(tmp_path):
    with Checkpointer(tmp_path, keep=1) as checkpointer:
        checkpointer.save(1, make_state())
        with pytest.raises(CheckpointError) as wrong_shape:
            checkpointer.restore(abstract(make_state(width=4)))
        other = make_state()
        other.params["norm"] = other.params.pop("embed")
        with pytest.raises(CheckpointError) as wrong_name:
            checkpointer.restore(abstract(other))
        cast = make_state()
        cast.params["embed"] = cast.params["embed"].astype(jnp.float32)
        with pytest.raises(CheckpointError) as wrong_dtype:
            checkpointer.restore(abstract(cast))
    assert "params/embed is bfloat16[16, 8], expected bfloat16[16, 4]" in str(wrong_shape.value)
    assert "params/layers/query is float32[2, 8, 8], expected float32[2, 4, 8]" in str(wrong_shape.value)
    assert "params/embed is in the checkpoint, not in the state" in str(wrong_name.value)
    assert "params/norm is in the state, not in the checkpoint" in str(wrong_name.value)
    assert "params/embed is bfloat16[16, 8], expected float32[16, 8]" in str(wrong_dtype.value)
    assert "\n" not in str(wrong_shape.value) + str(wrong_name.value) + str(wrong_dtype.value)


def test_a_reference_that_only_one_side_has_is_one_item_of_the_message(tmp_path):
    with Checkpointer(tmp_path, keep=1) as checkpointer:
        checkpointer.save(1, make_state(reference=True))
        with pytest.raises(CheckpointError, match=r"reference \(2 arrays\) is in the checkpoint, not in the state$"):
            checkpointer.restore(abstract(make_state()))


def test_no_checkpoint_and_no_such_step_say_what_there_is(tmp_path):
    with Checkpointer(tmp_path / "a", keep=1) as checkpointer:
        with pytest.raises(CheckpointError, match="expected a checkpoint, found none"):
            checkpointer.restore(abstract(make_state()))
        checkpointer.save(4, make_state())
        with pytest.raises(CheckpointError, match="expected step 3, found 4"):
            checkpointer.restore(abstract(make_state()), step=3)
    with pytest.raises(CheckpointError, match="expected step 3, found 4"):
        restore_params(tmp_path / "a", abstract(make_state().params), step=3)
    with pytest.raises(CheckpointError, match="no such folder"):
        restore_params(tmp_path / "b", abstract(make_state().params))


def test_what_cannot_be_saved_is_refused_before_anything_is_written(tmp_path):
    with Checkpointer(tmp_path, keep=1) as checkpointer:
        with pytest.raises(ValueError, match="state params/n: expected a jax array, found int"):
            checkpointer.save(1, {"params": {"n": 3}})
        with pytest.raises(ValueError, match="expected a finite number or None, found nan"):
            checkpointer.save(1, make_state(), score=float("nan"))
        with pytest.raises(TypeError):
            checkpointer.save(1, make_state(), {"next": np.int64(1)})
        checkpointer.save(1, make_state())
        with pytest.raises(ValueError, match="step 1 is already saved"):
            checkpointer.save(1, make_state())
        assert checkpointer.steps() == [1]


# Saves steps 1, 2, ... of a 64 MiB array filled with the step, keeping one, until it is killed.
_ENDLESS_SAVES = """
    import sys, jax.numpy as jnp
    from r1jax.checkpoint import Checkpointer
    checkpointer = Checkpointer(sys.argv[1], keep=1)
    for step in range(1, 1000):
        checkpointer.save(step, {"w": jnp.full((4096, 4096), float(step))}, {"step": step})
        print(step, flush=True)
"""


@pytest.mark.slow
@pytest.mark.parametrize("milliseconds", [1, 15, 60, 150, 300])
def test_a_kill_during_a_save_leaves_the_checkpoint_before_it_usable(tmp_path, milliseconds):
    environment = {**os.environ, "XLA_FLAGS": "", "JAX_PLATFORMS": "cpu"}
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(_ENDLESS_SAVES), str(tmp_path)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    ) as process:
        for line in process.stdout:
            if int(line) == 3:  # step 2 is whole, since the save of 3 waited for it; 3 is being written
                break
        try:
            process.wait(timeout=milliseconds / 1000)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    with Checkpointer(tmp_path, keep=1) as checkpointer:
        latest = checkpointer.latest()
        assert latest >= 2
        like = abstract({"w": jnp.zeros((4096, 4096))})
        restored, extras = checkpointer.restore(like)
        assert extras == {"step": latest}
        np.testing.assert_array_equal(restored["w"], np.full((4096, 4096), float(latest)))
        checkpointer.save(latest + 1, restored, {"step": latest + 1})
    # What the kill left behind is gone, and the run goes on at the step that was lost.
    assert [path.name for path in tmp_path.iterdir()] == [str(latest + 1)]
