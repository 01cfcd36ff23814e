"""Whether a program has printed what was expected: the whole of it, never the part that both have.

Outputs are compared as bytes, so that what is no text equals nothing but itself. All of it is linear in their
lengths, and no number is too large.
"""

from __future__ import annotations

import decimal
import re
from collections.abc import Callable
from decimal import Decimal

from r1jax.rewards.code.tests import Compare

INTEGER = re.compile(rb"[+-]?[0-9]+")
NUMBER = re.compile(rb"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]+)?|[+-]?inf(?:inity)?|nan", re.IGNORECASE)
# 40 digits are far more than a tolerance looks at; what is beyond the exponents becomes infinite, or 0.
DIGITS = decimal.Context(prec=40, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[])


def same_output(expected: bytes, printed: bytes, compare: Compare, tolerance: float) -> bool:
    """Whether the two outputs are the same.

    Args:
      expected, printed: whole outputs.
      compare: "exact": the same bytes, newlines at the end aside. "tokens": the same words, line by line; spacing
        within a line and blank lines at either end do not count. "numbers": as "tokens", where words may also be
        close numbers.
      tolerance: of "numbers": |difference| <= tolerance * max(1, |expected|). Two integers are equal or not; an
        infinity equals itself, and so does a NaN.
    """
    if compare == "exact":
        return expected.rstrip(b"\r\n") == printed.rstrip(b"\r\n")
    if compare == "tokens":
        return _same_lines(expected, printed, bytes.__eq__)
    limit = Decimal(repr(float(tolerance)))
    return _same_lines(expected, printed, lambda left, right: left == right or _are_close(left, right, limit))


def _same_lines(expected: bytes, printed: bytes, same: Callable[[bytes, bytes], bool]) -> bool:
    left, right = expected.strip().split(b"\n"), printed.strip().split(b"\n")
    return len(left) == len(right) and all(
        _same_words(one.split(), other.split(), same) for one, other in zip(left, right, strict=True)
    )


def _same_words(expected: list[bytes], printed: list[bytes], same: Callable[[bytes, bytes], bool]) -> bool:
    return len(expected) == len(printed) and all(map(same, expected, printed))


def _are_close(expected: bytes, printed: bytes, tolerance: Decimal) -> bool:
    """Of two different words."""
    if not (NUMBER.fullmatch(expected) and NUMBER.fullmatch(printed)):
        return False
    left, right = (DIGITS.create_decimal(word.decode()) for word in (expected, printed))
    if left.is_nan() or right.is_nan():
        return left.is_nan() and right.is_nan()
    if left.is_infinite() or right.is_infinite():
        # Those that are infinite by their size are not known to be equal.
        return left == right and not any(b"0" <= word.lstrip(b"+-.")[:1] <= b"9" for word in (expected, printed))
    if INTEGER.fullmatch(expected) and INTEGER.fullmatch(printed):
        return _plain(expected) == _plain(printed)
    distance = DIGITS.abs(DIGITS.subtract(left, right))
    return distance <= DIGITS.multiply(tolerance, DIGITS.max(Decimal(1), DIGITS.abs(left)))


def _plain(integer: bytes) -> bytes:
    """An integer without idle zeros and signs: as a text, since int() refuses long ones."""
    digits = integer.lstrip(b"+-").lstrip(b"0")
    return b"-" + digits if digits and integer.startswith(b"-") else digits
