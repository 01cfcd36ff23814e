"""Countdown: reach a target with the given numbers, each used exactly once.

The small form has words of its own, so that a tiny base model can be pretrained on its corpus:

    make 24 from 3 4 5 ?
    first 3 + 4 is 7 + 5 is 12 ? 24 no ; wait 5 + 3 is 8 * 4 is 32 ? 24 no ; ...

Three numbers of 1..9, two operations out of + - *, all values in 1..30. The corpus is a poor searcher: it now
and then sees the solution, mostly tries at random, and soon gives up. The large form asks an open model in
plain English, as replications of R1-Zero do: three or four numbers of 1..99, a target of 10..99, + - * / with
whole results.
"""

from __future__ import annotations

import functools
import operator
import random
from itertools import combinations_with_replacement, permutations, product
from typing import NamedTuple

from r1jax.data.records import Record
from r1jax.data.tasks.task import TAGS, Task, chance, dealt, generator, loosely_tagged, pick, split_of

OPERATORS = {"+": operator.add, "-": operator.sub, "*": operator.mul}
NUMBERS = range(1, 10)
VALUES = range(1, 31)
VOCABULARY = (
    *(str(value) for value in VALUES),
    *("make", "from", "?", "+", "-", "*", "(", ")"),
    *("first", "wait", "is", "yes", "no", ";", "so"),
    *TAGS,
)

# Shares in the corpus.
INSIGHT = 0.25  # trials that go for a solution
GIVE_UP = 0.35  # after each "no"
DIRECT = 0.3  # guesses without a trial
WRONG_RESULT = 0.04  # trials whose last result is not right
BROKEN_TAGS = 0.4
SLIPS = (-2, -1, 1, 2)

LARGE_NUMBERS = range(1, 100)
LARGE_TARGETS = range(10, 100)
LARGE_VALUES = range(1, 1000)  # of what stands between
LARGE_COUNTS = (3, 4)


class Trial(NamedTuple):
    """(a first b) second c, its values all within VALUES."""

    numbers: tuple[int, int, int]
    operators: tuple[str, str]
    between: int
    result: int

    @property
    def answer(self) -> str:
        (a, b, c), (first, second) = self.numbers, self.operators
        return f"( {a} {first} {b} ) {second} {c}"


class Puzzle(NamedTuple):
    """A problem: the numbers in the order of the prompt, and the target."""

    numbers: tuple[int, ...]
    target: int

    @property
    def question(self) -> str:
        return f"make {self.target} from {' '.join(map(str, self.numbers))} ?"


@functools.cache
def trials(chosen: tuple[int, ...]) -> tuple[Trial, ...]:
    """All trials with the numbers (sorted), in a fixed order."""
    found = []
    for numbers in sorted(set(permutations(chosen))):
        a, b, c = numbers
        for operators in product(OPERATORS, repeat=2):
            between = OPERATORS[operators[0]](a, b)
            result = OPERATORS[operators[1]](between, c)
            if between in VALUES and result in VALUES:
                found.append(Trial(numbers, operators, between, result))
    return tuple(found)


@functools.cache
def puzzles(split: str) -> tuple[Puzzle, ...]:
    """All problems of a split, in a fixed order; numbers and target are held out in all orders."""
    return tuple(
        Puzzle(numbers, target)
        for chosen in combinations_with_replacement(NUMBERS, 3)
        for target in sorted({trial.result for trial in trials(chosen)})
        if split_of(f"{chosen}={target}") == split
        for numbers in sorted(set(permutations(chosen)))
    )


