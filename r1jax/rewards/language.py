"""The language-consistency reward (arXiv 2501.12948, section 2.3.2): the target language's share of the CoT.

The paper does not say how words are segmented: `r1jax.text.language` counts by script, and a classifier tells
languages of Latin script apart where the config asks for it.
"""

from __future__ import annotations

from collections.abc import Sequence

from r1jax.config import LanguageConfig, RewardsConfig
from r1jax.errors import UserError
from r1jax.rewards.verdicts import Item, Reward, Score, Status, require_field
from r1jax.text.answers import thinking
from r1jax.text.language import LANGUAGES, detect_target, expected_targets, language_share
from r1jax.text.latin_language import LATIN_LANGUAGES, classifier_stamp


def language_reward(config: RewardsConfig) -> Reward:
    """A share in [0, 1] for each completion, counted as rewards.language says.

    With `tell_latin_apart` py3langid must be installed: `prepare` raises UserError where it is not.
    """
    settings = config.language

    def score(items: Sequence[Item]) -> list[Score]:
        return [Score(consistency(item, settings), Status.SCORED) for item in items]

    return Reward(score, low=0.0, high=1.0, prepare=classifier_stamp if settings.tell_latin_apart else None)


def consistency(item: Item, settings: LanguageConfig) -> float:
    """The share of one completion's thinking that is in the target language.

    The target is the record's `language` (en, zh, ja, ko or ru, or with `tell_latin_apart` any in Latin script),
    or the one of English and Chinese in which its question is asked. Where the think tags are missing or broken
    the whole completion is taken for the reasoning (to punish that is the format reward's part); where there is
    nothing to count, the share is 0. UserError names a record in any other language.
    """
    target = item.record.get("language")
    if target is None:
        target = detect_target(str(require_field(item, "question", "language")))
    elif not has_target(item, settings):
        raise UserError(
            f"record {item.record.get('id')!r}: the language reward expects the field 'language' to be "
            f"{expected_targets(settings.tell_latin_apart)}, found {target!r}"
        )
    trace = thinking(item.completion)
    return language_share(
        item.completion if trace is None else trace,
        target,
        han_per_word=settings.han_per_word,
        window_words=settings.window_words if settings.tell_latin_apart else None,
    )


def has_target(item: Item, settings: LanguageConfig) -> bool:
    """Whether the record's `language` can be counted, or is left to be taken from the question."""
    target = item.record.get("language")
    return target is None or (
        isinstance(target, str) and (target in LANGUAGES or (settings.tell_latin_apart and target in LATIN_LANGUAGES))
    )
