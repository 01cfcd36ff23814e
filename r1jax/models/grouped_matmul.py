"""Dropless grouped matmul: rows sorted by group, each group's rows times its own matrix (Gale et al. 2022,
arXiv:2211.15841).

Forward and both gradients compute on the rows that there are, rounded up to blocks within each group. That is
why `jax.lax.ragged_dot` is not used: up to jax 0.10.2 its CPU form and its weight gradient run over all rows for
every group (4096 rows, 16 groups of 512 x 1024 matrices, 2 cores: 1,250 ms forward and 3,280 ms for the gradients;
here 47 and 125, a plain product of as many FLOPs 44).

On TPU: the megablox kernels. Elsewhere: a loop over the groups that have rows, and in it over blocks of the group's
rows. A group's matrix is read once and the sum of its gradient stays in one place: twice as fast on a CPU as a flat
loop over blocks or as batches of blocks.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.experimental.pallas.ops.tpu.megablox.gmm import gmm, tgmm
from jaxtyping import Array, Float, Int

_TPU_TILE = 512  # of the matrices' dims: with float32 and double buffering three such tiles fit the smallest VMEM


@jax.custom_vjp
def grouped_matmul(
    rows_MD: Float[Array, "M D"], weights_EDF: Float[Array, "E D F"], group_sizes_E: Int[Array, " E"]
) -> Float[Array, "M F"]:
    """Row m times the matrix of its group; zeros for rows beyond the last group.

    The first `group_sizes_E[0]` rows are group 0's, the next ones group 1's, and so on: any sizes that sum to at most
    M. Rows and weights have one dtype, which is the output's; sums run in float32. Rows beyond the last group
    cost nothing, and neither do the matrices of empty groups.
    """
    return _by_platform(_rows_on_tpu, _rows_by_blocks, rows_MD, weights_EDF, group_sizes_E)


def _forward(rows_MD: Array, weights_EDF: Array, group_sizes_E: Array):
    return grouped_matmul(rows_MD, weights_EDF, group_sizes_E), (rows_MD, weights_EDF, group_sizes_E)


def _backward(residuals: tuple[Array, Array, Array], d_out_MF: Array):
    rows_MD, weights_EDF, group_sizes_E = residuals
    transposed = functools.partial(_rows_on_tpu, transposed=True), functools.partial(_rows_by_blocks, transposed=True)
    d_rows_MD = _by_platform(*transposed, d_out_MF, weights_EDF, group_sizes_E)
    d_weights_EDF = _by_platform(_weights_on_tpu, _weights_by_blocks, rows_MD, d_out_MF, group_sizes_E)
    return d_rows_MD, d_weights_EDF, None


grouped_matmul.defvjp(_forward, _backward)


def _by_platform(on_tpu: Callable[..., Array], elsewhere: Callable[..., Array], *args: Array) -> Array:
    return lax.platform_dependent(*args, tpu=on_tpu, default=elsewhere)


def block_rows(num_rows: int, num_groups: int) -> int:
    """Rows of a block: a power of two of about a quarter of a group's share, at least 8 and at most 128.

    Half a block a group is computed in vain, on average: an eighth of the whole. Larger blocks are no faster on a CPU.
    """
    share = max(num_rows // (4 * num_groups), 1)
    return min(num_rows, 128, max(8, 1 << (share.bit_length() - 1)))


def _rows_by_blocks(rows_MI: Array, weights_EDF: Array, group_sizes_E: Array, transposed: bool = False) -> Array:
    """Each row times the matrix of its group, or (for the rows' gradient) times its transpose."""
    num_rows = rows_MI.shape[0]
    contracted = ((1,), (1 if transposed else 0,))
    outputs = weights_EDF.shape[1 if transposed else 2]
    size = block_rows(num_rows, weights_EDF.shape[0])

    def group(start: Array, end: Array, index: Array, out_MO: Array) -> Array:
        weights = lax.dynamic_index_in_dim(weights_EDF, index, keepdims=False)

        def block(first: Array, mask_B1: Array, out_MO: Array) -> Array:
            rows_BI = lax.dynamic_slice_in_dim(rows_MI, first, size)
            product_BO = lax.dot_general(rows_BI, weights, (contracted, ((), ())), preferred_element_type=jnp.float32)
            there_BO = lax.dynamic_slice_in_dim(out_MO, first, size)
            new_BO = jnp.where(mask_B1, product_BO.astype(out_MO.dtype), there_BO)
            return lax.dynamic_update_slice_in_dim(out_MO, new_BO, first, 0)

        return _over_blocks(block, start, end, size, num_rows, out_MO)

    return _over_groups(group, group_sizes_E, jnp.zeros((num_rows, outputs), rows_MI.dtype))


def _weights_by_blocks(rows_MD: Array, d_out_MF: Array, group_sizes_E: Array) -> Array:
    """The sum over each group's rows of row^T d_out."""
    num_rows, num_groups = rows_MD.shape[0], group_sizes_E.shape[0]
    shape = (rows_MD.shape[1], d_out_MF.shape[1])
    size = block_rows(num_rows, num_groups)

    def group(start: Array, end: Array, index: Array, out_EDF: Array) -> Array:
        def block(first: Array, mask_B1: Array, sum_DF: Array) -> Array:
            rows_BD = jnp.where(mask_B1, lax.dynamic_slice_in_dim(rows_MD, first, size), 0)
            d_out_BF = jnp.where(mask_B1, lax.dynamic_slice_in_dim(d_out_MF, first, size), 0)
            contracted = (((0,), (0,)), ((), ()))
            return sum_DF + lax.dot_general(rows_BD, d_out_BF, contracted, preferred_element_type=jnp.float32)

        sum_DF = _over_blocks(block, start, end, size, num_rows, jnp.zeros(shape, jnp.float32))
        return lax.dynamic_update_index_in_dim(out_EDF, sum_DF.astype(out_EDF.dtype), index, 0)

    return _over_groups(group, group_sizes_E, jnp.zeros((num_groups, *shape), rows_MD.dtype))


def _over_groups(group: Callable[..., Any], group_sizes_E: Array, carry: Any) -> Any:
    """`carry` after `group(start, end, index, carry)` of every group that has rows, in order."""
    ends_E = jnp.cumsum(group_sizes_E)
    with_rows_E = jnp.argsort(group_sizes_E == 0, stable=True)

    def step(i: Array, carry: Any) -> Any:
        index = with_rows_E[i]
        return group(ends_E[index] - group_sizes_E[index], ends_E[index], index, carry)

    return lax.fori_loop(0, jnp.sum(group_sizes_E > 0), step, carry)


def _over_blocks(block: Callable[..., Any], start: Array, end: Array, size: int, num_rows: int, carry: Any) -> Any:
    """`carry` after `block(first, mask_B1, carry)` of every block of rows [start, end): its first row and which of its
    `size` rows count. A block at the end of the array begins earlier, so that it fits.
    """

    def step(state: tuple[Array, Any]) -> tuple[Array, Any]:
        at, carry = state
        first = jnp.minimum(at, num_rows - size)
        index_B = first + jnp.arange(size, dtype=at.dtype)
        return at + size, block(first, ((index_B >= at) & (index_B < end))[:, None], carry)

    return lax.while_loop(lambda state: state[0] < end, step, (start, carry))[1]


def _tiling(num_rows: int, num_groups: int, inner: int, outer: int) -> tuple[int, int, int]:
    share = max(num_rows // num_groups, 1)
    tile_m = min(_TPU_TILE, max(128, 1 << (share.bit_length() - 1)))

    def fit(size: int) -> int:
        return min(_TPU_TILE, -(-size // 128) * 128)

    return tile_m, fit(inner), fit(outer)


def _rows_on_tpu(
    rows_MI: Array, weights_EDF: Array, group_sizes_E: Array, transposed: bool = False, interpret: bool = False
) -> Array:
    num_rows, inner = rows_MI.shape
    tiling = _tiling(num_rows, weights_EDF.shape[0], inner, weights_EDF.shape[1 if transposed else 2])
    out_MO = gmm(
        _whole_tiles(rows_MI, tiling[0]),
        weights_EDF,
        group_sizes_E.astype(jnp.int32),
        preferred_element_type=rows_MI.dtype,
        tiling=tiling,
        transpose_rhs=transposed,
        interpret=interpret,
    )[:num_rows]
    # The kernel does not write rows beyond the last group.
    return jnp.where((jnp.arange(num_rows) < jnp.sum(group_sizes_E))[:, None], out_MO, 0)


def _weights_on_tpu(rows_MD: Array, d_out_MF: Array, group_sizes_E: Array, interpret: bool = False) -> Array:
    tiling = _tiling(rows_MD.shape[0], group_sizes_E.shape[0], rows_MD.shape[1], d_out_MF.shape[1])
    return tgmm(
        _whole_tiles(rows_MD, tiling[0]).T,
        _whole_tiles(d_out_MF, tiling[0]),
        group_sizes_E.astype(jnp.int32),
        preferred_element_type=rows_MD.dtype,
        tiling=tiling,
        interpret=interpret,
    )


def _whole_tiles(rows: Array, tile: int) -> Array:
    return jnp.pad(rows, ((0, -rows.shape[0] % tile), (0, 0)))
