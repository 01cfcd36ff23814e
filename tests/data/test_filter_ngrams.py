"""Words and n-grams as numbers: which texts are the same, and that it takes linear time."""

import time
import unicodedata

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from r1jax.data.filters.ngrams import characters, distinct, jaccard, ngram_hashes, ngram_set, word_hashes

ANY_TEXT = st.text(st.characters(), max_size=60)  # lone surrogates too
FEW = hypothesis.settings(max_examples=200, deadline=None, derandomize=True)


def same(one, other):
    return np.array_equal(word_hashes(one), word_hashes(other))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", 0),
        (" .,!? ", 0),
        ("one two", 2),
        ("don't", 2),
        ("twenty-five", 2),
        ("_a_", 1),
        ("47+8", 3),
        ("47 + 8 - 5", 5),
        ("-5", 2),
        ("x-1", 3),
        ("a == b", 3),
        ("**bold** 3*4", 4),
        ("1,000", 1),
        ("1,000,000 or 12,34", 4),
        ("小明有5个苹果。", 7),
        ("x的值", 3),
        ("a" * 32, 1),
        ("a" * 33, 2),
        ("a" * 100 + " b", 5),
        ("\ud800 a", 1),
        ("ひらがな", 4),
        ("한국어 단어", 2),
    ],
)
def test_what_a_word_is(text, words):
    assert len(word_hashes(text)) == words


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Tom has 5 apples.", "tom HAS 5 apples"),
        ("Ｔｏｍ　has ５ apples！", "Tom has 5 apples!"),
        ("caf\u00e9", "cafe\u0301"),
        ("Straße", "STRASSE"),
        ("1,000 men", "1000 men"),
        ("7 × 8 ÷ 2 − 1", "7*8/2-1"),
        ("ﬁve", "five"),
        ("**Tom** has", "Tom has"),
        ("小明有５个苹果", "小明 有 5 个苹果。"),
    ],
)
def test_spellings_of_the_same(one, other):
    assert same(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [("47 + 8", "47 - 8"), ("1.5", "15"), ("ab c", "a bc"), ("a b", "b a"), ("a", "a a"), ("12,34", "1234")],
)
def test_what_is_not_the_same(one, other):
    assert not same(one, other)


def test_the_numbers_are_those_of_every_other_run():
    # Written down so that a change of the hash, which would move near duplicates, is seen.
    assert word_hashes("two words").tolist() == [343437590516056019, 5598054855401954742]
    assert (
        ngram_hashes(word_hashes("now two words"), 2).tolist()[1:] == ngram_hashes(word_hashes("two words"), 2).tolist()
    )


@hypothesis.given(ANY_TEXT)
@FEW
def test_normal_forms_case_and_punctuation_make_no_difference(text):
    text = text.replace("\u0345", "")  # this one mark changes its kind with its case
    assert same(text, unicodedata.normalize("NFD", text))
    assert same(text, unicodedata.normalize("NFKC", text))
    assert same(text, f" .{text}\t! ")


@hypothesis.given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
@FEW
def test_full_width_is_ascii(text):
    assert same(text, "".join(chr(ord(one) + 0xFEE0) for one in text))


@hypothesis.given(ANY_TEXT, ANY_TEXT)
@FEW
def test_words_of_parts_are_the_words_of_the_whole(one, other):
    parts = np.concatenate([word_hashes(one), word_hashes(other)])
    assert np.array_equal(word_hashes(f"{one} ; {other}"), parts)


@hypothesis.given(st.lists(st.integers(0, 3), max_size=40), st.integers(1, 6))
@FEW
def test_ngrams_are_equal_where_their_words_are(letters, n):
    words = word_hashes(" ".join("abcd"[one] for one in letters))
    expected = [tuple(letters[at : at + n]) for at in range(len(letters) - n + 1)]
    hashes = ngram_hashes(words, n).tolist()
    assert len(hashes) == len(expected)
    assert len(set(hashes)) == len(set(expected))
    assert len(set(zip(hashes, expected, strict=True))) == len(set(expected))


def test_a_text_shorter_than_n_is_one_ngram():
    assert ngram_set(word_hashes("a b c"), 5).tolist() == ngram_hashes(word_hashes("a b c"), 3).tolist()
    assert len(ngram_set(word_hashes(""), 5)) == 0


def test_jaccard_by_hand():
    one, other = (ngram_set(word_hashes(text), 2) for text in ("a b c d", "a b c e"))  # ab bc cd, ab bc ce
    assert jaccard(one, other) == 2 / 4
    assert jaccard(one, one) == 1.0
    assert jaccard(one, one[:0]) == 0.0
    assert jaccard(one[:0], one[:0]) == 1.0


def test_distinct_is_sorted_without_doubles():
    assert distinct(np.array([3, 1, 3, 2], np.uint64)).tolist() == [1, 2, 3]
    assert len(distinct(np.zeros(0, np.uint64))) == 0


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        "a ",
        "苹",
        "苹果 ",
        "-",
        "*",
        "1,",
        "\u0301\u0316",
        "\uff9e\u0316",
        "\ud800",
        "ß",
        "ﷺ",
        "\n",
        "a\u0316\u0301 ",
    ],
)
def test_a_megabyte_takes_linear_time(unit):
    text = "x" + unit * (1_000_000 // len(unit.encode("utf-8", "surrogatepass")))
    started = time.process_time()
    words = word_hashes(text)
    ngram_set(words, 5)
    characters(text)
    # Quadratic behaviour would take minutes (canonical ordering of marks: 20 s for a sixth of this).
    assert time.process_time() - started < 10
