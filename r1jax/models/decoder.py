"""The decoder: pre-norm blocks of attention and feed-forward, of every family that `config.ModelConfig` describes.

Outside this package a model is a nested dict of arrays with string keys (V tokens, D width, F feed-forward, N heads):

    embed.embedding [V, D]      final_norm.scale [D]
    head.kernel [D, V]          (absent when the embedding is tied; score.kernel [D, 1] with a score head)

and one stack of layers, `layers`, or two where the first layers of a mixture of experts are dense (`dense_layers`
before it); a stack of L layers has, on dim 0 of every array, its layers:

    attention_norm.scale [L, D]      ffn_norm.scale [L, D]
    attention.{query,key,value}.{kernel [L, D, heads, H], bias [L, heads, H]}
    attention.{query_norm,key_norm}.scale [L, H]      attention.out.kernel [L, N, H, D]
    ffn.{gate,up}.kernel [L, D, F]      ffn.down.kernel [L, F, D]

    latent attention (ranks Q and R; heads of P + O, rotated part O, values of U)
    attention.query_down.kernel [L, D, Q]    .query_norm.scale [L, Q]    .query_up.kernel [L, Q, N, P + O]
    attention.kv_down.kernel [L, D, R + O]   .kv_norm.scale [L, R]       .kv_up.kernel [L, R, N, P + U]
    attention.out.kernel [L, N, U, D]

    mixture of E experts
    ffn.router.kernel [L, D, E]     ffn.router.correction_bias [L, E]
    ffn.experts.{gate,up} [L, E, D, F]      ffn.experts.down [L, E, F, D]      ffn.shared: a feed-forward

Stacks are scanned; the modules are put together inside the scan from one layer's slice.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from flax import nnx
from jax.sharding import AbstractMesh, Mesh
from jaxtyping import Array, Bool, Float, Int

from r1jax.config import ModelConfig
from r1jax.models import dispatch, rope
from r1jax.models import param_dims as dims_of
from r1jax.models.adapters import attach, dequantized, separate
from r1jax.models.attention import Attention
from r1jax.models.latent_attention import LatentAttention
from r1jax.models.layers import FeedForward, RMSNorm
from r1jax.models.moe import MixtureOfExperts
from r1jax.models.rope import Rotation
from r1jax.parallel.rules import Dims, constrain, is_dims, placed

Params = dict[str, Any]

_KEPT_BY_REMAT: dict[str, Callable[..., Any]] = {
    "dots": jax.checkpoint_policies.save_from_both_policies(  # products with weights, those of experts among them
        jax.checkpoint_policies.dots_with_no_batch_dims_saveable,
        jax.checkpoint_policies.save_only_these_names(dispatch.KEPT),
    ),
    "full": jax.checkpoint_policies.nothing_saveable,
}


def stacks(config: ModelConfig) -> tuple[tuple[str, bool, int], ...]:
    """The stacks of layers in their order: name, whether its feed-forward is a mixture of experts, layers."""
    if config.moe is None:
        return (("layers", False, config.num_layers),)
    dense = config.moe.first_dense_layers
    experts = ("layers", True, config.num_layers - dense)
    return (("dense_layers", False, dense), experts) if dense else (experts,)


def attention_kind(config: ModelConfig) -> type[Attention] | type[LatentAttention]:
    """The kind of attention of all layers."""
    return Attention if config.latent is None else LatentAttention


class Block(nnx.Module):
    """x + attention(norm(x)), then x + ffn(norm(x))."""

    def __init__(self, config: ModelConfig, experts: bool, *, rngs: nnx.Rngs):
        self.attention_norm = RMSNorm(config.hidden_size, eps=config.norm_eps)
        self.attention = attention_kind(config)(config, rngs=rngs)
        self.ffn_norm = RMSNorm(config.hidden_size, eps=config.norm_eps)
        if experts:
            self.ffn = MixtureOfExperts(config, rngs=rngs)
        else:
            self.ffn = FeedForward(config, rngs=rngs)

    def __call__(
        self, x_BTD: Float[Array, "B T D"], rotation: Rotation, segments_BT: Int[Array, "B T"], rows: Dims
    ) -> tuple[Float[Array, "B T D"], Float[Array, " experts"]]:
        """The layer's output, and how many tokens each expert was given (none where there are no experts)."""
        attended = self.attention(self.attention_norm(x_BTD), rotation, segments_BT, rows)
        return self.rest(x_BTD, attended, rows, segments_BT > 0)

    def rest(
        self, x: Float[Array, "*rows D"], attended: Float[Array, "*rows D"], rows: Dims, real: Bool[Array, "*rows"]
    ) -> tuple[Float[Array, "*rows D"], Float[Array, " experts"]]:
        """As the call, given attention's output; tokens that are not `real` need not pass experts."""
        x = constrain(x + attended, (*rows, "act_embed"))
        if isinstance(self.ffn, MixtureOfExperts):
            out, load_E = self.ffn(self.ffn_norm(x), rows, real)
        else:
            out, load_E = self.ffn(self.ffn_norm(x), rows), jnp.zeros((0,), jnp.float32)
        return constrain(x + out, (*rows, "act_embed")), load_E


@functools.cache
def block_graph(config: ModelConfig, experts: bool) -> nnx.GraphDef:
    """The static part of a block."""
    return nnx.split(nnx.eval_shape(lambda: Block(config, experts, rngs=nnx.Rngs(params=0))))[0]


