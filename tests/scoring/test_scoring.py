"""Scores against hand-worked numbers, and what must not change them."""

import itertools
import math
import random

import numpy as np
import pytest

from r1jax import scoring
from r1jax.scoring import MissingSampleError, SampleResult


def sample(correct, answer="1", **changes):
    return SampleResult(**{"correct": correct, "answer": answer, "num_tokens": 10, "truncated": False, **changes})


def votes(text):
    """ "a+ b- ." -> a right vote for a, a wrong one for b, and a sample without an answer."""
    return [sample(False, None) if word == "." else sample(word[-1] == "+", word[:-1]) for word in text.split()]


def test_pass_at_1_is_the_mean_over_the_samples():
    assert scoring.pass_at_1([True, False, False, True, True]) == pytest.approx(3 / 5)


def test_pass_at_k_against_a_hand_worked_value():
    # n = 5, c = 2, k = 3: the 10 triples of 5 samples, of which C(3, 3) = 1 has no right one.
    assert scoring.pass_at_k(5, 2, 3) == pytest.approx(9 / 10)


@pytest.mark.parametrize(("n", "c"), [(6, 0), (6, 1), (6, 4), (6, 6), (7, 3)])
def test_pass_at_k_is_the_share_of_all_subsets_with_a_right_sample(n, c):
    right = [index < c for index in range(n)]
    for k in range(1, n + 1):
        subsets = list(itertools.combinations(right, k))
        assert scoring.pass_at_k(n, c, k) == pytest.approx(sum(map(any, subsets)) / len(subsets))


def test_pass_at_k_stays_exact_for_thousands_of_samples():
    # One right sample among n: it is in the subset of k with chance k / n.
    assert scoring.pass_at_k(4096, 1, 1024) == pytest.approx(0.25, abs=1e-12)


def test_pass_at_k_refuses_more_tries_than_samples():
    with pytest.raises(MissingSampleError, match="pass@8: expected at least 8 samples a question, found 5"):
        scoring.pass_at_k(5, 2, 8)


def test_the_most_frequent_answer_decides():
    assert scoring.cons_at_k([votes("7+ 7+ 3- 7+ 2-"), votes("7+ 3- 3- 2-")]) == [1.0, 0.0]


def test_a_tie_counts_by_its_exact_expectation():
    # Three answers with two votes each, one of them right: 1/3. Two with two each, one right: 1/2.
    assert scoring.cons_at_k([votes("7+ 3- 2- 7+ 3- 2-"), votes("7+ 3- 7+ 3- 5-")]) == pytest.approx([1 / 3, 1 / 2])


def test_samples_without_an_answer_do_not_vote():
    # Three have none: the single right vote still wins.
    assert scoring.cons_at_k([votes(". . . 7+"), votes(". . .")]) == [1.0, 0.0]


def test_masked_samples_do_not_vote():
    masked = sample(False, "3", masked=True)
    assert scoring.cons_at_k([[masked, masked, sample(True, "7")]]) == [1.0]


def test_spellings_of_one_number_vote_together():
    # 1/2, 0.5 and .50 are one class of three against two votes for 3.
    assert scoring.cons_at_k([votes(r"1/2+ 3- 0.5+ 3- 0.50+")]) == [1.0]


def test_the_verifier_merges_what_text_cannot():
    def equivalent(pairs):
        return [{left, right} == {r"\sqrt{8}", r"2\sqrt{2}"} for left, right in pairs]

    question = votes(r"\sqrt{8}+ 2\sqrt{2}+ x^2- x^2- \sqrt{8}+")
    assert scoring.cons_at_k([question], equivalent=equivalent) == [1.0]  # 3 against 2
    # Without it the votes are 2, 1 and 2, and the tie is even.
    assert scoring.cons_at_k([question]) == [0.5]


def test_an_undecided_pair_stays_apart():
    question = votes("x+ y- y- z+")
    assert scoring.cons_at_k([question], equivalent=lambda pairs: [None] * len(pairs)) == [0.0]


def test_the_verifier_is_asked_for_many_questions_at_once_and_never_about_plain_numbers():
    calls = []

    def equivalent(pairs):
        calls.append(list(pairs))
        return [False] * len(pairs)

    scoring.cons_at_k(
        [votes(r"\pi+ \tau-"), votes(r"e^2- \ln(2)+"), votes("1+ 2- 3-")],
        equivalent=equivalent,
    )
    assert [len(call) for call in calls] == [2]
    assert not {"1", "2", "3"} & {text for pair in calls[0] for text in pair}


def test_an_absolute_majority_needs_no_verifier():
    def equivalent(pairs):
        raise AssertionError(f"asked about {pairs}")

    assert scoring.cons_at_k([votes(r"\pi+ \pi+ \tau- \pi+ e-")], equivalent=equivalent) == [1.0]


def test_the_order_of_the_samples_does_not_matter():
    question = votes(r"\sqrt{8}+ 2\sqrt{2}+ x^2- x^2- . y- y- 4- 4.0- \sqrt{8}+")

    def equivalent(pairs):
        return [{left, right} == {r"\sqrt{8}", r"2\sqrt{2}"} for left, right in pairs]

    order = random.Random(0)
    scores = set()
    for _ in range(20):
        order.shuffle(question)
        scores.update(scoring.cons_at_k([question], equivalent=equivalent))
    assert scores == {1.0}


