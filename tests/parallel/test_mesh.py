"""The mesh takes exactly the devices there are, or says which sizes do not fit."""

import jax
import pytest

from r1jax.config import MESH_AXES, ConfigError, MeshConfig
from r1jax.parallel import mesh


def test_the_free_axis_takes_the_devices_that_the_others_leave():
    assert mesh.axis_sizes(MeshConfig(data=None, fsdp=2, tensor=2), 8) == (2, 2, 1, 1, 2)
    assert mesh.axis_sizes(MeshConfig(data=1, fsdp=None), 8) == (1, 8, 1, 1, 1)


def test_the_mesh_has_all_axes_and_all_devices():
    made = mesh.make_mesh(MeshConfig(data=1, fsdp=4, tensor=2))
    assert made.axis_names == MESH_AXES
    assert dict(made.shape) == {"data": 1, "fsdp": 4, "context": 1, "expert": 1, "tensor": 2}
    assert set(made.devices.flat) == set(jax.devices())
    assert set(made.axis_types) == {jax.sharding.AxisType.Auto}


def test_a_mesh_over_some_devices_only():
    made = mesh.make_mesh(MeshConfig(), jax.devices()[:1])
    assert made.size == 1


@pytest.mark.parametrize(
    ("config", "devices"),
    [
        (MeshConfig(data=2, fsdp=2), 8),  # 4 of 8
        (MeshConfig(data=None, fsdp=3), 8),  # 8 is no multiple of 3
        (MeshConfig(data=None, fsdp=16), 8),  # more than there are
    ],
)
def test_sizes_that_do_not_fit_are_named_in_one_line(config, devices):
    with pytest.raises(ConfigError) as error:
        mesh.axis_sizes(config, devices)
    text = str(error.value)
    assert f"fsdp={config.fsdp}" in text
    assert f"{devices} devices" in text
    assert "\n" not in text
