"""The device mesh: five named axes over the devices of all processes.

Axes are of the kind that the compiler partitions by itself (`AxisType.Auto`): programs are written as if for
one device, jitted with `NamedSharding` (what `pjit` has become), and the few places that must not be left to
the compiler say so with `rules.constrain` or `jax.shard_map`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import jax
from jax.sharding import AxisType, Mesh

from r1jax.config import MESH_AXES, ConfigError, MeshConfig


def axis_sizes(config: MeshConfig, num_devices: int) -> tuple[int, ...]:
    """Sizes in the order of `MESH_AXES`; the axis left as None takes the devices that the others leave.

    Raises ConfigError, naming the sizes, when they do not multiply to `num_devices`.
    """
    asked = {axis: getattr(config, axis) for axis in MESH_AXES}
    fixed = math.prod(size for size in asked.values() if size is not None)
    free = [axis for axis, size in asked.items() if size is None]
    written = ", ".join(f"{axis}={size}" for axis, size in asked.items())
    if num_devices % fixed or (not free and fixed != num_devices):
        raise ConfigError(
            f"mesh: expected sizes that multiply to the {num_devices} devices there are, found {written} "
            f"(the sizes given multiply to {fixed}); change them, or leave one axis as none"
        )
    return tuple(num_devices // fixed if axis in free else asked[axis] for axis in MESH_AXES)


def make_mesh(config: MeshConfig, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """The mesh over `devices` (all there are, when None). Enter it with `jax.set_mesh(mesh)`."""
    devices = tuple(jax.devices() if devices is None else devices)
    sizes = axis_sizes(config, len(devices))
    return jax.make_mesh(sizes, MESH_AXES, (AxisType.Auto,) * len(MESH_AXES), devices=devices)
