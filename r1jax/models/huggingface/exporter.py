"""Parameters written as a Hugging Face folder that transformers and vLLM load.

The names are those of the table that the import reads by, so that import and export are each other's inverse, bit by
bit. One tensor at a time is gathered, in the file's layout and dtype; a file's tensors are held until it is written.
The folder appears under its name when it is whole.
"""

from __future__ import annotations

import functools
import json
import math
import pathlib
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from etils import epath
from jax.sharding import NamedSharding, PartitionSpec
from safetensors.numpy import save_file

from r1jax.config import ModelConfig
from r1jax.models.huggingface import tables
from r1jax.models.huggingface.config_json import write_config
from r1jax.models.huggingface.importer import stored_shape
from r1jax.models.huggingface.tables import Entry, Layout
from r1jax.models.huggingface.tensor_files import INDEX, SINGLE, WeightsError, read_object
from r1jax.parallel import hosts
from r1jax.text.tokenizer import Tokenizer
from r1jax.workdir.files import is_remote

Dtype = Literal["bfloat16", "float32"]

_CONFIG = "config.json"
_MAX_FILE_BYTES = 5 * 2**30
# Of experts' loads: in any narrower dtype its small steps are lost, and transformers keeps it in float32 as well.
_ALWAYS_FLOAT32 = "correction_bias"
# What a model's config.json says beyond the model: taken from the folder that it came from.
_FROM_SOURCE = ("max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id")
_TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)


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
) -> None:
    """Writes safetensors, config.json and, of a tokenizer, generation_config.json and its own files. All processes
    call it; the first one writes, to its local disk.

    Args:
      params: the tree of `decoder.param_shapes(model)`, without adapters.
      dtype: of the tensors (but a correction bias of experts, which stays in float32).
      tokenizer: written where `tokenizer_folder` is None.
      tokenizer_folder: its tokenizer files are copied as they are; or a path as `Tokenizer.load` takes it.
      max_shard_bytes: of one file, unless a single tensor is larger.
      source: the Hugging Face folder that the model came from. The longest context and, without a tokenizer, the
        token ids of its config.json are kept.

    Raises:
      WeightsError: `folder` is in a bucket, or has something in it; `source` has no config.json.
      ConfigError: no Hugging Face family has the model's features.
      TokenizerError: no tokenizer at `tokenizer_folder`.
    """
    if is_remote(epath.Path(folder)):
        raise WeightsError(f"{folder}: expected a local folder (safetensors are not written to buckets); copy it then")
    folder = pathlib.Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise WeightsError(f"{folder}: expected a folder that is empty or not there, found something in it")
    if tokenizer_folder is not None:
        tokenizer = Tokenizer.load(str(tokenizer_folder))
    config = _config(model, dtype, tokenizer, source)
    files = _split(_tensors(params, model, dtype), max_shard_bytes)
    # Beside the folder, for a rename to be possible; what a killed export left there is replaced.
    unfinished = folder.with_name(f".{folder.name}.unfinished")
    if hosts.is_main():
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(parents=True)
        write_json(unfinished / _CONFIG, config)
    for name, tensors in files.items():
        _write_file(unfinished / name, tensors, params)
    if hosts.is_main():
        if list(files) != [SINGLE]:
            write_json(unfinished / INDEX, _index(files))
        if tokenizer is not None:
            write_json(unfinished / "generation_config.json", _token_ids(tokenizer))
            _write_tokenizer(unfinished, tokenizer, tokenizer_folder)
        unfinished.replace(folder)
    hosts.barrier("export")


def copy_texts(source: epath.PathLike, target: epath.PathLike) -> None:
    """Copies all of a Hugging Face folder but its weights: config.json and what belongs to the tokenizer."""
    _copy(epath.Path(source), epath.Path(target), (_CONFIG, "generation_config.json", *_TOKENIZER_FILES))


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
        save_file(held, file, metadata={"format": "pt"})
        shutil.copymode(file.with_name(_CONFIG), file)  # the library lets nobody but the owner read it


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


def _config(
    model: ModelConfig, dtype: Dtype, tokenizer: Tokenizer | None, source: epath.PathLike | None
) -> dict[str, Any]:
    before = {} if source is None else read_object(epath.Path(source) / _CONFIG)
    kept = {key: before[key] for key in _FROM_SOURCE if key in before}
    # transformers 5 calls it dtype and reads this name, too; transformers 4 and vLLM know no other.
    return write_config(model) | kept | _token_ids(tokenizer) | {"torch_dtype": dtype}


def _token_ids(tokenizer: Tokenizer | None) -> dict[str, int]:
    if tokenizer is None:
        return {}
    ids = {"eos_token_id": tokenizer.eos_id, "pad_token_id": tokenizer.pad_id, "bos_token_id": tokenizer.bos_id}
    return {key: value for key, value in ids.items() if value is not None}


def _write_tokenizer(target: pathlib.Path, tokenizer: Tokenizer, folder: epath.PathLike | None) -> None:
    if folder is None or not epath.Path(folder).is_dir():
        tokenizer.save(str(target))
        return
    _copy(epath.Path(folder), epath.Path(target), _TOKENIZER_FILES)


def _copy(source: epath.Path, target: epath.Path, names: Sequence[str]) -> None:
    for name in names:
        if (source / name).exists():
            (target / name).write_bytes((source / name).read_bytes())


def write_json(file: pathlib.Path, value: Any) -> None:
    """A JSON file as the hub's are: indented, in UTF-8."""
    file.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
