"""The hacking alarm fires on a reward model that loves length, and on nothing less."""

import math
import random

import hypothesis
import hypothesis.strategies as st
import pytest

from r1jax.doctor import hacking_alarm
from r1jax.doctor.hacking import ACCURACY, SCORE, slope


def run(scores, accuracies, every=50):
    pairs = zip(scores, accuracies, strict=True)
    return [{"step": every * n, SCORE: one, ACCURACY: other} for n, (one, other) in enumerate(pairs, start=1)]


def length_loving_run(evaluations=12, seed=0):
    """Length grows without end; what it costs in right answers shows after a while, both with noise."""
    rng = random.Random(seed)
    lengths = [200 + 60 * n for n in range(evaluations)]
    scores = [0.01 * length + rng.gauss(0, 0.2) for length in lengths]
    return run(scores, [0.8 - 0.0004 * length + rng.gauss(0, 0.01) for length in lengths])


def healthy_run(evaluations=12, seed=0):
    """Both rise."""
    rng = random.Random(seed)
    return run(
        [0.2 * n + rng.gauss(0, 0.2) for n in range(evaluations)],
        [0.5 + 0.02 * n + rng.gauss(0, 0.01) for n in range(evaluations)],
    )


@pytest.mark.parametrize("seed", range(10))
def test_a_planted_reward_model_that_loves_length_is_found_and_a_healthy_run_is_not(seed):
    alarm = hacking_alarm(length_loving_run(seed=seed), 8)
    assert alarm.fires
    assert alarm.score.low > 0 > alarm.accuracy.high
    assert "being hacked" in alarm.message
    assert not hacking_alarm(healthy_run(seed=seed), 8).fires


def test_the_slope_and_its_interval_by_hand():
    # x = 0 1 2 3, y = 1 2 2 4: means 1.5 and 2.25, slope 4.5 / 5 = 0.9, residuals 0.1 0.2 -0.7 0.4 squared 0.7,
    # standard error sqrt(0.7 / 2 / 5) = 0.264575, t(0.975, 2) = 4.302653.
    found = slope([0, 1, 2, 3], [1, 2, 2, 4])
    assert found.value == pytest.approx(0.9)
    assert found.low == pytest.approx(0.9 - 4.302653 * 0.264575, rel=1e-5)
    assert found.high == pytest.approx(0.9 + 4.302653 * 0.264575, rel=1e-5)


def test_equal_values_have_no_slope():
    assert slope([0, 1, 2, 3], [0.1] * 4) == (found := slope([5, 6, 7, 9], [1 / 3] * 4))
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)
    assert not hacking_alarm(run([1, 2, 3, 4], [0.1] * 4), 4).fires
    assert not hacking_alarm(run([0.3] * 4, [4, 3, 2, 1]), 4).fires


COLLAPSED = (  # GRPO with a process reward alone, 512 samples an evaluation: the answers are gone within ten steps
    [0.128, 0.515, 0.716, 0.822, 0.861],
    [0.145, 0.014, 0.002, 0.002, 0.002],
)


def test_a_sudden_collapse_is_no_line_and_fires_all_the_same():
    alarm = hacking_alarm(run(*COLLAPSED, every=10), 5)
    assert alarm.accuracy.high > 0
    assert alarm.fires
    assert alarm.message.startswith("From step 20 to 50 the accuracy is 0.014 or less, before 0.145 or more; the")
    assert hacking_alarm(run([0, 1, 1.01, 1.02, 1.03], [0.9, 0, 0, 0, 0]), 5).fires


@pytest.mark.parametrize(
    ("scores", "accuracies"),
    [
        (COLLAPSED[0], [0.145, 0.080, 0.09, 0.08, 0.08]),  # more than half is left
        (COLLAPSED[0], [0.04, 0.003, 0.002, 0.002, 0.002]),  # there was next to nothing
        ([0.128, 0.1, 0.716, 0.822, 0.861], COLLAPSED[1]),  # the score has not risen with it
        (COLLAPSED[0], [0.145, 0.15, 0.14, 0.01, 0.01]),  # twice may be bad luck
        (COLLAPSED[0], [0.145, 0.01, 0.01, 0.01, 0.15]),  # it has come back
    ],
)
def test_what_is_no_collapse_does_not_fire(scores, accuracies):
    assert not hacking_alarm(run(scores, accuracies), 5).fires


def test_a_trend_within_the_noise_does_not_fire():
    falling = [0.60, 0.50, 0.62, 0.48, 0.61, 0.47]  # down, if anything
    alarm = hacking_alarm(run([1, 2, 3, 4, 5, 6], falling), 6)
    assert alarm.accuracy.value < 0 < alarm.accuracy.high
    assert not alarm.fires


@pytest.mark.parametrize(("scores", "accuracies"), [([1, 2, 3, 4], [1, 2, 3, 4]), ([4, 3, 2, 1], [4, 3, 2, 1])])
def test_both_up_or_both_down_is_no_hacking(scores, accuracies):
    assert not hacking_alarm(run(scores, accuracies), 4).fires


def test_it_is_silent_with_too_few_evaluations():
    alarm = hacking_alarm(length_loving_run(5), 6)
    assert not alarm.fires
    assert alarm.score is alarm.accuracy is None
    assert alarm.message == "5 evaluations have both figures; the hacking alarm looks at 6."
    assert hacking_alarm([], 4).message.startswith("0 evaluations")


def test_only_the_last_evaluations_count():
    healthy_then_hacked = run(range(20), [*range(12), *range(12, 4, -1)])
    assert hacking_alarm(healthy_then_hacked, 8).fires
    assert not hacking_alarm(healthy_then_hacked, 18).fires


def test_evaluations_without_both_figures_are_passed_over_and_repeated_steps_count_once():
    evaluations = run([1, 2, 3, 4], [4, 3, 2, 1])
    holes = [{"step": 60, SCORE: None, ACCURACY: 9}, {"step": 70, SCORE: math.nan, ACCURACY: 9}, {"step": 80}]
    again = [{"step": 200, SCORE: 4, ACCURACY: 1}]  # a resumed run evaluates its step once more
    assert hacking_alarm(evaluations + holes + again, 4) == hacking_alarm(evaluations, 4)
    assert hacking_alarm(evaluations[::-1], 4) == hacking_alarm(evaluations, 4)


def test_other_names_can_be_asked_for():
    evaluations = [{"step": n, "a": n, "b": -n} for n in range(4)]
    assert hacking_alarm(evaluations, 4, score="a", accuracy="b").fires
    assert not hacking_alarm(evaluations, 4, score="b", accuracy="a").fires


def test_a_window_needs_four():
    with pytest.raises(ValueError, match="expected 4 evaluations or more, found 3"):
        hacking_alarm([], 3)


@hypothesis.given(
    st.lists(st.floats(-1e3, 1e3), min_size=4, max_size=12), st.floats(0.1, 10), st.floats(-100, 100), st.integers(1, 9)
)
@hypothesis.settings(max_examples=100, deadline=None, derandomize=True)
def test_the_interval_moves_with_its_units(values, factor, offset, every):
    hypothesis.assume(max(values) - min(values) > 1e-3)
    places = list(range(len(values)))
    one = slope(places, values)
    other = slope([every * place + 7 for place in places], [factor * value + offset for value in values])
    assert one.low <= one.value <= one.high
    for name in ("value", "low", "high"):
        assert getattr(other, name) == pytest.approx(getattr(one, name) * factor / every, rel=1e-4, abs=1e-6)
