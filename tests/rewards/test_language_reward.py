"""The language reward is the target language's share of the thinking."""

import sys

import pytest

from r1jax.config import LanguageConfig, RewardsConfig
from r1jax.errors import UserError
from r1jax.rewards.language import language_reward
from r1jax.rewards.verdicts import Item, Score, Status, checked_scores
from r1jax.text import latin_language

APART = LanguageConfig(tell_latin_apart=True, window_words=20)
FRENCH = (
    "Alors nous devons trouver combien de pommes il reste, donc nous prenons le nombre de pommes du panier et nous "
    "retirons celles que la fille a mangées, puis nous vérifions le calcul encore une fois avant de répondre. "
)
ENGLISH = (
    "So we have to find how many apples are left, which means that we take the number of apples in the basket and "
    "remove those that the girl has eaten, and then we check the calculation once more before we answer. "
)


def share(completion, settings=None, **record):
    reward = language_reward(RewardsConfig(language=settings or LanguageConfig()))
    (score,) = checked_scores("language", reward, [Item(record, completion)])
    assert score.status is Status.SCORED
    return score.value


def test_half_of_the_words():
    # One Latin word, and three Han characters: 3 / 1.5 = 2 words. English 1 / 3, Chinese 2 / 3.
    trace = "<think> wait 得三十 5 5 </think> <answer> 55 </answer>"
    assert share(trace, language="en") == pytest.approx(1 / 3)
    assert share(trace, language="zh") == pytest.approx(2 / 3)


def test_only_the_thinking_counts():
    assert share("<think> all english here </think> <answer> 答案是五 </answer>", language="en") == 1.0


def test_without_a_language_the_question_decides():
    trace = "<think> 然后 四 加 五 得 九 </think> <answer> 9 </answer>"
    assert share(trace, question="小明有四个苹果，再买五个，共有多少？") == 1.0
    assert share(trace, question="Tom has four apples and buys five more. How many are there?") == 0.0


def test_broken_tags_do_not_hide_the_language():
    assert share("then four plus five is nine", language="en") == 1.0
    assert share("<think> then four plus five", language="zh") == 0.0


def test_nothing_to_count_earns_nothing():
    assert share("<think> 4 + 5 = 9 </think> <answer> 9 </answer>", language="en") == 0.0
    assert share("<think> </think> <answer> nine apples </answer>", language="en") == 0.0


def test_an_item_without_language_and_question_names_its_record():
    with pytest.raises(ValueError, match="record 'r3': the language reward expects the field 'question'"):
        share("<think> a </think>", id="r3")


@pytest.mark.parametrize("language", ["fr", "ZH", "", 5, ["en"]])
def test_a_language_that_is_not_counted_names_its_record(language):
    with pytest.raises(UserError, match="record 'r4': .*'language' to be one of en, zh, ja, ko, ru .*, found "):
        share("<think> bonjour </think>", id="r4", language=language)
    with pytest.raises(UserError, match="record 'r4': .* one of en, zh, .* or the ISO 639-1 code .*, found 'xx'"):
        share("<think> bonjour </think>", APART, id="r4", language="xx")


def test_scores_come_in_the_order_of_the_items():
    items = [Item({"language": "en"}, "<think> words </think>"), Item({"language": "zh"}, "<think> words </think>")]
    scores = language_reward(RewardsConfig()).score(items)
    assert scores == [Score(1.0, Status.SCORED), Score(0.0, Status.SCORED)]


def test_the_characters_of_a_word_come_from_the_config():
    # one English word; 3 characters / 3 = 1 Chinese word
    assert share("<think> wait 得三十 </think>", LanguageConfig(han_per_word=3.0), language="zh") == pytest.approx(
        1 / 2
    )


@pytest.mark.parametrize(
    ("trace", "expected"),
    [
        ("<en></en>", 0.0),  # tags of a language and nothing in its language
        ("<zh></zh> then we add", 1.0),
        ("en en English", 1.0),
        ("the " * 1000, 1.0),  # repetition is not this reward's business
        ("\x00\ud800\u200b", 0.0),
        ("ｔｈｅｎ ｗｅ", 0.0),  # full-width letters are no words of English
        ("тhе аnswеr", 1 / 5),  # with Cyrillic letters: 4 runs of those, and "nsw" between them
    ],
)
def test_disguises(trace, expected):
    assert share(f"<think>{trace}</think> <answer> nine </answer>", language="en") == pytest.approx(expected)


@pytest.mark.parametrize(
    ("language", "trace"),
    [
        ("ru", "сначала сложим числа и затем проверим"),
        ("ja", "まず数を足して、次に確かめます。"),
        ("ko", "먼저 수를 더하고 확인합니다"),
    ],
)
def test_scripts_of_their_own_are_targets_of_records(language, trace):
    assert share(f"<think> {trace} 5 + 4 = 9 </think> ok", language=language) == 1.0
    for other in {"ru", "ja", "ko", "en"} - {language}:
        assert share(f"<think> {trace} </think>", language=other) == 0.0


def test_a_missing_classifier_is_one_line_for_the_user(monkeypatch):
    for name in ("py3langid", "py3langid.langid"):
        monkeypatch.setitem(sys.modules, name, None)
    latin_language.identifier.cache_clear()
    reward = language_reward(RewardsConfig(language=APART))
    for run in (reward.prepare, lambda: reward.score([Item({"language": "en"}, ENGLISH)])):
        with pytest.raises(UserError, match=r"^rewards.language.tell_latin_apart: .* pip install 'r1jax\[language\]'$"):
            run()
    assert language_reward(RewardsConfig()).prepare is None  # nothing to prepare, nothing to install


def test_a_latin_language_is_told_from_another_where_it_is_asked_for():
    pytest.importorskip("py3langid", reason="pip install 'r1jax[language]'")
    french, english = f"<think> {FRENCH} </think> ok", f"<think> {ENGLISH} </think> ok"
    assert share(french, language="en") == 1.0  # by script alone
    assert share(french, APART, language="en") == 0.0
    assert share(english, APART, language="en") == 1.0
    assert share(french, APART, language="fr") == 1.0
    assert share(english, APART, language="fr") == 0.0
    assert share(f"<think> {FRENCH} 然后我们检查 </think>", APART, language="zh") == pytest.approx(
        4 / (4 + 40), abs=0.02
    )


def test_the_manifest_says_which_classifier_it_was():
    pytest.importorskip("py3langid", reason="pip install 'r1jax[language]'")
    assert language_reward(RewardsConfig(language=APART)).prepare()["latin_languages_by"].startswith("py3langid ")
