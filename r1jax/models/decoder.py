"""The dense decoder: pre-norm blocks of attention and feed-forward (Qwen2/2.5, Qwen3, Llama 3.x).

Outside this package a model is a nested dict of arrays with string keys:

    embed.embedding [V, D]
    layers.attention_norm.scale [L, D]      layers.ffn_norm.scale [L, D]
    layers.attention.{query,key,value}.{kernel [L, D, heads, H], bias [L, heads, H]}
    layers.attention.{query_norm,key_norm}.scale [L, H]      layers.attention.out.kernel [L, N, H, D]
    layers.ffn.{gate,up}.kernel [L, D, F]      layers.ffn.down.kernel [L, F, D]
    final_norm.scale [D]
    head.kernel [D, V]                      (absent when the embedding is tied)

Layers are stacked on dim 0 and scanned; the modules are put together inside the scan from one layer's slice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float, Int

from r1jax.config import ModelConfig
from r1jax.models import rope
from r1jax.models.attention import Attention, Rotation, attend
from r1jax.models.layers import FeedForward, RMSNorm
from r1jax.parallel.rules import Dims, constrain

Params = dict[str, Any]

_KEPT_BY_REMAT: dict[str, Callable[..., Any]] = {
    "dots": jax.checkpoint_policies.dots_with_no_batch_dims_saveable,  # products with weights
    "full": jax.checkpoint_policies.nothing_saveable,
}


class Block(nnx.Module):
    """x + attention(norm(x)), then x + ffn(norm(x))."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.attention = Attention(config, rngs=rngs)
        self.ffn_norm = RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.ffn = FeedForward(config, rngs=rngs)

    def heads(self, x: Float[Array, "*rows D"], rotation: Rotation, rows: Dims):
        """Queries, keys and values of this layer."""
        return self.attention.project(self.attention_norm(x), rotation, rows)

    def rest(self, x: Float[Array, "*rows D"], attended: Float[Array, "*rows N H"], rows: Dims):
        """The layer's output, given what its heads attended to."""
        x = constrain(x + self.attention.merge(attended, rows), (*rows, "act_embed"))
        return constrain(x + self.ffn(self.ffn_norm(x), rows), (*rows, "act_embed"))


@functools.cache
def block_graph(config: ModelConfig) -> nnx.GraphDef:
    """The static part of a block: `nnx.merge(block_graph(config), layer_params)` makes one."""
    return nnx.split(nnx.eval_shape(lambda: Block(config, rngs=nnx.Rngs(params=0))))[0]


def init(config: ModelConfig, key: jax.Array) -> Params:
    """Fresh float32 parameters: norms 1, biases 0, all else normal with std `config.init_range`.

    Layer i's numbers depend on `key` and i alone. Jit it with shardings as outputs to build them in place.
    """
    layers_key, embed_key, head_key = jax.random.split(key, 3)

    def normal(key: jax.Array, *shape: int) -> Array:
        return config.init_range * jax.random.normal(key, shape, jnp.float32)

    def layer(key: jax.Array) -> Params:
        return nnx.to_pure_dict(nnx.state(Block(config, rngs=nnx.Rngs(params=key)), nnx.Param))

    folded = jax.vmap(functools.partial(jax.random.fold_in, layers_key))(jnp.arange(config.num_layers))
    params = {
        "embed": {"embedding": normal(embed_key, config.vocab_size, config.hidden_size)},
        "layers": jax.vmap(layer)(folded),
        "final_norm": {"scale": jnp.ones((config.hidden_size,), jnp.float32)},
    }
    if not config.tie_embeddings:
        params["head"] = {"kernel": normal(head_key, config.hidden_size, config.vocab_size)}
    return params


def param_shapes(config: ModelConfig) -> Params:
    """The tree of `init` with a `jax.ShapeDtypeStruct` for every array; nothing is computed."""
    return jax.eval_shape(lambda key: init(config, key), jax.random.key(0))


