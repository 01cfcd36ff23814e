"""The run doctor: says early and in words that a run learns nothing, will break, or learns to please a reward model.

`Doctor` watches the metrics of a stage by the RULES; `hacking_alarm` is the one that compares its validations.
"""

from r1jax.doctor.hacking import DEFAULT_WINDOW, HackingAlarm, Slope, hacking_alarm
from r1jax.doctor.rules import PATIENCE_VALUES, RULES, WINDOW_VALUES
from r1jax.doctor.watch import REMIND_LINES, Doctor, Finding, diagnose

__all__ = [
    "DEFAULT_WINDOW",
    "PATIENCE_VALUES",
    "REMIND_LINES",
    "RULES",
    "WINDOW_VALUES",
    "Doctor",
    "Finding",
    "HackingAlarm",
    "Slope",
    "diagnose",
    "hacking_alarm",
]
