"""A claim that is written down before it is measured, and what the seeds say of it.

Each seed gives a pair: the figure under the treatment and under its control, from runs of the same seed and prompts.
The judgement is by rule alone:

    rises, falls   "shown": the difference has the claimed sign in every seed, and the 95 % paired t-interval of its
                   mean excludes 0; "against": the same with the other sign
    unchanged      "unchanged": the interval lies within the margin stated beforehand; "against": it lies outside
    else           "not shown"
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np
from scipy import stats

from r1jax.errors import UserError
from r1jax.workdir import Workdir

Kind = Literal["rises", "falls", "unchanged"]
Verdict = Literal["shown", "unchanged", "against", "not shown"]
Runs = Mapping[str, Workdir]  # the runs of one seed, by the name of their config

LEAST_SEEDS = 3
CONFIDENCE = 0.95


class ClaimError(UserError):
    """A claim that cannot be judged; one line for the user."""


class Pair(NamedTuple):
    """What one seed gives."""

    treatment: float
    control: float


@dataclasses.dataclass(frozen=True)
class Claim:
    """One claim.

    Attributes:
      name: short, unique.
      text: the claim in a sentence.
      paper: the paper's own figure and where it stands; "" where it has none.
      measure: from the runs of one seed to its pair.
      kind: what the treatment does to the figure, compared with the control.
      margin: of "unchanged": the largest difference, either way, that still counts as none; in the figure's unit.
      share: whether the figure is a share, to be shown in per cent.
      note: what a reader has to know besides, such as how the control was made.
    """

    name: str
    text: str
    paper: str
    measure: Callable[[Runs], Pair | tuple[float, float]]
    kind: Kind
    margin: float | None = None
    share: bool = True
    note: str = ""

    def __post_init__(self):
        if (self.kind == "unchanged") != (self.margin is not None):
            raise ClaimError(f"claim {self.name}: expected a margin for 'unchanged' and for no other kind")
        if self.margin is not None and not self.margin > 0:
            raise ClaimError(f"claim {self.name}: expected a margin above 0, found {self.margin}")


@dataclasses.dataclass(frozen=True)
class Result:
    """A claim, its pairs by seed, and the judgement."""

    claim: Claim
    pairs: Mapping[int, Pair]
    interval: tuple[float, float]  # of the mean difference, treatment less control
    verdict: Verdict

    @property
    def ours(self) -> str:
        """The means in words: treatment, control, difference."""
        treatment, control = (float(np.mean(side)) for side in zip(*self.pairs.values(), strict=True))
        difference = treatment - control
        if self.claim.share:
            return f"{treatment:.1%} against {control:.1%} ({100 * difference:+.1f} points)"
        return f"{treatment:.4g} against {control:.4g} ({difference:+.3g})"

    def to_json(self) -> dict[str, Any]:
        """As an entry of claims.json; `values` are [treatment, control] of each seed in the order of `seeds`."""
        return {
            "name": self.claim.name,
            "claim": self.claim.text,
            "paper": self.claim.paper,
            "ours": self.ours,
            "interval": list(self.interval),
            "verdict": self.verdict,
            "kind": self.claim.kind,
            "margin": self.claim.margin,
            "share": self.claim.share,
            "seeds": list(self.pairs),
            "values": [list(pair) for pair in self.pairs.values()],
            "note": self.claim.note,
        }


def assess(claims: Sequence[Claim], seeds: Mapping[int, Runs]) -> list[Result]:
    """Measures every claim on every seed, and judges it.

    Raises ClaimError for fewer than `LEAST_SEEDS` seeds, a figure that is not a number, or two claims of one name.
    """
    names = [claim.name for claim in claims]
    if len(set(names)) != len(names):
        raise ClaimError(f"claims: expected a name of its own for each, found {names}")
    return [judge(claim, {seed: Pair(*claim.measure(runs)) for seed, runs in seeds.items()}) for claim in claims]


def judge(claim: Claim, pairs: Mapping[int, Pair]) -> Result:
    """The judgement of a claim by its pairs; errors as of `assess`."""
    if len(pairs) < LEAST_SEEDS:
        raise ClaimError(f"claim {claim.name}: expected {LEAST_SEEDS} seeds or more, found {len(pairs)}")
    for seed, pair in pairs.items():
        if not all(map(math.isfinite, pair)):
            raise ClaimError(f"claim {claim.name}: expected numbers of seed {seed}, found {tuple(pair)}")
    differences = [pair.treatment - pair.control for pair in pairs.values()]
    low, high = t_interval(differences)
    if claim.margin is not None:
        verdict: Verdict = "not shown"
        if -claim.margin <= low and high <= claim.margin:
            verdict = "unchanged"
        elif low > claim.margin or high < -claim.margin:
            verdict = "against"
        return Result(claim, dict(pairs), (low, high), verdict)
    up = low > 0 and min(differences) > 0
    down = high < 0 and max(differences) < 0
    as_claimed, opposite = (up, down) if claim.kind == "rises" else (down, up)
    return Result(claim, dict(pairs), (low, high), "shown" if as_claimed else "against" if opposite else "not shown")


def t_interval(differences: Sequence[float]) -> tuple[float, float]:
    """The 95 % interval of the mean of paired differences: mean -+ t(0.975, n - 1) s / sqrt(n) (Student 1908).

    Needs two at least. Where all are equal it is that number alone.
    """
    values = np.asarray(differences, np.float64)
    half = stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * values.std(ddof=1) / math.sqrt(len(values))
    return float(values.mean() - half), float(values.mean() + half)
