"""Small decoders of every family, with weights large enough that an error in any part shows."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.config import LatentConfig, ModelConfig, MoeConfig, RopeConfig
from r1jax.models import decoder

VOCAB = 32
_SHAPE = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "num_layers": 3,
    "num_heads": 4,
    "num_kv_heads": 2,
    "ffn_size": 24,
}

FAMILIES = {
    "qwen2": ModelConfig(**_SHAPE, attention_bias=True, tie_embeddings=True),
    "qwen3": ModelConfig(**_SHAPE, qk_norm=True, head_size=8),
    "llama3": ModelConfig(
        **_SHAPE,
        rope=RopeConfig(theta=1e4, scaling="llama3", factor=8.0, original_max_positions=16),
    ),
    "qwen3_moe": ModelConfig(
        **_SHAPE, qk_norm=True, head_size=8, moe=MoeConfig(num_experts=4, experts_per_token=2, expert_size=12)
    ),
    "deepseek": ModelConfig(
        **_SHAPE | {"num_kv_heads": 4},
        rope=RopeConfig(
            scaling="yarn", factor=4.0, original_max_positions=16, mscale=0.7, mscale_all_dim=1.0, neighbours=True
        ),
        latent=LatentConfig(kv_rank=10, query_rank=12, nope_size=6, rope_size=4, value_size=5),
        moe=MoeConfig(
            num_experts=8,
            experts_per_token=3,
            expert_size=10,
            shared_experts=2,
            first_dense_layers=1,
            gate="sigmoid",
            num_groups=4,
            top_groups=2,
            weights_scale=2.5,
        ),
    ),
    "ungated": ModelConfig(**_SHAPE, activation="relu2", gated_ffn=False),
}


@functools.cache
def params_of(config: ModelConfig, seed: int = 0):
    """Random parameters: biases and norm scales too, which `init` leaves at 0 and 1."""
    draw = np.random.default_rng(seed)

    def fill(path, leaf):
        centre = 1.0 if path[-1].key == "scale" else 0.0
        return jnp.asarray(centre + 0.3 * draw.standard_normal(leaf.shape, np.float32))

    return jax.tree_util.tree_map_with_path(fill, decoder.param_shapes(config))


def random_tokens(*shape: int, seed: int = 7):
    return jnp.asarray(np.random.default_rng(seed).integers(0, VOCAB, shape, np.int32))


def one_segment(tokens_BT):
    """Positions and segments of rows that are one sequence each."""
    positions_BT = jnp.broadcast_to(jnp.arange(tokens_BT.shape[1]), tokens_BT.shape)
    return positions_BT, jnp.ones_like(tokens_BT)


@functools.partial(jax.jit, static_argnums=4)
def logits_of(params, tokens_BT, positions_BT, segments_BT, config):
    """Forward and head."""
    hidden_BTD = decoder.forward(params, tokens_BT, positions_BT, segments_BT, config=config)
    return decoder.logits(params, hidden_BTD, config=config)
