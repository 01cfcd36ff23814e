"""Parameters written as a Hugging Face folder that transformers and vLLM load.

The names are those of the table that the import reads by, so that import and export are each other's inverse, bit by
bit. One tensor at a time is gathered, in the file's layout and dtype; a file's tensors are held until it is written.
The folder appears under its name when it is whole.
"""

from __future__ import annotations

import functools
import math
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import NamedSharding, PartitionSpec

from r1jax.config import ModelConfig
from r1jax.models.huggingface import tables
from r1jax.models.huggingface.exported_texts import exported_texts
from r1jax.models.huggingface.folder_texts import copy_tokenizer, write_json
from r1jax.models.huggingface.new_folder import new_folder, write_tensors
from r1jax.models.huggingface.tables import Entry, Layout, stored_shape
from r1jax.models.huggingface.tensor_files import INDEX, SINGLE
from r1jax.parallel import hosts
from r1jax.text.tokenizer import Tokenizer

Dtype = Literal["bfloat16", "float32"]

_MAX_FILE_BYTES = 5 * 2**30
# Of experts' loads: in any narrower dtype its small steps are lost, and transformers keeps it in float32 as well.
_ALWAYS_FLOAT32 = "correction_bias"


class _Tensor(NamedTuple):
    """One tensor of the folder: which part of which of our arrays."""

    name: str
    entry: Entry
    position: tuple[int, ...]
    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


def export(
    params: Any,
    model: ModelConfig,
    folder: str | pathlib.Path,
    *,
    dtype: Dtype = "bfloat16",
    tokenizer: Tokenizer | None = None,
    tokenizer_folder: epath.PathLike | None = None,
    max_shard_bytes: int = _MAX_FILE_BYTES,
    source: epath.PathLike | None = None,
    max_positions: int | None = None,
) -> None:
    """Writes safetensors, config.json and, of a tokenizer, generation_config.json and its own files. All processes
    call it; the first one writes, to its local disk.

    Args:
      params: the tree of `decoder.param_shapes(model)`, without adapters.
      dtype: of the tensors (but a correction bias of experts, which stays in float32).
      tokenizer: written where `tokenizer_folder` is None.
      tokenizer_folder: its tokenizer files are copied as they are; or a path as `Tokenizer.load` takes it.
      max_shard_bytes: of one file, unless a single tensor is larger.
      source: the Hugging Face folder that the model came from, or any with its config.json. What that says of the
        longest context and of special tokens is kept, and its generation_config.json; the tokenizer's EOS is added
        to the tokens that end a text.
      max_positions: the longest context that config.json claims, whatever `source` says (of published models:
        `presets.Preset.max_positions`). Without either it is a guess, and a warning says so.

    Raises:
      WeightsError: `folder` is in a bucket, or has something in it; `source` has no config.json.
      ConfigError: no Hugging Face family has the model's features.
      TokenizerError: no tokenizer at `tokenizer_folder`.
    """
    if tokenizer_folder is not None:
        tokenizer = Tokenizer.load(str(tokenizer_folder))
    texts = exported_texts(model, dtype, tokenizer=tokenizer, source=source, max_positions=max_positions)
    files = _split(_tensors(params, model, dtype), max_shard_bytes)
    with new_folder(folder) as unfinished:
        for name, tensors in files.items():
            _write_file(unfinished / name, tensors, params)
        if hosts.is_main():
            if list(files) != [SINGLE]:
                texts = texts | {INDEX: _index(files)}
            for name, text in texts.items():
                write_json(unfinished / name, text)
            if tokenizer is not None:
                _write_tokenizer(unfinished, tokenizer, tokenizer_folder)


def _tensors(params: Any, model: ModelConfig, dtype: Dtype) -> list[_Tensor]:
    """All tensors of the folder, in the order of its layers."""
    tensors = []
    for entry in tables.entries(model):
        own = np.dtype("float32" if entry.path[-1] == _ALWAYS_FLOAT32 else jnp.dtype(dtype))
        shape = stored_shape(_leaf(params, entry).shape[entry.names.ndim :], entry.layout)
        tensors += [_Tensor(name, entry, at, shape, own) for at, name in np.ndenumerate(entry.names)]
    return sorted(tensors, key=lambda tensor: [part.zfill(9) for part in re.split(r"(\d+)", tensor.name)])


def _split(tensors: Sequence[_Tensor], max_bytes: int) -> dict[str, list[_Tensor]]:
    """The tensors of each file, by its name."""
    groups: list[list[_Tensor]] = [[]]
    size = 0
    for tensor in tensors:
        if groups[-1] and size + tensor.nbytes > max_bytes:
            groups.append([])
            size = 0
        groups[-1].append(tensor)
        size += tensor.nbytes
    if len(groups) == 1:
        return {SINGLE: groups[0]}
    count = len(groups)
    return {f"model-{number:05d}-of-{count:05d}.safetensors": group for number, group in enumerate(groups, start=1)}


def _write_file(file: pathlib.Path, tensors: Sequence[_Tensor], params: Any) -> None:
    """Gathers the tensors of one file (with all processes) and writes it in the first."""
    held = {}
    for tensor in tensors:
        leaf = _leaf(params, tensor.entry)
        # A process can read what its own devices hold: with several, each device gets all of this one tensor.
        local = leaf.is_fully_addressable
        where = None if local else NamedSharding(leaf.sharding.mesh, PartitionSpec())
        position = np.array(tensor.position, np.int32)
        stored = _gather(where)(leaf, position, layout=tensor.entry.layout, dtype=tensor.dtype)
        if hosts.is_main():
            held[tensor.name] = np.ascontiguousarray(stored if local else stored.addressable_data(0))
    if hosts.is_main():
        write_tensors(file, held)


@functools.cache
def _gather(where: NamedSharding | None):
    return jax.jit(_one_tensor, static_argnames=("layout", "dtype"), out_shardings=where)


def _one_tensor(leaf: jax.Array, position: jax.Array, *, layout: Layout, dtype: np.dtype) -> jax.Array:
    """The tensor at `position` of the stacked dims, with the dims and dtype of the file.

    As a gather from integers: experts lie on different devices, and from a gather the compiler makes a masked sum over
    them (a slice would bring all experts to every device), in which -0.0 would become 0.0.
    """
    own = jax.lax.bitcast_convert_type(leaf.astype(jnp.float32), jnp.uint32)
    if position.size:
        own = own.at[tuple(position[:, None])].get(mode="promise_in_bounds")[0]
    array = jax.lax.bitcast_convert_type(own, jnp.float32)
    shape = stored_shape(array.shape, layout)
    return array.transpose([dim for dims in layout for dim in dims]).reshape(shape).astype(dtype)


def _leaf(params: Any, entry: Entry) -> jax.Array:
    return functools.reduce(lambda node, key: node[key], entry.path, params)


def _index(files: Mapping[str, Sequence[_Tensor]]) -> dict[str, Any]:
    return {
        "metadata": {"total_size": sum(tensor.nbytes for tensors in files.values() for tensor in tensors)},
        "weight_map": {tensor.name: name for name, tensors in files.items() for tensor in tensors},
    }


def _write_tokenizer(target: pathlib.Path, tokenizer: Tokenizer, folder: epath.PathLike | None) -> None:
    if folder is None or not epath.Path(folder).is_dir():
        tokenizer.save(str(target))
    else:
        copy_tokenizer(folder, target)
