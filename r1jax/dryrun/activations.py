"""What a program needs while it runs, estimated: activations, the experts' rows, logits, weights written out.

Estimates count what the code names: they leave out what a compiler adds or fuses away, and are meant for "does it
fit?". Tests hold them within a factor of two of what XLA allocates.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import operator
from typing import Any, NamedTuple

import jax.numpy as jnp
from jax.sharding import AbstractMesh

from r1jax.config import ModelConfig
from r1jax.dryrun.arrays import decoding_shapes, local_size, param_dims, param_shapes, tree_bytes
from r1jax.dryrun.programs import BatchShape
from r1jax.learn.logprobs import block_positions
from r1jax.models import decoder, lora
from r1jax.models.expert_parallel import pair_capacity
from r1jax.models.param_dims import in_compute_dtype, input_axes
from r1jax.parallel import rules
from r1jax.sampler.programs import dparams_dims

F32 = 4


class Tokens(NamedTuple):
    """Those that pass a layer at once: rows of a length, and the logical names of both dims."""

    rows: int
    length: int
    dims: rules.Dims = ("batch", "length")

    def each(self, mesh: AbstractMesh, dims: rules.Dims = (), shape: tuple[int, ...] = ()) -> int:
        """Numbers on each device of an array that has, of every token, the dims named."""
        return local_size((*self.dims, *dims), (self.rows, self.length, *shape), mesh)


@functools.cache
def activation_bytes(model: ModelConfig, shape: BatchShape, mesh: AbstractMesh) -> int:
    """What the backward pass keeps of one micro-batch, with one layer computed again where remat does so."""
    tokens = Tokens(shape.rows, shape.positions)
    layers = {name: layer_bytes(model, experts, tokens, mesh) for name, experts, _ in decoder.stacks(model)}
    if model.remat == "none":
        return sum(count * layers[name] for name, _, count in decoder.stacks(model))
    stream = tokens.each(mesh, ("act_embed",), (model.hidden_size,))
    kept = sum(
        count * (stream + (_products(model, name, tokens, mesh) if model.remat == "dots" else 0))
        for name, _, count in decoder.stacks(model)
    )
    # A loop's layer is gone when the next loop runs; a stack of one layer is no loop, and XLA keeps both.
    alone = [layers[name] for name, _, count in decoder.stacks(model) if count == 1]
    looped = [layers[name] for name, _, count in decoder.stacks(model) if count > 1]
    return kept * _compute_size(model) + sum(alone) + max(looped, default=0)


def layer_bytes(model: ModelConfig, experts: bool, tokens: Tokens, mesh: AbstractMesh) -> int:
    """What the backward pass needs of a layer, all of it; for prefill, what a layer computes on its way."""
    size, stream, heads, scores = _attention(model, tokens, mesh)
    return size * (4 * stream + heads) + (2 * F32 + size) * scores + _ffn_bytes(model, experts, tokens, mesh)


def passing_bytes(model: ModelConfig, experts: bool, tokens: Tokens, mesh: AbstractMesh) -> int:
    """What a layer needs at once where no gradient is taken: its attention or its FFN."""
    size, stream, heads, scores = _attention(model, tokens, mesh)
    attention = size * heads + 2 * F32 * scores
    return size * 2 * stream + max(attention, _ffn_bytes(model, experts, tokens, mesh))


def _attention(model: ModelConfig, tokens: Tokens, mesh: AbstractMesh) -> tuple[int, int, int, int]:
    """Bytes of a number in the compute dtype; numbers in the stream, in what heads compute, and in their scores."""
    stream = tokens.each(mesh, ("act_embed",), (model.hidden_size,))
    scores = tokens.each(mesh, ("act_heads", None), (model.num_heads, tokens.length))
    heads = _grouped_heads(model, tokens, mesh) if model.latent is None else _latent_heads(model, tokens, mesh)
    return _compute_size(model), stream, heads, scores


def _ffn_bytes(model: ModelConfig, experts: bool, tokens: Tokens, mesh: AbstractMesh) -> int:
    size, hidden = _compute_size(model), 4 if model.gated_ffn else 2
    if not experts:
        return size * hidden * tokens.each(mesh, ("act_ffn",), (model.ffn_size,))
    shared = model.moe.shared_experts * model.moe.expert_size
    found = size * hidden * tokens.each(mesh, ("act_ffn",), (shared,)) if shared else 0
    return found + _routed_bytes(model, tokens, mesh)


def _grouped_heads(model: ModelConfig, tokens: Tokens, mesh: AbstractMesh) -> int:
    """Numbers in queries and keys, before and after their rotation, in values and in what was attended to."""
    queries = tokens.each(mesh, ("act_heads", "act_head"), (model.num_heads, model.head_width))
    keys = tokens.each(mesh, ("act_kv_heads", "act_head"), (model.num_kv_heads, model.head_width))
    return 3 * queries + 4 * keys


def _latent_heads(model: ModelConfig, tokens: Tokens, mesh: AbstractMesh) -> int:
    """Numbers in the latents, and in all heads' queries, keys and values, which are written out of them."""
    latent = model.latent
    latents = (latent.query_rank or 0) + latent.kv_rank + latent.rope_size
    # Queries before and after their rotation; keys and values as one, then apart; what was attended to.
    widths = 2 * model.head_width + latent.nope_size + latent.value_size + model.head_width + 2 * latent.value_size
    heads = tokens.each(mesh, ("act_heads", "act_head"), (model.num_heads, widths))
    return heads + 2 * tokens.each(mesh, ("act_latent",), (latents,))


