"""Log-probabilities and entropies of tokens, without ever holding all of [B, T, V].

Logits are computed in blocks of positions. Where one block is enough its logits are kept for the backward
pass; otherwise each block is computed again there, so that memory is one block however long the rows are.
"""

from __future__ import annotations

import math

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, NamedSharding
from jaxtyping import Array, Float, Int, Shaped

from r1jax.parallel.rules import constrain, spec

LEAST_BLOCKS = 8  # where there are several: so many can be left out, if nothing in them is scored
LOGIT_BYTES = 4  # logits are float32 whatever the compute dtype


def block_positions(
    num_rows: int, num_positions: int, vocab_size: int, *, budget_bytes: int, mesh: AbstractMesh
) -> int:
    """How many positions of all rows make a block of logits: all of them, where they keep to the budget.

    Args:
      budget_bytes: the most that one [B, block, V] block may take on each device; a single position is the smallest
        block, whatever it takes.
      mesh: the mesh in use (empty: one device), over which rows and vocabulary are spread.
    """
    shape = (num_rows, 1, vocab_size)
    if not mesh.empty:
        shape = NamedSharding(mesh, spec(("batch", None, "act_vocab"), shape, mesh)).shard_shape(shape)
    position_bytes = math.prod(shape) * LOGIT_BYTES
    if num_positions * position_bytes <= budget_bytes:
        return num_positions
    return max(1, min(budget_bytes // position_bytes, math.ceil(num_positions / LEAST_BLOCKS)))


def token_logps(
    hidden_BTD: Float[Array, "B T D"],
    unembed_DV: Float[Array, "D V"],
    targets_BT: Int[Array, "B T"],
    *,
    temperature: float | Float[Array, ""],
    budget_bytes: int,
    mask_BT: Shaped[Array, "B T"] | None = None,
) -> tuple[Float[Array, "B T"], Float[Array, "B T"]]:
    """Log-probability of each target (nats) and entropy of its distribution (nats), both float32.

    Args:
      hidden_BTD: the decoder's output after its final norm, in the compute dtype.
      unembed_DV: the output head, in any dtype; it is cast to that of the hidden states.
      targets_BT: ids in [0, V). At padding any valid id: the caller masks what comes back.
      temperature: above 0; the distribution is softmax(logits / temperature).
      budget_bytes: the most that one [B, block, V] block of float32 logits may take on each device of the mesh in
        use. A single position of all B rows is the smallest block.
      mask_BT: above 0 at the positions that are asked for (prompts and padding are most of a batch); None: all.
        What comes back at the others is finite and means nothing.
    """
    num_rows, num_positions = targets_BT.shape
    block = block_positions(
        num_rows,
        num_positions,
        unembed_DV.shape[1],
        budget_bytes=budget_bytes,
        mesh=jax.sharding.get_abstract_mesh(),
    )
    if block == num_positions:
        return _block_logps(("batch", "length"), unembed_DV, temperature, hidden_BTD, targets_BT)
    if mask_BT is None:
        mask_BT = jnp.ones(targets_BT.shape, bool)

    # Blocks run over positions, not rows: rows are sharded over devices and stay where they are.
    num_blocks = math.ceil(num_positions / block)
    padding = num_blocks * block - num_positions
    # Scored positions first, so that the blocks behind them need no logits at all.
    order_BT = jnp.argsort(mask_BT <= 0, axis=1, stable=True)

    def blocks_first(x):
        x = jnp.take_along_axis(x, order_BT.reshape(order_BT.shape + (1,) * (x.ndim - 2)), axis=1)
        x = jnp.pad(x, ((0, 0), (0, padding)) + ((0, 0),) * (x.ndim - 2))
        return jnp.moveaxis(x.reshape(num_rows, num_blocks, block, *x.shape[2:]), 1, 0)

    @jax.checkpoint
    def block_logps(hidden, targets, mask):
        return jax.lax.cond(
            jnp.any(mask > 0),
            lambda: _block_logps(("batch", None), unembed_DV, temperature, hidden, targets),
            lambda: (jnp.zeros(targets.shape, jnp.float32),) * 2,
        )

    _, outputs = jax.lax.scan(
        lambda carry, inputs: (carry, block_logps(*inputs)),
        None,
        (blocks_first(hidden_BTD), blocks_first(targets_BT), blocks_first(mask_BT)),
    )
    back_BT = jnp.argsort(order_BT, axis=1)
    logps_BT, entropy_BT = (
        jnp.take_along_axis(jnp.moveaxis(x, 0, 1).reshape(num_rows, num_blocks * block), back_BT, axis=1)
        for x in outputs
    )
    return logps_BT, entropy_BT


def _block_logps(rows, unembed_DV, temperature, hidden_BTD, targets_BT):
    # The cast stands here, inside the scan, so that the head's gradient is summed over blocks in its own
    # dtype.
    unembed_DV = unembed_DV.astype(hidden_BTD.dtype)
    # A product of two matrices, as in `models.layers.Linear`: on a CPU the backward pass is faster so.
    flat = hidden_BTD.reshape(-1, hidden_BTD.shape[-1])
    logits = jnp.matmul(flat, unembed_DV, preferred_element_type=jnp.float32)
    logits_BTV = constrain(logits.reshape(*targets_BT.shape, -1), (*rows, "act_vocab"))
    logits_BTV = logits_BTV / temperature
    # Less the largest logit (a constant to the gradient), exponentials cannot overflow.
    logits_BTV = logits_BTV - jax.lax.stop_gradient(jnp.max(logits_BTV, axis=-1, keepdims=True))
    exp_BTV = jnp.exp(logits_BTV)
    total_BT = jnp.sum(exp_BTV, axis=-1)
    log_total_BT = jnp.log(total_BT)
    target_BT = jnp.take_along_axis(logits_BTV, targets_BT[..., None], axis=-1)[..., 0]
    # H = log Z - sum_v p_v logit_v
    entropy_BT = log_total_BT - jnp.sum(exp_BTV * logits_BTV, axis=-1) / total_BT
    return target_BT - log_total_BT, entropy_BT