def make_block(layer_params: Params, *, config: ModelConfig, experts: bool) -> Block:
    """One layer's parameters (adapters among them, quantised or not) as a block."""
    base, adapters = separate(layer_params)
    block = nnx.merge(block_graph(config, experts), dequantized(base, config.compute_dtype))
    if adapters:
        attach(block, adapters, factor=config.lora.scale)
    return block


def init(config: ModelConfig, key: jax.Array) -> Params:
    """Fresh float32 parameters: norms 1, biases 0, all else normal with std `config.init_range`.

    Layer i's numbers depend on `key` and i alone. Jit it with shardings as outputs to build them in place.
    """
    layers_key, embed_key, head_key = jax.random.split(key, 3)

    def normal(key: jax.Array, *shape: int) -> Array:
        return config.init_range * jax.random.normal(key, shape, jnp.float32)

    def layer(key: jax.Array, experts: bool) -> Params:
        return nnx.to_pure_dict(nnx.state(Block(config, experts, rngs=nnx.Rngs(params=key)), nnx.Param))

    params = {
        "embed": {"embedding": normal(embed_key, config.vocab_size, config.hidden_size)},
        "final_norm": {"scale": jnp.ones((config.hidden_size,), jnp.float32)},
    }
    first = 0
    for name, experts, count in stacks(config):
        keys = jax.vmap(functools.partial(jax.random.fold_in, layers_key))(jnp.arange(first, first + count))
        params[name] = jax.vmap(functools.partial(layer, experts=experts))(keys)
        first += count
    if config.head == "score":
        params["score"] = {"kernel": normal(head_key, config.hidden_size, 1)}
    elif not config.tie_embeddings:
        params["head"] = {"kernel": normal(head_key, config.hidden_size, config.vocab_size)}
    return params


@functools.cache
def param_shapes(config: ModelConfig) -> Params:
    """The tree of `init` with a `jax.ShapeDtypeStruct` for every array; nothing is computed. Not to be changed."""
    return jax.eval_shape(lambda key: init(config, key), jax.random.key(0))


def param_dims(config: ModelConfig) -> Params:
    """The tree of `init` with the logical names of every array's dims (see `parallel.rules`)."""
    return dims_of.select(param_shapes(config))


def abstract_params(config: ModelConfig, mesh: Mesh | AbstractMesh, dtype: str = "float32") -> Params:
    """`param_shapes` with shardings over `mesh`; what may be in the compute dtype (see `param_dims`) in `dtype`."""
    dims = param_dims(config)

    def held(dims: Dims, leaf: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        return leaf.update(dtype=dtype) if dims_of.in_compute_dtype(dims) else leaf

    return placed(dims, jax.tree.map(held, dims, param_shapes(config), is_leaf=is_dims), mesh)


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
    return forward_with_load(params, tokens_BT, positions_BT, segments_BT, config=config)[0]


def forward_with_load(
    params: Params,
    tokens_BT: Int[Array, "B T"],
    positions_BT: Int[Array, "B T"],
    segments_BT: Int[Array, "B T"],
    *,
    config: ModelConfig,
) -> tuple[Float[Array, "B T D"], Float[Array, "L E"]]:
    """As `forward`; and how many tokens (padding apart) every expert of each of L mixtures of E was given.

    Without a mixture of experts that is an array [num_layers, 0].
    """
    rows = ("batch", "length")
    x_BTD = params["embed"]["embedding"][tokens_BT].astype(config.compute_dtype)
    x_BTD = constrain(x_BTD, (*rows, "act_embed"))
    rotation = rope.rotations(positions_BT, config.rope, config.rotated_width)

    def layer(x_BTD: Array, layer_params: Params, experts: bool) -> tuple[Array, Array]:
        block = make_block(layer_params, config=config, experts=experts)
        return block(x_BTD, rotation, segments_BT, rows)

    load_LE = jnp.zeros((config.num_layers, 0), jnp.float32)
    for name, experts, count in stacks(config):
        unroll = min(config.scan_unroll, count)
        step = functools.partial(layer, experts=experts)
        if config.remat != "none":
            # Unrolled to the last layer there is no loop left, and the compiler would merge the second forward pass
            # with the first. Inside a loop it cannot, and the guard against it only costs.
            step = jax.checkpoint(step, policy=_KEPT_BY_REMAT[config.remat], prevent_cse=unroll == count)
        x_BTD, load_LE = jax.lax.scan(step, x_BTD, params[name], unroll=unroll)
    return final_norm(params, x_BTD, config=config), load_LE


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
    if config.head == "score":
        raise ValueError("unembedding: expected a model with a head over tokens, found head='score'")
    if config.tie_embeddings:
        return params["embed"]["embedding"].T
    return params["head"]["kernel"]


def logits(params: Params, hidden: Float[Array, "*rows D"], *, config: ModelConfig) -> Float[Array, "*rows V"]:
    """Float32 logits. Many tokens of a large vocabulary: `learn.logprobs` works in blocks."""
    kernel_DV = unembedding(params, config=config).astype(hidden.dtype)
    return jnp.matmul(hidden, kernel_DV, preferred_element_type=jnp.float32)


def scores(params: Params, hidden: Float[Array, "*rows D"], *, config: ModelConfig) -> Float[Array, "*rows"]:
    """Float32 scores of a model with a score head, at every token: a reward model reads the last one of a sequence."""
    if config.head != "score":
        raise ValueError(f"scores: expected a model with head='score', found head={config.head!r}")
    return jnp.matmul(hidden.astype(jnp.float32), params["score"]["kernel"].astype(jnp.float32))[..., 0]
