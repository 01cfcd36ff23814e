"""Where a stage's parameters come from: random numbers, a Hugging Face folder, an earlier stage, a checkpoint folder.

With `model.lora` all stages share one frozen base, the run's first weights, and hand adapters on to each other.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import jax
from etils import epath

from r1jax.checkpoint import find_checkpoint, restore_params, saved_params
from r1jax.config import ConfigError, EvaluateConfig, ModelConfig, PretrainedConfig, StageConfig, check
from r1jax.config.serialize import differences, to_json
from r1jax.learn.jit import jit_make
from r1jax.models import decoder, lora
from r1jax.models.adapters import combined, merged
from r1jax.models.huggingface.importer import load_params as import_params
from r1jax.models.huggingface.importer import read_model
from r1jax.parallel.rules import placed
from r1jax.stages.context import RunContext

# What a folder does not decide: how its model is run, and what starts afresh.
_FREE_FIELDS = {field.name for field in dataclasses.fields(PretrainedConfig)} | {"init_range", "zero_init_outputs"}


def start_params(stage: StageConfig, run: RunContext) -> Any:
    """The parameters that a stage starts from, on the mesh; with `model.lora` adapters among them.

    A reward model (`run` is then `RunContext.scoring`) may start from a policy: its head over tokens is left out, and
    a score head drawn at random.
    """
    model = run.config.model
    folder, step = start_checkpoint(stage.start, run)
    if folder is not None:
        return load_params(folder, step, run, fresh_head=model.head == "score")
    if model.lora is None:
        return first_params(run)
    layout = jax.tree.map(lambda leaf: leaf.sharding, _abstract_adapters(run))
    init = jit_make(lambda key: lora.init(model, key), run.mesh, layout)
    return combined(first_params(run), init(jax.random.key(run.seed_of("adapters"))))


def start_checkpoint(start: str | None, run: RunContext) -> tuple[str | None, int | None]:
    """The folder and step (None: the newest) of an earlier stage's result, or of a checkpoint named by its path.

    The result of a stage that only evaluates is that of the stage it starts from; None stands for the run's first
    weights.
    """
    stages = {stage.name: stage for stage in run.whole.stages}
    while isinstance(stages.get(start), EvaluateConfig):
        start = stages[start].start
    if start in stages:
        return str(run.workdir.stage(start).checkpoints), run.workdir.outputs(start)["step"]
    return start, None


def stage_checkpoint(stage: StageConfig, run: RunContext, step: int | None = None) -> epath.Path:
    """The folder of a stage's checkpoint of `step`; without one, of its result, or of its newest while it runs.

    That of a stage that only evaluates is the one it starts from. CheckpointError says which steps there are.
    """
    check(stage.leaves != "data", f"stages.{stage.name}", "a stage with a checkpoint", "one that leaves data")
    if isinstance(stage, EvaluateConfig):
        folder, result = start_checkpoint(stage.start, run)
        if folder is None:
            raise ConfigError(
                f"stage {stage.name}: expected a stage with a checkpoint, found one that evaluates the run's first "
                "weights; they lie where --config.weights says"
            )
    else:
        folder = run.workdir.stage(stage.name).checkpoints
        result = run.workdir.outputs(stage.name)["step"] if run.workdir.status(stage.name) == "done" else None
    return find_checkpoint(folder, result if step is None else step)


@dataclasses.dataclass(frozen=True)
class StageWeights:
    """The weights that a stage has left, or looks at, for a command that reads them.

    Attributes:
      folder: of one checkpoint, or of Hugging Face's files; None: the run's first weights.
      step: of the checkpoint; 0 for weights that no stage of ours has trained.
      results: the folder for what is said of them: that of the checkpoint's stage, or of the stage that only evaluates.
    """

    folder: str | None
    step: int
    results: epath.Path


def stage_weights(
    stage: StageConfig, run: RunContext, step: int | None = None, checkpoint: str | None = None
) -> StageWeights:
    """Those of the folder `checkpoint` (of a stage, of checkpoints, or of one of them); without it, as
    `stage_checkpoint` says, or the weights before any training that a stage evaluates.

    Raises CheckpointError where there is no such checkpoint, ConfigError for a step of weights that have none.
    """
    if checkpoint is None and isinstance(stage, EvaluateConfig):
        folder, _ = start_checkpoint(stage.start, run)
        if folder is None or is_huggingface(folder):
            check(step in (None, 0), "--step", f"none ({stage.name} evaluates weights before any step)", step)
            return StageWeights(folder, 0, run.workdir.stage(stage.name).path)
    found = stage_checkpoint(stage, run, step) if checkpoint is None else find_checkpoint(checkpoint, step)
    root = found.parent
    return StageWeights(str(found), int(found.name), root.parent if root.name == "checkpoints" else root)


def load_params(folder: str | None, step: int | None, run: RunContext, *, fresh_head: bool = False) -> Any:
    """All parameters of a checkpoint or of a Hugging Face folder (None: the run's first weights), on the mesh.

    With `model.lora` the base is as its stages hold it, quantised maybe, also where there are no adapters yet.
    `fresh_head`: a score head that the checkpoint lacks is drawn at random, as it is for a folder of Hugging Face.
    """
    full = run.config.model.lora is None
    if folder is None:
        return first_params(run) if full else frozen_base(run)
    if is_huggingface(folder):
        return _imported(folder, run)
    restore = _with_fresh_head if fresh_head else _as_saved
    if full:
        return restore(folder, step, abstract_params(run), run)
    return combined(frozen_base(run), restore(folder, step, _abstract_trained(run), run))


def load_trained(folder: str, step: int | None, run: RunContext) -> Any:
    """What the run trains, of a checkpoint of its own: with `model.lora` the adapters alone (and a score head)."""
    return _as_saved(folder, step, _abstract_trained(run), run)


def load_merged(folder: str | None, step: int | None, run: RunContext, *, dtype: str = "float32") -> Any:
    """As `load_params`, with adapters added to the kernels that they adapt: the parameters of a plain model.

    Those kernels come back in `dtype`.
    """
    model = run.config.model
    params = load_params(folder, step, run)
    if model.lora is None:
        return params
    layout = jax.tree.map(lambda leaf: leaf.sharding, abstract_params(run))
    return jit_make(functools.partial(merged, config=model, dtype=dtype), run.mesh, layout)(params)


def frozen_base(run: RunContext) -> Any:
    """The base of a run with `model.lora`, as its stages hold it."""
    model = run.config.model
    freeze = functools.partial(lora.frozen, config=model)
    return jit_make(freeze, run.mesh, lora.frozen_shardings(model, run.mesh), donate=keeps_arrays(model))(
        first_params(run)
    )


def keeps_arrays(model: ModelConfig) -> bool:
    """Whether a stage's first parameters become its state's as they are (and may be donated to it)."""
    return model.lora is None or model.lora.frozen == "compute"


def first_params(run: RunContext) -> Any:
    """What the run begins from, without adapters: a Hugging Face folder, a checkpoint, or random numbers."""
    weights = run.config.weights
    if weights is None:
        return _random(abstract_params(run), run)
    if is_huggingface(weights):
        return _imported(weights, run)
    restore = _with_fresh_head if run.config.model.head == "score" else _as_saved
    return restore(weights, None, abstract_params(run), run)


def is_huggingface(folder: epath.PathLike) -> bool:
    """Whether a folder holds safetensors (or their index), rather than checkpoints."""
    return any(epath.Path(folder).glob("*.safetensors*"))


def config_folder(weights: str | None) -> str | None:
    """The folder of a run's first weights, if it has a config.json: Hugging Face's, or one that was converted."""
    return weights if weights is not None and (epath.Path(weights) / "config.json").exists() else None


def abstract_params(run: RunContext) -> Any:
    """Shapes, dtypes and shardings of the run's parameters without adapters: float32 where they are trained."""
    model = run.config.model
    return decoder.abstract_params(model, run.mesh, "float32" if model.lora is None else model.compute_dtype)


def abstract_policy(run: RunContext) -> Any:
    """As `abstract_params`, with adapters among them where the run trains such: the form of `start_params`."""
    params = abstract_params(run)
    return params if run.config.model.lora is None else combined(params, _abstract_adapters(run))


def _abstract_trained(run: RunContext) -> Any:
    model = run.config.model
    return placed(lora.trained_dims(model), lora.trained_shapes(model), run.mesh)


def _abstract_adapters(run: RunContext) -> Any:
    return {name: below for name, below in _abstract_trained(run).items() if name != "score"}


def _as_saved(folder: str, step: int | None, like: Any, run: RunContext) -> Any:
    return restore_params(folder, like, step=step)


def _with_fresh_head(folder: str, step: int | None, like: Any, run: RunContext) -> Any:
    """As `_as_saved`, of a reward model's checkpoint; of a policy's all but the head, and a random score head."""
    if "score" in saved_params(folder, step):
        return _as_saved(folder, step, like, run)
    backbone = {name: below for name, below in like.items() if name != "score"}
    return restore_params(folder, backbone, step=step, leave=("head",)) | _random({"score": like["score"]}, run)


def _random(like: Any, run: RunContext) -> Any:
    """The random numbers of the run's seed, in the form of `like`: the whole tree or some of its first names."""

    def init(key: jax.Array) -> Any:
        params = decoder.init(run.config.model, key)
        return jax.tree.map(lambda param, leaf: param.astype(leaf.dtype), {name: params[name] for name in like}, like)

    layout = jax.tree.map(lambda leaf: leaf.sharding, like)
    return jit_make(init, run.mesh, layout)(jax.random.key(run.seed_of("weights")))


def _imported(folder: str, run: RunContext) -> Any:
    """The weights of a Hugging Face folder; a score head that it lacks is drawn at random."""
    found, model = read_model(folder), run.config.model
    _check_same(found, model, folder)
    like = abstract_params(run)
    fresh = {"score"} & like.keys() if found.head == "tokens" else set()
    params = import_params(folder, found, {name: below for name, below in like.items() if name not in fresh})
    return params | _random({name: like[name] for name in fresh}, run) if fresh else params


def _check_same(found: ModelConfig, model: ModelConfig, folder: str) -> None:
    """ConfigError where the folder's model is another than the run's."""
    if found.head == "score" and model.head == "tokens":
        raise ConfigError(f"model.head: expected score, as the model of {folder} has it, found {model.head!r}")
    free = _FREE_FIELDS | ({"tie_embeddings"} if model.head == "score" else set())
    if found.moe is not None and model.moe is not None:
        found = dataclasses.replace(
            found, moe=dataclasses.replace(found.moe, bias_update_rate=model.moe.bias_update_rate)
        )
    theirs, ours = ({name: value for name, value in to_json(one).items() if name not in free} for one in (found, model))
    if different := differences(theirs, ours):
        raise ConfigError(
            f"model: expected that of {folder}/config.json, found {'; '.join(different[:8])}; "
            "leave it to the folder: model=PretrainedConfig(path=...)"
        )
