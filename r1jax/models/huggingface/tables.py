"""Which array of our tree is which tensors of a Hugging Face folder, and how their dims correspond.

One table serves both directions. Our arrays are stacked over layers (and experts); the folder has one tensor for each.
Its linear maps are [outputs, inputs] with heads flattened; ours are [inputs, outputs] with heads as dims of their own.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np

from r1jax.config import ModelConfig
from r1jax.models import decoder
from r1jax.models.huggingface.families import family

Layout = tuple[tuple[int, ...], ...]
_SAME: Layout = ((0,),)
_SWAPPED: Layout = ((1,), (0,))  # [inputs, outputs] -> [outputs, inputs]
_FROM_HEADS: Layout = ((2,), (0, 1))  # [heads, head, outputs] -> [outputs, heads * head]
_TO_HEADS: Layout = ((1, 2), (0,))  # [inputs, heads, head] -> [heads * head, inputs]
_HEADS: Layout = ((0, 1),)  # [heads, head] -> [heads * head]


class Entry(NamedTuple):
    """One array of our tree."""

    path: tuple[str, ...]  # its keys
    names: np.ndarray  # of the folder's tensors, by the array's stacked dims: [], [layers] or [layers, experts]
    layout: Layout  # for each dim of one such tensor: the dims of ours (stacked ones left out) flattened into it


def entries(model: ModelConfig) -> tuple[Entry, ...]:
    """The table of a model: every array of `decoder.param_shapes`, each once.

    Raises:
      ConfigError: no Hugging Face family has the model's features.
    """
    family(model)
    single = [
        (("embed", "embedding"), "model.embed_tokens.weight", ((0,), (1,))),
        (("final_norm", "scale"), "model.norm.weight", _SAME),
    ]
    if model.head == "score":
        single.append((("score", "kernel"), "score.weight", _SWAPPED))
    elif not model.tie_embeddings:
        single.append((("head", "kernel"), "lm_head.weight", _SWAPPED))
    table = [Entry(path, np.array(name, object), layout) for path, name, layout in single]
    first = 0
    for stack, has_experts, count in decoder.stacks(model):
        layers = range(first, first + count)
        for path, name, layout in _layer(model, has_experts):
            names = np.array([f"model.layers.{layer}.{name}" for layer in layers], object)
            if "{expert}" in name:
                names = np.array([[n.format(expert=e) for e in range(model.moe.num_experts)] for n in names], object)
            table.append(Entry((stack, *path), names, layout))
        first += count
    return tuple(table)


_Row = tuple[tuple[str, ...], str, Layout]  # path and name below the layer; "{expert}" in a name is its number


def _layer(model: ModelConfig, has_experts: bool) -> Iterator[_Row]:
    """What one layer of a stack holds."""
    yield ("attention_norm", "scale"), "input_layernorm.weight", _SAME
    yield ("ffn_norm", "scale"), "post_attention_layernorm.weight", _SAME
    yield from _grouped_attention(model) if model.latent is None else _latent_attention(model)
    if has_experts:
        yield from _experts(model)
    else:
        yield from _feed_forward(("ffn",), "mlp")


def _grouped_attention(model: ModelConfig) -> Iterator[_Row]:
    for part, letter in (("query", "q"), ("key", "k"), ("value", "v")):
        yield ("attention", part, "kernel"), f"self_attn.{letter}_proj.weight", _TO_HEADS
        if model.attention_bias:
            yield ("attention", part, "bias"), f"self_attn.{letter}_proj.bias", _HEADS
    if model.qk_norm:
        yield ("attention", "query_norm", "scale"), "self_attn.q_norm.weight", _SAME
        yield ("attention", "key_norm", "scale"), "self_attn.k_norm.weight", _SAME
    yield ("attention", "out", "kernel"), "self_attn.o_proj.weight", _FROM_HEADS


def _latent_attention(model: ModelConfig) -> Iterator[_Row]:
    if model.latent.query_rank is None:
        yield ("attention", "query", "kernel"), "self_attn.q_proj.weight", _TO_HEADS
    else:
        yield ("attention", "query_down", "kernel"), "self_attn.q_a_proj.weight", _SWAPPED
        yield ("attention", "query_norm", "scale"), "self_attn.q_a_layernorm.weight", _SAME
        yield ("attention", "query_up", "kernel"), "self_attn.q_b_proj.weight", _TO_HEADS
    yield ("attention", "kv_down", "kernel"), "self_attn.kv_a_proj_with_mqa.weight", _SWAPPED
    yield ("attention", "kv_norm", "scale"), "self_attn.kv_a_layernorm.weight", _SAME
    yield ("attention", "kv_up", "kernel"), "self_attn.kv_b_proj.weight", _TO_HEADS
    yield ("attention", "out", "kernel"), "self_attn.o_proj.weight", _FROM_HEADS


def _feed_forward(path: tuple[str, ...], name: str) -> Iterator[_Row]:
    for part in ("gate", "up", "down"):
        yield (*path, part, "kernel"), f"{name}.{part}_proj.weight", _SWAPPED


def _experts(model: ModelConfig) -> Iterator[_Row]:
    yield ("ffn", "router", "kernel"), "mlp.gate.weight", _SWAPPED
    if model.moe.gate == "sigmoid":
        yield ("ffn", "router", "correction_bias"), "mlp.gate.e_score_correction_bias", _SAME
    for part in ("gate", "up", "down"):
        yield ("ffn", "experts", part), f"mlp.experts.{{expert}}.{part}_proj.weight", _SWAPPED
    if model.moe.shared_experts:
        yield from _feed_forward(("ffn", "shared"), "mlp.shared_experts")


def ignored(name: str, model: ModelConfig) -> str | None:
    """Why a tensor of the folder is left out on purpose; None: it must be an entry's.

    Left out are the layer of multi-token prediction that DeepSeek-V3 has after its last one, tables of rotary
    frequencies (they follow from the config), and an `lm_head` that the model does not have.
    """
    after_the_last = f"model.layers.{model.num_layers}."
    if model.latent is not None and name.startswith(after_the_last):
        return "of the layer that predicts a second token, which is not trained here"
    if re.fullmatch(r"model\.(layers\.\d+\.self_attn\.)?rotary_emb\.inv_freq", name):
        return "a table of rotary frequencies, which follow from config.json"
    if name == "lm_head.weight" and model.head == "score":
        return "the model has a score head in place of the one over tokens"
    if name == "lm_head.weight" and model.tie_embeddings:
        return "the head is tied to the embedding"
    return None


def as_stored(array: np.ndarray, layout: Layout) -> np.ndarray:
    """A view of one tensor's array, ours, with the dims that the file has.

    Raises ValueError for a layout that merges dims which do not lie next to each other.
    """
    merged = stored_shape(array.shape, layout)
    return array.transpose([dim for dims in layout for dim in dims]).reshape(merged, copy=False)


def stored_shape(shape: Sequence[int], layout: Layout) -> tuple[int, ...]:
    """The file's shape of one tensor of ours."""
    return tuple(math.prod(shape[dim] for dim in dims) for dims in layout)
