"""When two outputs are the same."""

import time

import hypothesis
import hypothesis.strategies as st
import pytest

from r1jax.rewards.code.compare import same_output

ANY_BYTES = st.binary(max_size=40) | st.lists(
    st.sampled_from([b"1", b"2.5", b"a", b" ", b"\n", b"-", b"nan", b"1e3", b"\t", b"\r\n"]), max_size=12
).map(b"".join)


@pytest.mark.parametrize(
    ("compare", "expected", "printed", "same"),
    [
        ("exact", b"1 2\n", b"1 2\n", True),
        ("exact", b"1 2", b"1 2\n", True),
        ("exact", b"1 2\n", b"1  2\n", False),
        ("exact", b"1 2\n", b"1 2 \n", False),
        ("exact", b"", b" ", False),
        ("tokens", b"1 2\n3\n", b" 1\t 2  \r\n3\n\n\n", True),
        ("tokens", b"1 2\n3\n", b"1 2 3\n", False),  # another line
        ("tokens", b"1\n\n2\n", b"1\n2\n", False),  # a blank line may be an answer
        ("tokens", b"\n1\n\n", b" \r\n1", True),
        ("tokens", b"", b" \n\n", True),
        ("tokens", b"1.0", b"1", False),
        ("tokens", "1\u00a02".encode(), b"1 2", False),  # another sign, not a space
        ("tokens", b"\xff\xfe", "\ufffd\ufffd".encode(), False),
        ("tokens", b"yes", b"YES", False),
        ("numbers", b"yes", b"YES", False),
    ],
)
def test_what_each_comparison_overlooks(compare, expected, printed, same):
    assert same_output(expected, printed, compare, 1e-6) is same


@pytest.mark.parametrize("compare", ["exact", "tokens", "numbers"])
@pytest.mark.parametrize(
    "printed",
    [
        b"",
        b"\n",
        b"1\n",  # a prefix
        b"1\n2",
        b"1\n2\n3\n4\n",  # more than was asked
        b"1\n2\n3\n1\n2\n3\n",
        b"2\n3\n",
        b"0\n1\n2\n3\n",
        b"1 2 3\n",
        b"3\n2\n1\n",
        b"1\n2\n3 4\n",
        b"1\n2\n3\0\n",
        b"1\n2\n3.\n1",
        b"nan\nnan\nnan",
        b"inf\ninf\ninf",
    ],
)
def test_a_part_or_more_than_all_is_not_the_same(compare, printed):
    assert same_output(b"1\n2\n3\n", b"1\n2\n3\n", compare, 1e-6)
    assert not same_output(b"1\n2\n3\n", printed, compare, 1e-6)


@pytest.mark.parametrize(
    ("expected", "printed", "same"),
    [
        ("0.5", "0.5000004", True),
        ("0.5", "0.500002", False),
        ("1000.0", "1000.0005", True),  # relative: 1e-6 * 1000
        ("1000.0", "1000.002", False),
        ("0.0", "-0.0", True),
        ("0.0", "1e-7", True),  # absolute
        ("0.0", "1e-5", False),
        ("3", "3.0", True),
        ("3", "2.9999999", True),
        ("3", "+3", True),
        ("3", "003", True),
        ("0", "-0", True),
        ("1000000007", "1000000008", False),  # integers are exact
        ("-3", "3", False),
        ("1e3", "1000", True),
        (".5", "5E-1", True),
        ("x=0.5", "x=0.50", False),
        ("0.5 a", "0.50 b", False),
        ("nan", "NaN", True),
        ("nan", "1", False),
        ("1.5", "nan", False),
        ("inf", "Infinity", True),
        ("-inf", "inf", False),
        ("inf", "1e400", False),
        ("1.5", "inf", False),
        ("1e400", "inf", False),
        ("1e400", "1e400", True),
        ("1.0e400", "1e400", True),
        ("1e400", "2e400", False),
        ("1e-400", "2e-400", True),
        ("1e99999999999999999999", "2e99999999999999999999", False),
        ("1_000.0", "1000.0", False),
        ("0x10", "16", False),
        ("1.5", "1.5f", False),
        ("\u0661", "1", False),  # another digit one
        ("1,5", "1.5", False),
    ],
)
def test_numbers_are_close_or_not(expected, printed, same):
    assert same_output(expected.encode(), printed.encode(), "numbers", 1e-6) is same


def test_the_tolerance_is_the_callers():
    assert same_output(b"1.0", b"1.05", "numbers", 0.1)
    assert not same_output(b"1.0", b"1.05", "numbers", 0.01)
    assert same_output(b"1.0", b"1.00", "numbers", 0.0)
    assert not same_output(b"1.0", b"1.0000000000000000000000001", "numbers", 0.0)


@pytest.mark.parametrize("word", ["9" * 10**6, "1e" + "9" * 10**6, "." + "3" * 10**6, "-" * 10**6, "1." * 10**5])
def test_words_of_a_megabyte_take_little_time(word):
    start = time.process_time()
    assert same_output(word.encode(), word.encode(), "numbers", 1e-6)
    assert not same_output(word.encode(), word.encode() + b"x", "numbers", 1e-6)
    same_output(word.encode(), b"1" + word.encode() + b".5", "numbers", 1e-6)
    same_output(word.encode(), word.encode() + b"5", "numbers", 1e-6)
    assert time.process_time() - start < 3.0


def test_many_words_take_linear_time():
    expected, printed = b"1.5 2.5\n" * 100_000, b"1.50 2.50\n" * 100_000
    start = time.process_time()
    assert same_output(expected, printed, "numbers", 1e-6)
    assert time.process_time() - start < 5.0


@hypothesis.given(ANY_BYTES)
def test_every_output_is_the_same_as_itself(output):
    for compare in ("exact", "tokens", "numbers"):
        assert same_output(output, output, compare, 1e-6)


@hypothesis.given(ANY_BYTES, ANY_BYTES)
def test_each_comparison_accepts_what_a_stricter_one_does(expected, printed):
    exact, tokens, numbers = (same_output(expected, printed, one, 1e-6) for one in ("exact", "tokens", "numbers"))
    assert exact <= tokens <= numbers
    if tokens:
        assert expected.split() == printed.split()
