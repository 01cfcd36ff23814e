"""The cosine reward scales a verdict by the length in tokens."""

import hypothesis
import hypothesis.strategies as st
import pytest

from r1jax.config import ConfigError, CosineConfig, RewardsConfig
from r1jax.rewards.cosine import cosine_length_reward
from r1jax.rewards.verdicts import Item, RewardError, Score, Status, checked_scores

SETTINGS = CosineConfig(
    correct_short=2.0, correct_long=1.0, wrong_short=-10.0, wrong_long=0.0, exceeded=-11.0, max_tokens=100
)
WRONG = [Status.WRONG, Status.NO_ANSWER, Status.OVER_LIMIT]


def value(judged, num_tokens, truncated=False, settings=SETTINGS):
    reward = cosine_length_reward(RewardsConfig(cosine=settings))
    item = Item({"id": "c1"}, "", num_tokens=num_tokens, truncated=truncated, judged=judged)
    (score,) = checked_scores("cosine_length", reward, [item])
    assert score.status is Status.SCORED
    return score.value


@pytest.mark.parametrize(
    ("num_tokens", "expected"),
    [
        (0, 2.0),
        (25, 1.0 + (1 + 0.5**0.5) / 2),  # cos(pi / 4) = sqrt(1/2)
        (50, 1.5),  # cos(pi / 2) = 0
        (100, 1.0),  # cos(pi) = -1
        (101, -11.0),
    ],
)
def test_a_right_answer_by_hand(num_tokens, expected):
    assert value(Status.CORRECT, num_tokens) == pytest.approx(expected)


@pytest.mark.parametrize("judged", WRONG)
@pytest.mark.parametrize(("num_tokens", "expected"), [(0, -10.0), (50, -5.0), (100, 0.0), (101, -11.0)])
def test_whatever_is_not_right_is_wrong(judged, num_tokens, expected):
    assert value(judged, num_tokens) == pytest.approx(expected)


@pytest.mark.parametrize("judged", [Status.CORRECT, *WRONG])
def test_what_the_limit_cut_has_exceeded_it(judged):
    assert value(judged, 3, truncated=True) == -11.0


@pytest.mark.parametrize("judged", [Status.INFRASTRUCTURE_ERROR, Status.VERIFIER_ERROR])
def test_where_the_judge_cannot_tell_neither_can_this(judged):
    reward = cosine_length_reward(RewardsConfig())
    assert reward.score([Item({}, "", num_tokens=5, judged=judged)]) == [Score(None, judged)]


@pytest.mark.parametrize("judged", [None, Status.SCORED])
def test_a_set_without_a_judging_reward_is_an_error(judged):
    with pytest.raises(RewardError, match="record 'c1': the cosine_length reward expects a reward in its set that"):
        cosine_length_reward(RewardsConfig()).score([Item({"id": "c1"}, "", judged=judged)])


def test_it_comes_after_judging_and_declares_its_range():
    reward = cosine_length_reward(RewardsConfig(cosine=SETTINGS))
    assert (reward.low, reward.high, reward.after_judging) == (-11.0, 2.0, True)


@pytest.mark.parametrize("settings", [CosineConfig(1, 1, 1, 1, 1), CosineConfig(correct_short=float("nan"))])
def test_values_without_a_range_are_refused(settings):
    with pytest.raises(ConfigError, match="rewards.cosine: expected finite values that are not all equal"):
        cosine_length_reward(RewardsConfig(cosine=settings))


NUMBERS = st.floats(-100, 100)


@hypothesis.given(NUMBERS, NUMBERS, st.integers(0, 200), st.booleans())
def test_values_stay_between_their_ends_and_move_one_way(short, long, num_tokens, correct):
    kind = "correct" if correct else "wrong"
    settings = CosineConfig(**{f"{kind}_short": short, f"{kind}_long": long, "exceeded": -101.0, "max_tokens": 200})
    judged = Status.CORRECT if correct else Status.WRONG
    found, later = (
        value(judged, num_tokens, settings=settings),
        value(judged, min(num_tokens + 1, 200), False, settings),
    )
    assert min(short, long) <= found <= max(short, long)
    assert (later - found) * (long - short) >= -1e-9
