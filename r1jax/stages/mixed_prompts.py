"""What rollouts ask: the prompts of the stage's own data, and in their shares those of the sources mixed in.

Every source has an endless, reshuffled order of its own, which goes on where it stopped whatever the others gave.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from r1jax.config import DataConfig, GrpoConfig, Schedule
from r1jax.data.iterators import Epochs, epochs
from r1jax.data.records import DataError, Record
from r1jax.rewards.routing import set_of
from r1jax.stages.context import RunContext
from r1jax.stages.edited_lines import named_line
from r1jax.stages.grading import render_one


class MixedPrompts:
    """The records of all sources of a stage, drawn in the shares of a step."""

    def __init__(self, stage: GrpoConfig, sources: Sequence[Epochs | None]):
        """`sources`: the stage's own data, then `stage.mixed`, one record a batch; None of one that never comes."""
        self._stage, self._sources = stage, sources

    def at(self, step: int) -> Draws:
        """The draws of the rollout that begins with `step`: each `rollout_prompts` records, in the shares of `step`."""
        return Draws(self, step)

    def draw(self, step: int) -> list[Record]:
        """The next `rollout_prompts` records, in the order of `spread`."""
        return [next(self._sources[source])[0] for source in spread(prompt_counts(self._stage, step))]

    def get_state(self) -> dict[str, Any]:
        """A JSON-able dict from which `set_state` goes on."""
        return {"sources": [None if source is None else source.get_state() for source in self._sources]}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Goes on where `state` was taken; DataError where the sources are not the same."""
        saved = state["sources"]
        if [one is None for one in saved] != [one is None for one in self._sources]:
            counts = [sum(one is not None for one in sources) for sources in (saved, self._sources)]
            raise DataError(
                f"{self._stage.name}.mixed: expected the sources of the saved state ({counts[0]} in use, the stage's "
                f"own data among them), found others ({counts[1]} in use); take that back, or begin the stage anew"
            )
        for source, saved_source in zip(self._sources, saved, strict=True):
            if source is not None:
                source.set_state(saved_source)


class Draws(Iterator[list[Record]]):
    """The draws of one rollout; see `MixedPrompts.at`."""

    def __init__(self, prompts: MixedPrompts, step: int):
        self._prompts, self._step = prompts, step

    def __next__(self) -> list[Record]:
        return self._prompts.draw(self._step)

    def get_state(self) -> dict[str, Any]:
        """The state of the sources after all draws."""
        return self._prompts.get_state()


def open_prompts(stage: GrpoConfig, run: RunContext) -> MixedPrompts:
    """The prompts of a stage at their beginning. A source that has no share in any rollout is not even loaded.

    Every record is rendered, and its reward set looked up: one that cannot be asked or graded is found now, not when it
    is drawn. Raises DataError, or UserError for a reward set that there is not.
    """
    used = [True, *(comes(one.share, stage) for one in stage.mixed)]
    data = [stage.data, *(one.data for one in stage.mixed)]
    purposes = ["data", *(f"mixed/{number}" for number in range(len(stage.mixed)))]
    return MixedPrompts(
        stage,
        [
            epochs(_checked(one, stage, run), seed=run.seed_of(f"{stage.name}/{purpose}"), batch_size=1)
            if use
            else None
            for one, purpose, use in zip(data, purposes, used, strict=True)
        ],
    )


def _checked(data: DataConfig, stage: GrpoConfig, run: RunContext) -> Sequence[Record]:
    records = run.load(data)
    sets = [one.name for one in run.config.rewards.sets]
    for number, record in enumerate(records):
        with named_line(number, data, run):
            render_one(record, stage.template, run, max_prompt_tokens=stage.sampler.max_prompt_tokens)
            set_of(record, sets)
    return records


def comes(share: Schedule, stage: GrpoConfig) -> bool:
    """Whether a source of that share gives a prompt to any rollout of the stage."""
    return any(
        round(share.at(step) * stage.rollout_prompts) for step in range(0, stage.num_steps, stage.steps_per_rollout)
    )


def prompt_counts(stage: GrpoConfig, step: int) -> list[int]:
    """How many prompts the stage's own data and each source of `stage.mixed` give to a rollout that begins with `step`.

    A mixed source gives round(share x rollout_prompts), one after the other as long as there is room (rounding may ask
    for one too many); the stage's own data gives the rest.
    """
    left, counts = stage.rollout_prompts, []
    for one in stage.mixed:
        counts.append(min(left, round(one.share.at(step) * stage.rollout_prompts)))
        left -= counts[-1]
    return [left, *counts]


def spread(counts: Sequence[int]) -> list[int]:
    """The source of each prompt of a draw: [3, 1] -> [0, 0, 1, 0].

    Number n of a source's c prompts stands at (n + 1/2) / c of the way, the earlier source first where two meet. So any
    first part of a draw, such as the groups that dynamic sampling keeps of its last round, has about the shares of the
    whole.
    """
    places = [((number + 0.5) / count, source) for source, count in enumerate(counts) for number in range(count)]
    return [source for _, source in sorted(places)]
