"""What the lint has found, as a table of attacks against rewards."""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Sequence

MOST_SHOWN = 12  # findings of a reward: the first tell enough
EXCERPT_CHARS = 160


@dataclasses.dataclass(frozen=True)
class Finding:
    """Something wrong with a reward.

    Attributes:
      check: the name of the attack or of the check.
      problem: what happened, in words.
      probe, style: what the completion was made of; "" where it does not matter.
      completion: the text that showed it.
    """

    check: str
    problem: str
    probe: str = ""
    style: str = ""
    completion: str = ""

    def text(self) -> str:
        place = ", ".join(part for part in (self.probe, self.style) if part)
        excerpt = ascii(
            self.completion if len(self.completion) <= EXCERPT_CHARS else f"...{self.completion[-EXCERPT_CHARS:]}"
        )
        return f"{self.check}{f' ({place})' if place else ''}: {self.problem}" + (f": {excerpt}" if place else "")


@dataclasses.dataclass
class RewardReport:
    """What became of one reward.

    Attributes:
      reward: its name.
      fits: the probes and styles that suit it, with the virtues that it is about there.
      tried: attack -> completions that had to lose something by it.
      findings: what is wrong.
      not_run: why it could not be asked at all, or None.
    """

    reward: str
    fits: dict[tuple[str, str], tuple[str, ...]] = dataclasses.field(default_factory=dict)
    tried: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    findings: list[Finding] = dataclasses.field(default_factory=list)
    not_run: str | None = None

    def cell(self, attack: str) -> str:
        """`-` where the attack does not matter, else how many completions were refused, or how many were not."""
        if self.not_run is not None:
            return "?"
        found = sum(one.check == attack for one in self.findings)
        return f"{found}!" if found else str(self.tried[attack] or "-")

    def summary(self) -> str:
        """A line."""
        if self.not_run is not None:
            return f"not run: {self.not_run}"
        virtues = sorted({virtue for found in self.fits.values() for virtue in found})
        probes = list(dict.fromkeys(probe for probe, _ in self.fits))
        found = f"{len(self.findings)} FINDINGS" if self.findings else "nothing found"
        return f"{found}; about {', '.join(virtues) or 'nothing'}; probes: {', '.join(probes) or 'none'}"


@dataclasses.dataclass(frozen=True)
class Report:
    """Of all rewards that were asked for."""

    rewards: tuple[RewardReport, ...]
    attacks: tuple[str, ...]

    @property
    def findings(self) -> list[Finding]:
        return [finding for one in self.rewards for finding in one.findings]

    def text(self) -> str:
        """The table, and the findings below it."""
        numbered = [f"{number:>3} {one.reward}: {one.summary()}" for number, one in enumerate(self.rewards, start=1)]
        parts = ["Completions that each reward had to refuse (`-`: the attack is on nothing that it is about;"]
        parts += ["`n!`: n were not refused; `?`: the reward could not be asked)", "", *numbered, "", *self._table()]
        for one in self.rewards:
            parts += ["", f"{one.reward}:"] * bool(one.findings)
            parts += [f"  {finding.text()}" for finding in one.findings[:MOST_SHOWN]]
            parts += [f"  ... and {len(one.findings) - MOST_SHOWN} more"] * (len(one.findings) > MOST_SHOWN)
        return "\n".join(parts)

    def _table(self) -> list[str]:
        rows: list[tuple[str, Sequence[str]]] = [("", [str(number + 1) for number in range(len(self.rewards))])]
        rows += [(attack, [one.cell(attack) for one in self.rewards]) for attack in self.attacks]
        width = max(len(name) for name, _ in rows)
        return [f"{name:<{width}} " + " ".join(f"{cell:>5}" for cell in cells) for name, cells in rows]
