"""The language reward is the target language's share of the thinking."""

import pytest

from r1jax.errors import UserError
from r1jax.rewards.language import language_reward
from r1jax.rewards.verdicts import Item, Score, Status


def share(completion, **record):
    (score,) = language_reward([Item(record, completion)])
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
        language_reward([Item({"id": "r3"}, "<think> a </think>")])


def test_a_language_that_is_not_counted_names_its_record():
    with pytest.raises(UserError, match="record 'r4': .* expects the field 'language' to be one of en, zh, found 'fr'"):
        language_reward([Item({"id": "r4", "language": "fr"}, "<think> bonjour </think>")])


def test_scores_come_in_the_order_of_the_items():
    items = [Item({"language": "en"}, "<think> words </think>"), Item({"language": "zh"}, "<think> words </think>")]
    assert language_reward(items) == [Score(1.0, Status.SCORED), Score(0.0, Status.SCORED)]
