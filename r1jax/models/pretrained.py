"""Models by reference: a run's `PretrainedConfig` becomes the `ModelConfig` that it names."""

from __future__ import annotations

import dataclasses

from r1jax.config import ConfigError, ModelConfig, PretrainedConfig, RunConfig
from r1jax.models.huggingface.importer import read_model
from r1jax.models.presets import preset


def resolved(run: RunConfig) -> RunConfig:
    """The run with its model spelt out, and with the folder that it named as its first weights.

    Raises ConfigError or WeightsError for a folder that holds no supported model, or an unknown preset. A run whose
    model is spelt out already comes back as it is.
    """
    if isinstance(run.model, ModelConfig):
        return run
    if run.model.path is not None and run.weights not in (None, run.model.path):
        raise ConfigError(
            f"weights: expected None or model.path={run.model.path!r} (a folder's model brings its weights; one that "
            f"experiments/convert.py wrote is named so, too), found {run.weights!r}"
        )
    return dataclasses.replace(run, model=model_of(run.model), weights=run.model.path or run.weights)


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
