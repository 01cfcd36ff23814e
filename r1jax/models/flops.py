"""FLOPs of a model, from its shape and from what it has read: so that stages can be compared at equal cost.

Counted are the products with weights (those of the experts that a token passes, not of all) and those of attention; a
multiplication and an addition are 2. Left out are norms, softmax, rotary positions, the optimiser and what
`model.remat` computes a second time: these are the FLOPs that the model needs, not those that a program happens to
spend. Padding is nothing, and a token attends to those before it, not to the whole square that a program computes.

What was read is counted where it is read (`Work`), for a sequence's attention grows with its square: two stages of as
many tokens may cost differently.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import jax
import numpy as np

from r1jax.config import ModelConfig
from r1jax.models import decoder, lora

Pass = Literal["forward", "decode", "train"]

BACKWARD = 2  # passes' worth: the gradient of the inputs, and that of the weights (or of the other factor)
PREFIX = "work/"


@dataclasses.dataclass(frozen=True)
class Work:
    """What a model was given to do."""

    tokens: int = 0  # that it read
    keys: int = 0  # that those attended to, summed: a token sees those before it in its sequence, and itself
    targets: int = 0  # that it predicted: those whose logits were asked for

    def __add__(self, other: Work) -> Work:
        return Work(self.tokens + other.tokens, self.keys + other.keys, self.targets + other.targets)

    def __sub__(self, other: Work) -> Work:
        return Work(self.tokens - other.tokens, self.keys - other.keys, self.targets - other.targets)

    def metrics(self, name: str) -> dict[str, int]:
        """As metrics of a stage, `work/NAME_tokens` and so on; `Work.read` is its inverse."""
        return {f"{PREFIX}{name}_{field}": value for field, value in dataclasses.asdict(self).items()}

    @classmethod
    def read(cls, metrics: Mapping[str, Any]) -> dict[str, Work]:
        """The work in a line of metrics, by name; {} where there is none."""
        found: dict[str, dict[str, int]] = {}
        for metric, value in metrics.items():
            if metric.startswith(PREFIX):
                name, _, field = metric.removeprefix(PREFIX).rpartition("_")
                found.setdefault(name, {})[field] = value
        return {name: cls(**fields) for name, fields in found.items()}


def batch_work(batch: Mapping[str, Any]) -> Work:
    """The work of one pass over a batch of packed rows (`data.packing`): segments, positions and mask, any shape."""
    real = np.asarray(batch["segments"]) > 0
    keys = np.where(real, np.asarray(batch["positions"], np.int64) + 1, 0)
    return Work(int(real.sum()), int(keys.sum()), int(np.count_nonzero(batch["mask"])))


def sequences_work(lengths: Iterable[tuple[int, int]]) -> Work:
    """The work of scoring sequences by teacher forcing: the tokens of the prompt and of the completion of each."""
    total = Work()
    for prompt, completion in lengths:
        read = prompt + completion - 1  # the last token is predicted and not read
        total += Work(read, read * (read + 1) // 2, completion)
    return total


def sampling_work(groups: Iterable[tuple[int, Sequence[int]]]) -> tuple[Work, Work]:
    """The work of prefill and of decoding: the tokens of each prompt, and those of each of its completions.

    A prompt is read once, whatever the number of its completions; it gives their first tokens. A completion's last
    token is drawn and not read.
    """
    prefill, decode = Work(), Work()
    for prompt, completions in groups:
        prefill += Work(prompt, prompt * (prompt + 1) // 2, 1)
        for tokens in completions:
            read = tokens - 1
            decode += Work(read, read * prompt + read * (read + 1) // 2, read)
    return prefill, decode


class TokenFlops(NamedTuple):
    """FLOPs of one token."""

    forward: float
    training: float  # forward and backward


class _Rates(NamedTuple):
    """FLOPs of each token, of each key that it sees, and of each prediction."""

    token: float
    key: float
    target: float


def flops_per_token(model: ModelConfig, context_tokens: int | float, *, predicts: bool = True) -> TokenFlops:
    """FLOPs of a token that attends to `context_tokens` tokens, itself among them (for a whole sequence: their mean).

    `predicts`: whether the head is asked, as it is not of a prompt's tokens.
    """
    work = (1.0, context_tokens, float(predicts))
    return TokenFlops(*(_cost(_rates(model, how), work) for how in ("forward", "train")))


def flops(model: ModelConfig, work: Work, how: Pass) -> float:
    """FLOPs of some work: a forward pass, a forward pass token by token from a cache, or forward and backward.

    Decoding differs with latent attention alone, which there attends to the latents themselves.
    """
    return _cost(_rates(model, how), dataclasses.astuple(work))


def _cost(rates: _Rates, work: Sequence[int | float]) -> float:
    return float(sum(rate * count for rate, count in zip(rates, work, strict=True)))


def _rates(model: ModelConfig, how: Pass) -> _Rates:
    kernels, key, target = _layer_kernels(model), _attention(model, how == "decode"), _head(model)
    adapters = 0.0 if model.lora is None else _adapters(model)
    if how != "train":
        return _Rates(kernels + adapters, key, target)
    whole = 1 + BACKWARD
    # A frozen kernel passes the gradient on to its inputs and has none of its own. A score head is always trained.
    kernel_passes = whole if model.lora is None else BACKWARD
    head_passes = whole if model.head == "score" else kernel_passes
    return _Rates(kernel_passes * kernels + whole * adapters, whole * key, head_passes * target)


def _layer_kernels(model: ModelConfig) -> float:
    """FLOPs of a token in the products with the matrices of all layers."""
    shapes = decoder.param_shapes(model)
    total = 0.0
    for stack, _, _ in decoder.stacks(model):
        for path, leaf in jax.tree_util.tree_leaves_with_path(shapes[stack]):
            names = [one.key for one in path]
            if "experts" in names:
                total += 2 * math.prod(leaf.shape) * model.moe.experts_per_token / model.moe.num_experts
            elif names[-1] == "kernel":
                total += 2 * math.prod(leaf.shape)
    return total


def _adapters(model: ModelConfig) -> float:
    """FLOPs of a token in the products with low-rank adapters."""
    leaves = jax.tree_util.tree_leaves_with_path(lora.trained_shapes(model))
    return float(sum(2 * math.prod(leaf.shape) for path, leaf in leaves if path[-1].key in ("lora_a", "lora_b")))


def _attention(model: ModelConfig, decoding: bool) -> float:
    """FLOPs of a token for each key that it sees: its score, and its share of the sum of values."""
    if model.latent is None:
        widths = 2 * model.head_width
    elif decoding:  # both over the cached latent with its rotated key (`latent_attention`)
        widths = 2 * (model.latent.kv_rank + model.latent.rope_size)
    else:
        widths = model.head_width + model.latent.value_size
    return float(2 * model.num_layers * model.num_heads * widths)


def _head(model: ModelConfig) -> float:
    return float(2 * model.hidden_size * (1 if model.head == "score" else model.vocab_size))
