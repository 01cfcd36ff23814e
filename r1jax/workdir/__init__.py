"""The files of a run, without jax: manifest, per-stage metrics, samples and journal, truncated on resume.

DIR/config.json  manifest.json  summary.json
DIR/<stage>/config.json  checkpoints/<step>/  journal/  metrics.jsonl  samples.jsonl  eval.json  scored.json  tb/
"""

from r1jax.workdir.files import StepLines, WorkdirError
from r1jax.workdir.journal import Entry, Journal
from r1jax.workdir.manifest import Plan, Workdir
from r1jax.workdir.stage_folder import StageFolder

__all__ = ["Entry", "Journal", "Plan", "StageFolder", "StepLines", "Workdir", "WorkdirError"]
