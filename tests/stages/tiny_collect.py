"""A stage that collects on chained sums, from a policy that knows nothing: lenient rewards, filters that drop some."""

import dataclasses

from tiny_runs import NEW_TOKENS, PLAIN, SAMPLER, ZERO, tiny_run

from r1jax.config import (
    CollectConfig,
    FiltersConfig,
    PreferencesConfig,
    RewardConfig,
    RewardsConfig,
    RewardSetConfig,
    RunConfig,
    SamplingConfig,
)
from r1jax.rewards.verdicts import Score, Status

LENIENT = FiltersConfig(
    min_scores=(("tiny_collect:even", 1.0),),
    finished=False,
    thinking=None,
    thinking_language_share=None,
    summary_language_share=None,
    repeated_ngram_share=None,
    repeated_line_share=None,
    near_duplicate_questions=None,
    near_duplicate_responses=None,
)
COLLECT = CollectConfig(
    name="data",
    template=PLAIN,
    data=dataclasses.replace(ZERO.data, limit=10),
    samples=4,
    sampling=SamplingConfig(temperature=1.0, top_p=None, max_new_tokens=NEW_TOKENS),
    sampler=SAMPLER,
    batch_prompts=4,
    filters=LENIENT,
)
PREFER = PreferencesConfig(
    name="pairs",
    template=PLAIN,
    data=dataclasses.replace(ZERO.data, limit=10),
    samples=3,
    sampling=SamplingConfig(temperature=1.0, top_p=None, max_new_tokens=NEW_TOKENS),
    sampler=SAMPLER,
    batch_prompts=4,
    rule="tiny_collect:longer",
)


def even(items) -> list[Score]:
    """Right are texts of an even number of characters; what holds `check` cannot be told."""
    return [
        Score(None, Status.VERIFIER_ERROR)
        if "check" in item.completion
        else Score(1.0, Status.CORRECT)
        if len(item.completion) % 2 == 0
        else Score(0.0, Status.WRONG)
        for item in items
    ]


def halved(record: dict) -> dict | None:
    """A refinement: the first half of the words; nothing of what begins with a digit."""
    words = record["response"].split()
    if not words or words[0].isdigit():
        return None
    return {**record, "response": " ".join(words[: (len(words) + 1) // 2])}


def unlike_json(record: dict) -> dict:
    """A refinement that puts what no file can hold."""
    return {**record, "words": set(record["response"].split())}


def longer(question: str, first: str, second: str) -> float:
    """Prefers more words, and whatever stands in the first place a little."""
    assert question.split()[0] in ("compute", "计算") or len(question.split()) > 1
    return max(-2.0, min(2.0, (len(first.split()) - len(second.split())) / 4 + 0.1))


def collecting(*stages, **changes) -> RunConfig:
    """A run of the stages, graded by `even`."""
    sets = (RewardSetConfig("default", (RewardConfig("tiny_collect:even"),)),)
    return dataclasses.replace(tiny_run(*stages), rewards=RewardsConfig(sets=sets, workers=1), **changes)
