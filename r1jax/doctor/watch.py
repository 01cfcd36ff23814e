"""The doctor at work: lines of metrics.jsonl in, findings out, while a run goes and afterwards."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping

from r1jax.config import GrpoConfig, StageConfig
from r1jax.doctor.hacking import ACCURACY, DEFAULT_WINDOW, SCORE
from r1jax.doctor.rules import NOT_FINITE, RULES, Window

Metrics = Mapping[str, float | None]
REMIND_LINES = 100  # a finding that lasts is repeated after so many lines


@dataclasses.dataclass(frozen=True)
class Finding:
    """One thing that is wrong with a run.

    Attributes:
      rule: the name of the rule in RULES.
      step: the step of the latest line that it was seen on.
      message: what is seen, with the number.
      advice: what to do about it.
    """

    rule: str
    step: int
    message: str
    advice: str

    def __str__(self) -> str:
        return f"step {self.step}: {self.message} {self.advice}"


class Doctor:
    """Watches one stage.

    After a restart it begins anew: feed it the lines that metrics.jsonl already has, so that it knows how the
    stage began.

    Args:
      hacking_window: validations that the rule "hacking" looks at, as in the stage's config.
      changes_until: the step with which the last prompts or rewards that the stage has scheduled come in.
    """

    def __init__(self, hacking_window: int = DEFAULT_WINDOW, changes_until: int = 0):
        self._window = Window(hacking_window=hacking_window)
        self._changes_until = changes_until
        self._lines = 0
        self._told: dict[str, int] = {}

    @classmethod
    def of(cls, stage: StageConfig | None) -> Doctor:
        """One that knows what is planned for the stage."""
        return cls(stage.hacking_window, stage.changes_until) if isinstance(stage, GrpoConfig) else cls()

    def observe(self, step: int, metrics: Metrics) -> list[Finding]:
        """Takes one line in, and returns the findings that are new or due for a reminder."""
        self._lines += 1
        changing = 0 < self._changes_until >= step
        if self._window.changing and not changing:
            self._window.recent.clear()  # of other prompts or rewards
        self._window.changing = changing
        for name, value in metrics.items():
            if _is_number(value):
                self._window.add(name, value)
        if "loss" in metrics:
            # In metrics.jsonl a number that is not finite is null.
            finite = all(_is_number(metrics[name]) for name in ("loss", "grad_norm") if name in metrics)
            self._window.add(NOT_FINITE, float(not finite))
        if _is_number(metrics.get(SCORE)) and _is_number(metrics.get(ACCURACY)):
            self._window.add_validation({"step": step, SCORE: metrics[SCORE], ACCURACY: metrics[ACCURACY]})
        findings = []
        for name, rule in RULES.items():
            seen = rule(self._window)
            if seen is None:
                self._told.pop(name, None)
            elif self._lines - self._told.get(name, -REMIND_LINES) >= REMIND_LINES:
                self._told[name] = self._lines
                findings.append(Finding(name, step, *seen))
        return findings


def diagnose(lines: Iterable[Metrics], doctor: Doctor | None = None) -> list[Finding]:
    """The findings of a whole metrics.jsonl, each rule once, as it was seen last; by a new doctor, if none is given."""
    doctor = doctor or Doctor()
    latest: dict[str, Finding] = {}
    for line in lines:
        for finding in doctor.observe(int(line["step"]), line):
            latest[finding.rule] = finding
    return list(latest.values())


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)
