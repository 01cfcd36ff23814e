"""What stands between collected samples and a data set for SFT (r1jax.data.filters)."""

from __future__ import annotations

import dataclasses
from typing import Literal

from r1jax.config.checks import check

SHARES = (
    "thinking_language_share",
    "summary_language_share",
    "repeated_line_share",
    "repeated_ngram_share",
    "min_pass_rate",
    "max_pass_rate",
)
COUNTS = (
    "paragraph_words",
    "paragraph_characters",
    "repetition_characters",
    "near_duplicate_ngram",
    "decontamination_ngram",
    "samples_per_prompt",
)
TOKENS = ("min_tokens", "max_tokens", "min_thinking_tokens", "max_thinking_tokens", "max_question_tokens")
LEAST_JACCARD = 0.1  # below it nearly everything is near everything


@dataclasses.dataclass(frozen=True)
class FiltersConfig:
    """The filters, in the order in which they look. None, false and () turn one off.

    The paper names what it drops (wrong answers; chains of thought with mixed languages, long paragraphs or code
    blocks) [v1 2.3.3] without numbers: the limits are our choice. Decontamination is by 10-grams [v2 D.1].
    """

    # Of the rewards named here, those that a sample has a score of: each at least so high, and one must be there.
    min_scores: tuple[tuple[str, float], ...] = (
        ("maths", 1.0),
        ("code", 1.0),
        ("choice", 1.0),
        ("short_text", 1.0),
        ("judge", 1.0),
    )
    finished: bool = True  # not cut at the length limit
    thinking: Literal["required", "optional"] | None = "required"  # one block, then a summary; "optional": or no block
    min_tokens: int | None = None  # of the whole turn
    max_tokens: int | None = None
    min_thinking_tokens: int | None = None
    max_thinking_tokens: int | None = None
    max_question_tokens: int | None = None  # of the question as the stage's template asks it
    summary_states_answer: bool = False  # a final answer, not other than the gold or the last box of the thinking
    thinking_language_share: float | None = 0.9  # of the words, in the language of the question
    summary_language_share: float | None = 0.9
    paragraph_words: int | None = 300  # at most, in a paragraph of the thinking
    paragraph_characters: int | None = 3000
    code_in_thinking: bool = False  # allowed or not
    repeated_line_share: float | None = 0.2  # of the characters of the thinking, at most, in lines said before
    repeated_ngram_share: float | None = 0.2  # of its runs of so many characters that have stood before
    repetition_characters: int = 80
    min_pass_rate: float | None = None  # of the prompt: how many of its samples are correct
    max_pass_rate: float | None = None
    decontamination_ngram: int | None = 10  # words of a question in a row that an evaluation set also has
    exact_duplicates: bool = False  # allowed or not: the same response to the same question
    near_duplicate_questions: float | None = 0.8  # Jaccard similarity of n-grams of words from which on one is dropped
    near_duplicate_responses: float | None = 0.8  # likewise, among the responses to one prompt
    near_duplicate_ngram: int = 5
    samples_per_prompt: int | None = None
    choose_samples: Literal["first", "shortest", "longest", "random"] = "random"  # where there are more
    choose_seed: int = 0

    def __post_init__(self):
        names = [name for name, _ in self.min_scores]
        check(len(set(names)) == len(names), "filters.min_scores", "each reward once", names)
        for name in SHARES:
            value = getattr(self, name)
            check(value is None or 0 <= value <= 1, f"filters.{name}", "a share in [0, 1], or None", value)
        for name in COUNTS:
            value = getattr(self, name)
            check(value is None or value >= 1, f"filters.{name}", "1 or more", value)
        for name in TOKENS:
            value = getattr(self, name)
            check(value is None or value >= 0, f"filters.{name}", "0 or more, or None", value)
        for name in ("near_duplicate_questions", "near_duplicate_responses"):
            value = getattr(self, name)
            check(
                value is None or LEAST_JACCARD <= value <= 1,
                f"filters.{name}",
                f"a similarity in [{LEAST_JACCARD}, 1], or None",
                value,
            )
        for low, high in (
            ("min_tokens", "max_tokens"),
            ("min_thinking_tokens", "max_thinking_tokens"),
            ("min_pass_rate", "max_pass_rate"),
        ):
            ends = getattr(self, low), getattr(self, high)
            check(
                None in ends or ends[0] <= ends[1], f"filters.{high}", f"no less than filters.{low}={ends[0]}", ends[1]
            )
