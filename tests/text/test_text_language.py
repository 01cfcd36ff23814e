"""Language share by counting the words of each script."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.text.language import LANGUAGES, count_words, detect_target, language_share


def test_share_by_hand():
    # 3 English words; 3 Han characters / 1.5 = 2 Chinese words.
    text = "then we add 小明有"
    assert count_words(text) == (3.0, 2.0, 0.0)
    assert language_share(text, "en") == pytest.approx(3 / 5)
    assert language_share(text, "zh") == pytest.approx(2 / 5)


def test_han_characters_a_word_can_be_chosen():
    # 1 English word and 3 / 3 = 1 Chinese word.
    assert language_share("add 小明有", "zh", han_per_word=3.0) == pytest.approx(1 / 2)


def test_pure_texts_have_share_one():
    assert language_share("Wait, that is wrong; it's 5 9.", "en") == 1.0
    assert language_share("等等，这是错的；得 5 9。", "zh") == 1.0
    assert language_share("等等，这是错的", "en") == 0.0


@pytest.mark.parametrize("text", ["", "5 9 + 3 = 62", "x = y", "$x^2$", "<think></think>", "?!。"])
def test_nothing_to_count_is_zero(text):
    assert language_share(text, "en") == 0.0
    assert language_share(text, "zh") == 0.0


@pytest.mark.parametrize(
    "span",
    [
        "```python\nfor number in range(3): print(number)\n```",
        "```python\nfor number in range(3):",  # truncated inside the code
        "`print`",
        r"$\frac{mass}{volume}$",
        "$$speed = way / time$$",
        r"\(speed\)",
        r"\[speed\]",
        r"\begin{align}speed &= way\end{align}",
        r"\begin{align}\begin{cases}speed &= way\end{cases}\end{align}",
        r"\alpha",
        "<think>",
        "</answer>",
        "x",
        "sin(x)",
        "https://example.org/some/page",
    ],
)
def test_code_formulas_and_tags_are_not_counted(span):
    assert count_words(f"小明有 {span}") == (0.0, 2.0, 0.0)


def test_prices_are_not_formulas():
    # it costs and then she pays in total: 8 words, none swallowed between the two dollar signs
    assert count_words("it costs $5 and then she pays $10 in total").en == 8


def test_other_scripts_are_words_of_neither():
    # 1 English, 1 Russian, 1 Korean word
    assert language_share("answer ответ 답", "en") == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    "text", ["תשובה", "إجابة", "პასუხი", "መልስ", "ᠬᠠᠷᠢᠭᠤ", "ﺟﻮﺍﺏ", "ㄅㄆㄇ", "ｱﾝｻｰ", "Ａｎｓｗｅｒ"]
)
def test_no_script_hides_from_the_share(text):
    assert language_share(f"小明有 {text}", "zh") == pytest.approx(2 / 3)


def test_points_of_a_figure_are_not_counted():
    # 2 Han characters; the labels are words of neither language
    assert count_words("在△ABC中，A'B'⊥BD，ABCD，") == (0.0, 2 / 1.5, 0.0)
    assert count_words("in triangle ABC the side AB' is long") == (6.0, 0.0, 0.0)
    assert count_words("THEREFORE WRITE ENGLISH") == (3.0, 0.0, 0.0)  # of capitals, but no labels


def test_a_full_width_letter_is_a_variable():
    assert count_words("小明有Ａ，Ｂ") == (0.0, 2.0, 0.0)


def test_what_is_written_without_spaces_is_no_single_word():
    # 20 signs of Thai are 4 words, as 3 Han characters are 2
    assert language_share("小明有 " + "คำตอบคือสิบสองครับผม"[:20], "zh") == pytest.approx(2 / 6)


def test_a_url_ends_where_chinese_begins():
    assert count_words("https://example.org/a小明有").zh == 2


def test_contractions_and_accents_are_one_word():
    assert count_words("don’t won't naïve").en == 3


@pytest.mark.parametrize(
    ("question", "target"),
    [
        ("compute 4 7 + 8 - 5 ?", "en"),
        ("计算 4 7 + 8 - 5 ?", "zh"),
        ("小明有 5 个苹果，Tom 给了他 3 个，他有多少？", "zh"),
        ("How do you say 你好 in English, and why?", "en"),
        ("4 7 + 8 ?", "en"),
    ],
)
def test_the_target_is_the_language_of_most_words(question, target):
    assert detect_target(question) == target


def test_an_unknown_language_is_an_error():
    with pytest.raises(ValueError, match="expected one of en, zh, ja, ko, ru .*, found 'fr'"):
        language_share("bonjour", "fr")
    with pytest.raises(ValueError, match="expected one of en, zh, .* ISO 639-1 code .*, found 'xx'"):
        language_share("bonjour", "xx", window_words=20)


@pytest.mark.parametrize(
    ("text", "target", "expected"),
    [
        # 3 Russian words, 1 English, 3 / 1.5 = 2 Chinese, 1 Korean, 1 run of kana
        ("мы и они add 小明有 답 の", "ru", 3 / 8),
        ("мы и они add 小明有 답 の", "ko", 1 / 8),
        ("ответ답ответ", "ru", 2 / 3),  # runs of two scripts without a space are words of each
        # 2 kana and 1 Han: 3 / 1.5 = 2 Japanese words, 1 English
        ("数える add", "ja", 2 / 3),
        # the second sentence has no kana: 3 Japanese characters, 4 Chinese ones
        ("数える。計算如下。", "ja", 3 / 7),
        ("計算如下答案是九、の", "ja", 1 / 9),  # one kana makes no Japanese sentence of 8 Han characters
        ("計算如下", "ja", 0.0),
        ("数える", "zh", (1 / 1.5) / (1 / 1.5 + 1)),  # as ever: a run of kana is a word of another script
    ],
)
def test_other_scripts_as_targets(text, target, expected):
    assert language_share(text, target) == pytest.approx(expected)


@given(st.text(alphabet=[*"ab 小のア가я。\n$`\\"]), st.sampled_from(LANGUAGES))
def test_a_share_is_a_share(text, target):
    assert 0.0 <= language_share(text, target) <= 1.0


@given(st.text(alphabet=st.characters(), max_size=80))
def test_english_and_chinese_are_parts_of_one_whole(text):
    words = count_words(text)
    shares = language_share(text, "en"), language_share(text, "zh")
    assert sum(shares) <= 1.0 + 1e-12
    if words.other == 0 and sum(words) > 0:
        assert sum(shares) == pytest.approx(1.0)


def test_vietnamese_words_are_whole():
    assert count_words("được những").en == 2


@pytest.mark.parametrize(
    "unit", ["$ ", "$x", "`", "```", "\\(", "\\[", "\\begin{a", "$$ ", "<a", "word ", "字", "a'", "の。", "я", "가 "]
)
def test_degenerate_repetition_takes_linear_time(unit):
    text = unit * (200_000 // len(unit))
    started = time.perf_counter()
    for target in LANGUAGES:
        language_share(text, target)
    # Quadratic behaviour would take minutes; linear takes about 0.1 s each.
    assert time.perf_counter() - started < 5
