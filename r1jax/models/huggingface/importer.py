"""The weights of a Hugging Face folder, read by slice straight into arrays sharded over the mesh.

Every process reads what its own devices need, one shard of one array at a time: a buffer of the shard's size is
filled piece by piece (layer by layer, expert by expert), goes to its devices and is given back. So a host holds at
most one shard and one piece, at most as large again, whatever the model's size.

A shard that is cut along the dim that varies fastest in the file (columns) takes a strip of every row, while the disk
gives whole pages: a file's pages are read once for each such shard of this host, the later times from the page cache
where there is room for the file. To read them once, all those shards would have to be filled together, which takes as
many buffers as there are shards: the bound above would be lost.

Names, shapes and dtypes are held against the table (`tables.entries`) before the first byte is read. Whatever does
not fit is an error that lists it; what is left out on purpose is logged with its reason.
"""

from __future__ import annotations

import collections
import gc
import math
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import jax
import numpy as np
import tqdm
from absl import logging
from etils import epath

from r1jax.config import ModelConfig
from r1jax.models.huggingface import tables
from r1jax.models.huggingface.config_json import read_config
from r1jax.models.huggingface.errors import WeightsError
from r1jax.models.huggingface.folder_texts import CONFIG, read_object
from r1jax.models.huggingface.tables import Layout, as_stored, stored_shape
from r1jax.models.huggingface.tensor_files import READABLE, TensorFolder, shown, unreadable

# Small enough to stay in a core's cache while it is transposed, which is four times as fast as in one go.
_PIECE_BYTES = 4 * 2**20

Ranges = list[tuple[int, int]]  # first and end of each dim


def read_model(folder: epath.PathLike) -> ModelConfig:
    """The model that a folder's `config.json` describes; the folder may lie in a bucket.

    Raises WeightsError where there is no such file or it is not JSON, ConfigError for a model that is not supported.
    """
    file = epath.Path(folder) / CONFIG
    return read_config(read_object(file), str(file))


def load_params(folder: str | pathlib.Path | TensorFolder, model: ModelConfig, like: Any) -> Any:
    """The arrays of `folder` in the tree, dtypes and shardings of `like`. All processes call it.

    Args:
      folder: with safetensors of `model`, in the names of its family; or one that is open already.
      model: as `read_model` gives it; compute settings do not matter.
      like: `jax.ShapeDtypeStruct`s, the tree of `decoder.param_shapes` or a part of it: what `like` leaves out may
        be in the folder or not, and is not read. Without a sharding, an array goes to the default device.

    Raises:
      WeightsError: one line: files that are missing or broken (`TensorFolder`); tensors that are in the folder and
        not in the model, or the other way round, or of another shape or dtype.
    """
    files = folder if isinstance(folder, TensorFolder) else TensorFolder(folder)
    leaves, tree = jax.tree_util.tree_flatten_with_path(like)
    wanted = {tuple(key.key for key in path): leaf for path, leaf in leaves}
    entries = {entry.path: entry for entry in tables.entries(model)}
    unknown = sorted(".".join(path) for path in wanted.keys() - entries.keys())
    if unknown:
        raise ValueError(f"no Hugging Face names for {', '.join(unknown)}")
    _compare(files, model, entries, wanted)
    shards = {path: _local_shards(leaf) for path, leaf in wanted.items()}
    elements = sum(math.prod(_sizes(ranges)) for held in shards.values() for ranges, _ in held)
    arrays = []
    with tqdm.tqdm(total=elements, desc="import", unit="weights", unit_scale=True, disable=None) as bar:
        for path, leaf in wanted.items():
            pieces = [piece for held in shards[path] for piece in _load_shard(files, entries[path], leaf, *held, bar)]
            sharding = pieces[0].sharding if leaf.sharding is None else leaf.sharding
            arrays.append(jax.make_array_from_single_device_arrays(leaf.shape, sharding, pieces))
    return jax.tree_util.tree_unflatten(tree, arrays)


