"""What a reward is told and what it says: items in, scores with a status out.

A score without a value means "cannot tell": the sample is masked, which is not the same as a wrong answer.
"""

from __future__ import annotations

import dataclasses
import enum
import math
import numbers
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from typing import Any

from r1jax.errors import UserError


class Status(enum.StrEnum):
    """How a score came about. The last two carry no value: see MASKED."""

    CORRECT = "correct"
    WRONG = "wrong"
    NO_ANSWER = "no_answer"
    OVER_LIMIT = "over_limit"  # an answer too costly to check, though its gold is not: the policy's fault
    SCORED = "scored"  # a number that is no verdict on the answer: format, language
    INFRASTRUCTURE_ERROR = "infrastructure_error"  # no worker to grade with
    VERIFIER_ERROR = "verifier_error"  # the grader or the gold is at fault


MASKED = frozenset({Status.INFRASTRUCTURE_ERROR, Status.VERIFIER_ERROR})


@dataclasses.dataclass(frozen=True)
class Item:
    """One completion to be scored.

    Attributes:
      record: the prompt's record (plain JSON values).
      completion: text of the assistant's turn, forced prefix included, end token left out.
      group: equal for the completions of one prompt.
      num_tokens: tokens sampled, the end token included.
      truncated: whether the length limit ended it.
      tokens: their ids, for rewards that read tokens; empty where the caller has none.
      judged: what the first judging reward of the set has said, for rewards that come after it.
    """

    record: Mapping[str, Any]
    completion: str
    group: int = 0
    num_tokens: int = 0
    truncated: bool = False
    tokens: Sequence[int] = ()
    judged: Status | None = None

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Item:
        """The item of `dataclasses.asdict`, through JSON."""
        judged = entry["judged"]
        restored = {"tokens": tuple(entry["tokens"]), "judged": None if judged is None else Status(judged)}
        return cls(**{**entry, **restored})


@dataclasses.dataclass(frozen=True)
class Score:
    """What one reward says of one item.

    Attributes:
      value: a finite number, or None exactly when `status` is one of MASKED.
      status: how it came about.
      answer: the final answer that was read from the completion, if the reward reads one.
    """

    value: float | None
    status: Status
    answer: str | None = None

    def __post_init__(self):
        if (self.value is None) != (self.status in MASKED):
            raise ValueError(
                f"a score has no value exactly when its status is masked ({', '.join(sorted(MASKED))}); "
                f"found value {self.value!r} with status {self.status.value}"
            )

    def to_json(self) -> list:
        return [self.value, self.status.value, self.answer]

    @classmethod
    def from_json(cls, entry: Sequence) -> Score:
        value, status, answer = entry
        return cls(value, Status(status), answer)


@dataclasses.dataclass(frozen=True)
class Isolation:
    """How a reward that may hang, crash or eat memory is run in a worker process, one item at a time.

    Attributes:
      warm_up: called once in a new worker, before any deadline runs: imports and first-use costs.
      quick: called in the parent; the score where that takes no risk, else None.
      control: called in a worker after a failure; whether the grader copes with the gold itself. Only then is
        the failure the policy's fault. None: it never is.
      key: items of equal keys get equal scores, so they are graded once; None for an item of its own.
      seconds: the deadline of an item that may take longer than rewards.deadline_seconds. None: none may.
      tokens: whether it reads `Item.tokens`, which workers are sent only then.
    """

    warm_up: Callable[[], None]
    quick: Callable[[Item], Score | None]
    control: Callable[[Item], bool] | None
    key: Callable[[Item], Hashable | None]
    seconds: Callable[[Item], float] | None = None
    tokens: bool = False


@dataclasses.dataclass(frozen=True)
class Reward:
    """A plain function from items to as many scores, the range of its values, and how it is run.

    Attributes:
      score: the function. Without `isolation` or `threads` it runs in the caller's process and thread: it must be
        quick and safe on any text.
      low, high: the range of its values.
      isolation: it runs in worker processes, one item at a time.
      threads: it waits for others (an HTTP service): it runs in so many threads of this process, one item at a
        time, and sees to its own deadlines.
      after_judging: it is called when the first judging reward of its set has spoken (`Item.judged`).
      prepare: called once where a service opens, in the caller's process: raises UserError where the reward
        cannot run at all, and gives what a run's manifest should say of how it runs (plain JSON values).
      close: called where a service closes: ends what `score` waits for in threads, and lets go of connections.
        What is scored later may open them again.
    """

    score: Callable[[Sequence[Item]], Sequence[Score]]
    low: float
    high: float
    isolation: Isolation | None = None
    threads: int = 0
    after_judging: bool = False
    prepare: Callable[[], Mapping[str, Any]] | None = None
    close: Callable[[], None] | None = None

    def __post_init__(self):
        if sum((self.isolation is not None, self.threads > 0, self.after_judging)) > 1:
            raise ValueError(
                "a reward is isolated, or runs in threads, or comes after the judging one: not two of them"
            )
        if not self.low < self.high:
            raise ValueError(f"reward range: expected low < high, found {self.low} and {self.high}")
        if self.isolation is not None and not math.isfinite(self.low):
            raise ValueError("an isolated reward needs a finite low: it is what an item over its limits gets")


