"""Slices of the tensors in a folder of safetensors files, read when asked for and not before.

Opening a folder reads the headers only. A read maps the file, copies the slice and drops the map, so that what a
host holds is what it was handed; `HostBytes` counts that, for the limits of an import to be something seen.

The `safetensors` library checks each file (header and length); the bytes are then read by its header here, as the
library's NumPy side knows no 8-bit floats. Those are DeepSeek's: X.weight in float8 (e4m3) has a float32 scale for
each block of 128 x 128 in X.weight_scale_inv, the last blocks cut off by the edge, and is float32(value) * scale
(arXiv:2412.19437, section 3.3). Such a pair is one tensor here, named X.weight, and reads as float32.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import ml_dtypes
import numpy as np
import safetensors
from etils import epath

from r1jax.models.huggingface.errors import WeightsError
from r1jax.models.huggingface.folder_texts import CONFIG, read_object
from r1jax.workdir.files import is_remote

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
_SHOWN = 8  # of a list in an error
_FLOAT8 = "F8_E4M3"
SCALE_SUFFIX = "_scale_inv"  # of the tensor beside an 8-bit one
# The names of dtypes in the files, as NumPy's.
READABLE: dict[str, np.dtype] = {
    "F32": np.dtype(np.float32),
    "F16": np.dtype(np.float16),
    "BF16": np.dtype(ml_dtypes.bfloat16),
    _FLOAT8: np.dtype(ml_dtypes.float8_e4m3fn),
}


class StoredTensor(NamedTuple):
    """Where a tensor lies; `dtype` is the file's name for it ("BF16")."""

    file: pathlib.Path
    dtype: str
    shape: tuple[int, ...]
    offset: int


class HostBytes:
    """Counts arrays that were handed out and not yet given back, and the largest slice that was read."""

    def __init__(self):
        self.largest_read = self.live = self.peak = 0

    def hold(self, array: np.ndarray) -> np.ndarray:
        """Counts `array` from now on, and returns it."""
        self.live += array.nbytes
        self.peak = max(self.peak, self.live)
        return array

    def release(self, array: np.ndarray) -> None:
        """To be called when whoever held `array` has let go of it."""
        self.live -= array.nbytes


