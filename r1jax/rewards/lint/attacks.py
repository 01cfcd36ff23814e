"""What an attack is: completions that deserve less than an honest one, built from a probe.

Each says which virtues it lacks; it must not get the honest completion's value from a reward that is about one of
them. Where a text could be taken for honest by some convention ("the last answer counts"), it lacks only what it
lacks by every one.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from typing import NamedTuple

from r1jax.rewards.lint.probes import Probe
from r1jax.rewards.lint.styles import SUMMARY, THINKING, Style, Virtue


@dataclasses.dataclass(frozen=True)
class Attack:
    """One way to cheat.

    Attributes:
      name: for the report.
      lacks: the virtues that its completions have nothing of.
      build: the completions for a probe in a style; none where it makes no sense.
      truncated: whether they were cut by the length limit.
      once: they are long, and say nothing more on a second probe.
    """

    name: str
    lacks: frozenset[Virtue]
    build: Callable[[Probe, Style], Iterable[str]]
    truncated: bool = False
    once: bool = False


class Pieces(NamedTuple):
    """The lines of an honest completion, in a style that has a place for thinking."""

    begin: str
    thinking: str
    end: str
    open_answer: str
    answer: str
    close_answer: str

    @property
    def head(self) -> str:
        """All of the thinking."""
        return f"{self.begin}\n{self.thinking}\n{self.end}"

    @property
    def tail(self) -> str:
        """All that follows it."""
        return f"{self.open_answer}\n{self.answer}\n{self.close_answer}".strip("\n")

    @property
    def whole(self) -> str:
        return f"{self.head}\n{self.tail}"


def has_answer_tags(p: Pieces) -> bool:
    """Whether the answer section has tags of its own."""
    return bool(p.open_answer)


def has_think_tags(p: Pieces) -> bool:
    """Whether rewards know the thinking for thinking: they read tags, and the cold start's mark is none."""
    return p.begin == "<think>"


Shape = Callable[[Probe, Style, Pieces], str]


def pieces(probe: Probe, style: Style) -> Pieces | None:
    """Of the honest completion; None in a style without a place for thinking."""
    if style.marks is None:
        return None
    begin, end, open_answer, close_answer = style.marks
    return Pieces(begin, THINKING[probe.language], end, open_answer, style.answer(probe, probe.right), close_answer)


def fixed(name: str, lacks: Iterable[Virtue], *texts: str, once: bool = False) -> Attack:
    """Texts that have nothing to do with the probe."""
    return Attack(name, frozenset(lacks), lambda probe, style: texts, once=once)


def answers(name: str, wrong: Callable[[Probe], Iterable[str]]) -> Attack:
    """Honest but for the answer, which is none."""

    def build(probe: Probe, style: Style) -> list[str]:
        others = (one for one in wrong(probe) if one.strip() != probe.right.strip())
        return [style.render(probe, THINKING[probe.language], one) for one in others]

    return Attack(name, frozenset({Virtue.ANSWER}), build)


def texts(name: str, wrong: Callable[[Probe], Iterable[str]]) -> Attack:
    """As `answers`, for answers that are no programs: two programs beside each other are no hedge."""
    return answers(name, lambda probe: () if probe.program else wrong(probe))


def shapes(
    name: str, lacks: Iterable[Virtue], *build: Shape, where: Callable[[Pieces], bool] = bool, truncated: bool = False
) -> Attack:
    """The pieces of an honest completion, put together otherwise, in the styles `where` it makes sense."""

    def of_pieces(probe: Probe, style: Style) -> list[str]:
        found = pieces(probe, style)
        if found is None or not where(found):
            return []
        return [shape(probe, style, found) for shape in build]

    return Attack(name, frozenset(lacks), of_pieces, truncated)


def summary(probe: Probe) -> str:
    """Words in the language of the question that are no answer."""
    return SUMMARY[probe.language]