_DIMS: Params = {
    "embed": {"embedding": ("vocab", "embed")},
    "layers": {
        "attention_norm": {"scale": ("layers", "norm")},
        "attention": {
            "query": {"kernel": ("layers", "embed", "heads", "head"), "bias": ("layers", "heads", "head")},
            "key": {
                "kernel": ("layers", "embed", "kv_heads", "head"),
                "bias": ("layers", "kv_heads", "head"),
            },
            "value": {
                "kernel": ("layers", "embed", "kv_heads", "head"),
                "bias": ("layers", "kv_heads", "head"),
            },
            "query_norm": {"scale": ("layers", "norm")},
            "key_norm": {"scale": ("layers", "norm")},
            "out": {"kernel": ("layers", "heads", "head", "embed")},
        },
        "ffn_norm": {"scale": ("layers", "norm")},
        "ffn": {
            "gate": {"kernel": ("layers", "embed", "ffn")},
            "up": {"kernel": ("layers", "embed", "ffn")},
            "down": {"kernel": ("layers", "ffn", "embed")},
        },
    },
    "final_norm": {"scale": ("norm",)},
    "head": {"kernel": ("embed", "vocab")},
}


def param_dims(config: ModelConfig) -> Params:
    """The tree of `init` with the logical names of every array's dims (see `parallel.rules`)."""

    def select(dims: Any, shapes: Any) -> Any:
        return {key: select(dims[key], shapes[key]) for key in shapes} if isinstance(shapes, dict) else dims

    return select(_DIMS, param_shapes(config))


def forward(
    params: Params,
    tokens_BT: Int[Array, "B T"],
    positions_BT: Int[Array, "B T"],
    segments_BT: Int[Array, "B T"],
    *,
    config: ModelConfig,
) -> Float[Array, "B T D"]:
    """Hidden states after the final norm, in `config.compute_dtype`.

    A token sees the tokens of its own segment that stand before it in the row, and itself. Segment 0 is
    padding: its outputs are finite and mean nothing. `positions_BT` count from 0 in each segment and only
    turn the heads (rotary); order within the row decides what is causal.
    """
    rows = ("batch", "length")
    x_BTD = params["embed"]["embedding"][tokens_BT].astype(config.compute_dtype)
    x_BTD = constrain(x_BTD, (*rows, "act_embed"))
    rotation = rope.rotations(positions_BT, config.rope, config.head_width)

    def layer(x_BTD: Array, layer_params: Params) -> tuple[Array, None]:
        block = nnx.merge(block_graph(config), layer_params)
        attended = attend(*block.heads(x_BTD, rotation, rows), segments_BT)
        return block.rest(x_BTD, attended, rows), None

    unroll = min(config.scan_unroll, config.num_layers)
    if config.remat != "none":
        # Unrolled to the last layer there is no loop left, and the compiler would merge the second forward pass with
        # the first. Inside a loop it cannot, and the guard against it only costs.
        fully_unrolled = unroll == config.num_layers
        layer = jax.checkpoint(layer, policy=_KEPT_BY_REMAT[config.remat], prevent_cse=fully_unrolled)
    x_BTD, _ = jax.lax.scan(layer, x_BTD, params["layers"], unroll=unroll)
    return final_norm(params, x_BTD, config=config)


def final_norm(params: Params, x: Float[Array, "*rows D"], *, config: ModelConfig) -> Float[Array, "*rows D"]:
    """The norm before the head."""
    norm = nnx.merge(_norm_graph(config), params["final_norm"])
    return norm(x)


@functools.cache
def _norm_graph(config: ModelConfig) -> nnx.GraphDef:
    return nnx.split(nnx.eval_shape(lambda: RMSNorm(config.hidden_size, eps=config.norm_eps)))[0]


def unembedding(params: Params, *, config: ModelConfig) -> Float[Array, "D V"]:
    """The head's matrix, in the dtype of the parameters: cast it to that of the activations where it is used.

    (Cast here, the sum of its gradients over blocks of tokens would run in the compute dtype.)
    """
    if config.tie_embeddings:
        return params["embed"]["embedding"].T
    return params["head"]["kernel"]


def logits(params: Params, hidden: Float[Array, "*rows D"], *, config: ModelConfig) -> Float[Array, "*rows V"]:
    """Float32 logits. Many tokens of a large vocabulary: `learn.logprobs` works in blocks."""
    kernel_DV = unembedding(params, config=config).astype(hidden.dtype)
    return jnp.matmul(hidden, kernel_DV, preferred_element_type=jnp.float32)
