r"""Multiple choice: the one letter that a completion commits to, against the record's.

Read from what follows the thinking, in this order: the last `ANSWER: B` (the form of the evaluation's prompts; also
`The answer is: B`, in Chinese 答案：B or 故选：B), the box, the content of the answer tag. The letter may be dressed
(`(B)`, `B.`, `**B**`, `B) its text`), or be given by the text of the choice alone. What commits to several letters is
wrong, whichever of them are in it. One completion is one letter whatever the gold is, so nothing is won by naming all
in turn.
"""

from __future__ import annotations

import functools
import re
import string
from collections.abc import Iterator, Sequence

from r1jax.errors import UserError
from r1jax.rewards.verdicts import Item, Score, Status, require_field
from r1jax.text.answers import ASCII, LONGEST_ANSWER_CHARS, after_thinking, answer_tag, canonical_key, last_boxed

MOST_CHOICES = 26

# The colon may stand inside or outside of bold, in either width; the letter may stand on the next line.
HEADER = re.compile(
    r"(?:(?<![A-Za-z])answer(?:[ \t*_]{1,8}is)?|答案[是为]?|故选)[ \t*_]{0,8}[:：][\s*_]{0,16}", re.IGNORECASE
)

# What letters are dressed in; `\text{B}` and `\(B\)` lose their commands.
MARKUP = re.compile(
    r"\\(?:boxed|fbox|text(?:bf|it|rm|sf|tt)?|math(?:rm|bf|it|sf|tt))(?![A-Za-z])|\\[()\[\]]|[*_`$~{}\\\"“”【】]"
)
LEAD = re.compile(
    r"(?:the\s{1,4})?(?:(?:correct|final|best|right)\s{1,4})?(?:answer|option|choice)\s{0,4}(?:is\b|:)?\s{0,4}"
    r"(?:(?:option|choice)\s{1,4})?|(?:正确)?答案\s{0,4}[是为选:]?\s{0,4}|选项?\s{0,4}",
    re.IGNORECASE,
)
AND = r"(?:(?i:and/or|and|or)\b|或者|[,;/&、和或与及])"


def _label(letter: str) -> str:
    """A letter, and not the first word of "A man": a closing sign, an end, a dash or another letter must follow."""
    followed = rf"(?=[ \t]*(?:\Z|\n|[.:,;(]|{AND})|[ \t]+(?:[—–-]|[(\[]?[A-Z](?![A-Za-z0-9])))"
    return rf"[(\[]?[ \t]?({letter})[ \t]?(?:[)\]]|{followed})"


FIRST = re.compile(_label("[A-Za-z]"))
NEXT = re.compile(rf"[ \t]*(?:{AND}[ \t]*){{0,3}}{_label('[A-Z]')}")
LISTED = re.compile(r"(?<![A-Za-z0-9])(?:\(([A-Z])\)|([A-Z])[).](?=\s))")
CLOSING = " \t\n)].:,;—–-"
BARE = re.compile(r"\(?([A-Za-z])[).]?")


def choice_reward(items: Sequence[Item]) -> list[Score]:
    """1.0 where the completion commits to the record's choice and to no other, else 0.0.

    The record's `answer` is a letter, or the text of one of its `choices` (a list of at most 26 texts, lettered
    from A; optional where the answer is a letter). UserError names a record where it is neither.
    """
    return [_score(item) for item in items]


def _score(item: Item) -> Score:
    choices = choices_of(item)
    gold = gold_of(item, choices)
    read = committed(item.completion, choices)
    if read is None:
        return Score(0.0, Status.NO_ANSWER)
    letters, text = read
    right = letters == {gold}
    return Score(float(right), Status.CORRECT if right else Status.WRONG, min(letters) if len(letters) == 1 else text)


def choices_of(item: Item) -> tuple[str, ...]:
    """The texts of the choices, () where the record has none."""
    choices = item.record.get("choices")
    if choices is None:
        return ()
    if not isinstance(choices, list | tuple) or not all(isinstance(one, str) for one in choices):
        raise _bad_record(item, "'choices' to be a list of texts", choices)
    if not 1 <= len(choices) <= MOST_CHOICES:
        raise _bad_record(item, f"1 to {MOST_CHOICES} 'choices', one for each letter", len(choices))
    return tuple(choices)


