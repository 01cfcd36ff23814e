"""Generators of records, by name. Record i of seed s is a function of (s, i) and the split alone."""

from r1jax.data.tasks import chained_sums, countdown, miniature, pair_search, small_talk
from r1jax.data.tasks.task import SPLITS, Task

TASKS: dict[str, Task] = {
    "chained_sums": chained_sums.PROMPTS,
    "chained_sums_corpus": chained_sums.CORPUS,
    "chained_sums_steps": chained_sums.STEPS,
    "pair_search": pair_search.PROMPTS,
    "pair_search_corpus": pair_search.CORPUS,
    "countdown": countdown.PROMPTS,
    "countdown_corpus": countdown.CORPUS,
    "countdown_large": countdown.LARGE,
    "small_talk": small_talk.PROMPTS,
    "small_talk_corpus": small_talk.CORPUS,
    "small_talk_answers": small_talk.ANSWERS,
    "small_talk_pairs": small_talk.PAIRS,
    "small_talk_safety": small_talk.SAFETY,
    "miniature": miniature.PROMPTS,
    "miniature_corpus": miniature.CORPUS,
}

__all__ = ["SPLITS", "TASKS", "Task"]
