"""Language share by counting the words of each script."""

import time

import pytest

from r1jax.text.language import count_words, detect_target, language_share


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
    with pytest.raises(ValueError, match="expected 'en' or 'zh', found 'fr'"):
        language_share("bonjour", "fr")


@pytest.mark.parametrize("unit", ["$ ", "$x", "`", "```", "\\(", "\\[", "\\begin{a", "$$ ", "<a", "word ", "字", "a'"])
def test_degenerate_repetition_takes_linear_time(unit):
    text = unit * (200_000 // len(unit))
    started = time.perf_counter()
    language_share(text, "en")
    # Quadratic behaviour would take minutes; linear takes about 0.1 s.
    assert time.perf_counter() - started < 5
