"""Which of two answers is better: votes of a judge that sees them in either order, for preference pairs.

DeepSeek-R1's helpful reward model learns from pairs on which a judge voted four times with the order swapped at
random, averaged (arXiv 2501.12948v2); the verdicts are Arena-Hard's (arXiv 2406.11939). Here half of the votes see
either order, so that a liking for the first place cancels exactly, and the draw says which votes those are. Only
summaries are shown, never the thinking.
"""

from __future__ import annotations

import dataclasses
import random
import re
from collections.abc import Sequence

from r1jax.rewards.judge.ask import Ask, ask_until_read
from r1jax.rewards.judge.prompts import preference_prompt, summary
from r1jax.text.answers import after_thinking

SCALE = {"A>>B": 2, "A>B": 1, "A=B": 0, "B>A": -1, "B>>A": -2}
LABEL = re.compile(r"\[\[\s*(A>>B|A>B|A=B|B>A|B>>A)\s*\]\]")


@dataclasses.dataclass(frozen=True)
class Pair:
    """Two completions of one question."""

    question: str
    first: str
    second: str


@dataclasses.dataclass(frozen=True)
class Vote:
    """One vote.

    Attributes:
      swapped: whether the judge saw the second completion in the first place.
      label: its verdict on A, in the first place, and B: a key of SCALE; None where there is none.
      reason: why there is none.
    """

    swapped: bool
    label: str | None
    reason: str | None = None

    @property
    def value(self) -> int | None:
        """In favour of the first completion: 2 much better ... -2 much worse."""
        if self.label is None:
            return None
        return -SCALE[self.label] if self.swapped else SCALE[self.label]


@dataclasses.dataclass(frozen=True)
class Preference:
    """What the votes say of a pair."""

    votes: tuple[Vote, ...]

    @property
    def mean(self) -> float | None:
        """In [-2, 2], above 0 for the first completion; None as `mean_vote` says."""
        return mean_vote([(vote.swapped, vote.value) for vote in self.votes])


def mean_vote(votes: Sequence[tuple[bool, float | None]]) -> float | None:
    """The mean of votes, each whether its pair was swapped and its value (None: missing) in favour of the first.

    Where single ones are missing each order still counts as much as it was asked. None where all votes of an order
    are: then a liking for a place would decide; also where there are no votes.
    """
    total = 0.0
    for order in {swapped for swapped, _ in votes}:
        asked = [value for swapped, value in votes if swapped is order]
        known = [value for value in asked if value is not None]
        if not known:
            return None
        total += len(asked) * sum(known) / len(known)
    return total / len(votes) if votes else None


def preference(ask: Ask, question: str, first: str, second: str, votes: int = 4, seed: int = 0) -> Preference:
    """The judge's preference between two completions; see `preferences`."""
    return preferences(ask, [Pair(question, first, second)], votes, seed)[0]


def preferences(ask: Ask, pairs: Sequence[Pair], votes: int = 4, seed: int = 0) -> list[Preference]:
    """The judge's preference on each pair, all asked together (so some thousands of pairs at a time).

    `votes` (1 or more) are taken of each, half of them in either order (of an odd number one more in an order that
    is drawn). The drawing depends on `seed` and on the pair alone. Equal prompts are asked as often as they
    occur: let the judge sample at a temperature above 0, or half of the votes repeat the others.
    """
    if votes < 1:
        raise ValueError(f"votes: expected 1 or more, found {votes}")
    orders = [swapped for pair in pairs for swapped in _orders(pair, votes, seed)]
    shown = [pair for pair in pairs for _ in range(votes)]
    prompts = [
        lambda attempt, pair=pair, swapped=swapped: _prompt(pair, swapped, attempt)
        for pair, swapped in zip(shown, orders, strict=True)
    ]
    found = ask_until_read(ask, prompts, read_label)
    cast = [
        Vote(swapped, one) if isinstance(one, str) else Vote(swapped, None, str(one))
        for swapped, one in zip(orders, found, strict=True)
    ]
    return [Preference(tuple(cast[start : start + votes])) for start in range(0, len(cast), votes)]


def read_label(reply: str) -> str | None:
    """The one verdict of a reply, after the thinking; None where there is none, or several that differ."""
    labels = set(LABEL.findall(after_thinking(reply)))
    return labels.pop() if len(labels) == 1 else None


def _orders(pair: Pair, votes: int, seed: int) -> list[bool]:
    """For each vote whether the pair is swapped: both orders as often as can be, in an order that is drawn."""
    draw = random.Random(f"{seed}\0{pair.question}\0{pair.first}\0{pair.second}".encode(errors="surrogatepass"))
    orders = [number % 2 == 1 for number in range(votes)]
    if draw.random() < 0.5:  # noqa: PLR2004
        orders = [not swapped for swapped in orders]
    draw.shuffle(orders)
    return orders


def _prompt(pair: Pair, swapped: bool, attempt: int):
    first, second = summary(pair.first), summary(pair.second)
    a, b = (second, first) if swapped else (first, second)
    return preference_prompt(pair.question, a, b, attempt)
