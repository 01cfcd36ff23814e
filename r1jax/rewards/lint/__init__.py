"""`reward_lint`: adversarial completions run against every reward, ours and yours (docs/reward_lint.md).

Reading order: `probes` (records whose right answer is known), `styles` (honest completions, and the virtues that
can be taken from them), `attacks` with `wrong_answers`, `wrong_shapes` and `programs`, `linting` (how it is found
out what a reward is about), `grading`, `checks`, `report`.
"""

from r1jax.rewards.lint.linting import lint
from r1jax.rewards.lint.probes import Probe, read_probes
from r1jax.rewards.lint.report import Finding, Report

__all__ = ["Finding", "Probe", "Report", "lint", "read_probes"]
