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
    DistillConfig,
    GrpoConfig,
    ModelConfig,
    RewardModelConfig,
    RunConfig,
    SearchConfig,
    StageConfig,
    TrainingConfig,
)
from r1jax.dryrun import activations, arrays, others
from r1jax.dryrun.activations import Tokens
from r1jax.dryrun.others import Reader, frozen_kind, looks_at_first_weights
from r1jax.dryrun.programs import (
    BatchShape,
    SamplerUse,
    ScorerUse,
    arrays_of_batch,
    batch_shape,
    sampler_uses,
    scored_models,
    scorer_uses,
)
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
    """When memory differs: "update" where the stage trains, each use of a sampler, and where another model reads."""
    phases = ["update"] if isinstance(stage, TrainingConfig) else []
    readings = scorer_uses(stage)
    for use in sampler_uses(stage):
        phases.append(use.purpose)
        if isinstance(stage, DistillConfig) and use.purpose == "rollout":
            phases.append("teacher")
        phases += [one.purpose for one in readings if one.after == use.purpose]
    return phases


def total(holdings: list[Holding], phase: str) -> int:
    """Bytes on each device in a phase."""
    return sum(one.bytes for one in holdings if phase in one.phases)


def holdings_of(stage: StageConfig, run: RunConfig, mesh: AbstractMesh) -> list[Holding]:
    """All that a stage holds, of a run whose models are spelt out.

    ConfigError, from the rules, names a size that the mesh does not divide, and a score head, with which only stages of
    reward models can do anything.
    """
    found = _held_by_itself(stage, run, mesh)
    for use in scorer_uses(stage):
        largest = max(_readers(use, run), key=lambda one: one.held_bytes(mesh) + one.reading_bytes(mesh))
        # A search opens its value model first of all.
        name, held = ("value model", phases_of(stage)) if isinstance(stage, SearchConfig) else ("reward model", ())
        found += _reader(name, largest, mesh, frozenset({use.purpose, *held}), frozenset({use.purpose}))
    return found


def _held_by_itself(stage: StageConfig, run: RunConfig, mesh: AbstractMesh) -> list[Holding]:
    """All but reward models."""
    model = _model(stage, run)
    phases = frozenset(phases_of(stage))
    while_training = phases - _afterwards(stage)
    found = []
    if stage.leaves != "data":  # else the parameters go when samplers have their copies
        found += _policy(stage, model, run, mesh, phases)
    if isinstance(stage, TrainingConfig):
        found += _state(stage, model, mesh, while_training)
        found += _update(stage, model, mesh, phases & {"update"})
    if isinstance(stage, DistillConfig):
        per_token = 5  # tokens, targets, mask, segments, positions
        batch = per_token * F32 * arrays.local_size(("micro", "batch", "length"), batch_shape(stage), mesh)
        reading = frozenset({"teacher"})
        found.append(Holding(f"batch, {per_token} arrays", batch, True, reading))
        found += _reader("teacher", others.teacher(stage, run), mesh, while_training, reading)
    readings = scorer_uses(stage)
    for use in sampler_uses(stage):
        held = {use.purpose, *(one.purpose for one in readings if one.after == use.purpose)}
        if use.purpose == "rollout":
            held = while_training
        elif isinstance(stage, SearchConfig):
            held = phases
        name = f"sampler's copy, {model.compute_dtype}"
        found.append(Holding(name, arrays.dparams_bytes(model, mesh), True, frozenset(held)))
        found += _sampling(use, model, mesh, frozenset({use.purpose}))
    return found


def _model(stage: StageConfig, run: RunConfig) -> ModelConfig:
    """The model that the stage is about, as it holds it."""
    theirs = run.of(stage.name)
    if isinstance(stage, RewardModelConfig):
        return theirs.scoring().model
    if theirs.model.head == "score":
        raise ConfigError(
            f"model.head: expected 'tokens' (stage {stage.name!r} predicts tokens), found 'score'; leave it out"
        )
    return theirs.model


def _afterwards(stage: StageConfig) -> set[str]:
    """The phases that come when the train state is gone."""
    looks = {"evaluation", *(one.name for one in stage.benchmarks)}
    return looks | {one.purpose for one in scorer_uses(stage) if one.after in looks}


def _readers(use: ScorerUse, run: RunConfig) -> list[Reader]:
    return [others.reward_model(name, run) for name in use.models]


