"""Plain data as text: it comes back with exact types, and no text, whoever wrote it, is more than data."""

import collections
import enum
import math
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from r1jax.rewards.code import plain_data
from r1jax.rewards.code.plain_data import MOST_DEPTH, MOST_ITEMS, Malformed, NotPlain, decode, encode, parse

texts = st.text(st.characters(exclude_categories=()))  # lone surrogates, too
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers().map(lambda number: number**99)
    | st.floats()
    | st.complex_numbers()
    | texts
    | st.binary()
    | st.builds(range, st.integers(), st.integers(), st.integers().filter(bool))
)
keys = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4).map(tuple) | st.frozensets(inner, max_size=4), max_leaves=8
)
values = st.recursive(
    keys | st.binary().map(bytearray) | st.sets(keys, max_size=5),
    lambda inner: (
        st.lists(inner, max_size=5) | st.lists(inner, max_size=5).map(tuple) | st.dictionaries(keys, inner, max_size=5)
    ),
    max_leaves=20,
)


def through_bytes(value):
    return decode(encode(value).encode("utf-8", "surrogatepass").decode("utf-8", "surrogatepass"))


def spelled(value):
    """A text that is equal for values which no program can tell apart: types, order and -0.0 included."""
    kind = type(value).__name__
    if isinstance(value, int):
        return f"{kind} {value:x}"
    if isinstance(value, list | tuple):
        return f"{kind} [{', '.join(map(spelled, value))}]"
    if isinstance(value, set | frozenset):
        return f"{kind} {sorted(map(spelled, value))}"
    if isinstance(value, dict):
        return f"{kind} {[(spelled(key), spelled(one)) for key, one in value.items()]}"
    if isinstance(value, range):
        return f"{kind} {[spelled(part) for part in (value.start, value.stop, value.step)]}"
    return f"{kind} {value!r}"


@settings(max_examples=200, deadline=None)
@given(values)
def test_a_value_comes_back_as_it_was(value):
    assert spelled(through_bytes(value)) == spelled(value)


@settings(max_examples=100, deadline=None)
@given(values)
def test_a_text_has_no_line_break(value):
    """Messages and answers are told apart by it."""
    assert "\n" not in encode(value)


def test_what_a_text_looks_like():
    assert encode((1, {2}, "x", {"a": None})) == '{"tuple":[1,{"set":[2]},"x",{"dict":["a",null]}]}'


@pytest.mark.parametrize(
    "value",
    [0, -0.0, math.inf, -math.inf, 2**63 - 1, 2**63, -(2**63), "\ud83d\ude00", "\ud800", "\0", True, 1.0, 1e-320],
)
def test_single_values(value):
    assert spelled(through_bytes(value)) == spelled(value)


def test_integers_longer_than_python_prints():
    assert spelled(through_bytes([10**5000, -(10**50_000)])) == spelled([10**5000, -(10**50_000)])


def test_nan_is_another_each_time():
    """Equal lists of one and the same NaN would be equal."""
    one, other = decode("[NaN,NaN]")
    assert math.isnan(one)
    assert one is not other


def test_views_and_iterators_keep_their_kind():
    mapping = {"a": 1, "b": [2]}
    assert through_bytes(mapping.keys()) == mapping.keys()
    assert type(through_bytes(mapping.values())) is type(mapping.values())
    assert list(through_bytes(mapping.values())) == [1, [2]]
    assert list(through_bytes(mapping.items())) == [("a", 1), ("b", [2])]
    for iterator in (iter([1, 2]), (one for one in (1, 2)), map(int, "12"), zip((1, 2)), reversed([2, 1])):
        found = through_bytes(iterator)
        assert found != [1, 2]
        assert next(found) in (1, (1,))
        assert next(found) in (2, (2,))
        assert next(found, "end") == "end"


class Liar(str):
    def __eq__(self, other):
        return True

    __hash__ = str.__hash__

    def __str__(self):
        return "what you want"


class LiarOfItems(dict):
    def items(self):
        return [("what", "you want")]


class Colour(enum.IntEnum):
    RED = 1


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Liar("x"), "x"),
        (LiarOfItems(a=1), {"a": 1}),
        (Colour.RED, 1),
        (collections.Counter("aab"), {"a": 2, "b": 1}),
        (collections.defaultdict(list, {1: [2]}), {1: [2]}),
        (collections.OrderedDict(a=1), {"a": 1}),
        (collections.namedtuple("Point", "x y")(1, 2), (1, 2)),
        (type("Float", (float,), {})(-0.0), -0.0),
        (type("Bytes", (bytes,), {})(b"\xff"), b"\xff"),
        (type("Set", (set,), {})({1}), {1}),
        (type("List", (list,), {"__iter__": lambda self: iter("lie")})([1]), [1]),
    ],
)
def test_a_subclass_is_written_as_what_it_is_one_of(value, expected):
    assert spelled(through_bytes([value])) == spelled([expected])


class PretendsToBeAList:
    __class__ = list


@pytest.mark.parametrize(
    "value",
    [object(), len, int, lambda: 1, Exception("x"), PretendsToBeAList(), memoryview(b"x"), collections.deque([1]), ...],
)
def test_other_types_are_refused_by_name(value):
    with pytest.raises(NotPlain, match=type(value).__name__):
        encode([value])


