"""What a stage's result depends on: two sessions of a run may differ in everything else."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Set
from typing import Any

from r1jax.config import RunConfig, StageConfig, TrainingConfig
from r1jax.config.serialize import differences, to_json
from r1jax.workdir.weights_mark import weights_mark

_HOW_REWARDS_RUN = (  # fields of RewardsConfig that say where and how fast, and nothing of the result
    "workers",
    "recycle_after",
    "sandbox.url",
    "sandbox.cgroup",
    "judge.url",
    "judge.concurrency",
    "judge.key_variable",
    "judge.timeout_seconds",
    "judge.tries",
)
_HOW_TEACHERS_ARE_ASKED = ("url", "key_variable", "concurrency", "timeout_seconds", "tries")
_FOR_OTHERS = {"RewardModelConfig": ("score_tokens",)}  # fields that a stage's own result does not depend on
# Fields of later versions are left out at the value that means what went before: finished stages stay what they are.
_SINCE = {"RewardModelConfig": {"score_tokens": None}, "FiltersConfig": {"max_question_tokens": None}}


def identity(run: RunConfig, name: str) -> dict[str, Any]:
    """What a stage's result depends on, as JSON: its config, those of the stages it takes something from, their models
    and tokenizers, the rewards and the seed. Mesh, logging, and how many grade where, may change between two sessions
    of a run.
    """
    whole, sources = to_json(run), run.sources(name)
    shared = {key: whole[key] for key in ("rewards", "seed")}
    for field in _HOW_REWARDS_RUN:
        *sections, last = field.split(".")
        del functools.reduce(lambda inside, section: inside[section], sections, shared["rewards"])[last]
    taught = {stage.student for stage in sources}
    own = {key: whole[key] for key in ("model", "tokenizer")} if None in taught else {}
    students = [
        {field: value for field, value in student.items() if field != "weights"}
        for student in whole["students"]
        if student["name"] in taught
    ]
    if any(student["tokenizer"] is None for student in students):
        own["tokenizer"] = whole["tokenizer"]
    stages = [_what_counts(to_json(stage)) for stage in sources]
    for stage in stages:
        if stage["name"] == name:
            for field in _FOR_OTHERS.get(stage["class"], ()):
                stage.pop(field, None)
    return {**own, "students": students, **shared, "stages": stages}


def origin_changes(before: Mapping[str, Any], now: Mapping[str, Any], name: str) -> list[str]:
    """The differences between two identities of a stage in what its checkpoints come from, as `differences` has them.

    That is all but its own config, of which `start` counts, and the rewards. A stage that one of the two takes nothing
    from is left out: that it was added or dropped stands in the config of another.
    """
    names = [{stage["name"] for stage in one["stages"]} for one in (before, now)]
    return differences(*(_origin(one, name, names[0] & names[1]) for one in (before, now)))


def _origin(one: Mapping[str, Any], name: str, common: Set[str]) -> dict[str, Any]:
    stages = [
        {field: stage[field] for field in ("name", "start")} if stage["name"] == name else stage
        for stage in one["stages"]
        if stage["name"] in common
    ]
    return {**{field: value for field, value in one.items() if field != "rewards"}, "stages": stages}


def _what_counts(value: Any) -> Any:
    """JSON of a config without the fields that say where and how fast a teacher is asked, and unused later ones."""
    if isinstance(value, list):
        return [_what_counts(one) for one in value]
    if not isinstance(value, dict):
        return value
    left_out = _HOW_TEACHERS_ARE_ASKED if value.get("class") == "TeacherConfig" else ()
    since = _SINCE.get(value.get("class"), {})
    return {
        name: _what_counts(one)
        for name, one in value.items()
        if name not in left_out and not (name in since and one == since[name])
    }


def _chain(run: RunConfig, name: str) -> list[StageConfig]:
    """The stage after all those that it starts from, one from the other."""
    chain = [run.stage(name)]
    known = {stage.name for stage in run.stages}
    while chain[0].start in known:
        chain.insert(0, run.stage(chain[0].start))
    return chain


def mark_of_weights(run: RunConfig, name: str) -> str | None:
    """The mark of the run's first weights; None where the stage does without them, or where none are found now.

    Adapters are added to them at every start; a stage without adapters has them from the first stage of its chain.
    """
    run = run.of(name)
    if run.model.lora is None and _chain(run, name)[0].start is not None:
        return None
    return "random" if run.weights is None else weights_mark(run.weights)


def begun_marks(run: RunConfig, name: str, entries: Mapping[str, Mapping[str, Any]]) -> dict[str, str]:
    """When the trained stages were begun that a stage comes from, by the manifest's `entries`; what one that leaves
    data has left, its `data_mark` tells.
    """
    return {
        stage.name: entries[stage.name]["started"]
        for stage in run.sources(name)
        if stage.name != name and isinstance(stage, TrainingConfig) and stage.name in entries
    }
