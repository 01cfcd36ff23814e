"""Several processes running the same program: start, who writes, small gathers, barriers.

Plain multi-controller JAX: TPU pods, Slurm, MPI and Kubernetes are found by `jax.distributed.initialize`
itself; a hand-made cluster is described by three environment variables.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from jax.experimental import multihost_utils

DISTRIBUTED = "R1JAX_DISTRIBUTED"
MANUAL = ("JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID")


def initialize(environment: Mapping[str, str] = os.environ) -> bool:
    """Joins the other processes when the environment asks for it; says whether it did.

    R1JAX_DISTRIBUTED=1 lets JAX find the cluster (TPU VM, Slurm, MPI, Kubernetes). JAX_COORDINATOR_ADDRESS
    (host:port), JAX_NUM_PROCESSES and JAX_PROCESS_ID, all three, describe one by hand. Must run before
    anything asks JAX for devices. Raises ValueError when only some of the three are set.
    """
    given = [name for name in MANUAL if environment.get(name)]
    if len(given) == len(MANUAL):
        address, count, number = (environment[name] for name in MANUAL)
        jax.distributed.initialize(address, num_processes=int(count), process_id=int(number))
        return True
    if environment.get(DISTRIBUTED) == "1":
        jax.distributed.initialize()
        return True
    if given:
        missing = [name for name in MANUAL if name not in given]
        raise ValueError(
            f"several processes: expected {', '.join(MANUAL)} together, found only {', '.join(given)}; "
            f"set {', '.join(missing)} too, or {DISTRIBUTED}=1 to have the cluster found"
        )
    return False


def is_main() -> bool:
    """Whether this process is the one that writes files and talks to the user."""
    return jax.process_index() == 0


def all_gather_small(tree: Any) -> Any:
    """Each process's numbers stacked by process: every leaf [...] becomes NumPy [processes, ...].

    For a few numbers or short arrays of equal shape in every process; all processes must call it.
    """
    if jax.process_count() == 1:
        return jax.tree.map(lambda leaf: np.asarray(leaf)[None], tree)
    return jax.tree.map(np.asarray, multihost_utils.process_allgather(tree))


def gathered(array: jax.Array) -> np.ndarray:
    """The whole of an array, wherever its parts lie; all processes must call it."""
    if array.is_fully_addressable:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def barrier(name: str) -> None:
    """Waits until every process has come to the barrier of this name."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
