"""Models beside the policy that a stage opens to read with, and does not train: reward models, a teacher."""

from __future__ import annotations

import functools
import math
from typing import NamedTuple

import jax
from jax.sharding import AbstractMesh

from r1jax.config import (
    DistillConfig,
    EvaluateConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainedConfig,
    RunConfig,
    StageConfig,
)
from r1jax.dryrun import activations, arrays
from r1jax.learn.state import StepConfig, reference_copy
from r1jax.models import lora
from r1jax.models.pretrained import model_of


class Reader(NamedTuple):
    """A model that reads rows of at most so many tokens, so many at once."""

    model: ModelConfig
    rows: int
    row_tokens: int
    adapted: bool = True  # with `model.lora`, whether there are adapters: the run's first weights have none

    @property
    def kind(self) -> str:
        """How it is held: a dtype, or int8 or nf4."""
        return self.model.compute_dtype if self.model.lora is None else frozen_kind(self.model)

    def held_bytes(self, mesh: AbstractMesh) -> int:
        """On each device, of its parameters: matrices are in the compute dtype, or beside adapters as the base is."""
        if self.model.lora is None:
            return arrays.reference_bytes(self.model, OptimizerConfig(), mesh)
        adapters = arrays.trained_bytes(self.model, mesh) if self.adapted else 0
        return arrays.frozen_bytes(self.model, mesh) + adapters

    def opening_bytes(self, mesh: AbstractMesh) -> int:
        """On each device for a moment: the parameters as they are loaded beside those that are kept."""
        if self.model.lora is None:
            return arrays.trained_bytes(self.model, mesh) + (
                self.held_bytes(mesh) if self.model.compute_dtype != "float32" else 0
            )
        kept_as_loaded = self.model.lora.frozen == "compute"  # donated
        return self.held_bytes(mesh) + (0 if kept_as_loaded else arrays.loaded_bytes(self.model, mesh))

    def reading_bytes(self, mesh: AbstractMesh) -> int:
        """On each device while it reads its longest rows: an estimate."""
        return activations.reading_bytes(self.model, self.rows, self.row_tokens, mesh)

    def host_bytes(self) -> int:
        """Of its parameters in the host's memory, whole; each 4-bit number takes a byte there."""
        return _host_bytes(self.model)


@functools.cache
def _host_bytes(model: ModelConfig) -> int:
    trained = lora.trained_shapes(model)
    if model.lora is None:
        config = StepConfig(model, OptimizerConfig(), num_steps=1)
        trained = jax.eval_shape(functools.partial(reference_copy, config=config), trained)
    leaves = jax.tree.leaves((trained, lora.frozen_shapes(model)))
    return sum(math.prod(leaf.shape) * leaf.dtype.itemsize for leaf in leaves)


def frozen_kind(model: ModelConfig) -> str:
    """How the base beside adapters is held: a dtype, or int8 or nf4."""
    return model.compute_dtype if model.lora.frozen == "compute" else model.lora.frozen


def reward_model(name: str, run: RunConfig) -> Reader:
    """The reward model that a stage of the run trains, as others read with it."""
    batch = run.stage(name).scoring_batch
    return Reader(run.of(name).scoring().model, batch.micro_batch_rows, batch.row_tokens)


def teacher(stage: DistillConfig, run: RunConfig) -> Reader:
    """The teacher of a distillation: an earlier stage's policy, or the model of a folder, whose config.json is read."""
    rows, length = stage.batch.micro_batch_rows, stage.batch.row_tokens
    if stage.teacher in [one.name for one in run.stages]:
        theirs = run.of(stage.teacher)
        adapted = not looks_at_first_weights(run.stage(stage.teacher), run)
        return Reader(theirs.model, rows, length, adapted)
    ours = run.of(stage.name).model
    reference = PretrainedConfig(
        path=stage.teacher, compute_dtype=ours.compute_dtype, logits_budget_bytes=ours.logits_budget_bytes
    )
    return Reader(model_of(reference), rows, length)


def looks_at_first_weights(stage: StageConfig | None, run: RunConfig) -> bool:
    """Whether a stage only evaluates what its model begins from: there are no adapters then."""
    stages = {one.name: one for one in run.stages}
    while isinstance(stage, EvaluateConfig):
        if stage.start is None:
            return True
        stage = stages.get(stage.start)
    return False
