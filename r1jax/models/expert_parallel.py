"""Tokens to their experts and back, on one device or with the experts spread over the mesh axis `expert`.

On a device: the assignments of tokens to experts are sorted by expert, experts run as grouped matmuls over the
sorted rows, and the rows return in the order of the tokens. Every assignment is computed, however uneven.

Over devices (inside `jax.shard_map`, since the compiler would gather all experts' weights instead): a device sends
each of its assignments to the device that holds the expert, by an all-to-all of fixed size, and gets the result back
by another. A round carries `pair_capacity` assignments from a device to another, which is a fifth more than even
routing needs. What does not fit goes in further rounds: a loop that runs as often as the fullest pair of devices
needs, which with balanced experts is never. Unused room costs transfers but no products: `grouped_matmul` computes on
the rows that came. The first round's activations are kept for the backward pass, those of further rounds, in both
passes, live for one round only.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jax.sharding import PartitionSpec
from jaxtyping import Array, Bool, Float

from r1jax.models.dispatch import KEPT, ExpertWeights, by_expert, expert_ffn, kept, moved
from r1jax.parallel import rules
from r1jax.parallel.rules import Dims

RouterParams = dict[str, Array]  # kernel [D, E] and, with a sigmoid gate, correction_bias [E]; float32

# x [T, D] and the router -> weights [T, C] in float32 and numbers [T, C] of the C experts chosen for each token.
Route = Callable[[Array, RouterParams], tuple[Array, Array]]


_ROUTER_DIMS = {"kernel": ("embed", None), "correction_bias": (None,)}
_EXPERT_DIMS = ExpertWeights(("experts", "embed", "ffn"), ("experts", "embed", "ffn"), ("experts", "ffn", "embed"))


class _Axes(NamedTuple):
    """The mesh, as seen from one of its devices."""

    tokens: tuple[str, ...] = ()  # that share the tokens
    everything: tuple[str, ...] = ()
    experts: int = 1  # devices that share the experts
    tensor: int = 1  # devices that share each expert's hidden width


def mix(
    x: Float[Array, "*rows D"],
    rows: Dims,
    real: Bool[Array, "*rows"],
    *,
    route: Route,
    router: RouterParams,
    experts: ExpertWeights,
    activation: str,
) -> tuple[Float[Array, "*rows D"], Float[Array, " E"]]:
    """The weighted sum of what each token's experts make of it, and how many tokens each expert was given.

    `rows` name the leading dims of `x`; `route` decides on the tokens of one device. Tokens that are not `real` are
    given to no expert (their output is 0) and are not counted. Counts are float32, over the tokens of all devices.
    Raises ConfigError for sizes that the mesh does not divide.
    """
    run = functools.partial(_mix_rows, route=route, activation=activation)
    mesh = jax.sharding.get_abstract_mesh()
    if mesh.empty or mesh.size == 1:
        return run(x, real, router, _cast(experts, x.dtype), axes=_Axes())
    x_spec = rules.spec((*rows, "act_embed"), x.shape, mesh)
    if PartitionSpec.UNCONSTRAINED in x_spec:
        place = functools.partial(mix, route=route, router=router, experts=experts, activation=activation)
        return _as_tokens(place, x, real, mesh)
    axes = _Axes(_names(x_spec), mesh.axis_names, mesh.shape["expert"], mesh.shape["tensor"])

    def specs(dims: Any, arrays: Any) -> Any:
        return jax.tree.map(lambda d, array: rules.spec(d, array.shape, mesh), dims, arrays, is_leaf=rules.is_dims)

    router_specs = specs({name: _ROUTER_DIMS[name] for name in router}, router)
    expert_specs = specs(_EXPERT_DIMS, experts)

    def on_device(x: Array, real: Array, router: RouterParams, experts: ExpertWeights) -> tuple[Array, Array]:
        router = jax.tree.map(_gathered, router, router_specs)
        experts = jax.tree.map(_gathered, _cast(experts, x.dtype), expert_specs)
        return run(x, real, router, experts, axes=axes)

    sharded = jax.shard_map(
        jax.checkpoint(on_device, policy=jax.checkpoint_policies.save_only_these_names(KEPT)),
        in_specs=(x_spec, PartitionSpec(*x_spec[:-1]), router_specs, expert_specs),
        out_specs=(x_spec, PartitionSpec()),
        check_vma=False,  # the kernels for TPU do not tell along which axes their outputs vary
    )
    return sharded(x, real, router, experts)


def _as_tokens(place: Callable[..., tuple[Array, Array]], x: Array, real: Array, mesh: Any) -> tuple[Array, Array]:
    """For rows whose place is left to the compiler, and which may be few: one dim, padded to a multiple of devices."""
    count = math.prod(x.shape[:-1])
    padding = -count % math.prod(mesh.shape[axis] for axis in rules.RULES["tokens"])
    x_TD = jnp.pad(x.reshape(count, x.shape[-1]), ((0, padding), (0, 0)))
    out_TD, load_E = place(x_TD, ("tokens",), jnp.pad(real.reshape(count), (0, padding)))
    return out_TD[:count].reshape(x.shape), load_E


def _names(spec: PartitionSpec) -> tuple[str, ...]:
    entries = (entry if isinstance(entry, tuple) else (entry,) for entry in spec if entry is not None)
    return tuple(name for entry in entries for name in entry)


def _cast(experts: ExpertWeights, dtype: Any) -> ExpertWeights:
    return jax.tree.map(lambda weights: weights.astype(dtype), experts)


def _gathered(weights: Array, spec: PartitionSpec) -> Array:
    """A device's share of a parameter, with the parts of it that are spread over `fsdp` put together."""
    spread = "fsdp" in spec and lax.axis_size("fsdp") > 1
    return _gather(weights, list(spec).index("fsdp")) if spread else weights


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _gather(weights: Array, dim: int) -> Array:
    return lax.all_gather(weights, "fsdp", axis=dim, tiled=True)


