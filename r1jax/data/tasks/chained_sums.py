"""Chained sums in two languages: the miniature on which a tiny model shows what reinforcement learning does.

A prompt is a start of two digits and 3 to 5 additions or subtractions of 2..9, all running totals in 10..99,
as an expression or as a little story:

    compute 4 7 + 8 - 5 + 9 ?          计算 4 7 + 8 - 5 + 9 ?
    Tom has 4 7 buys 8 eats 5 ... ?    小明有 4 7 买 8 吃 5 ... ?

The pretraining corpus is poor on purpose (POOR): it holds everything that a good policy needs, now and then.
Whoever imitates it answers one prompt in ten; reinforcement learning has to find out which habits pay.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Iterator
from itertools import accumulate

from r1jax.data.records import Record
from r1jax.data.tasks.task import TAGS, Task, chance, generator, loosely_tagged, pick, split_of

LOWEST, HIGHEST = 10, 99  # of every running total: always two digits
OPERATIONS = (3, 4, 5)
CHANGES = tuple(range(2, 10))
STORY_SHARE = 0.4
SLIPS = (-10, -2, -1, 1, 2, 10)  # how far a wrong result is from the right one

WORDS = {
    "en": {
        "ask": "compute",
        "has": "Tom has",
        "gain": "buys",
        "loss": "eats",
        "then": "then",
        "plus": "plus",
        "minus": "minus",
        "is": "is",
        "wait": "wait",
        "check": "check",
        "so": "so",
    },
    "zh": {
        "ask": "计算",
        "has": "小明有",
        "gain": "买",
        "loss": "吃",
        "then": "然后",
        "plus": "加",
        "minus": "减",
        "is": "得",
        "wait": "等等",
        "check": "检查",
        "so": "所以",
    },
}
OTHER = {"en": "zh", "zh": "en"}
DIGITS = tuple(f"{number // 10} {number % 10}" for number in range(100))
VOCABULARY = (
    *"0123456789",
    *"+-?;",
    *TAGS,
    *(word for words in WORDS.values() for phrase in words.values() for word in phrase.split()),
)


@dataclasses.dataclass(frozen=True)
class Quality:
    """Shares of the habits of a corpus; what is left of the answers is worked out one operation a step."""

    direct: float  # answers without steps
    two_operations: float  # answers with two operations a step
    wrong_step: float  # steps with a wrong result
    redo: float  # wrong results that are noticed and done again
    wrong_answer: float  # final answers that are not what the steps came to
    broken_tags: float
    other_language: float  # traces in the language that the prompt is not in
    switching: float  # traces that change the language at every step
    check: float  # traces that close with the whole sum


POOR = Quality(
    direct=0.3,
    two_operations=0.3,
    wrong_step=0.15,
    redo=0.4,
    wrong_answer=0.1,
    broken_tags=0.4,
    other_language=0.15,
    switching=0.4,
    check=0.1,
)


@dataclasses.dataclass(frozen=True)
class Chain:
    """A problem: `changes` are signed."""

    start: int
    changes: tuple[int, ...]
    language: str
    story: bool

    @property
    def total(self) -> int:
        return self.start + sum(self.changes)

    @property
    def key(self) -> str:
        """The sum itself: one key for all wordings, so that a held-out sum is held out in both languages."""
        return f"{self.start}{''.join(f'{change:+d}' for change in self.changes)}"

    @property
    def question(self) -> str:
        words = WORDS[self.language]
        opening, gain, loss = (words["has"], words["gain"], words["loss"]) if self.story else (words["ask"], "+", "-")
        changes = " ".join(f"{gain if change > 0 else loss} {abs(change)}" for change in self.changes)
        return f"{opening} {DIGITS[self.start]} {changes} ?"


def _draw_chain(rng: random.Random) -> Chain:
    total = start = LOWEST + int(rng.random() * (HIGHEST - LOWEST + 1))
    changes = []
    for _ in range(pick(rng, OPERATIONS)):
        change = pick(rng, CHANGES) * pick(rng, (-1, 1))
        if not LOWEST <= total + change <= HIGHEST:
            change = -change
        changes.append(change)
        total += change
    return Chain(start, tuple(changes), pick(rng, ("en", "zh")), chance(rng, STORY_SHARE))


def _draw_held(rng: random.Random, split: str) -> Chain:
    """The first chain drawn that belongs to the split."""
    chain = _draw_chain(rng)
    while split_of(chain.key) != split:
        chain = _draw_chain(rng)
    return chain


def _languages(rng: random.Random, own: str, quality: Quality) -> Iterator[str]:
    """The language of each step of a trace, without end."""
    draw = rng.random()
    switching = draw < quality.switching
    if switching:
        language = pick(rng, ("en", "zh"))
    elif draw < quality.switching + quality.other_language:
        language = OTHER[own]
    else:
        language = own
    while True:
        yield language
        if switching:
            language = OTHER[language]


def _unfinished_step(language: str, opening: str, total: int, changes: tuple[int, ...]) -> str:
    """A step up to where its result goes: `then 4 7 plus 8 is`."""
    words = WORDS[language]
    operations = " ".join(f"{words['plus' if change > 0 else 'minus']} {abs(change)}" for change in changes)
    return f"{words[opening]} {DIGITS[total]} {operations} {words['is']}"


def _step(language: str, opening: str, total: int, changes: tuple[int, ...], result: int) -> str:
    return f"{_unfinished_step(language, opening, total, changes)} {DIGITS[result]} ;"


def _slip(rng: random.Random, right: int, later: tuple[int, ...]) -> int:
    """A wrong result from which the later changes still stay within two digits (+1 or -1 always does)."""
    wrong = [
        right + slip
        for slip in SLIPS
        if all(LOWEST <= total <= HIGHEST for total in accumulate(later, initial=right + slip))
    ]
    return pick(rng, wrong)


def _trace(rng: random.Random, chain: Chain, operations: int, quality: Quality) -> tuple[str, int]:
    """The steps, `operations` of them at a time, and what they came to. An unnoticed error is carried on."""
    languages = _languages(rng, chain.language, quality)
    steps = []
    total = chain.start
    for first in range(0, len(chain.changes), operations):
        changes, later = chain.changes[first : first + operations], chain.changes[first + operations :]
        language = next(languages)
        right = total + sum(changes)
        result = _slip(rng, right, later) if chance(rng, quality.wrong_step) else right
        steps.append(_step(language, "then", total, changes, result))
        if result != right and chance(rng, quality.redo):
            steps.append(_step(language, "wait", total, changes, right))
            result = right
        total = result
    if chance(rng, quality.check):
        steps.append(_step(next(languages), "check", chain.start, chain.changes, total))
    return " ".join(steps), total


def _completion(rng: random.Random, chain: Chain, quality: Quality) -> str:
    """A completion as the corpus has them. A direct answer thinks one word, in the prompt's language."""
    draw = rng.random()
    if draw < quality.direct:
        thinking, total = WORDS[chain.language]["so"], chain.total
    else:
        operations = 2 if draw < quality.direct + quality.two_operations else 1
        thinking, total = _trace(rng, chain, operations, quality)
    if chance(rng, quality.wrong_answer):
        total = _slip(rng, total, ())
    return loosely_tagged(rng, thinking, DIGITS[total], quality.broken_tags)


