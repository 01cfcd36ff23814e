"""A model as transformers loads it and as we do, from one folder, with the logits of its three sequences.

The bound of the whole ring is on the largest difference of any logit, as a fraction of the logits' standard deviation.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import hf_folders
import jax
import numpy as np

from r1jax.config import ModelConfig
from r1jax.models import decoder
from r1jax.models.huggingface import importer

if TYPE_CHECKING:
    import torch
    import transformers

LOGITS_BOUND = 1e-4  # of the standard deviation
# Between the last expert (or group) that is chosen and the first that is not: the scores of two right implementations
# differ by some 1e-6, and a nearer tie may fall either way.
MARGIN = 1e-4

Params = dict[str, Any]


class Pair(NamedTuple):
    """One folder's model, theirs and ours. Lists go over the sequences of `hf_folders.tokens_of`."""

    name: str
    theirs: transformers.PreTrainedModel
    config: ModelConfig
    params: Params
    tokens: list[np.ndarray]  # [length]
    logits: list[np.ndarray]  # theirs, [length, V], each sequence run alone
    margin: float  # the nearest choice of experts that was made on the way to them

    def difference(self, ours: np.ndarray, expected: np.ndarray) -> float:
        """The largest difference, in standard deviations of all logits of the model."""
        assert ours.shape == expected.shape
        return float(np.abs(ours - expected).max() / np.concatenate(self.logits).std())


@functools.cache
def pair(name: str) -> Pair:
    """The pair of a family of `hf_folders.FAMILIES`."""
    with tempfile.TemporaryDirectory() as folder:
        theirs = hf_folders.make(name, folder)
        config = importer.read_model(folder)
        params = importer.load_params(folder, config, decoder.param_shapes(config))
    tokens = hf_folders.tokens_of(name)
    with watched_margins(theirs) as margins:
        logits = [their_logits(theirs, one[None])[0] for one in tokens]
    return Pair(name, theirs, config, params, tokens, logits, min(margins, default=np.inf))


def their_logits(theirs: transformers.PreTrainedModel, tokens_BT: np.ndarray, **inputs: np.ndarray) -> np.ndarray:
    """[B, T, V]; further `inputs` are theirs: attention_mask, position_ids."""
    import torch

    arguments = {name: torch.from_numpy(array).long() for name, array in {"input_ids": tokens_BT, **inputs}.items()}
    with torch.no_grad():
        return theirs(**arguments, use_cache=False).logits.numpy()


@functools.partial(jax.jit, static_argnames="config")
def our_logits(
    params: Params, tokens_BT: np.ndarray, positions_BT: np.ndarray, segments_BT: np.ndarray, *, config: ModelConfig
) -> jax.Array:
    """[B, T, V]."""
    hidden_BTD = decoder.forward(params, tokens_BT, positions_BT, segments_BT, config=config)
    return decoder.logits(params, hidden_BTD, config=config)


def rows_of(layout: list[list[int | np.ndarray]], length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Tokens, positions and segments [B, length] of rows that are each a list of sequences and of paddings (a number
    of tokens); what is left of a row is padding too. Padding has tokens of its own, which must not matter.
    """
    tokens_BT = np.random.default_rng(1).integers(0, hf_folders.VOCAB, (len(layout), length), np.int32)
    positions_BT, segments_BT = np.zeros_like(tokens_BT), np.zeros_like(tokens_BT)
    for row, parts in enumerate(layout):
        at = 0
        for number, part in enumerate(parts, start=1):
            if isinstance(part, int):
                at += part
                continue
            here = np.s_[row, at : at + len(part)]
            tokens_BT[here], positions_BT[here], segments_BT[here] = part, np.arange(len(part)), number
            at += len(part)
        assert at <= length
    return tokens_BT, positions_BT, segments_BT


def first_layer_that_differs(pair: Pair, params: Params, tokens_T: np.ndarray) -> str:
    """Where their forward pass and ours with `params` part, in words: for the messages of tests that fail."""
    import torch

    with torch.no_grad():
        run = pair.theirs.model(torch.from_numpy(tokens_T)[None].long(), use_cache=False, output_hidden_states=True)
        last = len(run.hidden_states) - 1
        # All but the last are as they go from layer to layer.
        expected = [
            state if layer == last else pair.theirs.model.norm(state) for layer, state in enumerate(run.hidden_states)
        ]
    for layer in range(1, last + 1):
        config, fewer = _first_layers(pair.config, params, layer)
        forward = jax.jit(functools.partial(decoder.forward, config=config))
        ours = forward(fewer, *rows_of([[tokens_T]], len(tokens_T)))
        error = float(np.abs(ours - expected[layer].numpy()).max() / expected[layer].std())
        if not error <= LOGITS_BOUND:
            return f"{pair.name}: hidden states first differ after layer {layer} of {last}, by {error:.1e} of their std"
    return f"{pair.name}: hidden states of all {last} layers agree"


def _first_layers(config: ModelConfig, params: Params, count: int) -> tuple[ModelConfig, Params]:
    """The model that consists of the first `count` layers."""
    kept: Params = {name: below for name, below in params.items() if name not in ("dense_layers", "layers")}
    left = count
    stacks = []
    for name, experts, size in decoder.stacks(config):
        if left > 0:
            stacks.append((experts, jax.tree.map(lambda leaf, left=left: leaf[:left], params[name])))
        left -= size
    for name, (_, stack) in zip(("layers",) if len(stacks) == 1 else ("dense_layers", "layers"), stacks, strict=True):
        kept[name] = stack
    has_experts = stacks[-1][0]
    return dataclasses.replace(config, num_layers=count, moe=config.moe if has_experts else None), kept


@contextlib.contextmanager
def watched_margins(theirs: transformers.PreTrainedModel) -> Iterator[list[float]]:
    """Collects the margins of every choice of experts that `theirs` makes: one number a layer and call."""
    found: list[float] = []
    routers = [module for module in theirs.modules() if type(module).__name__ in _MARGINS]
    handles = [
        router.register_forward_hook(
            lambda module, inputs, outputs: found.append(_MARGINS[type(module).__name__](module, outputs[0]))
        )
        for router in routers
    ]
    yield found
    for handle in handles:
        handle.remove()


def _softmax_margin(router: torch.nn.Module, logits: torch.Tensor) -> float:
    return _gap(logits.softmax(-1), router.top_k)


def _sigmoid_margin(router: torch.nn.Module, logits: torch.Tensor) -> float:
    scores = logits.sigmoid() + router.e_score_correction_bias
    groups = scores.unflatten(-1, (router.num_group, -1))
    strength = groups.topk(2).values.sum(-1)
    chosen = strength.topk(router.topk_group).indices
    eligible = groups.gather(1, chosen[..., None].expand(-1, -1, groups.shape[-1])).flatten(1)
    return min(_gap(strength, router.topk_group), _gap(eligible, router.top_k))


def _gap(scores: torch.Tensor, chosen: int) -> float:
    """The smallest distance between the last of the `chosen` largest and the next."""
    ranked = scores.sort(descending=True).values
    return float((ranked[..., chosen - 1] - ranked[..., chosen]).min())


_MARGINS = {"Qwen3MoeTopKRouter": _softmax_margin, "DeepseekV3TopkRouter": _sigmoid_margin}