def _completion(rng: random.Random, puzzle: Puzzle) -> str:
    """Trials until yes, or until the search is given up and its last expression answered; or a guess."""
    options = trials(tuple(sorted(puzzle.numbers)))
    right = [trial for trial in options if trial.result == puzzle.target]
    steps: list[str] = []
    trial = pick(rng, options)
    while not chance(rng, GIVE_UP if steps else DIRECT):
        trial = pick(rng, right if chance(rng, INSIGHT) else options)
        result = trial.result
        if chance(rng, WRONG_RESULT):
            result = pick(rng, [result + slip for slip in SLIPS if result + slip in VALUES])
        (a, b, c), (first, second) = trial.numbers, trial.operators
        verdict = "yes" if result == puzzle.target else "no"
        steps.append(
            f"{'wait' if steps else 'first'} {a} {first} {b} is {trial.between} {second} {c} is {result} ? "
            f"{puzzle.target} {verdict} ;"
        )
        if verdict == "yes":
            break
    return loosely_tagged(rng, " ".join(steps) or "so", trial.answer, BROKEN_TAGS)


def make_prompt(seed: int, index: int, split: str) -> Record:
    """A prompt of the small form: fields question, numbers, target, answer (one solution), language."""
    puzzle = dealt(puzzles(split), f"countdown/{split}", seed, index)
    right = next(t for t in trials(tuple(sorted(puzzle.numbers))) if t.result == puzzle.target)
    return {
        "id": f"countdown:{split}:{seed}:{index}",
        "question": puzzle.question,
        "answer": right.answer,
        "numbers": list(puzzle.numbers),
        "target": puzzle.target,
        "language": "en",
    }


def make_document(seed: int, index: int, split: str) -> Record:
    """A document of the pretraining corpus of the small form: field text."""
    puzzle = dealt(puzzles(split), f"countdown_corpus/{split}", seed, index)
    completion = _completion(generator("countdown_corpus", seed, index), puzzle)
    return {
        "id": f"countdown_corpus:{split}:{seed}:{index}",
        "text": f"{puzzle.question} {completion}",
        "language": "en",
    }


def _join(rng: random.Random, left: tuple[int, str], right: tuple[int, str]) -> tuple[int, str] | None:
    """One operation drawn on two (value, expression), or None where its value is not wanted."""
    symbol = pick(rng, "+-*/")
    (a, first), (b, second) = left, right
    if symbol == "/" and a % b:
        return None
    value = a // b if symbol == "/" else OPERATORS[symbol](a, b)
    return (value, f"({first} {symbol} {second})") if value in LARGE_VALUES else None


def _draw_large(rng: random.Random) -> tuple[tuple[int, ...], int, str] | None:
    """Numbers, target and a solution: numbers joined at random into one value; None where that fails."""
    numbers = tuple(pick(rng, LARGE_NUMBERS) for _ in range(pick(rng, LARGE_COUNTS)))
    parts = [(number, str(number)) for number in numbers]
    while len(parts) > 1:
        joined = _join(rng, parts.pop(int(rng.random() * len(parts))), parts.pop(int(rng.random() * len(parts))))
        if joined is None:
            return None
        parts.append(joined)
    target, expression = parts[0]
    return (numbers, target, expression[1:-1]) if target in LARGE_TARGETS else None


def make_large(seed: int, index: int, split: str) -> Record:
    """A prompt of the large form: fields question, numbers, target, answer (one solution), language."""
    rng = generator("countdown_large", seed, index)
    drawn = None
    while drawn is None or split_of(f"{sorted(drawn[0])}={drawn[1]}") != split:
        drawn = _draw_large(rng)
    numbers, target, expression = drawn
    listed = ", ".join(map(str, numbers))
    return {
        "id": f"countdown_large:{split}:{seed}:{index}",
        "question": (
            f"Write an arithmetic expression that equals {target}, with the numbers {listed}. Use every "
            "number exactly once, and only +, -, *, / and brackets. Give the expression alone as the answer."
        ),
        "answer": expression,
        "numbers": list(numbers),
        "target": target,
        "language": "en",
    }


PROMPTS = Task(VOCABULARY, make_prompt)
CORPUS = Task(VOCABULARY, make_document)
LARGE = Task((), make_large)
