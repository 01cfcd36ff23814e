r"""Which language a text is written in, by counting words of each script.

The paper's language reward is the share of target-language words among all words of the thinking; how words
are segmented is not stated. Our choice: a Latin word is a run of letters, Chinese is counted by characters at
1.5 a word (about the mean length of a Chinese word). Code, formulas, tags, numbers, single Latin letters
(variables, choices) and runs of a few capitals (points of a figure: ABC) belong to no language and are not counted;
letters of other scripts are words of neither.

Scripts also tell Japanese (characters, as Chinese is), Korean and Russian (words) apart, as targets that a record
names; languages of one script, such as English and French, take a classifier (`latin_language`).
"""

from __future__ import annotations

import re
from typing import Literal, NamedTuple

from r1jax.text.latin_language import LATIN_LANGUAGES, latin_share

Language = Literal["en", "zh"]
LANGUAGES = ("en", "zh", "ja", "ko", "ru")  # that their scripts tell apart

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
    r"|https?://[!-~]+"  # not the Chinese after it, which no space parts
    r"|</?[a-z]+>",
    re.DOTALL,
)
LATIN_WORD = re.compile(r"[A-Za-z\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f\u1e00-\u1eff]+(?:['\u2019][A-Za-z]+)*")
LABEL = re.compile(r"(?:[A-Z]['\u2019]?){1,4}")
HAN = re.compile(r"[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003134f]")
OTHER_WORD = re.compile(
    # Greek is left out: its letters are variables.
    r"[\u0400-\u07ff\u0900-\u0dff\u0f00-\u0fff\u10a0-\u139f\u1800-\u18af\u3040-\u318f\uac00-\ud7af\ufb1d-\ufdff\ufe70-\ufefc"
    r"\uff66-\uffdc]+"
    # Thai, Lao, Burmese and Khmer put no space between words, which have about so many signs.
    r"|[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff]{1,5}"
    r"|[\uff21-\uff3a\uff41-\uff5a]{2,}"  # full-width Latin is a disguise; one letter is a variable
)
KANA = re.compile(r"[\u3040-\u30ff\uff66-\uff9f]")
WORD_OF = {"ko": re.compile(r"[\u1100-\u11ff\u3131-\u318e\uac00-\ud7af]+"), "ru": re.compile(r"[\u0400-\u052f]+")}
SENTENCE_END = re.compile(r"[。！？\n]")
LEAST_KANA = 0.2  # of the characters of a Japanese sentence; what has less is Chinese
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
    return WordCounts(
        float(len(_latin_words(text))), len(HAN.findall(text)) / han_per_word, float(len(OTHER_WORD.findall(text)))
    )


def language_share(text: str, target: str, *, han_per_word: float = 1.5, window_words: int | None = None) -> float:
    """The share of words in `target` among all words of `text`, in [0, 1]; 0.0 where there is no word.

    Args:
      text: the thinking.
      target: one of LANGUAGES; with `window_words` also one of LATIN_LANGUAGES.
      han_per_word: characters of Chinese or Japanese that count as one word.
      window_words: tells languages of Latin script apart, by windows of so many words (`latin_language`). None:
        any word in Latin script is English.
    Raises:
      ValueError: another target.
      UserError: py3langid, which windows need, is not installed.
    """
    if target not in LANGUAGES and (window_words is None or target not in LATIN_LANGUAGES):
        raise ValueError(f"language: expected {expected_targets(window_words is not None)}, found {target!r}")
    if target == "ja" or target in WORD_OF:
        wanted, others = _by_script(UNCOUNTED.sub(" ", text), target, han_per_word)
    else:
        words = count_words(text, han_per_word=han_per_word)
        wanted = words.zh if target == "zh" else words.en
        if target != "zh" and window_words is not None:
            wanted *= latin_share(_latin_words(UNCOUNTED.sub(" ", text)), target, window_words)
        others = sum(words) - wanted
    return wanted / (wanted + others) if wanted else 0.0


def expected_targets(latin_apart: bool) -> str:
    """The targets of `language_share` in words, for messages."""
    names = f"one of {', '.join(LANGUAGES)}"
    if latin_apart:
        return f"{names} or the ISO 639-1 code of a language in Latin script (fr, de, ...)"
    return f"{names} (others in Latin script take rewards.language.tell_latin_apart)"


def detect_target(prompt_text: str) -> Language:
    """The language in which a question (without its template) is asked, English or Chinese: that of most words."""
    words = count_words(prompt_text)
    return "zh" if words.zh > words.en else "en"


def _latin_words(text: str) -> list[str]:
    return [
        word
        for word in LATIN_WORD.findall(text)
        if len(word) > 1 and word.lower() not in FUNCTIONS and not (word.isupper() and LABEL.fullmatch(word))
    ]


def _by_script(text: str, target: str, han_per_word: float) -> tuple[float, float]:
    """Words of a target of a script of its own, and all others."""
    script = KANA if target == "ja" else WORD_OF[target]
    others = len(_latin_words(text)) + len(OTHER_WORD.findall(script.sub(" ", text)))
    han = len(HAN.findall(text))
    if target != "ja":
        return float(len(script.findall(text))), others + han / han_per_word
    kana, japanese_han = _japanese_characters(text)
    return (kana + japanese_han) / han_per_word, others + (han - japanese_han) / han_per_word


def _japanese_characters(text: str) -> tuple[int, int]:
    """Kana, and the Han characters of sentences with enough kana to be Japanese."""
    counts = [(len(KANA.findall(one)), len(HAN.findall(one))) for one in SENTENCE_END.split(text)]
    return sum(kana for kana, _ in counts), sum(han for kana, han in counts if kana >= LEAST_KANA * (kana + han))
