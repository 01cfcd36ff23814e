"""The small modules that decoders share: RMS norm, linear maps, feed-forward.

Parameters are float32 masters; they are cast to the dtype of the activations where they are used.
`rows` are the names of an input's leading dims (`("batch", "length")` in training): the modules place their
activations by them (see `parallel.rules`).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx
from jaxtyping import Array, Float

from r1jax.config import ModelConfig
from r1jax.parallel.rules import Dims, constrain

ACTIVATIONS = {
    "silu": jax.nn.silu,
    "gelu": lambda x: jax.nn.gelu(x, approximate=True),
    "relu2": lambda x: jnp.square(jax.nn.relu(x)),
}


class RMSNorm(nnx.Module):
    """x / rms(x) * scale over the last dim, computed in float32 (Zhang and Sennrich 2019, eq. 4)."""

    def __init__(self, width: int, *, eps: float):
        self.scale = nnx.Param(jnp.ones((width,), jnp.float32))
        self.eps = eps

    def __call__(self, x: Float[Array, "*rows width"]) -> Float[Array, "*rows width"]:
        x32 = x.astype(jnp.float32)
        mean_square = jnp.mean(jnp.square(x32), axis=-1, keepdims=True)
        return (x32 * jax.lax.rsqrt(mean_square + self.eps) * self.scale[...]).astype(x.dtype)


class Adapter(NamedTuple):
    """A low-rank addition A B to a kernel (see `adapters`), already scaled."""

    a: Array  # [*inputs, rank]
    b: Array  # [rank, *outputs]


class Linear(nnx.Module):
    """A map from dims `inputs` to dims `outputs`: the kernel is [*inputs, *outputs], the bias [*outputs].

    An `adapter`, where one is attached, adds its own product to the kernel's.
    """

    adapter: Adapter | None = None

    def __init__(
        self,
        inputs: tuple[int, ...],
        outputs: tuple[int, ...],
        *,
        init_range: float,
        rngs: nnx.Rngs,
        bias: bool = False,
    ):
        kernel = init_range * jax.random.normal(rngs.params(), (*inputs, *outputs), jnp.float32)
        self.kernel = nnx.Param(kernel)
        self.bias = nnx.Param(jnp.zeros(outputs, jnp.float32)) if bias else None
        self.inputs, self.outputs = inputs, outputs

    def __call__(self, x: Float[Array, "*rows_and_inputs"]) -> Float[Array, "*rows_and_outputs"]:
        # As a product of two matrices: left with more dims, XLA on a CPU writes transposed copies of the
        # activations for the weight gradients, and the backward pass takes twice as long.
        rows = x.shape[: x.ndim - len(self.inputs)]
        fan_in, fan_out = math.prod(self.inputs), math.prod(self.outputs)
        x_RI = x.reshape(math.prod(rows), fan_in)
        y_RO = x_RI @ self.kernel[...].astype(x.dtype).reshape(fan_in, fan_out)
        if self.adapter is not None:
            a, b = (part.astype(x.dtype) for part in self.adapter)
            y_RO += (x_RI @ a.reshape(fan_in, -1)) @ b.reshape(-1, fan_out)
        y = y_RO.reshape(*rows, *self.outputs)
        return y if self.bias is None else y + self.bias[...].astype(x.dtype)


class FeedForward(nnx.Module):
    """act(x W_gate) * (x W_up) W_down (Shazeer 2020, eq. 5), or act(x W_up) W_down without a gate."""

    def __init__(self, config: ModelConfig, *, rngs: nnx.Rngs):
        width, hidden, init_range = config.hidden_size, config.ffn_size, config.init_range
        self.up = Linear((width,), (hidden,), init_range=init_range, rngs=rngs)
        self.gate = Linear((width,), (hidden,), init_range=init_range, rngs=rngs) if config.gated_ffn else None
        out_range = 0.0 if config.zero_init_outputs else init_range
        self.down = Linear((hidden,), (width,), init_range=out_range, rngs=rngs)
        self.activation = config.activation

    def __call__(self, x: Float[Array, "*rows D"], rows: Dims) -> Float[Array, "*rows D"]:
        activation = ACTIVATIONS[self.activation]
        up = self.up(x)
        hidden = activation(up) if self.gate is None else activation(self.gate(x)) * up
        return self.down(constrain(hidden, (*rows, "act_ffn")))
