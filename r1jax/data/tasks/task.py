"""What a task is, and what all generators share: draws, held-out splits, and the tags of a poor corpus."""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import random
from collections.abc import Callable, Sequence
from typing import TypeVar

from r1jax.data.records import Record

T = TypeVar("T")

TAGS = ("<think>", "</think>", "<answer>", "</answer>")

# Shares of all prompts, in tenths of the hash range.
SPLITS = {"train": range(0, 8), "validation": range(8, 9), "test": range(9, 10)}

# The ways in which a tag is missing or misplaced, all as likely. An answer can be read from the second alone.
BROKEN = (
    "{thinking} {answer}",
    "{thinking} <answer> {answer} </answer>",
    "<think> {thinking} </think> {answer}",
    "<think> {thinking} <answer> {answer} </answer>",
    "<think> {thinking} </think> <answer> {answer}",
)


@dataclasses.dataclass(frozen=True)
class Task:
    """A generator of records.

    `vocabulary` are the words of its texts (whitespace-separated; without end-of-text and padding; empty for
    texts in free language). `make(seed, index, split)` is the record of that number, a function of its
    arguments alone; `split` is one of SPLITS.
    """

    vocabulary: tuple[str, ...]
    make: Callable[[int, int, str], Record]


def split_of(key: str) -> str:
    """The split that a prompt belongs to, by a hash of its canonical form: no prompt is in two of them."""
    tenth = int.from_bytes(hashlib.blake2s(key.encode(), digest_size=4).digest(), "big") % 10
    return next(name for name, tenths in SPLITS.items() if tenth in tenths)


def generator(task: str, seed: int, index: int) -> random.Random:
    """The draws of one record. Use `.random()` alone: no other stream is the same in every Python."""
    return random.Random(f"{task}/{seed}/{index}")


def chance(rng: random.Random, share: float) -> bool:
    """True in `share` of the draws."""
    return rng.random() < share


def pick(rng: random.Random, options: Sequence[T]) -> T:
    """One of the options, all as likely."""
    return options[int(rng.random() * len(options))]


def shuffled(rng: random.Random, items: Sequence[T]) -> list[T]:
    """The items in an order drawn at random (Fisher and Yates)."""
    rest = list(items)
    for last in range(len(rest) - 1, 0, -1):
        other = int(rng.random() * (last + 1))
        rest[last], rest[other] = rest[other], rest[last]
    return rest


def dealt(prompts: Sequence[T], name: str, seed: int, index: int) -> T:
    """Prompt `index` when all are dealt in an order drawn from the seed: none comes twice before all came."""
    return prompts[_order(len(prompts), name, seed)[index % len(prompts)]]


@functools.lru_cache(maxsize=16)
def _order(count: int, name: str, seed: int) -> list[int]:
    return shuffled(random.Random(f"{name}/{seed}/order"), range(count))


def tagged(thinking: str, answer: str) -> str:
    """The completion in the form that the format reward asks for."""
    return f"<think> {thinking} </think> <answer> {answer} </answer>"


def loosely_tagged(rng: random.Random, thinking: str, answer: str, broken: float) -> str:
    """The completion, with missing or misplaced tags in a `broken` share of the draws."""
    if not chance(rng, broken):
        return tagged(thinking, answer)
    return pick(rng, BROKEN).format(thinking=thinking, answer=answer)
