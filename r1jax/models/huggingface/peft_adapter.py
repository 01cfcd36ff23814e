"""Adapters written as PEFT's folder (`adapter_config.json`, `adapter_model.safetensors`), which peft and vLLM load."""

from __future__ import annotations

import collections
import functools
import pathlib
import re
from typing import Any

import numpy as np
from absl import logging

from r1jax.config import ModelConfig
from r1jax.models import lora
from r1jax.models.huggingface import tables
from r1jax.models.huggingface.folder_texts import write_json
from r1jax.models.huggingface.new_folder import new_folder, write_tensors
from r1jax.models.huggingface.tables import Entry
from r1jax.parallel import hosts


def export_adapter(trained: Any, model: ModelConfig, folder: str | pathlib.Path, *, base: str | None = None) -> None:
    """Writes the adapters of `model.lora`, float32. All processes call it; the first one writes, to its local disk.

    Args:
      trained: the tree of `lora.trained_shapes(model)` (more in it does no harm).
      base: the folder or hub name of the model that they belong to. A folder is written as its absolute path: peft
        takes one that it does not find from where it runs for a name on the hub.

    Raises:
      WeightsError: `folder` is in a bucket, or has something in it.
      ConfigError: no Hugging Face family has the model's features.

    peft 0.21 takes a `gate_proj` of a model with experts for the experts' own, whatever the config says: there,
    adapters of dense and shared feed-forwards do not load (a warning says so). Adapt attention, or export merged.
    """
    if model.moe is not None and any("ffn" in path for path in lora.targets(model)):
        logging.warning("%s: peft does not load adapters of feed-forwards beside experts; export merged for it", folder)
    entries = {entry.path: entry for entry in tables.entries(model)}
    modules = [module for path in lora.targets(model) for module in _modules(entries[(*path, "kernel")]).flat]
    with new_folder(folder) as unfinished:
        tensors = _tensors(trained, model, entries)
        if hosts.is_main():
            write_tensors(unfinished / "adapter_model.safetensors", tensors)
            write_json(unfinished / "adapter_config.json", _config(model, modules, base))


def _tensors(trained: Any, model: ModelConfig, entries: dict[tuple[str, ...], Entry]) -> dict[str, np.ndarray]:
    """What adapter_model.safetensors holds; gathered with all processes."""
    tensors: dict[str, np.ndarray] = {}
    for path in lora.targets(model):
        adapter = functools.reduce(lambda node, key: node[key], path, trained)
        a, b = (np.asarray(hosts.gathered(adapter[half]), np.float32) for half in ("lora_a", "lora_b"))
        for layer, module in np.ndenumerate(_modules(entries[(*path, "kernel")])):
            # Theirs map columns: A is [rank, inputs], B [outputs, rank].
            tensors[f"base_model.model.{module}.lora_A.weight"] = _columns(a[layer].reshape(-1, model.lora.rank))
            tensors[f"base_model.model.{module}.lora_B.weight"] = _columns(b[layer].reshape(model.lora.rank, -1))
    if model.head == "score":  # trained as a whole
        kernel = np.asarray(hosts.gathered(trained["score"]["kernel"]), np.float32)
        tensors["base_model.model.score.weight"] = _columns(kernel)
    return tensors


def _modules(entry: Entry) -> np.ndarray:
    """The names of a kernel's modules, by layer."""
    names = [name.removesuffix(".weight") for name in entry.names.flat]
    return np.array(names, object).reshape(entry.names.shape)


def _columns(matrix: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(matrix.T)


def _config(model: ModelConfig, modules: list[str], base: str | None) -> dict[str, Any]:
    if base is not None and pathlib.Path(base).is_dir():
        base = str(pathlib.Path(base).absolute())
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM" if model.head == "tokens" else "SEQ_CLS",
        "base_model_name_or_path": base,
        "r": model.lora.rank,
        "lora_alpha": int(model.lora.alpha) if model.lora.alpha.is_integer() else model.lora.alpha,
        "lora_dropout": 0.0,
        "bias": "none",
        "fan_in_fan_out": False,
        "inference_mode": True,
        "target_modules": _pattern(modules),
        "modules_to_save": ["score"] if model.head == "score" else None,
    }


def _pattern(modules: list[str]) -> str:
    """A regular expression that matches these modules and no others: a list of names would match by their ends."""
    layers = collections.defaultdict(list)
    for module in modules:
        head, layer, tail = re.fullmatch(r"(.*\.layers)\.([0-9]+)\.(.*)", module).groups()
        layers[head, tail].append(layer)
    return "|".join(
        f"{re.escape(head)}\\.(?:{'|'.join(numbers)})\\.{re.escape(tail)}" for (head, tail), numbers in layers.items()
    )
