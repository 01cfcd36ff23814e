"""Filters on how a sample reads: one language, short paragraphs, no code, no loops.

The paper drops chains of thought with mixed languages, long paragraphs and code blocks [v1 2.3.3], and R1-Zero's
with repetition [v2 B.3.2].
"""

from __future__ import annotations

from r1jax.config.filters import FiltersConfig
from r1jax.data.filters.ngrams import characters, distinct, ngram_hashes
from r1jax.data.filters.turns import summary_of, target_of, thinking_of
from r1jax.data.records import Record
from r1jax.text.language import HAN, count_words, language_share

CODE_SIGNS = ("```", "~~~", r"\begin{lstlisting}", r"\begin{minted}", r"\begin{verbatim}", "<pre>", "<code>")
HAN_PER_WORD = 1.5


def language(record: Record, config: FiltersConfig) -> str | None:
    """Thinking and summary are in the language of the question, each up to its share; no words are no mixture."""
    for part, text_of, least in (
        ("thinking", thinking_of, config.thinking_language_share),
        ("summary", summary_of, config.summary_language_share),
    ):
        if least is None:
            continue
        text, target = text_of(record), target_of(record)
        if target == "en" and text.isascii():
            continue  # no word of it is of another script
        share = language_share(text, target, han_per_word=HAN_PER_WORD)
        if share < least and (share > 0 or any(count_words(text))):
            return f"{share:.0%} of the {part} in {target}"
    return None


def paragraphs(record: Record, config: FiltersConfig) -> str | None:
    """No paragraph of the thinking (what stands between two line breaks) is too long, in words or in characters."""
    for line in thinking_of(record).split("\n"):
        if config.paragraph_characters is not None and len(line) > config.paragraph_characters:
            return f"a paragraph of {len(line)} characters"
        if config.paragraph_words is not None and len(line) > config.paragraph_words:  # else it cannot have as many
            han = 0 if line.isascii() else len(HAN.findall(line))
            words = len((HAN.sub(" ", line) if han else line).split()) + han / HAN_PER_WORD
            if words > config.paragraph_words:
                return f"a paragraph of {words:.0f} words"
    return None


def code(record: Record, config: FiltersConfig) -> str | None:
    """No code block in the thinking."""
    text = thinking_of(record)
    return next((f"{sign} in the thinking" for sign in CODE_SIGNS if sign in text), None)


def repetition(record: Record, config: FiltersConfig) -> str | None:
    """The thinking does not say the same again and again, in whole lines or in runs of characters."""
    if config.repeated_line_share is not None:
        share = repeated_line_share(thinking_of(record))
        if share > config.repeated_line_share:
            return f"{share:.0%} in repeated lines"
    if config.repeated_ngram_share is not None:
        share = repeated_ngram_share(thinking_of(record), config.repetition_characters)
        if share > config.repeated_ngram_share:
            return f"{share:.0%} of it said before"
    return None


def repeated_line_share(text: str) -> float:
    """The share of the characters that stand in lines which have stood before (after Rae et al. 2021, table A1)."""
    lines = [line for part in text.split("\n") if (line := part.strip())]
    total = sum(map(len, lines))
    return 1.0 - sum(map(len, set(lines))) / total if total else 0.0


def repeated_ngram_share(text: str, n: int) -> float:
    """The share of the runs of `n` characters that have stood before; 0 for a text shorter than that.

    Characters, since they are the same measure for every script and for what has no words at all.
    """
    hashes = ngram_hashes(characters(text), n)
    return 1.0 - len(distinct(hashes)) / len(hashes) if len(hashes) else 0.0