class TensorFolder:
    """The tensors of `model.safetensors`, or of the shards that `model.safetensors.index.json` names.

    Attributes:
      tensors: name -> StoredTensor, without the scales of 8-bit floats.
      host: the HostBytes of what `read` hands out.
    """

    def __init__(self, folder: str | pathlib.Path):
        """Reads the headers. Raises WeightsError: no such folder, no or broken files, a shard or tensor missing or
        doubled, 8-bit floats without their scales.
        """
        if is_remote(epath.Path(folder)):
            raise WeightsError(
                f"{folder}: expected a local folder (safetensors are mapped into memory, which a bucket cannot be); "
                "copy it to a disk, or convert it once with experiments/convert.py"
            )
        self.folder = pathlib.Path(folder)
        self.host = HostBytes()
        self.tensors = _tensors(self.folder)
        coded = {name: tensor for name, tensor in self.tensors.items() if tensor.dtype == _FLOAT8}
        self._scales = {name: self.tensors.pop(name + SCALE_SUFFIX, None) for name in coded}
        if coded:
            self._block = _block_size(self.folder)
            for name, tensor in coded.items():
                self._check_scales(name, tensor)

    def read(self, name: str, index: Sequence[slice] | None = None, dtype: np.dtype | None = None) -> np.ndarray:
        """A copy of the slice `index` (a slice of step 1 for each dim; None: all) of a tensor.

        In `dtype`, or None: as stored, 8-bit floats in float32. It is counted until `host.release`. Raises
        WeightsError for a dtype that is not a float we read, KeyError for a name that is not in `tensors`.
        """
        tensor = self.tensors[name]
        if tensor.dtype not in READABLE:
            raise WeightsError(f"{tensor.file}: tensor {name}: {unreadable(tensor)}")
        index = tuple(slice(None) for _ in tensor.shape) if index is None else tuple(index)
        if tensor.dtype == _FLOAT8:
            array = self._dequantised(name, tensor, index).astype(dtype or np.float32, copy=False)
        else:
            array = _mapped(tensor)[index].astype(dtype or READABLE[tensor.dtype], order="C")
        self.host.largest_read = max(self.host.largest_read, array.nbytes)
        return self.host.hold(array)

    def _dequantised(self, name: str, tensor: StoredTensor, index: tuple[slice, ...]) -> np.ndarray:
        (top, bottom, _), (left, right, _) = (one.indices(size) for one, size in zip(index, tensor.shape, strict=True))
        block_rows, block_columns = self._block
        array = _mapped(tensor)[index].astype(np.float32, order="C")
        scales = _mapped(self._scales[name])
        blocks = np.arange(left, right) // block_columns
        # A row of blocks at a time, as the scales of all values would be an array as large as the values.
        for row in range(top // block_rows, -(-bottom // block_rows)):
            first, last = max(row * block_rows, top), min((row + 1) * block_rows, bottom)
            array[first - top : last - top] *= scales[row].astype(np.float32)[blocks]
        return array

    def _check_scales(self, name: str, tensor: StoredTensor) -> None:
        scales = self._scales[name]
        if scales is None:
            raise WeightsError(
                f"{tensor.file}: tensor {name} is {_FLOAT8}, expected its scales as {name}{SCALE_SUFFIX}"
            )
        if len(tensor.shape) != 2:
            raise WeightsError(f"{tensor.file}: tensor {name} is {_FLOAT8}, expected 2 dims, found {tensor.shape}")
        expected = tuple(-(-size // block) for size, block in zip(tensor.shape, self._block, strict=True))
        if scales.shape != expected or scales.dtype not in READABLE or scales.dtype == _FLOAT8:
            raise WeightsError(
                f"{scales.file}: tensor {name}{SCALE_SUFFIX}: expected {list(expected)} float scales (blocks of "
                f"{list(self._block)}), found {scales.dtype}{list(scales.shape)}"
            )


def unreadable(tensor: StoredTensor) -> str:
    """What to say of a tensor whose dtype is not in READABLE."""
    return f"expected one of {', '.join(READABLE)}, found {tensor.dtype}"


def shown(lines: Sequence[str]) -> str:
    """The first of many lines of an error, and how many more there are."""
    more = len(lines) - _SHOWN
    return "; ".join(lines[:_SHOWN]) + (f"; and {more} more" if more > 0 else "")


def _mapped(tensor: StoredTensor) -> np.ndarray:
    whole = np.memmap(tensor.file, READABLE[tensor.dtype], mode="r", offset=tensor.offset, shape=tensor.shape)
    return whole.view(np.ndarray)


def _tensors(folder: pathlib.Path) -> dict[str, StoredTensor]:
    if not folder.is_dir():
        raise WeightsError(f"{folder}: expected a folder with safetensors, found no such folder")
    if (folder / SINGLE).exists():  # transformers prefers it, too
        return _header(folder / SINGLE)
    if not (folder / INDEX).exists():
        found = ", ".join(sorted(file.name for file in folder.glob("*.safetensors"))[:_SHOWN]) or "no safetensors"
        raise WeightsError(f"{folder}: expected {SINGLE} or {INDEX}, found {found}")
    return _sharded(folder, read_object(folder / INDEX).get("weight_map"))


def _sharded(folder: pathlib.Path, weight_map: Any) -> dict[str, StoredTensor]:
    """The tensors of all shards, held against the index."""
    if not isinstance(weight_map, Mapping) or not all(isinstance(shard, str) for shard in weight_map.values()):
        raise WeightsError(f"{folder / INDEX}: expected weight_map, an object of tensor names and their files")
    shards = [folder / shard for shard in sorted(set(weight_map.values()))]
    missing = [shard.name for shard in shards if not shard.is_file()]
    if missing:
        raise WeightsError(f"{folder}: the index names files that are missing: {shown(missing)}; download them again")
    tensors: dict[str, StoredTensor] = {}
    doubled = []
    for shard in shards:
        held = _header(shard)
        doubled += [f"{name} in {tensors[name].file.name} and {shard.name}" for name in held if name in tensors]
        tensors |= held
    if doubled:
        raise WeightsError(f"{folder}: tensors in two files: {shown(doubled)}")
    lacking = [
        f"{name} ({shard})"
        for name, shard in weight_map.items()
        if name not in tensors or tensors[name].file.name != pathlib.PurePath(shard).name
    ]
    if lacking:
        raise WeightsError(f"{folder}: the index names tensors that their file lacks: {shown(lacking)}")
    return tensors


def _header(file: pathlib.Path) -> dict[str, StoredTensor]:
    try:
        with safetensors.safe_open(file, framework="np"):  # checks the header, and that the file is as long as it says
            pass
    except (safetensors.SafetensorError, OSError) as error:
        raise WeightsError(f"{file}: not a whole safetensors file ({error}); download it again") from error
    with open(file, "rb") as opened:
        length = int.from_bytes(opened.read(8), "little")
        header = json.loads(opened.read(length))
    header.pop("__metadata__", None)
    return {
        name: StoredTensor(file, one["dtype"], tuple(one["shape"]), 8 + length + one["data_offsets"][0])
        for name, one in header.items()
    }


def _block_size(folder: pathlib.Path) -> tuple[int, int]:
    quantization = read_object(folder / CONFIG).get("quantization_config")
    block = quantization.get("weight_block_size") if isinstance(quantization, Mapping) else None
    if not isinstance(block, list) or len(block) != 2 or not all(type(size) is int and size > 0 for size in block):
        raise WeightsError(
            f"{folder / CONFIG}: the weights are {_FLOAT8}; expected quantization_config.weight_block_size, "
            f"two positive integers, found {block!r}"
        )
    return block[0], block[1]
