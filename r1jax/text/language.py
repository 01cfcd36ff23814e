r"""Which language a text is written in, by counting words of each script.

The paper's language reward is the share of target-language words among all words of the thinking; how words
are segmented is not stated. Our choice: a Latin word is a run of letters, Chinese is counted by characters at
1.5 a word (about the mean length of a Chinese word). Code, formulas, tags, numbers and single Latin letters
(variables, choices) belong to no language and are not counted; letters of other scripts are words of neither.
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple, get_args

Language = Literal["en", "zh"]
LANGUAGES: tuple[Language, ...] = get_args(Language)

# Each alternative stops at its own opening sign or at the end of its line, so unclosed ones cost no rescans.
UNCOUNTED = re.compile(
    r"```.*?(?:```|\Z)"  # code, to the end where a truncated text leaves it open
    r"|`[^`\n]*`"
    r"|\$\$[^$]*\$\$"
    r"|\$(?=[^\s$])[^$\n]*(?<=\S)\$(?![0-9])"  # not the span between two prices: "$5 and $10"
    r"|\\\((?:(?!\\\().)*?\\\)"
    r"|\\\[(?:(?!\\\[).)*?\\\]"
    r"|\\begin\{(?:(?!\\begin\{).)*?\\end\{[a-z]*\*?\}"
    r"|\\(?:begin|end)\{[a-z]*\*?\}"  # of an environment around another
    r"|\\[A-Za-z]+"
    r"|https?://\S+"
    r"|</?[a-z]+>",
    re.DOTALL,
)
LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f]+(?:['\u2019][A-Za-z]+)*")
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
OTHER_WORD = re.compile(
    # Greek is left out: its letters are variables.
    r"[\u0400-\u052f\u0530-\u058f\u0590-\u06ff\u0900-\u0dff\u0e00-\u0eff\u3040-\u30ff\u1100-\u11ff\uac00-\ud7af]+"
)
# Written without a backslash these are formulas, not English.
FUNCTIONS = frozenset({"sin", "cos", "tan", "cot", "sec", "csc", "log", "ln", "lg", "gcd", "lcm", "mod", "sqrt"})


class WordCounts(NamedTuple):
    """Words of English (any Latin script), of Chinese, and of other scripts."""

    en: float
    zh: float
    other: float


def count_words(text: str, *, han_per_word: float = 1.5) -> WordCounts:
    """The words of `text` by script; `han_per_word` Han characters make one Chinese word."""
    text = UNCOUNTED.sub(" ", text)
    latin = sum(len(word) > 1 and word.lower() not in FUNCTIONS for word in LATIN_WORD.findall(text))
    return WordCounts(float(latin), len(HAN.findall(text)) / han_per_word, float(len(OTHER_WORD.findall(text))))


def language_share(text: str, target: Language, *, han_per_word: float = 1.5) -> float:
    """The share of words in `target` among all words of `text`, in [0, 1]; 0.0 where there is no word."""
    if target not in LANGUAGES:
        raise ValueError(f"language: expected 'en' or 'zh', found {target!r}")
    words = count_words(text, han_per_word=han_per_word)
    total = sum(words)
    if total == 0:
        return 0.0
    return (words.en if target == "en" else words.zh) / total


def detect_target(prompt_text: str) -> Language:
    """The language in which a question (without its template) is asked: that of most of its words."""
    words = count_words(prompt_text)
    return "zh" if words.zh > words.en else "en"
