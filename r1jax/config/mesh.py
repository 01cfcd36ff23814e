"""The device mesh that a run lives on."""

from __future__ import annotations

import dataclasses

from r1jax.config.checks import check

MESH_AXES = ("data", "fsdp", "context", "expert", "tensor")


@dataclasses.dataclass(frozen=True)
class MeshConfig:
    """Devices along each axis. One axis may be None: it takes the devices that the others leave."""

    data: int | None = None
    fsdp: int | None = 1
    context: int | None = 1
    expert: int | None = 1
    tensor: int | None = 1

    def __post_init__(self):
        free = [axis for axis in MESH_AXES if getattr(self, axis) is None]
        check(len(free) <= 1, "mesh", "at most one axis left as None", " and ".join(free))
        for axis in MESH_AXES:
            size = getattr(self, axis)
            check(size is None or size >= 1, f"mesh.{axis}", "a positive integer or None", size)