class RewardError(UserError):
    """A reward function broke its contract, or was given a record that it cannot score; the text names it."""


def checked_scores(name: str, reward: Reward, items: Sequence[Item]) -> list[Score]:
    """The scores of `items` by `reward`, their values as plain floats (NumPy's scalars are no JSON).

    Raises RewardError, naming the reward, for a wrong number of scores, for anything that is no Score of a
    number, a Status and a text, and for a value that is not finite or lies outside [low, high].
    """
    scores = reward.score(items)
    if not isinstance(scores, Iterable):
        raise RewardError(f"reward {name}: expected {len(items)} scores, found {scores!r}")
    scores = list(scores)
    if len(scores) != len(items):
        raise RewardError(f"reward {name}: expected {len(items)} scores, found {len(scores)}")
    return [_checked(score, name, reward, item) for item, score in zip(items, scores, strict=True)]


def _checked(score: Any, name: str, reward: Reward, item: Item) -> Score:
    expected = None
    if not isinstance(score, Score):
        expected = "a Score"
    elif not isinstance(score.status, Status):
        expected = "a status of Status"
    elif not (score.answer is None or isinstance(score.answer, str)):
        expected = "an answer that is a str or None"
    elif not (score.value is None or isinstance(score.value, numbers.Real)):
        expected = "a value that is a number or None"
    if expected is not None:
        raise RewardError(f"reward {name}, record {item.record.get('id')!r}: expected {expected}, found {score!r}")
    if score.value is None:
        return score
    try:
        value = float(score.value)
    except OverflowError:  # an integer beyond the floats
        value = math.inf
    if not (math.isfinite(value) and reward.low <= value <= reward.high):
        raise RewardError(
            f"reward {name}, record {item.record.get('id')!r}: expected a finite value in "
            f"[{reward.low}, {reward.high}], found {score.value!r}"
        )
    return dataclasses.replace(score, value=value)


def require_field(item: Item, field: str, reward: str) -> Any:
    """A field that a reward cannot do without; UserError names record, field and reward."""
    if item.record.get(field) is None:
        present = ", ".join(sorted(name for name, value in item.record.items() if value is not None))
        raise UserError(
            f"record {item.record.get('id')!r}: the {reward} reward expects the field {field!r}, found "
            f"{present or 'no fields'}"
        )
    return item.record[field]


def require_integer(item: Item, field: str, reward: str) -> int:
    """A field that must be an integer; UserError names record, field and reward."""
    value = require_field(item, field, reward)
    if not _is_integer(value):
        raise _wrong_field(item, field, reward, "to be an integer", value)
    return value


def require_integers(item: Item, field: str, reward: str) -> list[int]:
    """A field that must be a list of integers; UserError names record, field and reward."""
    value = require_field(item, field, reward)
    if not isinstance(value, list | tuple) or not all(map(_is_integer, value)):
        raise _wrong_field(item, field, reward, "to be a list of integers", value)
    return list(value)


def _is_integer(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _wrong_field(item: Item, field: str, reward: str, expected: str, found: Any) -> UserError:
    return UserError(
        f"record {item.record.get('id')!r}: the {reward} reward expects the field {field!r} {expected}, found {found!r}"
    )


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The scores of one completion by the rewards of its set, in the set's order."""

    scores: Mapping[str, Score]
    reward_set: str = "default"

    @property
    def masked(self) -> bool:
        """Whether any reward could not tell."""
        return any(score.value is None for score in self.scores.values())

    @property
    def _judging(self) -> Score | None:
        return next((one for one in self.scores.values() if one.status is not Status.SCORED), None)

    @property
    def status(self) -> Status:
        """That of the first reward that judges the answer; `scored` when the set has none."""
        return Status.SCORED if self._judging is None else self._judging.status

    @property
    def answer(self) -> str | None:
        """The answer that this reward read."""
        return None if self._judging is None else self._judging.answer

    def total(self, weights: Mapping[str, float]) -> float | None:
        """The weighted sum of the values; None when a reward with a weight other than 0 could not tell."""
        total = 0.0
        for name, score in self.scores.items():
            if name not in weights:
                raise ValueError(f"no weight for reward {name}: found weights of {', '.join(weights)}")
            if weights[name] == 0:
                continue
            if score.value is None:
                return None
            total += weights[name] * score.value
        return total

    def to_json(self) -> dict:
        """Plain JSON values that `from_json` turns back into an equal verdict (floats exactly)."""
        return {
            "set": self.reward_set,
            "scores": {name: score.to_json() for name, score in self.scores.items()},
        }

    @classmethod
    def from_json(cls, entry: Mapping[str, Any]) -> Verdict:
        scores = {name: Score.from_json(score) for name, score in entry["scores"].items()}
        return cls(scores, entry["set"])
