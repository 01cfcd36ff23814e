"""The language-consistency reward (arXiv 2501.12948, section 2.3.2): the target language's share of the CoT.

The paper does not say how words are segmented: `r1jax.text.language` counts by script.
"""

from __future__ import annotations

from collections.abc import Sequence

from r1jax.errors import UserError
from r1jax.rewards.verdicts import Item, Score, Status, require_field
from r1jax.text.answers import thinking
from r1jax.text.language import LANGUAGES, detect_target, language_share


def language_reward(items: Sequence[Item]) -> list[Score]:
    """A share in [0, 1] for each completion.

    The target is the record's `language` ("en" or "zh"), or that of its question. Where the think tags are
    missing or broken the whole completion is taken for the reasoning (to punish that is the format reward's
    part); where there is nothing to count, the share is 0.
    """
    return [Score(consistency(item), Status.SCORED) for item in items]


def consistency(item: Item) -> float:
    """The share of one completion; UserError names a record in any other language."""
    target = item.record.get("language")
    if target is None:
        target = detect_target(require_field(item, "question", "language"))
    elif target not in LANGUAGES:
        raise UserError(
            f"record {item.record.get('id')!r}: the language reward expects the field 'language' to be one of "
            f"{', '.join(LANGUAGES)}, found {target!r}"
        )
    trace = thinking(item.completion)
    return language_share(item.completion if trace is None else trace, target)
