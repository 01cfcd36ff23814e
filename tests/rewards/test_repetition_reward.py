"""The repetition reward falls with the share of n-grams that have been said before."""

import time
import tracemalloc

import hypothesis
import hypothesis.strategies as st
import pytest

from r1jax.config import RepetitionConfig, RewardsConfig
from r1jax.rewards.repetition import repeated_share, repetition_reward
from r1jax.rewards.verdicts import Item, RewardError, Score, Status, checked_scores


def values(*sequences, ngram=2, penalty=-1.0):
    reward = repetition_reward(RewardsConfig(repetition=RepetitionConfig(ngram=ngram, penalty=penalty)))
    items = [Item({"id": "p1"}, "", num_tokens=len(tokens), tokens=tokens) for tokens in sequences]
    scores = checked_scores("repetition", reward, items)
    assert all(score.status is Status.SCORED for score in scores)
    return [score.value for score in scores]


def test_by_hand():
    # 2-grams of 1 2 1 2 1: 12, 21, 12, 21: two different ones of four
    assert values((1, 2, 1, 2, 1), (1, 2, 3, 4), (7, 7, 7, 7, 7)) == [-0.5, 0.0, -0.75]
    # 3-grams of 1 2 3 1 2 3: 123, 231, 312, 123
    assert values((1, 2, 3, 1, 2, 3), ngram=3, penalty=-2.0) == [-0.5]


def test_fewer_tokens_than_an_ngram_cannot_repeat():
    assert values((), (1,), (1, 1), ngram=3) == [0.0, 0.0, 0.0]
    assert values((1, 1, 1), ngram=3) == [0.0]  # one n-gram


def test_nothing_repeated_is_zero_and_not_minus_zero():
    assert str(values((1, 2, 3))[0]) == "0.0"


def test_a_loop_comes_near_the_penalty_and_stays_in_range():
    (value,) = values((5,) * 10_000, ngram=40, penalty=-0.5)
    assert -0.5 <= value < -0.4999


def test_a_caller_without_tokens_is_told():
    reward = repetition_reward(RewardsConfig())
    with pytest.raises(RewardError, match="record 'p1': the repetition reward expects the token ids"):
        reward.score([Item({"id": "p1"}, "a b", num_tokens=2)])
    assert reward.score([Item({}, "")]) == [Score(0.0, Status.SCORED)]


@hypothesis.given(st.lists(st.integers(0, 3), max_size=60), st.integers(1, 12))
def test_the_share_is_that_of_counting_slices(tokens, ngram):
    grams = [tuple(tokens[start : start + ngram]) for start in range(len(tokens) - ngram + 1)]
    expected = 1 - len(set(grams)) / len(grams) if grams else 0.0
    assert repeated_share(tuple(tokens), ngram) == pytest.approx(expected)


@pytest.mark.parametrize("ngram", [1, 40, 10_000])
def test_a_hundred_thousand_tokens_cost_little(ngram):
    tokens = tuple(number * number % 99_991 for number in range(100_000))
    started = time.process_time()
    repeated_share(tokens, ngram)
    assert time.process_time() - started < 5.0  # 0.1 to 0.5 s


def test_memory_does_not_grow_with_the_ngram():
    tracemalloc.start()
    repeated_share(tuple(range(20_000)), 8000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20e6  # 12,000 slices of 8,000 tokens would take 768 MB
