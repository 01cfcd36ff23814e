"""The one place where step functions are compiled: static config, shardings, donation; and batches placed."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from r1jax.config import ModelConfig
from r1jax.learn.state import StepConfig, TrainState
from r1jax.parallel import rules


class CompiledStep:
    """A jitted function that runs with its mesh set. `lower` compiles ahead, for the same program."""

    def __init__(self, jitted: Callable, mesh: Mesh):
        self._jitted = jitted
        self._mesh = mesh

    def __call__(self, *args):
        with jax.set_mesh(self._mesh):
            return self._jitted(*args)

    def lower(self, *args):
        with jax.set_mesh(self._mesh):
            return self._jitted.lower(*args)


def jit_step(fn: Callable, mesh: Mesh, shardings: TrainState, config: StepConfig) -> CompiledStep:
    """`fn(state, batch, config=config) -> (state, metrics)`, compiled for `mesh`. The state given is donated.

    (`jax.jit` with `NamedSharding` is what `pjit` has become.)

    Args:
      fn: a module-level step function, such as `steps.policy_step`.
      shardings: where the state lives (`state.state_shardings`); it comes back living there.
    """
    replicated = NamedSharding(mesh, PartitionSpec())
    jitted = jax.jit(
        functools.partial(fn, config=config),
        in_shardings=(shardings, None),
        out_shardings=(shardings, replicated),
        donate_argnums=0,
    )
    return CompiledStep(jitted, mesh)


def jit_score(fn: Callable, mesh: Mesh, params_shardings: Any, config: StepConfig | ModelConfig) -> CompiledStep:
    """`fn(params, batch, config=config) -> arrays [M, B, T]` compiled for `mesh`; nothing is donated.

    Scores are as many as tokens: they come back replicated, so that every process can read them. Parameters stay where
    `params_shardings` say, or (None) where they are.
    """
    replicated = NamedSharding(mesh, PartitionSpec())
    jitted = jax.jit(
        functools.partial(fn, config=config),
        in_shardings=(params_shardings, None),
        out_shardings=replicated,
    )
    return CompiledStep(jitted, mesh)


def jit_make(fn: Callable, mesh: Mesh, shardings: Any, *, donate: bool = False) -> CompiledStep:
    """`fn(*args)` compiled with its result built in place: `init_state`, `refresh_reference`, parameters."""
    return CompiledStep(jax.jit(fn, out_shardings=shardings, donate_argnums=0 if donate else ()), mesh)


def place_batch(batch: dict[str, Any], mesh: Mesh) -> dict[str, Any]:
    """The arrays of a batch on the devices of `mesh`: rows over its batch axes, scalars on every device.

    Args:
      batch: NumPy arrays [M, B, T] (each process its own B rows of every micro-batch) and scalars (the same
        in every process).
    """

    def place(array):
        array = np.asarray(array)
        dims = ("micro", "batch", "length") if array.ndim == 3 else (None,) * array.ndim
        shape = array.shape
        if array.ndim == 3:
            shape = (shape[0], shape[1] * jax.process_count(), shape[2])
        sharding = NamedSharding(mesh, rules.spec(dims, shape, mesh))
        return jax.make_array_from_process_local_data(sharding, array, shape)

    return {name: place(array) for name, array in batch.items()}