def make_prompt(seed: int, index: int, split: str) -> Record:
    """A prompt with its gold: fields question, answer (`5 9`), language, and operations (their number)."""
    chain = _draw_held(generator("chained_sums", seed, index), split)
    return {
        "id": f"chained_sums:{split}:{seed}:{index}",
        "question": chain.question,
        "answer": DIGITS[chain.total],
        "language": chain.language,
        "operations": len(chain.changes),
    }


def make_document(seed: int, index: int, split: str) -> Record:
    """A document of the pretraining corpus: field text, a prompt and one poor completion of it."""
    rng = generator("chained_sums_corpus", seed, index)
    chain = _draw_held(rng, split)
    return {
        "id": f"chained_sums_corpus:{split}:{seed}:{index}",
        "text": f"{chain.question} {_completion(rng, chain, POOR)}",
        "language": chain.language,
    }


def make_step(seed: int, index: int, split: str) -> Record:
    """A single step to finish: the question is a prompt and an errorless trace up to where a result goes."""
    rng = generator("chained_sums_steps", seed, index)
    chain = _draw_held(rng, split)
    languages = _languages(rng, chain.language, POOR)
    asked = int(rng.random() * len(chain.changes))
    totals = list(accumulate(chain.changes, initial=chain.start))
    words = [chain.question, "<think>"]
    for number in range(asked):
        change = chain.changes[number : number + 1]
        words.append(_step(next(languages), "then", totals[number], change, totals[number + 1]))
    words.append(_unfinished_step(next(languages), "then", totals[asked], chain.changes[asked : asked + 1]))
    return {
        "id": f"chained_sums_steps:{split}:{seed}:{index}",
        "question": " ".join(words),
        "answer": DIGITS[totals[asked + 1]],
        "language": chain.language,
    }


PROMPTS = Task(VOCABULARY, make_prompt)
CORPUS = Task(VOCABULARY, make_document)
STEPS = Task(VOCABULARY, make_step)
