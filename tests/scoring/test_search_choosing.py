"""One answer out of many: votes with and without weights, the best by score, step scores as one number, FLOPs."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.config import ModelConfig
from r1jax.models.flops import flops_per_token
from r1jax.scoring import SampleResult, cons_at_k
from r1jax.search.account import Prices, Spent, affordable
from r1jax.search.choosing import answer_classes, best_is_right, vote_is_right, weighted_votes
from r1jax.search.combining import combined, probability

ANSWERS = st.lists(st.sampled_from(["1", "1.0", "2", "2/1", "7", "seven", None]), min_size=1, max_size=9)


@pytest.mark.parametrize(("how", "expected"), [("min", 0.2), ("product", 0.072), ("mean", 0.5), ("last", 0.9)])
def test_step_scores_become_one_number(how, expected):
    # 0.4 x 0.2 x 0.9 = 0.072; 1.5 / 3 = 0.5
    assert combined([0.4, 0.2, 0.9], how) == pytest.approx(expected)
    assert combined([0.3], how) == pytest.approx(0.3)


def test_a_logit_becomes_a_probability_without_overflow():
    assert probability(0.0) == 0.5
    assert probability(math.log(3)) == pytest.approx(0.75)
    assert probability(-math.log(3)) == pytest.approx(0.25)
    assert (probability(5000.0), probability(-5000.0)) == (1.0, 0.0)


def test_the_best_by_score_is_right_or_not_and_level_ones_by_expectation():
    assert best_is_right([0.2, 0.9, 0.5], [False, True, False]) == 1.0
    assert best_is_right([0.9, 0.9, 0.9, 0.1], [True, False, False, True]) == pytest.approx(1 / 3)
    assert best_is_right([None, 0.1], [True, False]) == 0.0
    assert best_is_right([None], [True]) is None
    assert best_is_right([], []) is None


def test_weights_can_turn_a_vote():
    # 59 has three votes of 0.1, 61 one of 0.9; "5 9" is 59 as a digit tokenizer writes it.
    answers = [["5 9", "59", "59.0", "61", None]]
    right = [[False, False, False, True, True]]
    assert weighted_votes(answers, [[0.1, 0.1, 0.1, 0.9, 1.0]], right) == [1.0]
    assert weighted_votes(answers, [[1.0] * 5], right) == [0.0]
    assert weighted_votes(answers, [[0.3, 0.3, 0.3, 0.9, 1.0]], right) == [0.5]  # level
    assert weighted_votes(answers, [[0.1, 0.1, 0.1, None, 1.0]], right) == [0.0]
    assert weighted_votes([[None]], [[1.0]], [[True]]) == [None]
    assert weighted_votes([["1"]], [[0.0]], [[True]]) == [None]
    assert vote_is_right([[0, 1]], [0.9, 0.3], [True, False]) == pytest.approx(0.75)  # by weight within a class


@given(questions=st.lists(ANSWERS, min_size=1, max_size=4), golds=st.sampled_from(["1", "2", "7"]))
def test_with_equal_weights_it_is_the_majority_vote_of_every_evaluation(questions, golds):
    results = [
        [
            SampleResult(
                correct=answer in (golds, f"{golds}.0", f"{golds}/1"), answer=answer, num_tokens=1, truncated=0
            )
            for answer in question
        ]
        for question in questions
    ]
    found = weighted_votes(
        questions,
        [[1.0] * len(question) for question in questions],
        [[one.correct for one in question] for question in results],
    )
    assert [share or 0.0 for share in found] == pytest.approx(cons_at_k(results))


def test_what_text_leaves_open_is_asked_once_for_all_questions():
    calls = []

    def equivalent(pairs):
        calls.append(list(pairs))
        return [{"x+x", "2x"} == set(pair) for pair in pairs]

    classes = answer_classes([["x+x", "2x", "x+y"], ["2x", "3"]], equivalent)
    assert len(calls) == 1
    assert sorted(map(sorted, classes[0])) == [[0, 1], [2]]
    assert sorted(map(sorted, classes[1])) == [[0], [1]]
    assert sorted(map(len, answer_classes([["x+x", "2x"]])[0])) == [1, 1]  # nobody to ask


def test_so_many_samples_are_paid_for_as_a_budget_holds_and_one_at_least():
    assert affordable([3.0, 2.0, 2.0], 5.0) == 2
    assert affordable([3.0, 2.0, 2.0], 4.9) == 1
    assert affordable([3.0, 2.0, 2.0], 1.0) == 1
    assert affordable([3.0, 2.0, 2.0], 100.0) == 3


def test_what_is_spent_is_counted_by_model():
    shape = {"vocab_size": 48, "hidden_size": 32, "num_layers": 2, "num_heads": 2, "num_kv_heads": 2, "ffn_size": 64}
    policy, value = ModelConfig(**shape), ModelConfig(**shape, head="score")
    prices = Prices(policy, value)
    sampled = prices.sampling(10, [4, 6])
    assert (sampled.prefilled, sampled.generated, sampled.scored) == (10, 10, 0)
    one_by_one = [flops_per_token(policy, context).forward for context in (11, 12, 13, 11, 12, 13, 14, 15)]
    # Of the ten read at once the last one alone predicts.
    prompt = [flops_per_token(policy, context, predicts=context == 10).forward for context in range(1, 11)]
    assert sampled.flops == pytest.approx(sum(one_by_one) + sum(prompt))
    scored = prices.scoring(5)
    assert scored.flops == pytest.approx(
        sum(flops_per_token(value, context, predicts=context == 5).forward for context in range(1, 6))
    )
    assert sampled + scored == Spent(10, 10, 5, sampled.flops + scored.flops)
