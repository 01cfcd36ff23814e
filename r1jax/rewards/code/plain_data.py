"""Plain Python data as JSON text and back, with exact types: what crosses between a test and a candidate.

Lists, texts, numbers, booleans and None are written as themselves, everything else as an object of one key that
names its kind: (1, {2}) is {"tuple": [1, {"set": [2]}]}. No classes, no pickle: the reader makes values of Python's
own types and no others. Subclasses (Counter, a named tuple, an IntEnum) are written as what they are one of.

The text may come from a program that nobody trusts. Reading it takes time and memory linear in its length, with one
exception: sets and dicts of crafted numbers collide, so `decode` is for processes that have a limit of time. `parse`
is safe anywhere; it leaves kinds as they are written. This module also runs inside jails: standard library only.
"""

import json
import re

MOST_BYTES = 2**24  # of a text
MOST_ITEMS = 2**20  # of all containers of a value together
MOST_DEPTH = 100  # of containers in containers
DIRECT_INT = 2**63  # larger ones are written in hexadecimal, which is read in linear time
LONGEST_INT = 20  # characters of one that is smaller
LONGEST_FLOAT = 32
DIRECT = (str, bool, float, type(None))


class NotPlain(TypeError):
    """A value that is no plain data, or too much of it; the text names its type."""


class Malformed(ValueError):
    """A text that no `encode` has written."""


def encode(value, reference=None):
    """The text of a value. NotPlain where it, or something in it, is no plain data.

    Args:
      value: of None, bool, int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict, range;
        views of dicts; iterators, which are used up and read back as an iterator over a list.
      reference: called with an object of any other type; a number that stands for it, or None.
    """
    try:
        text = TO_JSON.encode(_Writer(reference).tree(value, 0))
    except RecursionError:  # the caller is deep in its own stack
        raise NotPlain("plain data: too deep to be sent") from None
    if len(text) > MOST_BYTES:
        raise NotPlain(f"plain data: expected at most {MOST_BYTES} characters, found {len(text)}")
    return text


def decode(text, dereference=None):
    """The value of a text; Malformed for any other text.

    Args:
      text: what `encode` has written.
      dereference: called with the number of a reference; its object. None: no references.
    """
    try:
        return _Reader(dereference).value(parse(text))
    except (ValueError, TypeError, LookupError, OverflowError, RecursionError) as error:
        raise Malformed(f"plain data: {error}") from None


def parse(text):
    """The JSON value of a text, of bounded size and depth, in which objects of one key name a kind; else Malformed."""
    try:
        _check_shape(text)
        return FROM_JSON.decode(text)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"plain data: {error}") from None


class _Writer:
    """Turns a value into what JSON has."""

    def __init__(self, reference):
        self._reference = reference
        self._items = 0

    def tree(self, value, depth):
        kind = type(value)
        if kind in DIRECT:
            return value
        if kind is int:
            return value if -DIRECT_INT < value < DIRECT_INT else {"int": hex(value)}
        if depth > MOST_DEPTH:
            raise NotPlain(f"plain data: deeper than {MOST_DEPTH} levels, or it contains itself")
        if kind is list:
            return self._list(value, depth)
        write = WRITERS.get(kind) or next((WRITERS[base] for base in WRITERS if issubclass(kind, base)), None)
        if write is not None:
            return write(self, value, depth)
        number = None if self._reference is None else self._reference(value)
        if number is not None:
            return {"object": number}
        if hasattr(kind, "__next__"):
            return {"iterator": self._list(value, depth)}
        raise NotPlain(f"plain data: found a value of type {kind.__name__!r}")

    def _list(self, values, depth):
        """From any iterable. Endless ones come to an end at MOST_ITEMS."""
        items = []
        for one in values:
            self._items += 1
            if self._items > MOST_ITEMS:
                raise NotPlain(f"plain data: more than {MOST_ITEMS} items")
            items.append(one if type(one) in DIRECT else self.tree(one, depth + 1))
        return items

    def pairs(self, mapping, depth):
        return self._list((one for pair in dict.items(mapping) for one in pair), depth)


def _of(kind, iterate):
    return lambda writer, value, depth: {kind: writer._list(iterate(value), depth)}


