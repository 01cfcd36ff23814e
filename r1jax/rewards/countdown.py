"""Countdown: reach a target with given numbers, each used exactly once, by + - * / and brackets.

The expression is evaluated in exact fractions by the parser below: nothing a model wrote is ever executed.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Sequence
from fractions import Fraction

from r1jax.rewards.verdicts import Item, Score, Status, require_integer, require_integers
from r1jax.text.answers import ASCII, LONGEST_ANSWER_CHARS, final_answer, unwrapped

OPERATORS: dict[str, tuple[int, Callable[[Fraction, Fraction], Fraction]]] = {  # precedence, meaning
    "+": (1, operator.add),
    "-": (1, operator.sub),
    "*": (2, operator.mul),
    "/": (2, operator.truediv),
}
SPELLINGS = {
    r"\times": "*",
    r"\cdot": "*",
    r"\ast": "*",
    r"\div": "/",
    r"\left": "",
    r"\right": "",
    **dict.fromkeys("×xX·⋅∗•", "*"),
    "÷": "/",
    "–": "-",
    "[": "(",
    "]": ")",
    "$": "",
}
# The innermost fraction; both parts get brackets, and so has the whole: 8/\frac{4}{2} is 4.
FRACTION = re.compile(r"\\[dt]?frac\s*\{([^{}]*)\}\s*\{([^{}]*)\}")
# Digits with whitespace between them are one number: word-level tokenizers have single digits as tokens.
TOKEN = re.compile(r"\s*(?:([0-9]+(?:\s+[0-9]+)*)|([-+*/()=]))")
MOST_DIGITS = 18  # longer than any number of the task, and far from the size at which int() refuses


def countdown_reward(items: Sequence[Item]) -> list[Score]:
    """1.0 where the answer is an expression of the record's `numbers` that gives its `target`, else 0.0.

    `expression = target` is accepted as well, and so are the wrappers and the final period of other answers.
    UserError names a record whose numbers are no integers.
    """
    return [_score(item) for item in items]


def _score(item: Item) -> Score:
    numbers = require_integers(item, "numbers", "countdown")
    target = require_integer(item, "target", "countdown")
    answer = final_answer(item.completion)
    if answer is None:
        return Score(0.0, Status.NO_ANSWER)
    right = solves(answer, numbers, target)
    return Score(float(right), Status.CORRECT if right else Status.WRONG, answer)


def solves(answer: str, numbers: Sequence[int], target: int) -> bool:
    """Whether `answer` is an expression that uses each number exactly once and equals the target."""
    tokens = tokenize(unwrapped(answer.translate(ASCII))) if len(answer) <= LONGEST_ANSWER_CHARS else None
    if tokens is None:
        return False
    if "=" in tokens:
        equals = tokens.index("=")
        tokens, stated = tokens[:equals], tokens[equals + 1 :]
        if stated != ([target] if target >= 0 else ["-", -target]):
            return False
    # Before evaluating, so that the size of the values is bounded by the task and not by the model.
    if sorted(token for token in tokens if isinstance(token, int)) != sorted(numbers):
        return False
    return evaluate(tokens) == target


def tokenize(text: str) -> list[int | str] | None:
    """Numbers and the symbols + - * / ( ) =, or None when the text holds anything else (full-width forms too)."""
    found = 1
    while found:
        text, found = FRACTION.subn(r"((\1)/(\2))", text)
    for spelling, symbol in SPELLINGS.items():
        text = text.replace(spelling, symbol)
    text = text.strip()
    tokens: list[int | str] = []
    position = 0
    while position < len(text):
        match = TOKEN.match(text, position)
        if match is None:
            return None
        digits, symbol = match.groups()
        if digits is None:
            tokens.append(symbol)
        else:
            digits = "".join(digits.split())
            if len(digits) > MOST_DIGITS:
                return None
            tokens.append(int(digits))
        position = match.end()
    return tokens


def evaluate(tokens: Sequence[int | str]) -> Fraction | None:
    """The exact value by Dijkstra's shunting yard (no recursion, so brackets may nest at will).

    None for what is no expression of two-sided operators, and for a division by zero.
    """
    values: list[Fraction] = []
    pending: list[str] = []
    operand_next = True
    for token in tokens:
        if operand_next != (isinstance(token, int) or token == "("):
            return None
        if isinstance(token, int):
            values.append(Fraction(token))
            operand_next = False
        elif token == "(":
            pending.append(token)
        elif token == ")":
            if not _apply_while(pending, values, lambda top: top != "(") or not pending:
                return None
            pending.pop()
        elif token in OPERATORS:
            rank = OPERATORS[token][0]
            if not _apply_while(pending, values, lambda top, r=rank: top != "(" and OPERATORS[top][0] >= r):
                return None
            pending.append(token)
            operand_next = True
        else:
            return None
    if operand_next or "(" in pending or not _apply_while(pending, values, lambda top: True):
        return None
    return values[0]


def _apply_while(pending: list[str], values: list[Fraction], holds: Callable[[str], bool]) -> bool:
    """Applies operators from the top of `pending`; False at a division by zero."""
    while pending and holds(pending[-1]):
        right, left = values.pop(), values.pop()
        symbol = pending.pop()
        if symbol == "/" and right == 0:
            return False
        values.append(OPERATORS[symbol][1](left, right))
    return True
