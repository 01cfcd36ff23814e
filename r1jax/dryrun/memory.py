"""How many parameters a model has, and what a stage holds on each device, and when.

Exact for arrays that outlive a program (`arrays`), estimates within one (`activations`).
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import jax
from jax.sharding import AbstractMesh

from r1jax.config import (
    ConfigError,
    EvaluateConfig,
    ModelConfig,
    OnPolicyConfig,
    RewardModelConfig,
    RunConfig,
    StageConfig,
    TrainingConfig,
)
from r1jax.dryrun import activations, arrays
from r1jax.dryrun.activations import Tokens
from r1jax.dryrun.programs import BatchShape, SamplerUse, batch_shape, sampler_uses, scored_models
from r1jax.models import lora

F32 = 4


@dataclasses.dataclass(frozen=True)
class Holding:
    """Bytes on each device, held in the phases named (see `phases_of`). Those of one name add up."""

    name: str
    bytes: int
    exact: bool
    phases: frozenset[str]


def count_params(model: ModelConfig) -> int:
    """Parameters of the model, without adapters."""
    return _count(arrays.param_shapes(model))


def count_active(model: ModelConfig) -> int:
    """Parameters that one token meets: all but the experts that it does not choose."""
    if model.moe is None:
        return count_params(model)
    experts, moe = arrays.param_shapes(model)["layers"]["ffn"]["experts"], model.moe
    return count_params(model) - _count(experts) // moe.num_experts * (moe.num_experts - moe.experts_per_token)


def count_trained(model: ModelConfig) -> int:
    """Parameters that an update changes: all, or with `model.lora` the adapters (and a score head)."""
    return _count(lora.trained_shapes(model))


def _count(shapes: Any) -> int:
    return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))


def phases_of(stage: StageConfig) -> list[str]:
    """When memory differs: "update" where the stage trains, and each use of a sampler."""
    update = ["update"] if isinstance(stage, TrainingConfig) else []
    return update + [use.purpose for use in sampler_uses(stage)]


def total(holdings: list[Holding], phase: str) -> int:
    """Bytes on each device in a phase."""
    return sum(one.bytes for one in holdings if phase in one.phases)


def holdings_of(stage: StageConfig, run: RunConfig, mesh: AbstractMesh) -> list[Holding]:
    """All that a stage holds, of a run whose model is spelt out.

    ConfigError, from the rules, names a size that the mesh does not divide, and a score head, with which only stages of
    reward models can do anything.
    """
    run = run.of(stage.name)
    if isinstance(stage, RewardModelConfig):
        run = run.scoring()
    elif run.model.head == "score":
        raise ConfigError(
            f"model.head: expected 'tokens' (stage {stage.name!r} predicts tokens), found 'score'; leave it out"
        )
    phases = frozenset(phases_of(stage))
    # Evaluations come when the train state is gone.
    while_training = phases - {"evaluation", *(one.name for one in stage.benchmarks)}
    found = _policy(stage, run, mesh, phases)
    if isinstance(stage, TrainingConfig):
        found += _state(stage, run.model, mesh, while_training)
        found += _update(stage, run.model, mesh, phases & {"update"})
    for use in sampler_uses(stage):
        held = while_training if use.purpose == "rollout" else frozenset({use.purpose})
        name = f"sampler's copy, {run.model.compute_dtype}"
        found.append(Holding(name, arrays.dparams_bytes(run.model, mesh), True, held))
        found += _sampling(use, run.model, mesh, frozenset({use.purpose}))
    return found


def brief_peaks(stage: StageConfig, run: RunConfig, mesh: AbstractMesh) -> dict[str, int]:
    """What a stage with adapters needs for a moment, in all, by what it does then: estimates.

    Before its first phase there is the base as it was loaded, beside the one that is held. And before a sampler begins,
    adapters are added to float32 copies of the kernels that they adapt.
    """
    run = run.of(stage.name)
    if isinstance(stage, RewardModelConfig):
        run = run.scoring()
    model = run.model
    if model.lora is None or _looks_at_first_weights(stage, run):
        return {}
    held = _policy(stage, run, mesh, frozenset())
    if isinstance(stage, TrainingConfig):
        held += _state(stage, model, mesh, frozenset())
    state = sum(one.bytes for one in held)
    peaks = {f"while the base is loaded in {model.compute_dtype}": state + arrays.loaded_bytes(model, mesh)}
    if phases_of(stage) != ["update"]:
        merging = arrays.dparams_bytes(model, mesh) + activations.merging_bytes(model, mesh)
        peaks["while adapters are added to the sampler's copy"] = state + merging
    return peaks


def _policy(stage: StageConfig, run: RunConfig, mesh: AbstractMesh, phases: frozenset[str]) -> list[Holding]:
    model = run.model
    if model.lora is None:
        return [Holding("parameters, float32", arrays.trained_bytes(model, mesh), True, phases)]
    if _looks_at_first_weights(stage, run):
        return [Holding(f"base, {model.compute_dtype}", arrays.loaded_bytes(model, mesh), True, phases)]
    return [
        Holding(f"frozen base, {frozen_kind(model)}", arrays.frozen_bytes(model, mesh), True, phases),
        Holding("adapters, float32", arrays.trained_bytes(model, mesh), True, phases),
    ]


def frozen_kind(model: ModelConfig) -> str:
    """How the base beside adapters is held: a dtype, or int8 or nf4."""
    return model.compute_dtype if model.lora.frozen == "compute" else model.lora.frozen


def _looks_at_first_weights(stage: StageConfig, run: RunConfig) -> bool:
    """Whether a stage only evaluates what the run begins from: it has no adapters then."""
    while isinstance(stage, EvaluateConfig):
        if stage.start is None:
            return True
        stage = run.stage(stage.start)
    return False


def _state(stage: TrainingConfig, model: ModelConfig, mesh: AbstractMesh, phases: frozenset[str]) -> list[Holding]:
    moments = arrays.moments_bytes(model, stage.optimizer, mesh)
    found = [Holding(f"moments of {stage.optimizer.name}", moments, True, phases)]
    if "reference" in scored_models(stage):
        copy = arrays.reference_bytes(model, stage.optimizer, mesh)
        shared = "" if model.lora is None else "'s adapters"
        found.append(Holding(f"reference{shared}, {model.compute_dtype}", copy, True, phases))
    return found


def _update(stage: TrainingConfig, model: ModelConfig, mesh: AbstractMesh, phases: frozenset[str]) -> list[Holding]:
    shape = batch_shape(stage)
    gradients = arrays.trained_bytes(model, mesh)
    per_token = 5  # tokens, targets, mask, segments, positions; of pairs of answers signs and pairs, and no targets
    if isinstance(stage, OnPolicyConfig):
        per_token = 7 + len(scored_models(stage))
    elif isinstance(stage, RewardModelConfig):
        per_token = 6
    batch = per_token * F32 * arrays.local_size(("micro", "batch", "length"), shape, mesh)
    kept = activations.activation_bytes(model, shape, mesh)
    found = [
        Holding(f"batch, {per_token} arrays", batch, True, phases),
        Holding("gradients, float32", gradients, True, phases),
        Holding(f"activations, remat {model.remat}", kept, False, phases),
        _head(model, shape, mesh, phases),
    ]
    if shape.micro_batches > 1:
        found.insert(2, Holding("a micro-batch's gradients", gradients, False, phases))
    if weights := activations.written_out_bytes(model, mesh):
        found.append(Holding(f"weights written out, {model.compute_dtype}", weights, False, phases))
    return found


def _head(model: ModelConfig, shape: BatchShape, mesh: AbstractMesh, phases: frozenset[str]) -> Holding:
    if model.head == "tokens":
        return Holding("3 blocks of logits", 3 * activations.logits_block_bytes(model, shape, mesh), False, phases)
    tokens = Tokens(shape.rows, shape.positions)
    hidden = F32 * tokens.each(mesh, ("act_embed",), (model.hidden_size,))
    return Holding("hidden states for scores, float32", 2 * hidden, False, phases)  # and their gradient


def _sampling(use: SamplerUse, model: ModelConfig, mesh: AbstractMesh, phases: frozenset[str]) -> list[Holding]:
    shape, buckets = use.shape, use.cache_buckets
    slots = F32 * arrays.local_size(("lanes", "width", "act_vocab"), (shape.lanes, shape.width, model.vocab_size), mesh)
    largest = arrays.cache_bytes(model, use, buckets[-1], mesh)
    prompts = Tokens(shape.lanes, shape.max_prompt_tokens, ("lanes", "prompt_length"))
    prefill = activations.largest_layer_bytes(model, prompts, mesh)
    prefill += arrays.cache_bytes(model, use, 0, mesh)  # what is kept of new prompts, beside that of the old
    not_grown_yet = largest - arrays.cache_bytes(model, use, buckets[0], mesh)
    before_growth = arrays.cache_bytes(model, use, buckets[-2], mesh) if len(buckets) > 1 else 0
    kept = "KV cache" if model.latent is None else "cache of latents"
    return [
        Holding(f"{kept}, grown", largest, True, phases),
        # Never both at once: prefill comes before the cache has grown.
        Holding("its growth, or prefill", max(before_growth, prefill - not_grown_yet), False, phases),
        Holding("3 x logits of all slots", 3 * slots, False, phases),
    ]
