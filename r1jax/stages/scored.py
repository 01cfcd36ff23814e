"""Which evaluations of a stage are made, and of what: a stage that is resumed after its training makes none twice.

DIR/<stage>/scored.json holds for each the mark of all that its figures depend on (parameters, protocol, records,
rewards) and that of the figures themselves: figures of other parameters, or by another protocol, are not taken.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from etils import epath

from r1jax.config import BenchmarkConfig, EvaluationConfig, StageConfig
from r1jax.config.serialize import fingerprint, to_json
from r1jax.data import stage_files
from r1jax.stages.context import RunContext
from r1jax.stages.weights import start_checkpoint
from r1jax.workdir.files import read_json, write_json
from r1jax.workdir.identity import identity, mark_of_weights
from r1jax.workdir.weights_mark import weights_mark


class Scored:
    """The evaluations of a stage's result.

    Args:
      outputs: {"checkpoint": folder, "step": its step} of the result; None and None of the run's first weights.
    """

    def __init__(self, stage: StageConfig, outputs: Mapping[str, Any], run: RunContext):
        self._stage, self._run = stage, run
        self._path = run.workdir.stage(stage.name).path / "scored.json"
        self._weights = _mark(outputs["checkpoint"], outputs["step"])
        self._first = mark_of_weights(run.whole, stage.name)
        wanted = [self._first] if outputs["checkpoint"] is None else [self._weights]
        if run.config.model.lora is not None:
            wanted.append(self._first)
        self._known = None not in wanted

    def holds(self, purpose: str, one: EvaluationConfig | BenchmarkConfig, figures: Mapping[str, Any] | None) -> bool:
        """Whether `figures`, as they lie in the stage's folder, are what the evaluation would give again."""
        entry = (read_json(self._path) or {}).get(purpose)
        looked = figures is not None and entry is not None and self._known
        return looked and entry == self._entry(purpose, one, figures)

    def add(self, purpose: str, one: EvaluationConfig | BenchmarkConfig, figures: Mapping[str, Any]) -> None:
        """Takes note of figures that are on disk."""
        write_json(self._path, (read_json(self._path) or {}) | {purpose: self._entry(purpose, one, figures)})

    def _entry(self, purpose: str, one: EvaluationConfig | BenchmarkConfig, figures: Mapping[str, Any]) -> Any:
        evaluation = one.evaluation if isinstance(one, BenchmarkConfig) else one
        whole = identity(self._run.whole, self._stage.name)
        made_of = {
            **{name: value for name, value in whole.items() if name != "stages"},
            "purpose": purpose,
            "evaluation": to_json(one),
            "template": to_json(self._stage.template),
            "weights": [self._weights, self._first],
            "scored_by": [
                [to_json(self._run.whole.stage(name)), _mark(*start_checkpoint(name, self._run))]
                for name in evaluation.scored_by
            ],
            "records": stage_files.fingerprint(self._run.load(evaluation.data)),
        }
        return {"made_of": fingerprint(made_of), "figures": fingerprint(dict(figures))}


def _mark(folder: str | None, step: int | None) -> str | None:
    if folder is None:
        return None
    return weights_mark(folder if step is None else epath.Path(folder) / str(step))
