"""Which of the languages in Latin script a text is in: a classifier's word on windows of many words.

Script counting cannot tell French from English. py3langid can (pip install 'r1jax[language]'), on passages: it
gives one label, and mislabels short lines. So words are taken in windows, each is attributed as a whole, and a
text shorter than one window counts as the language that was asked for: nobody can tell.
"""

from __future__ import annotations

import functools
import importlib.metadata
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from r1jax.errors import UserError

if TYPE_CHECKING:
    from py3langid.langid import LanguageIdentifier

# ISO 639-1 codes that py3langid knows and that are written in Latin script.
CODES = (
    "af an az br bs ca cs cy da de en eo es et eu fi fo fr fy ga gd gl ha hr ht hu id ig is it jv ku la lb lg ln lt "
    "lv mg ms mt nl nn no oc om pl pt qu ro rw sk sl sn so sq st sv sw tk tl tr uz vi vo wa xh yo zu"
)
LATIN_LANGUAGES = frozenset(CODES.split())
# Too near for one label to part them.
ALIKE = (frozenset({"no", "nn"}), frozenset({"bs", "hr"}), frozenset({"id", "ms"}))


def latin_share(words: Sequence[str], target: str, window_words: int) -> float:
    """The share of `words` in windows of the target language, in [0, 1]; 1.0 for fewer than one window.

    Args:
      words: in the order of the text.
      target: one of LATIN_LANGUAGES.
      window_words: of a window; the last one takes the words that are left over.
    Raises:
      UserError: py3langid is not installed.
    """
    if len(words) < window_words:
        return 1.0
    accepted = next((group for group in ALIKE if target in group), frozenset({target}))
    found = sum(len(window) for window in _windows(words, window_words) if _label(window) in accepted)
    return found / len(words)


def _windows(words: Sequence[str], window_words: int) -> Iterator[Sequence[str]]:
    starts = range(0, len(words) - window_words + 1, window_words)
    for start in starts:
        yield words[start : len(words) if start == starts[-1] else start + window_words]


def _label(window: Sequence[str]) -> str:
    return identifier().classify(" ".join(window))[0]


def classifier_stamp() -> dict[str, str]:
    """Loads the classifier and says which one it is; UserError where it is not installed."""
    identifier()
    return {"latin_languages_by": f"py3langid {importlib.metadata.version('py3langid')}"}


@functools.cache
def identifier() -> LanguageIdentifier:
    """The classifier between LATIN_LANGUAGES (loaded in about a second, once)."""
    try:
        from py3langid.langid import MODEL_FILE, LanguageIdentifier
    except ModuleNotFoundError as error:
        if not (error.name or "").startswith("py3langid"):
            raise
        raise UserError(
            "rewards.language.tell_latin_apart: expected the package py3langid, which is not installed: "
            "pip install 'r1jax[language]'"
        ) from error
    found = LanguageIdentifier.from_model_file(MODEL_FILE)
    found.set_languages(LATIN_LANGUAGES)
    return found