# By the base's own methods: a subclass may have overridden them.
WRITERS = {
    int: lambda writer, value, depth: writer.tree(int.__pos__(value), depth),
    float: lambda writer, value, depth: float.__pos__(value),
    str: lambda writer, value, depth: str.__str__(value),
    complex: lambda writer, value, depth: {"complex": [complex.__pos__(value).real, complex.__pos__(value).imag]},
    bytes: lambda writer, value, depth: {"bytes": bytes.decode(value, "latin-1")},
    bytearray: lambda writer, value, depth: {"bytearray": bytearray.decode(value, "latin-1")},
    list: lambda writer, value, depth: writer._list(list.__iter__(value), depth),
    tuple: _of("tuple", tuple.__iter__),
    set: _of("set", set.__iter__),
    frozenset: _of("frozenset", frozenset.__iter__),
    dict: lambda writer, value, depth: {"dict": writer.pairs(value, depth)},
    range: lambda writer, value, depth: {"range": writer._list((value.start, value.stop, value.step), depth)},
    type({}.keys()): _of("keys", iter),
    type({}.values()): _of("values", iter),
    type({}.items()): _of("items", iter),
}


class _Reader:
    """Turns what JSON has into a value."""

    def __init__(self, dereference):
        self._dereference = dereference

    def value(self, tree):
        if type(tree) is list:
            return [one if type(one) in DIRECT or type(one) is int else self.value(one) for one in tree]
        if type(tree) is not dict:
            return tree
        ((kind, content),) = tree.items()
        if kind == "object":
            if self._dereference is None or type(content) is not int:
                raise Malformed("a reference")
            return self._dereference(content)
        expected, read = READERS[kind]
        if type(content) is not expected:
            raise Malformed(f"{kind} of a {type(content).__name__}")
        return read(self.value(content) if expected is list else content)


def _range(parts):
    if [type(part) for part in parts] != [int, int, int]:
        raise Malformed("range of other than three integers")
    return range(*parts)


def _complex(parts):
    if [type(part) for part in parts] != [float, float]:
        raise Malformed("complex of other than two floats")
    return complex(*parts)


def _dict(flat):
    return dict(zip(flat[::2], flat[1::2], strict=True))


READERS = {
    "int": (str, lambda text: int(text, 16)),
    "complex": (list, _complex),
    "bytes": (str, lambda text: text.encode("latin-1")),
    "bytearray": (str, lambda text: bytearray(text.encode("latin-1"))),
    "tuple": (list, tuple),
    "set": (list, set),
    "frozenset": (list, frozenset),
    "dict": (list, _dict),
    "range": (list, _range),
    "keys": (list, lambda items: dict.fromkeys(items).keys()),
    "values": (list, lambda items: dict(enumerate(items)).values()),
    "items": (list, lambda items: dict(items).items()),
    "iterator": (list, iter),
}


def _check_shape(text):
    """Malformed for a text whose value would be deeper or have more items than any that is written."""
    if len(text) > MOST_BYTES:
        raise Malformed(f"{len(text)} characters")
    if text.count("[") + text.count("{") + text.count(",") <= MOST_DEPTH:
        return
    structure = "".join(text.replace("\\\\", "").replace('\\"', "").split('"')[::2])  # without the texts in it
    if structure.count("[") + structure.count("{") + structure.count(",") > 4 * MOST_ITEMS:
        raise Malformed(f"more than {MOST_ITEMS} items")
    depth = 0
    for bracket in re.sub(r"[^\[\]{}]+", "", structure):
        depth += 1 if bracket in "[{" else -1
        if depth > 2 * MOST_DEPTH + 2:  # a kind's object and its list are two
            raise Malformed(f"deeper than {MOST_DEPTH} levels")


def _short_int(text):
    if len(text) > LONGEST_INT:
        raise Malformed("a long integer")
    return int(text)


def _short_float(text):
    if len(text) > LONGEST_FLOAT:
        raise Malformed("a long float")
    return float(text)


TO_JSON = json.JSONEncoder(ensure_ascii=False, check_circular=False, separators=(",", ":"))
FROM_JSON = json.JSONDecoder(parse_int=_short_int, parse_float=_short_float, parse_constant=float)
