"""What a stage has cost, in FLOPs, from the work that it has written down: training, sampling, scoring.

Read are the `work/...` metrics of metrics.jsonl (of a stage that leaves data: of its outputs in the manifest), which
`models.flops` explains; a tree search has counted its FLOPs itself. Validation and evaluation, which are looks from
outside, the rivals of a search, and graders are not part of the cost.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from r1jax.claims.claim import ClaimError
from r1jax.config import DistillConfig, ModelConfig, RewardModelConfig, RunConfig, SearchConfig, StageConfig
from r1jax.config.serialize import from_json
from r1jax.models.flops import Pass, Work, flops
from r1jax.models.huggingface.importer import read_model
from r1jax.models.pretrained import resolved
from r1jax.workdir import Workdir

_SCORE = "score/"
_KINDS: dict[str, tuple[str, Pass]] = {
    "train": ("train", "train"),
    "prefill": ("sample", "forward"),
    "decode": ("sample", "decode"),
}


@dataclasses.dataclass(frozen=True)
class Costs:
    """FLOPs by what they were for. `score`: log-probs of the old policy, the reference, a teacher; reward models.

    Of a tree search all are under `sample`, those of its value model among them.
    """

    train: float = 0.0
    sample: float = 0.0
    score: float = 0.0

    @property
    def total(self) -> float:
        return self.train + self.sample + self.score

    def __add__(self, other: Costs) -> Costs:
        return Costs(self.train + other.train, self.sample + other.sample, self.score + other.score)

    def to_json(self) -> dict[str, float]:
        """{"train", "sample", "score", "total"}."""
        return {**dataclasses.asdict(self), "total": self.total}


def stage_flops(workdir: Workdir, name: str) -> Costs:
    """The FLOPs of a stage so far. Raises ClaimError where it has not written down its work."""
    config = _config(workdir)
    stage = config.stage(name)
    if isinstance(stage, SearchConfig):
        searched = workdir.stage(name).read_evaluation()
        if searched is None:
            raise ClaimError(f"{workdir.stage(name).path}: expected the eval.json of a search, found none; run {name}")
        return Costs(sample=searched["flops"] * searched["num_prompts"])
    if stage.leaves == "data":
        return _counted(workdir.outputs(name), stage, config, f"{workdir.path}/manifest.json: outputs of {name}")
    return flops_by_step(workdir, name)[-1][1]


def flops_by_step(workdir: Workdir, name: str) -> list[tuple[int, Costs]]:
    """Of a training stage: each step with a line of metrics, and what was spent up to it.

    A line of step 0 is a look at what the stage starts from: nothing was spent.
    """
    config = _config(workdir)
    lines, total, found = workdir.stage(name).metrics, Costs(), []
    for line in lines.read():
        if line["step"] > 0:
            total += _counted(line, config.stage(name), config, f"{lines.path}: step {line['step']}")
        found.append((line["step"], total))
    if not found:
        raise ClaimError(f"{lines.path}: expected a line of metrics, found none; has {name} been run?")
    return found


def _config(workdir: Workdir) -> RunConfig:
    saved = workdir.config()
    if saved is None:
        raise ClaimError(f"{workdir.path}: expected the config.json of a run, found none")
    return resolved(from_json(saved))


def _counted(metrics: Mapping[str, Any], stage: StageConfig, config: RunConfig, where: str) -> Costs:
    work = Work.read(metrics)
    if not work:
        raise ClaimError(f"{where}: expected work/... metrics, found none; run it again with this version")
    total = Costs()
    for name, one in work.items():
        kind, how = ("score", "forward") if name.startswith(_SCORE) else _KINDS.get(name, (None, None))
        if kind is None:
            raise ClaimError(f"{where}: expected work/ of {', '.join(_KINDS)} or {_SCORE}..., found {name!r}")
        model = _scored_by(name.removeprefix(_SCORE), stage, config) if kind == "score" else _own(stage, config)
        total += Costs(**{kind: flops(model, one, how)})
    return total


def _own(stage: StageConfig, config: RunConfig) -> ModelConfig:
    run = config.of(stage.name)
    return run.scoring().model if isinstance(stage, RewardModelConfig) else run.model


def _scored_by(who: str, stage: StageConfig, config: RunConfig) -> ModelConfig:
    """The model that scored: `old` and `reference` are the stage's own, `teacher` is its teacher's, else a stage."""
    if who in ("old", "reference"):
        return _own(stage, config)
    if who != "teacher":
        return _own(config.stage(who), config)
    if not isinstance(stage, DistillConfig):
        raise ClaimError(f"stage {stage.name}: expected a distillation for the work of a teacher")
    known = [one.name for one in config.stages]
    return _own(config.stage(stage.teacher), config) if stage.teacher in known else read_model(stage.teacher)
