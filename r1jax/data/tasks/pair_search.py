"""Pair search: the miniature on which longer thinking pays, and `wait` grows under reinforcement learning.

    find a pair in 6 3 8 4 with sum 10 ?
    first 6 plus 3 is 9 ? 10 no ; wait 6 plus 4 is 10 ? 10 yes ;

Four distinct numbers of 1..9, two of which have the sum asked for. Numbers are words of their own. In the
corpus nearly every second "no" ends the search, and a third of the answers are guesses: persistence is there
to be found, and pays. A split holds out a set of numbers with its sum in all of its orders.
"""

from __future__ import annotations

import functools
import random
from itertools import combinations, permutations
from typing import NamedTuple

from r1jax.data.records import Record
from r1jax.data.tasks.task import (
    TAGS,
    Task,
    chance,
    dealt,
    generator,
    loosely_tagged,
    pick,
    shuffled,
    split_of,
)

NUMBERS = range(1, 10)
LISTED = 4
SUMS = range(3, 18)
VOCABULARY = (
    *(str(number) for number in range(1, 18)),
    *("find", "a", "pair", "in", "with", "sum", "?"),
    *("first", "wait", "plus", "is", "yes", "no", ";", "so"),
    *TAGS,
)

# Shares in the corpus.
GIVE_UP = 0.45  # after each "no"
DIRECT = 0.35  # guesses without a trial
WRONG_SUM = 0.06
WRONG_JUDGEMENT = 0.02
BROKEN_TAGS = 0.4
SLIPS = (-2, -1, 1, 2)


class Search(NamedTuple):
    """A problem: the numbers in the order of the prompt, and the sum asked for."""

    numbers: tuple[int, ...]
    target: int

    @property
    def question(self) -> str:
        return f"find a pair in {' '.join(map(str, self.numbers))} with sum {self.target} ?"


@functools.cache
def searches(split: str) -> tuple[Search, ...]:
    """All problems of a split, in a fixed order."""
    return tuple(
        Search(numbers, target)
        for chosen in combinations(NUMBERS, LISTED)
        for target in sorted({sum(pair) for pair in combinations(chosen, 2)})
        if split_of(f"{chosen}={target}") == split
        for numbers in permutations(chosen)
    )


def _trial(rng: random.Random, opening: str, pair: tuple[int, int], target: int) -> tuple[str, bool]:
    """A trial and whether it says yes."""
    total = sum(pair)
    if chance(rng, WRONG_SUM):
        total = pick(rng, [total + slip for slip in SLIPS if total + slip in SUMS])
    found = (total == target) != chance(rng, WRONG_JUDGEMENT)
    verdict = "yes" if found else "no"
    return f"{opening} {pair[0]} plus {pair[1]} is {total} ? {target} {verdict} ;", found


def _completion(rng: random.Random, search: Search) -> str:
    """A search among pairs not yet tried, in any order, until yes or until it is given up for a guess."""
    pairs = list(combinations(search.numbers, 2))
    answer, trials = pick(rng, pairs), []
    if not chance(rng, DIRECT):
        for pair in shuffled(rng, pairs):
            trial, found = _trial(rng, "wait" if trials else "first", pair, search.target)
            trials.append(trial)
            if found:
                answer = pair
                break
            if chance(rng, GIVE_UP):
                break
    return loosely_tagged(rng, " ".join(trials) or "so", f"{answer[0]} {answer[1]}", BROKEN_TAGS)


def make_prompt(seed: int, index: int, split: str) -> Record:
    """A prompt: fields question, numbers, target, answer (the first right pair), language."""
    search = dealt(searches(split), f"pair_search/{split}", seed, index)
    right = next(pair for pair in combinations(search.numbers, 2) if sum(pair) == search.target)
    return {
        "id": f"pair_search:{split}:{seed}:{index}",
        "question": search.question,
        "answer": f"{right[0]} {right[1]}",
        "numbers": list(search.numbers),
        "target": search.target,
        "language": "en",
    }


def make_document(seed: int, index: int, split: str) -> Record:
    """A document of the pretraining corpus: field text."""
    search = dealt(searches(split), f"pair_search_corpus/{split}", seed, index)
    completion = _completion(generator("pair_search_corpus", seed, index), search)
    return {
        "id": f"pair_search_corpus:{split}:{seed}:{index}",
        "text": f"{search.question} {completion}",
        "language": "en",
    }


PROMPTS = Task(VOCABULARY, make_prompt)
CORPUS = Task(VOCABULARY, make_document)
