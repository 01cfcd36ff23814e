"""Collected samples, as the filters see them."""

import random

from r1jax.config import FiltersConfig

THINKING = "First I add 4 and 7, which gives 11. Then I take 5 away, so that 6 is left."
SUMMARY = r"The result is \boxed{6}."
PLAIN = FiltersConfig(
    min_scores=(),
    finished=False,
    thinking=None,
    thinking_language_share=None,
    summary_language_share=None,
    paragraph_words=None,
    paragraph_characters=None,
    code_in_thinking=True,
    repeated_line_share=None,
    repeated_ngram_share=None,
    decontamination_ngram=None,
    exact_duplicates=True,
    near_duplicate_questions=None,
    near_duplicate_responses=None,
)  # nothing is on


def record(thinking=THINKING, summary=SUMMARY, *, question="What is 4 + 7 - 5?", prompt="p", sample=0, **fields):
    turn = summary if thinking is None else f"<think>{thinking}</think>{summary}"
    lineage = {"prompt_id": prompt, "sample": sample, "scores": {"maths": 1.0, "format": 1.0}}
    return {
        "id": f"{prompt}:{sample}",
        "question": question,
        "response": turn,
        "lineage": lineage,
        "answer": "6",
    } | fields


def words(rng, count):
    return " ".join(f"w{rng.randrange(10_000)}" for _ in range(count))


def several(prompts=3, samples=4, seed=0):
    """Samples that no filter has anything against."""
    rng = random.Random(seed)
    return [
        record(
            f"{words(rng, 30)} is 6",
            question=f"What of {words(rng, 20)}?",
            prompt=f"p{prompt}",
            sample=sample,
            num_tokens=10 + sample,
        )
        for prompt in range(prompts)
        for sample in range(samples)
    ]


def ids(records):
    return [one["id"] for one in records]