def _compare(
    files: TensorFolder,
    model: ModelConfig,
    entries: dict[tuple[str, ...], tables.Entry],
    wanted: dict[tuple[str, ...], jax.ShapeDtypeStruct],
) -> None:
    """WeightsError with all that does not fit; logs what is ignored."""
    expected: dict[str, tuple[int, ...]] = {}
    mapped: set[str] = set()
    for path, entry in entries.items():
        names = list(entry.names.flat)
        mapped.update(names)
        if path in wanted:
            stacked = entry.names.ndim
            if wanted[path].shape[:stacked] != entry.names.shape:
                raise ValueError(f"{'.'.join(path)}: {wanted[path].shape}, but names for {entry.names.shape}")
            expected.update(dict.fromkeys(names, stored_shape(wanted[path].shape[stacked:], entry.layout)))
    reasons = {name: tables.ignored(name, model) for name in files.tensors.keys() - mapped}
    problems = [f"{name} is in the folder, not in the model" for name, reason in reasons.items() if reason is None]
    problems += [f"{name} is in the model, not in the folder" for name in expected.keys() - files.tensors.keys()]
    for name in expected.keys() & files.tensors.keys():
        tensor = files.tensors[name]
        if tensor.shape != expected[name]:
            problems.append(f"{name} is {list(tensor.shape)}, expected {list(expected[name])}")
        elif tensor.dtype not in READABLE:
            problems.append(f"{name}: {unreadable(tensor)}")
    if problems:
        raise WeightsError(f"{files.folder} does not fit its model: {shown(sorted(problems))}")
    for reason, count in collections.Counter(reason for reason in reasons.values()).items():
        logging.warning("%s: %d tensors left out: %s", files.folder, count, reason)


def _local_shards(leaf: jax.ShapeDtypeStruct) -> list[tuple[Ranges, list[jax.Device]]]:
    """The distinct parts of an array that this process's devices hold, and who holds them."""
    sharding = leaf.sharding
    if sharding is None:
        sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    holders = collections.defaultdict(list)
    for device, index in sharding.addressable_devices_indices_map(leaf.shape).items():
        ranges = tuple(one.indices(size)[:2] for one, size in zip(index, leaf.shape, strict=True))
        holders[ranges].append(device)
    return [(list(ranges), devices) for ranges, devices in holders.items()]


def _load_shard(
    files: TensorFolder,
    entry: tables.Entry,
    leaf: jax.ShapeDtypeStruct,
    ranges: Ranges,
    devices: list[jax.Device],
    bar: tqdm.tqdm,
) -> list[jax.Array]:
    """One part of an array, on each of the devices that hold it."""
    buffer = files.host.hold(_buffer(_sizes(ranges), leaf.dtype))
    stacked = entry.names.ndim
    index = _stored_index(ranges[stacked:], leaf.shape[stacked:], entry.layout)
    for position in np.ndindex(buffer.shape[:stacked]):
        name = entry.names[tuple(first + at for (first, _), at in zip(ranges, position, strict=False))]
        target = as_stored(buffer[position], entry.layout)
        for rows in _pieces(target, buffer.nbytes):
            piece = files.read(name, (_shifted(rows, index[0].start), *index[1:]), buffer.dtype)
            target[rows] = piece
            bar.update(piece.size)
            files.host.release(piece)
            del piece  # or it would live until the next one is there
    # Where a device's memory is the host's, it may take the buffer for its own; so there is one for each shard.
    arrays = jax.block_until_ready([jax.device_put(buffer, device) for device in devices])
    files.host.release(buffer)
    gc.collect(0)  # jax lets go of what it has transferred at its next call or here, not before
    return arrays


def _buffer(shape: Sequence[int], dtype: np.dtype) -> np.ndarray:
    return np.empty(shape, dtype)


def _sizes(ranges: Ranges) -> tuple[int, ...]:
    return tuple(end - first for first, end in ranges)


def _shifted(rows: slice, by: int) -> slice:
    return slice(rows.start + by, rows.stop + by)


def _pieces(target: np.ndarray, most_bytes: int) -> Iterator[slice]:
    """Ranges of rows of `target` that are read in one go, each smaller than `most_bytes`."""
    row_bytes = target[:1].nbytes
    step = max(min(_PIECE_BYTES, most_bytes) // max(row_bytes, 1), 1)
    for first in range(0, len(target), step):
        yield slice(first, min(first + step, len(target)))


def _stored_index(ranges: Ranges, shape: Sequence[int], layout: Layout) -> tuple[slice, ...]:
    """The slice of the file's tensor that holds `ranges` of ours, of one layer's `shape`."""
    index = []
    for dims in layout:
        first, size, stride, whole = 0, 1, 1, True
        for dim in reversed(dims):  # from the one that varies fastest
            low, high = ranges[dim]
            if not whole and high - low != 1:
                raise ValueError(f"dims {dims} are one dim of the file: of these, only the first can be sharded")
            whole = whole and (low, high) == (0, shape[dim])
            first += low * stride
            size *= high - low
            stride *= shape[dim]
        index.append(slice(first, first + size))
    return tuple(index)
