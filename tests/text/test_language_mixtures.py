"""How far the counted share of a language is from the true one, and how fast it is counted.

Mixtures of known proportion: of words whose number is known as they are laid down (the Chinese ones segmented,
so that the rule of 1.5 characters a word shows its error), and of English and Chinese questions of real data sets
(folder R1JAX_TEST_DATA). Run with -s for the figures.
"""

import json
import os
import pathlib
import random
import re
import statistics
import time

import pytest

from r1jax.text.language import detect_target, language_share

DATA = pathlib.Path(os.environ.get("R1JAX_TEST_DATA", "R1JAX_TEST_DATA-is-not-set"))

ENGLISH_TEXT = (
    "wait so we add the apples that are left and then check how many she has in all because it was half of them "
    "now let me verify this step first but that would be too much therefore each box must hold fewer than before"
)
# Segmented: 1, 2 and 3 characters, in about the share that they have in running text.
CHINESE_TEXT = (
    "我们 先 算 一下 苹果 的 数量 然后 再 检查 每个 盒子 里 有 多少 因为 她 已经 吃 了 一半 所以 剩下 的 是 原来 等等 "
    "这 不对 应该 乘以 总共 需要 首先 接着 最后 答案 "
    "就是 这样 计算器 自行车 但是 如果 每天 多 一个 那么 结果 也 要 验证"
)
ENGLISH, CHINESE = ENGLISH_TEXT.split(), CHINESE_TEXT.split()
NOT_WORDS = [
    "$x = 3 \\times 4$",
    "12,5",
    "3 + 4 = 7",
    "`total = a + b`",
    "$\\frac{mass}{volume}$",
    "x",
    "?!",
    "\\(speed\\)",
]
SHARES = [0.0, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1.0]


def mixture(rng: random.Random, share: float, num_words: int) -> tuple[str, float]:
    """A text with about this share of English words among formulas, in spans of either language; and the true share."""
    english = round(share * num_words)
    languages = [True] * (english // 5 * 5) + [False] * ((num_words - english) // 5 * 5)
    spans = [languages[start] for start in range(0, len(languages), 5)]
    rng.shuffle(spans)
    pieces = []
    for is_english in spans:
        words = rng.choices(ENGLISH if is_english else CHINESE, k=5)
        pieces.append(" ".join(words) if is_english else "".join(words) + "，")
        if rng.random() < 0.3:
            pieces.append(rng.choice(NOT_WORDS))
    return " ".join(pieces), sum(spans) / len(spans)


def errors_of(pairs, target):
    return [abs(language_share(text, target) - share) for text, share in pairs]


def test_generated_mixtures_are_counted_closely():
    rng = random.Random(1)
    pairs = [mixture(rng, share, 500) for share in SHARES for _ in range(20)]
    for target in ("en", "zh"):
        wanted = [(text, share if target == "en" else 1.0 - share) for text, share in pairs]
        errors = errors_of(wanted, target)
        print(f"\n{target}: error of the share mean {statistics.mean(errors):.4f}, worst {max(errors):.4f}")
        assert statistics.mean(errors) < 0.02
        assert max(errors) < 0.06  # the words of these texts have 1.6 to 1.8 characters
    pure = [pair for pair in pairs if pair[1] in (0.0, 1.0)]
    assert max(errors_of(pure, "en")) == 0.0


def test_a_higher_share_of_words_is_a_higher_share_counted():
    rng = random.Random(2)
    counted = [statistics.mean(language_share(mixture(rng, share, 500)[0], "en") for _ in range(5)) for share in SHARES]
    assert counted == sorted(counted)


def test_texts_are_counted_fast():
    rng = random.Random(3)
    texts = [mixture(rng, 0.5, 100)[0] for _ in range(500)]
    started = time.process_time()
    for text in texts:
        language_share(text, "en")
    per_second = len(texts) / (time.process_time() - started)
    print(f"\n{per_second:,.0f} texts of 100 words a second")
    assert per_second > 500  # thousands on an idle core


@pytest.mark.skipif(not DATA.is_dir(), reason="R1JAX_TEST_DATA names no folder")
def test_questions_of_real_data():
    english = [json.loads(line)["question"] for line in (DATA / "gsm8k_test.jsonl").open(encoding="utf-8")]
    chinese = [json.loads(line)["messages"][0]["content"] for line in (DATA / "mgsm_zh.jsonl").open(encoding="utf-8")]
    found = {"en": [detect_target(one) for one in english], "zh": [detect_target(one) for one in chinese]}
    for target, questions in (("en", english), ("zh", chinese)):
        errors = errors_of([(one, 1.0) for one in questions], target)
        right = found[target].count(target)
        print(
            f"\n{len(questions)} questions in {target}: target found {right}; error of the share "
            f"mean {statistics.mean(errors):.5f}, worst {max(errors):.4f}"
        )
        assert right == len(questions)
        assert statistics.mean(errors) < 0.005

    # Mixtures of whole questions. True words: those between spaces with two letters, and Han characters / 1.5.
    rng = random.Random(4)
    pairs = []
    for _ in range(500):
        ours, theirs = (rng.sample(questions, rng.randint(0, 5)) for questions in (english, chinese))
        words = sum(len(re.findall(r"[^\s]*[A-Za-z]{2}[^\s]*", one)) for one in ours)
        han = sum(len(re.findall(r"[\u4e00-\u9fff]", one)) for one in theirs) / 1.5
        if words + han == 0:
            continue
        questions = ours + theirs
        rng.shuffle(questions)
        pairs.append(("\n".join(questions), words / (words + han)))
    errors = errors_of(pairs, "en")
    print(f"\n{len(pairs)} mixtures: error mean {statistics.mean(errors):.4f}, worst {max(errors):.4f}")
    assert statistics.mean(errors) < 0.01
    assert max(errors) < 0.06

    texts = english + chinese
    started = time.process_time()
    for text in texts:
        language_share(text, "en")
    per_second = len(texts) / (time.process_time() - started)
    print(f"\n{per_second:,.0f} questions a second")
    assert per_second > 500