def _gather_backward(dim: int, _: None, d_whole: Array) -> tuple[Array]:
    # The devices' gradients are summed in float32, whatever they were computed in.
    total = lax.psum_scatter(d_whole.astype(jnp.float32), "fsdp", scatter_dimension=dim, tiled=True)
    return (total.astype(d_whole.dtype),)


_gather.defvjp(lambda weights, dim: (_gather(weights, dim), None), _gather_backward)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def _sum_over_tensor(x: Array, devices: int) -> Array:
    """The sum over `tensor`; backward there is nothing to sum, every device has the whole cotangent.

    `jax.shard_map` divides the cotangent of a result that devices have in common by their number.
    """
    return lax.psum(x, "tensor") if devices > 1 else x


_sum_over_tensor.defvjp(
    lambda x, devices: (_sum_over_tensor(x, devices), None), lambda devices, _, d_sum: (d_sum * devices,)
)


def _mix_rows(
    x: Array, real: Array, router: RouterParams, experts: ExpertWeights, *, route: Route, activation: str, axes: _Axes
) -> tuple[Array, Array]:
    """As `mix`, of the rows that one device has. `experts` are those that it holds."""
    x_TD = x.reshape(-1, x.shape[-1])
    weights_TC, chosen_TC = kept(route(x_TD, router))
    num_experts = axes.experts * experts.gate.shape[0]
    experts_A = jnp.where(real.reshape(-1, 1), chosen_TC, num_experts).reshape(-1)
    order_A, rank_A, bounds = by_expert(experts_A, num_experts)
    load_E = jnp.diff(bounds).astype(jnp.float32)
    if axes.experts == 1:
        ffn = functools.partial(expert_ffn, experts=experts, sizes=jnp.diff(bounds), activation=activation)
        weights_A1 = moved(weights_TC.reshape(-1, 1), order_A, rank_A, 1)
        out_AD = moved(ffn(moved(x_TD, order_A, rank_A, weights_TC.shape[1]), weights_A1), rank_A, order_A, 1)
        out_TD = out_AD.reshape(*weights_TC.shape, -1).astype(jnp.float32).sum(1)
    else:
        plan = _plan(experts_A, order_A, rank_A, bounds, axes.experts)
        out_TD = _exchange((x_TD, weights_TC, experts), plan, activation, axes)
    out_TD = _sum_over_tensor(out_TD.astype(x.dtype), axes.tensor)
    return out_TD.reshape(x.shape), lax.psum(load_E, axes.tokens)


class _Plan(NamedTuple):
    """Where a device's assignments go: A = T x C of them, X devices."""

    experts_A: Array
    order_A: Array  # assignments in the order of their experts
    device_A: Array  # that holds the expert; X for none
    place_A: Array  # among the assignments that go to the same device
    starts_X: Array  # each device's first in `order_A`
    counts_X: Array


def _plan(experts_A: Array, order_A: Array, rank_A: Array, bounds: Array, devices: int) -> _Plan:
    held = (bounds.size - 1) // devices
    bounds = bounds[::held]
    device_A = experts_A // held
    return _Plan(experts_A, order_A, device_A, rank_A - bounds[device_A], bounds[:-1], jnp.diff(bounds))