def _reader(
    name: str, reader: Reader, mesh: AbstractMesh, held: frozenset[str], reads: frozenset[str]
) -> list[Holding]:
    return [
        Holding(f"{name}, {reader.kind}", reader.held_bytes(mesh), True, held),
        Holding(f"{name} reading", reader.reading_bytes(mesh), False, reads),
    ]


def brief_peaks(stage: StageConfig, run: RunConfig, mesh: AbstractMesh) -> dict[str, int]:
    """What a stage needs for a moment, in all, by what it does then: estimates.

    With adapters there is, before the first phase, the base as it was loaded beside the one that is held; and before a
    sampler begins, adapters are added to float32 copies of the kernels that they adapt. A stage that leaves data lets
    go of the parameters when its samplers have their copies. Another model is loaded in float32 before it is cast.
    """
    model = _model(stage, run)
    samplers = len(sampler_uses(stage))
    adapted = model.lora is not None and not looks_at_first_weights(stage, run)
    others_held = sum(one.held_bytes(mesh) for one in _opened_first(stage, run))
    peaks = {}
    if stage.leaves == "data" and adapted and _from_first_weights(stage, run):
        # Nothing is frozen: the sampler takes what was loaded, and adapters that change nothing yet.
        state = arrays.loaded_bytes(model, mesh) + arrays.trained_bytes(model, mesh) + others_held
    else:
        held = _policy(stage, model, run, mesh, frozenset())
        if isinstance(stage, TrainingConfig):
            held += _state(stage, model, mesh, frozenset())
        state = sum(one.bytes for one in held) + others_held
        if adapted:
            peaks[f"while the base is loaded in {model.compute_dtype}"] = state + arrays.loaded_bytes(model, mesh)
    if samplers and (adapted or stage.leaves == "data"):
        copies = samplers if isinstance(stage, SearchConfig) else 1
        merging = activations.merging_bytes(model, mesh) if adapted else 0
        moment = "while adapters are added to the sampler's copy" if adapted else "while the sampler takes its copy"
        peaks[moment] = state + copies * arrays.dparams_bytes(model, mesh) + merging
    opened = [one.opening_bytes(mesh) for one in _opened_first(stage, run)]
    own = _held_by_itself(stage, run, mesh)
    for use in scorer_uses(stage) if not isinstance(stage, SearchConfig) else ():
        readers = _readers(use, run)
        # An evaluation lets go of a reward model when the next one is open; those of a stage rest elsewhere.
        before = [0, *(one.held_bytes(mesh) for one in readers[:-1])] if use.after != "rollout" else [0] * len(readers)
        loaded = (one.opening_bytes(mesh) + other for one, other in zip(readers, before, strict=True))
        opened.append(total(own, use.purpose) + max(loaded))
    return peaks | ({"while a model that reads is opened": max(opened)} if opened else {})


def _from_first_weights(stage: StageConfig, run: RunConfig) -> bool:
    """Whether no stage has trained what it starts from."""
    return stage.start is None or looks_at_first_weights(run.stage(stage.start), run)


def _opened_first(stage: StageConfig, run: RunConfig) -> list[Reader]:
    """The models that a stage opens before its own, and keeps."""
    if isinstance(stage, DistillConfig):
        return [others.teacher(stage, run)]
    return [others.reward_model(stage.value, run)] if isinstance(stage, SearchConfig) else []


def resting_bytes(stage: StageConfig, run: RunConfig) -> dict[str, int]:
    """Of each reward model of a stage, what rests of it in the host's memory while it does not read."""
    if not isinstance(stage, GrpoConfig):
        return {}
    return {one.model: others.reward_model(one.model, run).host_bytes() for one in stage.preferences}


def _policy(
    stage: StageConfig, model: ModelConfig, run: RunConfig, mesh: AbstractMesh, phases: frozenset[str]
) -> list[Holding]:
    if model.lora is None:
        return [Holding("parameters, float32", arrays.trained_bytes(model, mesh), True, phases)]
    if looks_at_first_weights(stage, run):
        return [Holding(f"base, {model.compute_dtype}", arrays.loaded_bytes(model, mesh), True, phases)]
    return [
        Holding(f"frozen base, {frozen_kind(model)}", arrays.frozen_bytes(model, mesh), True, phases),
        Holding("adapters, float32", arrays.trained_bytes(model, mesh), True, phases),
    ]


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
    per_token = arrays_of_batch(stage)
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