def _routed_bytes(model: ModelConfig, tokens: Tokens, mesh: AbstractMesh) -> int:
    """Of the rows that are sent to experts, their hidden values, and the router's scores."""
    size, moe = _compute_size(model), model.moe
    tokens_here = tokens.each(mesh)
    assignments, rows = tokens_here * moe.experts_per_token, dispatched_rows(model, tokens_here, mesh)
    hidden = rows * math.ceil(moe.expert_size / mesh.shape["tensor"])
    moves = 3 if mesh.shape["expert"] == 1 else 5  # in order, out of the experts, back; and sent there and back
    found = size * (moves * rows * model.hidden_size + 5 * hidden)
    return found + F32 * (assignments * model.hidden_size + 3 * tokens_here * moe.num_experts)


def dispatched_rows(model: ModelConfig, tokens_here: int, mesh: AbstractMesh) -> int:
    """Rows of a device's experts: all that its tokens choose, or the room of one round of the exchange."""
    moe, devices = model.moe, mesh.shape["expert"]
    assignments = tokens_here * moe.experts_per_token
    if devices == 1:
        return assignments
    most = tokens_here * min(moe.experts_per_token, moe.num_experts // devices)
    return devices * min(pair_capacity(assignments, devices), most)


def _products(model: ModelConfig, stack: str, tokens: Tokens, mesh: AbstractMesh) -> int:
    """Numbers in the products with the weights of a layer, those of adapters among them; not those of experts."""
    shapes, dims = param_shapes(model), param_dims(model)
    total = 0
    for path, adapted in _linears(model).items():
        if path[0] != stack:
            continue
        names = _at(dims, path)["kernel"]
        outputs = input_axes(names).stop
        named = tuple(f"act_{name}" for name in names[outputs:])
        product = tokens.each(mesh, named, _at(shapes, path)["kernel"].shape[outputs:])
        total += 2 * product + tokens.each(mesh, (None,), (model.lora.rank,)) if adapted else product
    return total


@functools.cache
def _linears(model: ModelConfig) -> dict[tuple[str, ...], bool]:
    """The layers' linear maps, and which are adapted."""
    adapted = lora.targets(model) if model.lora is not None else ()
    return {path: path in adapted for path in lora.linears(model)}


def logits_block_bytes(model: ModelConfig, shape: BatchShape, mesh: AbstractMesh) -> int:
    """Of one [B, block, V] block of float32 logits, by the rule of `learn.logprobs`."""
    block = block_positions(
        shape.rows, shape.positions, model.vocab_size, budget_bytes=model.logits_budget_bytes, mesh=mesh
    )
    length = "length" if block == shape.positions else None
    return F32 * local_size(("batch", length, "act_vocab"), (shape.rows, block, model.vocab_size), mesh)


def largest_layer_bytes(model: ModelConfig, tokens: Tokens, mesh: AbstractMesh) -> int:
    """As `layer_bytes`, of the kind of layer that needs most."""
    return max(layer_bytes(model, experts, tokens, mesh) for _, experts, _ in decoder.stacks(model))


@functools.cache
def reading_bytes(model: ModelConfig, rows: int, length: int, mesh: AbstractMesh) -> int:
    """What a pass over rows of a length needs whose matrices are held in the compute dtype, and of which no gradient
    is taken: a layer, with its weights where they are gathered or not plain; or of a writer a block of logits.
    """
    tokens = Tokens(rows, length)
    found = max(passing_bytes(model, experts, tokens, mesh) for _, experts, _ in decoder.stacks(model))
    if model.head == "tokens":
        found = max(found, logits_block_bytes(model, BatchShape(1, rows, length), mesh))
    if mesh.shape["fsdp"] > 1 or (model.lora is not None and model.lora.frozen != "compute"):
        found += _largest_weights_bytes(model, mesh)
    return found


@functools.cache
def written_out_bytes(model: ModelConfig, mesh: AbstractMesh) -> int:
    """Of the weights in the form in which an update multiplies by them, where they are held in another one: those of
    a layer (or the head) at once. Without remat the backward pass finds all that were cast kept.
    """
    if model.lora is None:
        converted = model.compute_dtype != "float32"
    else:
        converted = model.lora.frozen != "compute"
    if not converted and mesh.shape["fsdp"] == 1:
        return 0
    return _largest_weights_bytes(model, mesh) + (_kept_weights_bytes(model, mesh) if converted else 0)


@functools.cache
def merging_bytes(model: ModelConfig, mesh: AbstractMesh) -> int:
    """Of the adapted kernels with their adapters added, in the compute dtype, before the sampler takes them."""
    shapes, dims = param_shapes(model), param_dims(model)
    kernels = (
        (_at(dims, path)["kernel"], _at(shapes, path)["kernel"]) for path, adapted in _linears(model).items() if adapted
    )
    return jnp.dtype(model.compute_dtype).itemsize * sum(
        local_size(names, kernel.shape, mesh) for names, kernel in kernels
    )


def _largest_weights_bytes(model: ModelConfig, mesh: AbstractMesh) -> int:
    """A layer's or the head's, gathered over `fsdp`; a score head is a vector."""
    writer = dataclasses.replace(model, head="tokens")
    shapes, dims = decoding_shapes(writer), dparams_dims(writer)
    layers = [tree_bytes(shapes.layers[i], rules.shardings(dims.layers[i], shapes.layers[i], mesh)) for i in (0, -1)]
    if model.head == "score":
        return max(layers)
    head = _compute_size(model) * local_size(dims.unembedding, shapes.unembedding.shape, mesh)
    return max(*layers, head)


def _kept_weights_bytes(model: ModelConfig, mesh: AbstractMesh) -> int:
    """All layers' matrices; but experts cast on their devices are cast again (`models.expert_parallel`)."""
    if model.remat != "none":
        return 0
    total = 0

    def visit(dims: Any, shapes: Any) -> None:
        nonlocal total
        if not rules.is_dims(dims):
            for name in dims:
                visit(dims[name], shapes[name])
        elif in_compute_dtype(dims) and not ("experts" in dims and model.lora is None and mesh.size > 1):
            total += local_size(dims, shapes.shape, mesh)

    shapes, dims = param_shapes(model), param_dims(model)
    for stack, _, _ in decoder.stacks(model):
        visit(dims[stack], shapes[stack])
    return total * _compute_size(model)


def _at(tree: Any, path: tuple[str, ...]) -> Any:
    return functools.reduce(operator.getitem, path, tree)


def _compute_size(model: ModelConfig) -> int:
    return jnp.dtype(model.compute_dtype).itemsize
