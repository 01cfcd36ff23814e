"""Questions that an evaluation set also asks, or that its solutions tell: n-gram decontamination.

A question is contaminated where it has n words in a row (10, as for DeepSeek-R1: arXiv 2501.12948v2, D.1) in common
with an evaluation question or a reference solution; Chinese counts by characters. An evaluation question of 8 to n - 1
words is looked for as a whole; a shorter one, and a question that is itself shorter than n words, must be equal, word
for word.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from r1jax.data.filters.ngrams import ngram_hashes, word_hashes

LEAST_WORDS = 8  # Brown et al. 2020: shorter ones are in everything


class EvaluationIndex:
    """The n-grams of evaluation questions, each with the first set and question that has it.

    Args:
      sets: name of the set -> its questions, or its solutions ("" where a question has none).
      n: words in a row.
    """

    def __init__(self, sets: Mapping[str, Sequence[str]], n: int):
        self._n = n
        self._whole: dict[bytes, tuple[str, int]] = {}
        self._grams: dict[int, dict[int, tuple[str, int]]] = {n: {}}  # by length
        for name, questions in sets.items():
            for number, question in enumerate(questions):
                words = word_hashes(question)
                if len(words):
                    self._whole.setdefault(words.tobytes(), (name, number))
                length = min(n, len(words))
                if length < n and length < LEAST_WORDS:
                    continue
                grams = self._grams.setdefault(length, {})
                for gram in ngram_hashes(words, length).tolist():
                    grams.setdefault(gram, (name, number))

    def find(self, question: str) -> tuple[str, int] | None:
        """The evaluation set and the number (from 0) of a question of it that `question` has words of, or None."""
        words = word_hashes(question)
        if words.tobytes() in self._whole:
            return self._whole[words.tobytes()]
        for length, grams in self._grams.items():
            for gram in ngram_hashes(words, length).tolist():
                if gram in grams:
                    return grams[gram]
        return None
