"""When a benchmark's figures may be used again: equal checkpoint, data, prompt, draws and grading."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from etils import epath

from r1jax.config import DataConfig, EvaluationConfig, RewardsConfig, TemplateConfig
from r1jax.config.data import FILE_KINDS
from r1jax.config.serialize import differences, fingerprint, to_json
from r1jax.data import readers
from r1jax.stages.context import RunContext
from r1jax.suites.suite import PairwiseConfig
from r1jax.workdir.data_mark import data_mark

_CHUNK_BYTES = 1 << 20


def of_benchmark(evaluation: EvaluationConfig, weights: str | None, run: RunContext) -> dict[str, Any]:
    """All that the figures of an evaluation depend on, as JSON; `weights`: the mark of those evaluated.

    Left out is what changes no figure (the shape of the sampler, where the data lies). DataError for data that is not
    there.
    """
    fields = to_json(evaluation)
    data, path = fields["data"], evaluation.data.path
    del fields["sampler"], data["path"]
    if evaluation.data.kind in FILE_KINDS:
        data["files"] = file_marks(evaluation.data)
    elif evaluation.data.kind == "stage":
        data["path"] = path
        data["mark"] = data_mark(run.workdir.stage(evaluation.data.name).data_file(path))
    elif path is not None:
        data["path"] = path
    return {**fields, "grading": _grading(run.config.rewards, evaluation.data.rewards), **_policy(weights, run)}


def of_pairwise(
    pairwise: PairwiseConfig, template: TemplateConfig, reference: epath.Path, weights: str | None, run: RunContext
) -> dict[str, Any]:
    """As `of_benchmark`, of a comparison with the answers in the file `reference`."""
    fields = to_json(pairwise)
    del fields["sampler"], fields["asking"]
    more = {"template": to_json(template), "reference": _mark(reference), "judge": _judge(run.config.rewards)}
    return {**fields, **more, **_policy(weights, run)}


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[str]:
    """What differs between two protocols, a line each; none where figures may be used again."""
    return differences(before, after)


def file_marks(data: DataConfig) -> dict[str, str]:
    """A mark of each file of the data by its name, of several of one name all of theirs. DataError where none is."""
    marks: dict[str, str] = {}
    for file in readers.files(data.path, readers.SUFFIXES[data.kind]):
        marks[file.name] = f"{marks[file.name]} {_mark(file)}" if file.name in marks else _mark(file)
    return marks


def _policy(weights: str | None, run: RunContext) -> dict[str, Any]:
    """What draws the samples, apart from how it is asked."""
    tokenizer = run.tokenizer
    return {
        "weights": weights,
        "compute_dtype": run.config.model.compute_dtype,
        "seed": run.config.seed,
        "tokenizer": fingerprint([tokenizer.vocab_size, tokenizer.eos_token, tokenizer.chat_template]),
    }


def _mark(file: epath.Path) -> str:
    digest = hashlib.sha256()
    with file.open("rb") as opened:
        while chunk := opened.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()[:16]


def _grading(rewards: RewardsConfig, name: str) -> dict[str, Any]:
    """The reward set, and the settings that its verdicts depend on."""
    found = next(one for one in rewards.sets if one.name == name)
    used = {one.name for one in found.rewards}
    fields = {"set": to_json(found), "language": to_json(rewards.language)}
    if "code" in used:
        fields["code"] = to_json(rewards.code)
    if "judge" in used:
        fields["judge"] = _judge(rewards)
    return fields


def _judge(rewards: RewardsConfig) -> dict[str, Any]:
    """Who judges; not how fast."""
    settings = rewards.judge
    return {"url": settings.url, "model": settings.model} | {
        "max_tokens": settings.max_tokens,
        "temperature": settings.temperature,
    }
