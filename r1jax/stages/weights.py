"""Where a stage's parameters come from: random numbers, an earlier stage, a checkpoint folder."""

from __future__ import annotations

from typing import Any

import jax
from etils import epath

from r1jax.checkpoint import find_checkpoint, restore_params
from r1jax.config import EvaluateConfig, StageConfig
from r1jax.learn.jit import jit_make
from r1jax.models import decoder
from r1jax.parallel.rules import shardings
from r1jax.stages.context import RunContext


def start_params(stage: StageConfig, run: RunContext) -> Any:
    """The parameters that a stage starts from, on the mesh."""
    if stage.start is not None:
        return load_params(*start_checkpoint(stage.start, run), run)
    layout = jax.tree.map(lambda leaf: leaf.sharding, abstract_params(run))
    init = jit_make(lambda key: decoder.init(run.config.model, key), run.mesh, layout)
    return init(jax.random.key(run.seed_of("weights")))


def start_checkpoint(start: str, run: RunContext) -> tuple[str, int | None]:
    """The folder and step (None: the newest) of an earlier stage's result, or of a checkpoint named by its path."""
    if start in {stage.name for stage in run.config.stages}:
        return str(run.workdir.stage(start).checkpoints), run.workdir.outputs(start)["step"]
    return start, None


def stage_checkpoint(stage: StageConfig, run: RunContext, step: int | None = None) -> epath.Path:
    """The folder of a stage's checkpoint of `step`; without one, of its result, or of its newest while it runs.

    That of a stage that only evaluates is the one it starts from. CheckpointError says which steps there are.
    """
    if isinstance(stage, EvaluateConfig):
        folder, result = start_checkpoint(stage.start, run)
    else:
        folder = run.workdir.stage(stage.name).checkpoints
        result = run.workdir.outputs(stage.name)["step"] if run.workdir.status(stage.name) == "done" else None
    return find_checkpoint(folder, result if step is None else step)


def load_params(folder: str, step: int | None, run: RunContext) -> Any:
    """The parameters of a checkpoint, on the mesh."""
    return restore_params(folder, abstract_params(run), step=step)


def abstract_params(run: RunContext) -> Any:
    """Shapes, dtypes and shardings of the run's parameters."""
    shapes = decoder.param_shapes(run.config.model)
    return jax.tree.map(
        lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
        shapes,
        shardings(decoder.param_dims(run.config.model), shapes, run.mesh),
    )
