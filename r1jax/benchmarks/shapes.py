"""The sizes of the workloads, and the floating-point operations of their multiplications."""

from __future__ import annotations

import dataclasses

from r1jax.config import ModelConfig, RopeConfig


@dataclasses.dataclass(frozen=True)
class Shape:
    """The size of the three workloads."""

    model: ModelConfig
    prompts: int
    prompt_tokens: int
    group: int
    new_tokens: int
    micro_batch_rows: int  # as many as the caches bear

    @property
    def row_tokens(self) -> int:
        return self.prompt_tokens + self.new_tokens - 1  # the last token is predicted, never read


SHAPES = {
    "tiny": Shape(
        ModelConfig(
            vocab_size=2048,
            hidden_size=256,
            num_layers=4,
            num_heads=4,
            num_kv_heads=2,
            ffn_size=1024,
            attention_bias=True,
            tie_embeddings=True,
            scan_unroll=4,
        ),
        prompts=8,
        prompt_tokens=64,
        group=8,
        new_tokens=128,
        micro_batch_rows=8,
    ),
    "small": Shape(  # Qwen2.5-0.5B
        ModelConfig(
            vocab_size=151_936,
            hidden_size=896,
            num_layers=24,
            num_heads=14,
            num_kv_heads=2,
            ffn_size=4864,
            attention_bias=True,
            tie_embeddings=True,
            rope=RopeConfig(theta=1e6),
            scan_unroll=24,
        ),
        prompts=2,
        prompt_tokens=64,
        group=4,
        new_tokens=32,
        micro_batch_rows=4,
    ),
}


def new_tokens(shape: Shape) -> int:
    """Tokens that a rollout draws."""
    return shape.prompts * shape.group * shape.new_tokens


def forward_flops(shape: Shape, tokens: int, context: float, head_tokens: int, *, over_latents: bool = False) -> float:
    """Floating-point operations of the multiplications of a forward pass. Of experts, those that a token chooses count.

    Args:
      tokens: how many go through the layers; `head_tokens` of them through the output head.
      context: mean number of positions that a token attends to.
      over_latents: whether latent attention runs over what the cache keeps, as in decoding, not over keys and values.
    """
    model = shape.model
    dense = (3 if model.gated_ffn else 2) * model.hidden_size * model.ffn_size
    products = model.num_layers * (_projections(model) + context * _attended(model, over_latents))
    if model.moe is None:
        products += model.num_layers * dense
    else:
        moe = model.moe
        met = 3 * model.hidden_size * moe.expert_size * (moe.experts_per_token + moe.shared_experts)
        mixtures = model.num_layers - moe.first_dense_layers
        products += moe.first_dense_layers * dense + mixtures * (met + model.hidden_size * moe.num_experts)
    return tokens * 2 * products + 2.0 * head_tokens * model.hidden_size * model.vocab_size


def _projections(model: ModelConfig) -> int:
    """Products of a token with the matrices of attention (absorbed into queries and outputs, there are as many)."""
    width, heads = model.hidden_size, model.num_heads * model.head_width
    if model.latent is None:
        return width * 2 * (heads + model.num_kv_heads * model.head_width)
    latent = model.latent
    queries = width * heads if latent.query_rank is None else latent.query_rank * (width + heads)
    keys = width * (latent.kv_rank + latent.rope_size)
    keys += latent.kv_rank * model.num_heads * (latent.nope_size + latent.value_size)
    return queries + keys + model.num_heads * latent.value_size * width


def _attended(model: ModelConfig, over_latents: bool) -> int:
    """Products of a token with one that it attends to: scores and weighted values."""
    if model.latent is None:
        return 2 * model.num_heads * model.head_width
    if over_latents:
        return 2 * model.num_heads * (model.latent.kv_rank + model.latent.rope_size)
    return model.num_heads * (model.head_width + model.latent.value_size)


def rollout_flops(shape: Shape) -> float:
    """Each prompt once, each drawn token but the last once."""
    completions = shape.prompts * shape.group
    prefill = forward_flops(shape, shape.prompts * shape.prompt_tokens, shape.prompt_tokens / 2, shape.prompts)
    fed = completions * (shape.new_tokens - 1)
    return prefill + forward_flops(shape, fed, shape.prompt_tokens + shape.new_tokens / 2, fed, over_latents=True)


def update_flops(shape: Shape) -> float:
    """A forward pass of the reference, and forward and backward (twice forward) of the policy."""
    tokens = shape.prompts * shape.group * shape.row_tokens
    return 4 * forward_flops(shape, tokens, shape.row_tokens / 2, tokens)
