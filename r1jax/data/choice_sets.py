"""Multiple choice as published sets have it, the right answer in a column of its own: shuffled, lettered, shown.

| data.choices_from | columns | becomes |
| --- | --- | --- |
| `gpqa` | Question, Correct Answer, Incorrect Answer 1 to 3 | `question` with its choices, `choices`, `answer` |

The order of a record's choices is drawn from `data.seed` and from its texts alone: the same whichever file, format or
part of the set it is read from, and another for another seed.
"""

from __future__ import annotations

import random
import string
from collections.abc import Mapping
from typing import Any

from r1jax.data.records import DataError, Record

# Form -> the columns of the question, of the right choice, and of the wrong ones.
FORMS: dict[str, tuple[str, str, tuple[str, ...]]] = {
    "gpqa": ("Question", "Correct Answer", ("Incorrect Answer 1", "Incorrect Answer 2", "Incorrect Answer 3")),
}


def with_choices(record: Record, form: str, seed: int) -> Record:
    """The record with `choices` (texts in an order that is drawn), `answer` (the right one's letter), and a `question`
    that ends with the lettered choices, a line each.

    DataError names the record, and the column that is missing, empty or no text.
    """
    question_column, right_column, wrong_columns = FORMS[form]
    question = _text(record, question_column, form)
    texts = [_text(record, column, form) for column in (right_column, *wrong_columns)]
    order = list(range(len(texts)))  # of places, not of texts: a set may hold a choice twice
    random.Random(f"{seed}\0{question}\0{texts[0]}".encode(errors="surrogatepass")).shuffle(order)
    choices = [texts[place] for place in order]
    letters = string.ascii_uppercase[: len(choices)]
    lettered = "\n".join(f"{letter}) {choice}" for letter, choice in zip(letters, choices, strict=True))
    return record | {
        "question": f"{question}\n\n{lettered}",
        "choices": choices,
        "answer": letters[order.index(0)],
    }


def _text(record: Mapping[str, Any], column: str, form: str) -> str:
    value = record.get(column)
    if not isinstance(value, str) or not value.strip():
        found = ", ".join(record) if column not in record else f"{column} = {value!r}"
        raise DataError(
            f"record {record['id']}: data.choices_from={form} expects a text in the column {column!r}, found {found}"
        )
    return value.strip()
