"""The miniature of the whole programme: chained sums and small talk together, in one vocabulary.

Most records are sums, as reasoning makes up most of DeepSeek-R1's data; the rest teach what a general assistant
needs. A record of either task is what that task makes of the same seed and number; prompts of small talk ask for the
reward set "general", since the config can name but one for all that name none.
"""

from __future__ import annotations

from collections.abc import Callable

from r1jax.data.records import Record
from r1jax.data.tasks import chained_sums, small_talk
from r1jax.data.tasks.task import Task, chance, generator

VOCABULARY = tuple(dict.fromkeys((*chained_sums.VOCABULARY, *small_talk.VOCABULARY)))
SMALL_TALK_SHARE = 0.15


def _mixed(name: str, sums: Task, general: Task) -> Callable[[int, int, str], Record]:
    def make(seed: int, index: int, split: str) -> Record:
        task = general if chance(generator(name, seed, index), SMALL_TALK_SHARE) else sums
        return task.make(seed, index, split)

    return make


def _general_prompt(seed: int, index: int, split: str) -> Record:
    return small_talk.make_prompt(seed, index, split) | {"rewards": "general"}


PROMPTS = Task(VOCABULARY, _mixed("miniature", chained_sums.PROMPTS, Task(VOCABULARY, _general_prompt)))
CORPUS = Task(VOCABULARY, _mixed("miniature_corpus", chained_sums.CORPUS, small_talk.CORPUS))