def pair_capacity(assignments: int, devices: int) -> int:
    """Assignments that a round carries from a device to another, out of `assignments` that a device has.

    A fifth more than the mean, and for few assignments four standard deviations of even random routing.
    """
    mean = assignments / devices
    return math.ceil(max(1.2 * mean, mean + 4 * math.sqrt(mean)) / 8) * 8


def _exchange(operands: tuple[Array, Array, ExpertWeights], plan: _Plan, activation: str, axes: _Axes) -> Array:
    (tokens, chosen), held = operands[1].shape, operands[2].gate.shape[0]
    most = tokens * min(chosen, held)  # a token's experts differ: so many can go to one device
    capacity = min(pair_capacity(tokens * chosen, axes.experts), most)
    step = functools.partial(_round, capacity=capacity, devices=axes.experts, activation=activation)
    if capacity == most:
        return step(0, operands, plan)
    # All devices of the mesh run as many rounds as the fullest pair of them needs: each takes part in all transfers.
    rounds = kept(-(-lax.pmax(plan.counts_X.max(), axes.everything) // capacity))
    return _sum_of_rounds(step, operands, plan, rounds)


@functools.partial(jax.custom_vjp, nondiff_argnums=(0,))
def _sum_of_rounds(step: Callable[..., Array], operands: Any, plan: _Plan, rounds: Array) -> Array:
    """step(0, operands, plan) + ... + step(rounds - 1, operands, plan), for at least one round."""
    return _further_rounds(step, operands, plan, rounds, step(0, operands, plan))


def _further_rounds(step: Callable[..., Array], operands: Any, plan: _Plan, rounds: Array, first: Array) -> Array:
    return lax.fori_loop(1, rounds, lambda i, total: total + step(i, operands, plan), first)


def _sum_forward(step: Callable[..., Array], operands: Any, plan: _Plan, rounds: Array):
    first, pullback = jax.vjp(lambda operands: step(0, operands, plan), operands)
    return _further_rounds(step, operands, plan, rounds, first), (pullback, operands, plan, rounds)


def _sum_backward(step: Callable[..., Array], residuals: Any, d_out: Array):
    pullback, operands, plan, rounds = residuals

    def add(i: Array, total: Any) -> Any:
        gradients = jax.vjp(lambda operands: step(i, operands, plan), operands)[1](d_out)[0]
        return jax.tree.map(jnp.add, total, gradients)

    return lax.fori_loop(1, rounds, add, pullback(d_out)[0]), None, None


_sum_of_rounds.defvjp(_sum_forward, _sum_backward)


def _round(
    index: Any,
    operands: tuple[Array, Array, ExpertWeights],
    plan: _Plan,
    *,
    capacity: int,
    devices: int,
    activation: str,
) -> Array:
    """What the assignments that travel in round `index` add to the output [T, D], in float32.

    S = devices x capacity slots, those for one device after those for another; unused ones hold zeros and no expert.
    """
    x_TD, weights_TC, experts = operands
    held, first = experts.gate.shape[0], index * capacity
    place_XS = first + jnp.arange(capacity)
    used_XS = place_XS < plan.counts_X[:, None]
    slots_XS = jnp.take(plan.order_A, plan.starts_X[:, None] + place_XS, mode="clip")
    source_S = jnp.where(used_XS, slots_XS, weights_TC.size).reshape(-1)
    experts_S = jnp.where(used_XS, plan.experts_A[slots_XS] % held, held).reshape(-1)
    travels_A = (plan.place_A >= first) & (plan.place_A < first + capacity) & (plan.device_A < devices)
    target_A = jnp.where(travels_A, plan.device_A * capacity + plan.place_A - first, source_S.size)
    send = functools.partial(lax.all_to_all, axis_name="expert", split_axis=0, concat_axis=0, tiled=True)

    order_S, rank_S, bounds = by_expert(send(experts_S), held)
    came_SD = send(moved(x_TD, source_S, target_A, weights_TC.shape[1]))
    came_S1 = send(moved(weights_TC.reshape(-1, 1), source_S, target_A, 1))
    sorted_SD, sorted_S1 = (moved(came, order_S, rank_S, 1) for came in (came_SD, came_S1))
    out_SD = expert_ffn(sorted_SD, sorted_S1, experts=experts, sizes=jnp.diff(bounds), activation=activation)
    back_SD = send(moved(out_SD, rank_S, order_S, 1))
    out_AD = moved(back_SD, target_A, source_S, 1)
    return out_AD.reshape(*weights_TC.shape, -1).astype(jnp.float32).sum(1)
