"""Optimisers over stacked layers: AdamW, or Muon on the layers' matrices with AdamW on the rest.

Layers are stacked, so a weight matrix is an array of three dims or more and a norm one of two: which dims
make a matrix is read from the logical dim names of the parameters, never from `ndim`.

Muon as in Jordan et al. (2024) through `optax.contrib.scale_by_muon`: Nesterov momentum of 0.95, five
Newton-Schulz iterations a matrix of a layer, updates scaled by sqrt(max(1, outputs / inputs)).
"""

from __future__ import annotations

import math
from typing import Any

import jax
import jax.numpy as jnp
import optax
import optax.contrib
from jaxtyping import Array, Float, Int

from r1jax.config import OptimizerConfig
from r1jax.models.param_dims import input_axes, is_matrix
from r1jax.parallel.rules import Dims, is_dims


def muon_dims(dims: Dims) -> optax.contrib.MuonDimensionNumbers | None:
    """The input and output dims of a matrix that Muon updates; None for parameters that AdamW updates.

    AdamW takes, besides norms and biases, what reads or makes tokens, scores and an expert's choice.
    """
    if not is_matrix(dims) or "vocab" in dims or None in dims:
        return None
    inputs = input_axes(dims)
    return optax.contrib.MuonDimensionNumbers(tuple(inputs), tuple(range(inputs.stop, len(dims))))


def schedule_factor(config: OptimizerConfig, num_steps: int, step: int | Int[Array, ""]) -> Float[Array, ""] | float:
    """The share of the peak learning rate that update number `step` (from 0) takes.

    Rises linearly over `warmup_steps` (the first update already moves: (step + 1) / warmup_steps), holds, and
    decays from `decay_start * num_steps` to `final_ratio` at the last step, where it stays.
    """
    step = jnp.asarray(step, jnp.float32)
    warmup = jnp.minimum(1.0, (step + 1) / max(1, config.warmup_steps))
    if config.decay == "none":
        return warmup
    start = max(config.decay_start * num_steps, config.warmup_steps)
    progress = jnp.clip((step - start) / max(1.0, num_steps - 1 - start), 0.0, 1.0)
    remaining = {
        "linear": lambda x: 1.0 - x,
        "cosine": lambda x: 0.5 * (1.0 + jnp.cos(math.pi * x)),
    }[config.decay](progress)
    return warmup * (config.final_ratio + (1.0 - config.final_ratio) * remaining)


def learning_rate_at(config: OptimizerConfig, num_steps: int, step) -> Float[Array, ""]:
    """AdamW's learning rate at update number `step`. Muon's rate has the same factor on its own peak."""
    return config.learning_rate * schedule_factor(config, num_steps, step)


def make_optimizer(config: OptimizerConfig, num_steps: int, param_dims: Any) -> optax.GradientTransformationExtraArgs:
    """The gradient transformation of a stage; its update takes `step=` (updates done, from 0) besides the
    usual.

    The learning rate follows the step that it is told, not a counter of its own, so that a skipped update
    does not shift the schedule. Order: clipping by global norm, direction, decoupled weight decay on
    matrices, learning rate.

    Args:
      num_steps: updates of the whole stage, for the decay.
      param_dims: the tree of logical dim names, as `models.decoder.param_dims` gives it.
    """
    adam = optax.scale_by_adam(config.b1, config.b2, config.eps)
    numbers = jax.tree.map(muon_dims, param_dims, is_leaf=is_dims)
    is_numbers = lambda x: x is None or isinstance(x, optax.contrib.MuonDimensionNumbers)  # noqa: E731
    by_muon = jax.tree.map(lambda n: config.name == "muon" and n is not None, numbers, is_leaf=is_numbers)
    if config.name == "muon":
        masked_numbers = jax.tree.map(lambda n: optax.MaskedNode() if n is None else n, numbers, is_leaf=is_numbers)
        muon = optax.chain(
            optax.contrib.scale_by_muon(weight_dimension_numbers=masked_numbers),
            _scale_by_width(masked_numbers),
        )
        labels = jax.tree.map(lambda muon: "muon" if muon else "adam", by_muon)
        direction = optax.partition({"muon": muon, "adam": adam}, labels)
    else:
        direction = adam
    peaks = jax.tree.map(lambda muon: config.muon_learning_rate if muon else config.learning_rate, by_muon)
    decays = jax.tree.map(lambda dims: config.weight_decay if is_matrix(dims) else 0.0, param_dims, is_leaf=is_dims)
    clip = optax.identity() if config.clip_norm is None else optax.clip_by_global_norm(config.clip_norm)
    return optax.chain(clip, direction, _decay_and_scale(config, num_steps, peaks, decays))


def _scale_by_width(numbers: Any) -> optax.GradientTransformation:
    """Times sqrt(max(1, outputs / inputs)), so that one learning rate suits matrices of every shape."""

    def scale(update, dims: optax.contrib.MuonDimensionNumbers):
        inputs = math.prod(update.shape[axis] for axis in dims.reduction_axis)
        outputs = math.prod(update.shape[axis] for axis in dims.output_axis)
        return update * math.sqrt(max(1.0, outputs / inputs))

    return optax.stateless(lambda updates, params: jax.tree.map(scale, updates, numbers))


def _decay_and_scale(
    config: OptimizerConfig, num_steps: int, peaks: Any, decays: Any
) -> optax.GradientTransformationExtraArgs:
    def update(updates, state, params, *, step, **_):
        factor = schedule_factor(config, num_steps, step)

        def final(direction, param, peak, decay):
            return -(factor * peak) * (direction + decay * param if decay else direction)

        return jax.tree.map(final, updates, params, peaks, decays), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update)