def gold_of(item: Item, choices: Sequence[str]) -> str:
    """The right letter. A single letter is one even where it is also the text of a choice."""
    answer = require_field(item, "answer", "choice")
    if isinstance(answer, str):
        if match := BARE.fullmatch(answer.translate(ASCII).strip()):
            letter = match.group(1).upper()
            if not choices or letter in _letters_of(choices):
                return letter
        letters = of_text(answer, choices)
        if len(letters) == 1:
            return min(letters)
    span = (
        f"of A to {_letters_of(choices)[-1]}, or the text of one of its choices" if choices else "(it has no choices)"
    )
    raise _bad_record(item, f"'answer' to be a letter {span}", answer)


def committed(completion: str, choices: Sequence[str]) -> tuple[frozenset[str], str] | None:
    """The letters that a completion commits to, and where they are read; None where it gives no answer.

    No letters where there is an answer tag or a box, but neither a letter nor the text of a choice in it.
    """
    tagged = answer_tag(completion)
    section = after_thinking(completion) if tagged is None else tagged
    for is_last, stated in _stated(section):
        # A text is compared at the end only: it costs more than a letter, and of lines there may be thousands.
        letters = read(stated, choices) if is_last else read_letters(stated, choices)
        if not letters and is_last:
            letters = of_text(stated.rstrip(" *_"), choices)  # of `**ANSWER: Paris**` the header has the first signs
        if letters:
            return letters, stated
    boxed = last_boxed(section)
    answer = ((tagged if boxed is None else boxed) or "").strip()
    return (read(answer, choices), answer) if answer else None


def _stated(section: str) -> Iterator[tuple[bool, str]]:
    """What follows each `ANSWER:` on its line, up to the next one; the last first, with True."""
    next_header = len(section)
    for header in reversed(list(HEADER.finditer(section))):
        end = min(next_header, header.end() + LONGEST_ANSWER_CHARS)
        newline = section.find("\n", header.end(), end)
        yield next_header == len(section), section[header.end() : end if newline < 0 else newline].strip()
        next_header = header.start()


def read(answer: str, choices: Sequence[str]) -> frozenset[str]:
    """The letters of an answer: a letter alone, the whole text of a choice, or letters at its head."""
    if BARE.fullmatch(answer.translate(ASCII)):
        return read_letters(answer, choices)
    return of_text(answer, choices) or read_letters(answer, choices)


def read_letters(answer: str, choices: Sequence[str]) -> frozenset[str]:
    """The letters that an answer names at its head; none where it does not begin with one.

    What follows the letter may be anything, but the text of another choice, or a list of other letters, names
    those as well. Full-width letters are letters; look-alikes of other scripts are not.
    """
    text = MARKUP.sub("", answer[:LONGEST_ANSWER_CHARS].translate(ASCII)).strip()
    if lead := LEAD.match(text):
        text = text[lead.end() :]
    label = FIRST.match(text)
    if label is None:
        return frozenset()
    letters = {label.group(1).upper()}
    position = label.end()
    while label := NEXT.match(text, position):
        letters.add(label.group(1))
        position = label.end()
    rest = text[position:].lstrip(CLOSING)
    plain = tuple(MARKUP.sub("", one) for one in choices)
    if explained := of_text(rest, plain) or of_text(rest.removeprefix("(").removesuffix(")"), plain):
        return frozenset(letters if letters <= explained else letters | explained)
    return frozenset(letters.union(one or other for one, other in LISTED.findall(text, position)))


def of_text(text: str, choices: Sequence[str]) -> frozenset[str]:
    """The letters of the choices whose text this is."""
    if not choices or not text or len(text) > LONGEST_ANSWER_CHARS:
        return frozenset()
    key = canonical_key(text)
    keys = zip(_letters_of(choices), _keys(tuple(choices)), strict=True)
    return frozenset(letter for letter, one in keys if key and one == key)


@functools.lru_cache(maxsize=1024)  # the completions of a group share their choices
def _keys(choices: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(map(canonical_key, choices))


def _letters_of(choices: Sequence[str]) -> str:
    return string.ascii_uppercase[: len(choices)]


def _bad_record(item: Item, expected: str, found: object) -> UserError:
    return UserError(f"record {item.record.get('id')!r}: the choice reward expects {expected}, found {found!r}")