def test_a_value_that_contains_itself_is_refused():
    loop = []
    loop.append(loop)
    table = {}
    table["x"] = (table,)
    for value in (loop, table):
        with pytest.raises(NotPlain, match="contains itself"):
            encode(value)


def test_the_depth_and_the_number_of_items_are_bounded():
    def nested(depth):
        value = 1
        for _ in range(depth):
            value = (value,)
        return value

    assert spelled(through_bytes(nested(MOST_DEPTH))) == spelled(nested(MOST_DEPTH))
    with pytest.raises(NotPlain, match="deeper"):
        encode(nested(MOST_DEPTH + 2))
    twice = []
    for _ in range(60):  # 2**60 items in 60 lists
        twice = [twice, twice]
    endless = iter(int, 1)
    for value in (twice, endless, [0] * (MOST_ITEMS + 1)):
        with pytest.raises(NotPlain, match="items"):
            encode(value)
    with pytest.raises(NotPlain, match="characters"):
        encode("x" * plain_data.MOST_BYTES)


def test_objects_are_numbers_for_those_who_know_them():
    known = [object(), object()]
    text = encode([known[1], 2], lambda value: known.index(value))
    assert decode(text, known.__getitem__) == [known[1], 2]
    with pytest.raises(Malformed):
        decode(text)
    with pytest.raises(Malformed):
        decode('{"object":7}', known.__getitem__)


HOSTILE = [
    "",
    "nul",
    "[1",
    "1 2",
    "\0",
    "\ud800",
    "{}",
    '{"a":1}',
    '{"tuple":[],"list":[]}',
    '{"tuple":1}',
    '{"tuple":{"dict":[]}}',
    '{"set":[[1]]}',
    '{"frozenset":[{"set":[]}]}',
    '{"dict":[1]}',
    '{"dict":[[1],2]}',
    '{"keys":[[1]]}',
    '{"items":[1]}',
    '{"items":[[1,2,3]]}',
    '{"int":"what"}',
    '{"int":5}',
    '{"int":"' + "9" * 10_000 + 'z"}',
    '{"range":[1,2,0]}',
    '{"range":[1,2]}',
    '{"range":[1,2,3.0]}',
    '{"range":[true,2,3]}',
    '{"complex":[1,2]}',
    '{"complex":["1","2"]}',
    '{"bytes":"\u0100"}',
    '{"bytes":[1]}',
    '{"object":1}',
    '{"object":"x"}',
    '{"__class__":"os.system"}',
    '{"py/object":"os.system"}',
    "9" * 21,
    "9" * 10**6,
    "-" + "9" * 10**6,
    "0." + "1" * 10**6,
    "1e" + "9" * 10**6,
    "[" * 10**6,
    "[" * 5000 + "]" * 5000,
    '{"tuple":' * 10**6,
    '{"tuple":[' * 5000 + "]}" * 5000,
    "[" + "[]," * (4 * MOST_ITEMS) + "1]",
]


@pytest.mark.parametrize("text", HOSTILE, ids=lambda text: ascii(text[:24]))
def test_no_other_text_is_read(text):
    with pytest.raises(Malformed):
        decode(text)


BUILT_IN = {bool, int, float, complex, str, bytes, bytearray, list, tuple, set, frozenset, dict, range, type(None)}
BUILT_IN |= {type({}.keys()), type({}.values()), type({}.items()), type(iter([]))}
KINDS = sorted(plain_data.READERS)
trees = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["", "0x1f", "a", *KINDS]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KINDS), inner, max_size=1),
    max_leaves=12,
)


@settings(max_examples=500, deadline=None)
@given(trees)
def test_whatever_is_read_is_of_built_in_types(tree):
    def check(value, depth=0):
        assert type(value) in BUILT_IN
        if type(value) in (list, tuple, set, frozenset):
            for one in value:
                check(one, depth + 1)
        elif type(value) is dict:
            check([*value.keys(), *value.values()])

    text = plain_data.json.dumps(tree)
    assert parse(text) is not ...
    try:
        value = decode(text)
    except Malformed:
        return
    check(value)


@settings(max_examples=300, deadline=None)
@given(texts)
def test_any_text_is_read_or_malformed(text):
    for read in (parse, decode):
        try:
            read(text)
        except Malformed:
            continue


LENGTH = 2**22
LONG = {
    "escapes in an open string": '"' + '\\"' * (LENGTH // 2),
    "backslashes": '"' + "\\" * LENGTH,
    "quotes": '"' * LENGTH,
    "brackets in strings": "[" + '"[{",' * (LENGTH // 5) + '""]',
    "closing brackets": "]" * LENGTH,
    "short numbers": "[" + "1," * (LENGTH // 2) + "1]",
    "numbers of one hash": '{"set":[' + ",".join(f'{{"int":"{hex(k * (2**61 - 1))}"}}' for k in range(50_000)) + "]}",
    "a long number": '{"int":"0x' + "f" * LENGTH + '"}',
    "white space": " " * LENGTH + "1",
    "a string": '"' + "x" * LENGTH + '"',
}


@pytest.mark.parametrize("text", LONG.values(), ids=LONG)
def test_parsing_is_linear(text):
    """A second or two at most; what is quadratic takes hours."""
    start = time.monotonic()
    try:
        parse(text)
    except Malformed:
        pass
    assert time.monotonic() - start < 30
