"""The teacher of an on-policy distillation: a model of any shape that reads the student's tokens as they are."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from r1jax.config import ConfigError, ModelConfig, OptimizerConfig, PretrainedConfig, check
from r1jax.learn.jit import jit_make, jit_score, place_batch
from r1jax.learn.state import StepConfig, reference_copy
from r1jax.learn.steps import score
from r1jax.models.pretrained import model_of
from r1jax.stages.context import RunContext
from r1jax.stages.weights import is_huggingface, load_params, start_checkpoint
from r1jax.text.tokenizer import Tokenizer

_SHOWN = 3  # tokens in an error


@dataclasses.dataclass(frozen=True)
class Teacher:
    """`logps(batch)` gives the log-probs of the targets, [M, B, T], at the temperature of the batch."""

    model: ModelConfig
    logps: Callable[[dict[str, Any]], np.ndarray]


def open_teacher(name: str, run: RunContext) -> Teacher:
    """The policy of an earlier stage, with its student's model, or that of a Hugging Face folder.

    Raises ConfigError where it is neither, or has another tokenizer than the run; TokenizerError for a folder without
    one.
    """
    in_run = name in [stage.name for stage in run.whole.stages]
    theirs = run.of(name) if in_run else _of_folder(name, run)
    check_same_tokenizer(run.tokenizer, theirs.tokenizer, name)
    folder, step = start_checkpoint(name, theirs) if in_run else (name, None)
    model = theirs.config.model
    params = _held(load_params(folder, step, theirs), theirs)
    compiled = jit_score(score, theirs.mesh, None, StepConfig(model, OptimizerConfig(), num_steps=1))
    return Teacher(model, lambda batch: np.asarray(compiled(params, place_batch(batch, theirs.mesh))["logps"]))


def check_same_tokenizer(ours: Tokenizer, theirs: Tokenizer, name: str) -> None:
    """ConfigError unless every id stands for the same token in both, and the same one ends a text."""
    if ours is theirs:
        return
    our_ids, their_ids = ours.vocabulary(), theirs.vocabulary()
    differ = sorted(token for token in our_ids | their_ids if our_ids.get(token) != their_ids.get(token))
    if differ:
        shown = ", ".join(f"{one!r} ({our_ids.get(one)}, {their_ids.get(one)})" for one in differ[:_SHOWN])
        raise ConfigError(
            f"teacher {name}: expected the tokenizer of the student ({len(our_ids)} tokens), found another "
            f"({len(their_ids)} tokens; {len(differ)} with other ids, such as {shown}); distil by an SFT on its samples"
        )
    check(
        ours.eos_id == theirs.eos_id,
        f"teacher {name}: end-of-text token",
        f"{ours.eos_token!r}, as of the student",
        theirs.eos_token,
    )


def _of_folder(folder: str, run: RunContext) -> RunContext:
    """The run as it would be with the model and the tokenizer of a Hugging Face folder."""
    check(is_huggingface(folder), "teacher", "an earlier stage, or a Hugging Face folder with safetensors", folder)
    ours = run.config.model
    model = model_of(
        PretrainedConfig(path=folder, compute_dtype=ours.compute_dtype, logits_budget_bytes=ours.logits_budget_bytes)
    )
    check(model.head == "tokens", "teacher", "a model that predicts tokens", f"{folder}, which has a score head")
    config = dataclasses.replace(run.config, model=model, weights=folder)
    return dataclasses.replace(run, config=config, tokenizer=Tokenizer.load(folder))


def _held(params: Any, run: RunContext) -> Any:
    """The parameters with their matrices in the compute dtype, to which the forward pass would cast them anyway."""
    model = run.config.model
    if model.lora is not None or model.compute_dtype == "float32":  # of adapters the base is held so already
        return params
    config = StepConfig(model, OptimizerConfig(), num_steps=1)
    layout = jax.tree.map(lambda leaf: leaf.sharding, params)
    return jit_make(lambda params: reference_copy(params, config=config), run.mesh, layout)(params)
