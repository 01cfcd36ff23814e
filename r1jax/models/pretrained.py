"""Models by reference: a run's `PretrainedConfig` becomes the `ModelConfig` that it names."""

from __future__ import annotations

import dataclasses

from r1jax.config import ConfigError, ModelConfig, PretrainedConfig, RunConfig
from r1jax.models.huggingface.importer import read_model
from r1jax.models.presets import preset


def resolved(run: RunConfig) -> RunConfig:
    """The run with its models spelt out, its own and its students', each with the folder that it named as weights.

    Raises ConfigError or WeightsError for a folder that holds no supported model, or an unknown preset. A run whose
    models are spelt out already comes back as it is.
    """
    if not any(isinstance(one.model, PretrainedConfig) for one in (run, *run.students)):
        return run
    model, weights = _spelt_out(run.model, run.weights, "")
    students = tuple(
        dataclasses.replace(one, model=theirs, weights=first)
        for one in run.students
        for theirs, first in [_spelt_out(one.model, one.weights, f"students.{one.name}.")]
    )
    return dataclasses.replace(run, model=model, weights=weights, students=students)


def _spelt_out(model: ModelConfig | PretrainedConfig, weights: str | None, path: str) -> tuple[ModelConfig, str | None]:
    """A model and the folder of its first weights."""
    if isinstance(model, ModelConfig):
        return model, weights
    if model.path is not None and weights not in (None, model.path):
        raise ConfigError(
            f"{path}weights: expected None or {path}model.path={model.path!r} (a folder's model brings its weights; "
            f"one that experiments/convert.py wrote is named so, too), found {weights!r}"
        )
    return model_of(model), model.path or weights


def model_of(reference: PretrainedConfig) -> ModelConfig:
    """The model that a reference names, run as it says."""
    shape = read_model(reference.path) if reference.path is not None else preset(reference.preset).model
    how = {
        field.name: getattr(reference, field.name)
        for field in dataclasses.fields(reference)
        if field.name not in ("path", "preset", "head", "bias_update_rate")
    }
    name = reference.path or reference.preset
    if reference.head == "tokens" and shape.head == "score":
        raise ConfigError(f"model.head: expected score or None, as {name} has a score head, found 'tokens'")
    if reference.head == "score":
        how |= {"head": "score", "tie_embeddings": False}  # scores are read from no embedding
    if reference.bias_update_rate:
        if shape.moe is None:
            raise ConfigError(f"model.bias_update_rate: expected 0 ({name} has no experts), found a rate")
        how["moe"] = dataclasses.replace(shape.moe, bias_update_rate=reference.bias_update_rate)
    return dataclasses.replace(shape, **how)


def published_positions(model: ModelConfig | PretrainedConfig) -> int | None:
    """The longest context of a model that is named by a preset; a folder says its own."""
    named = isinstance(model, PretrainedConfig) and model.preset is not None
    return preset(model.preset).max_positions if named else None