def test_the_order_does_not_matter_where_equality_is_not_transitive():
    # b equals a and c, which differ from each other. Frequent answers found classes, so b joins a in every
    # order: 3 votes against 3. Had b come first, all five would be one class.
    question = votes("a_1+ a_1+ b_1+ c_1+ c_1+ d_1- d_1- d_1-")
    same = [{"a_1", "b_1"}, {"b_1", "c_1"}]
    order = random.Random(0)
    for _ in range(20):
        order.shuffle(question)
        assert scoring.cons_at_k([question], equivalent=lambda pairs: [set(pair) in same for pair in pairs]) == [0.5]


def test_bootstrap_intervals_match_the_binomial_spread():
    # 400 questions, half right: standard error sqrt(0.25 / 400) = 0.025, so 95 % lie within 0.5 +- 0.049.
    values = np.repeat([0.0, 1.0], 200)[:, None]
    ((low, high),) = scoring.bootstrap_intervals(values, resamples=2000)
    assert low == pytest.approx(0.451, abs=0.006)
    assert high == pytest.approx(0.549, abs=0.006)


def test_bootstrap_intervals_are_a_function_of_the_seed():
    values = np.random.default_rng(1).random((30, 2))
    first, again, other = (scoring.bootstrap_intervals(values, resamples=50, seed=seed) for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_a_constant_score_has_an_interval_of_no_width():
    np.testing.assert_array_equal(scoring.bootstrap_intervals(np.ones((5, 1)), resamples=10), [[1.0, 1.0]])


def test_summary_of_two_questions():
    questions = [
        [
            sample(True, "7", num_tokens=10, format_ok=True, language_share=1.0, reflection_words=2),
            sample(True, "7", num_tokens=20, format_ok=True, language_share=0.5, reflection_words=0),
            sample(False, "3", num_tokens=30, format_ok=False, language_share=0.0, reflection_words=0),
            sample(False, None, num_tokens=40, truncated=True, format_ok=False, reflection_words=2),
        ],
        [sample(False, text, num_tokens=20) for text in ("1", "2", "2", "4")],
    ]
    summary = scoring.summarize(questions, expected_samples=4)
    # Question 1: c = 2 of 4; pass@2 = 1 - C(2,2)/C(4,2) = 5/6; pass@4 = 1; cons 7 = right. Question 2: all 0.
    assert summary["pass@1"] == pytest.approx((2 / 4 + 0) / 2)
    assert summary["pass@2"] == pytest.approx(5 / 12)
    assert summary["pass@4"] == pytest.approx(1 / 2)
    assert summary["cons@4"] == pytest.approx(1 / 2)
    assert summary["pass@1_interval"][0] <= summary["pass@1"] <= summary["pass@1_interval"][1]
    assert summary["mean_length_tokens"] == pytest.approx((100 + 80) / 8)
    assert summary["format_rate"] == pytest.approx(2 / 4)  # of the four that have one
    assert summary["language_consistency"] == pytest.approx(1.5 / 3)
    assert summary["reflection_words"] == pytest.approx(1.0)
    assert summary["truncation_rate"] == pytest.approx(1 / 8)
    assert summary["no_answer_rate"] == pytest.approx(1 / 8)
    assert (summary["k"], summary["num_prompts"], summary["ungraded_prompts"]) == (4, 2, 0)


def test_summary_names_every_power_of_two_and_k_itself():
    summary = scoring.summarize([[sample(True)] * 6], expected_samples=6, bootstrap_resamples=1)
    assert {key for key in summary if key.startswith("pass@") and "_" not in key} == {
        "pass@1",
        "pass@2",
        "pass@4",
        "pass@6",
    }


def test_summary_without_votes_has_no_cons():
    summary = scoring.summarize([[sample(True)] * 2], expected_samples=2, vote=False)
    assert not [key for key in summary if key.startswith("cons")]


def test_a_masked_sample_is_not_wrong():
    questions = [[sample(True), sample(False, masked=True)], [sample(False), sample(False)]]
    summary = scoring.summarize(questions, expected_samples=2)
    assert summary["pass@1"] == pytest.approx((1 / 1 + 0 / 2) / 2)
    assert summary["masked_rate"] == pytest.approx(1 / 4)


def test_a_question_of_masked_samples_alone_is_left_out_and_counted():
    questions = [[sample(True)], [sample(False, masked=True)]]
    summary = scoring.summarize(questions, expected_samples=1)
    assert (summary["pass@1"], summary["num_prompts"], summary["ungraded_prompts"]) == (1.0, 2, 1)


def test_nothing_graded_is_an_error():
    with pytest.raises(MissingSampleError, match="none of the 1 x 2 samples could be graded"):
        scoring.summarize([[sample(False, masked=True)] * 2], expected_samples=2)


def test_a_missing_sample_is_an_error_that_names_its_question():
    with pytest.raises(MissingSampleError, match="expected k=3 samples of question 1, found 2"):
        scoring.summarize([[sample(True)] * 3, [sample(True)] * 2], expected_samples=3)


def test_no_questions_is_an_error():
    with pytest.raises(MissingSampleError, match="expected at least one question"):
        scoring.summarize([], expected_samples=4)


def test_summary_is_plain_json():
    summary = scoring.summarize([[sample(True), sample(False, "2")]] * 3, expected_samples=2)
    flat = [one for value in summary.values() for one in (value if isinstance(value, list) else [value])]
    assert {type(one) for one in flat} <= {float, int, type(None)}
    assert all(math.isfinite(one) for one in flat if one is not None)


def test_what_is_no_text_to_vote_on_may_still_be_an_answer():
    programs = [scoring.SampleResult(True, None, 5, False, no_answer=False)] * 3
    silent = scoring.SampleResult(False, None, 5, False, no_answer=True)
    assert scoring.summarize([[*programs, silent]], expected_samples=4, vote=False)["no_answer_rate"] == 1 / 4
