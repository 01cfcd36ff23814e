"""What training carries from one update to the next."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AbstractMesh, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Int

from r1jax.config import ModelConfig, OptimizerConfig, PolicyLossConfig, check
from r1jax.learn.optimizer import make_optimizer
from r1jax.models import lora
from r1jax.models.adapters import combined
from r1jax.models.param_dims import in_compute_dtype
from r1jax.parallel import rules


@dataclasses.dataclass(frozen=True)
class StepConfig:
    """All that the step functions need to know before they are traced; hashable."""

    model: ModelConfig
    optimizer: OptimizerConfig
    num_steps: int  # updates of the stage, for the learning rate's decay
    loss: PolicyLossConfig | None = None  # of a policy; None: next-token training, or that of scores
    max_new_tokens: int | None = None  # the configured maximum completion length, by which dr_grpo divides
    score_loss: Literal["pairwise", "pointwise"] | None = None  # of a reward model (model.head is score)

    def __post_init__(self):
        if self.loss is None:
            return
        check(
            self.loss.name != "dr_grpo" or self.max_new_tokens is not None,
            "max_new_tokens",
            "the configured maximum completion length (loss.name is dr_grpo)",
            self.max_new_tokens,
        )
        check(
            self.loss.name != "cispo" or self.loss.dual_clip is None,
            "loss.dual_clip",
            "None (cispo cuts the ratio on both sides already)",
            self.loss.dual_clip,
        )

    def make_optimizer(self) -> optax.GradientTransformationExtraArgs:
        return make_optimizer(self.optimizer, self.num_steps, lora.trained_dims(self.model))


class TrainState(NamedTuple):
    """Parameters and moments are float32; `reference` is the policy that KL is measured from, or None.

    With `model.lora`, `params` and `reference` are adapters to the `frozen` base, which is None otherwise and which
    checkpoints leave out.
    """

    params: Any
    opt_state: Any
    step: Int[Array, ""]  # updates done, the skipped ones among them
    reference: Any | None
    bad_steps: Int[Array, ""]  # updates skipped in a row because loss or gradient was not finite
    total_bad: Int[Array, ""]  # such updates since the stage began
    frozen: Any | None = None

    @property
    def policy(self) -> Any:
        """All parameters of the policy, as `models.decoder.forward` takes them."""
        return combined(self.frozen, self.params)

    @property
    def reference_policy(self) -> Any:
        """All parameters of the reference."""
        return combined(self.frozen, self.reference)


def init_state(params, *, config: StepConfig, reference: bool = False) -> TrainState:
    """The state before the first update, from parameters of any float dtype (those trained become float32 masters).

    Args:
      params: as `models.decoder.init` makes them or a checkpoint holds them; with `model.lora` adapters among them.
      reference: whether to keep a frozen copy of the policy.
    """
    trained = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), lora.trained(params, config=config.model))
    zero = jnp.zeros((), jnp.int32)
    return TrainState(
        params=trained,
        opt_state=config.make_optimizer().init(trained),
        step=zero,
        reference=reference_copy(trained, config=config) if reference else None,
        # Copies: donated buffers must be distinct.
        bad_steps=jnp.copy(zero),
        total_bad=jnp.copy(zero),
        frozen=lora.frozen(params, config=config.model),
    )


def reference_copy(params, *, config: StepConfig):
    """A copy of the policy to measure KL from: of its adapters alone where the rest is frozen.

    Matrices are held in the compute dtype, to which `forward` casts them anyway. Adapters, which it scales first, are
    not: rounded twice, a fresh reference would not be the policy.
    """
    dtype = jnp.dtype(config.model.compute_dtype)

    def copy(dims, param):
        return jnp.array(param, dtype if in_compute_dtype(dims) else param.dtype, copy=True)

    return jax.tree.map(copy, lora.trained_dims(config.model), params, is_leaf=rules.is_dims)


def refresh_reference(state: TrainState, *, config: StepConfig) -> TrainState:
    """The state with the present policy as its reference: R1-Zero does so every 400 steps [v2]."""
    return state._replace(reference=reference_copy(state.params, config=config))


def state_shardings(config: StepConfig, mesh: Mesh | AbstractMesh, *, reference: bool = False) -> TrainState:
    """Where each array of the state lives: moments beside their parameters, scalars on every device.

    Returns a `TrainState` of `NamedSharding`, for `init_state` under `jax.jit`, for `jit_step` and for
    checkpoints.
    """
    shapes = lora.trained_shapes(config.model)
    params = rules.shardings(lora.trained_dims(config.model), shapes, mesh)
    replicated = NamedSharding(mesh, PartitionSpec())
    optimizer = config.make_optimizer()
    opt_state = optax.tree.map_params(
        optimizer,
        # Muon and AdamW each hold a MaskedNode (an empty tree) for the parameters of the other.
        lambda moment, sharding: moment if isinstance(moment, optax.MaskedNode) else sharding,
        jax.eval_shape(optimizer.init, shapes),
        params,
        transform_non_params=lambda _: replicated,
        is_leaf=lambda node: isinstance(node, optax.MaskedNode),
    )
    return TrainState(
        params=params,
        opt_state=opt_state,
        step=replicated,
        reference=params if reference else None,
        bad_steps=replicated,
        total_bad=replicated,
        frozen=lora.frozen_shardings(config.model, mesh),
    )
