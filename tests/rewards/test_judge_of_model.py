"""The judge reward with a model of ours, and what it makes of completions and records."""

import threading
import time

import judge_server as server
import pytest

from r1jax.errors import UserError
from r1jax.rewards.judge.reward import judge_of
from r1jax.rewards.verdicts import Item, RewardError, Score, Status, checked_scores

RECORD = {"id": "q1", "question": "What is the capital of France?", "answer": "Paris"}


def item(final, thinking="hm", **record):
    return Item(RECORD | record, f"<think>{thinking}</think>\n<answer>{final}</answer>")


def right_is_paris(content):
    """A judge that looks for the reference in what it is asked to grade."""
    graded = content.partition("<graded-")[2].partition("</graded-")[0]
    return server.verdict(int("Paris" in graded))


@pytest.mark.parametrize(
    "completion", ["", "<think>Paris", "<think>Paris</think>", "<think>x</think><answer></answer>"]
)
def test_without_an_answer_nobody_is_asked(completion):
    reward = judge_of(lambda conversations: pytest.fail("asked"))
    assert reward.score([Item(RECORD, completion)]) == [Score(0.0, Status.NO_ANSWER)]


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"question": None}, "the judge reward expects the field 'question'"),
        ({"answer": None}, "the judge reward expects the field 'answer'"),
        ({"answer": {"a": 1}}, "expects the field 'answer' to be a text, a number or a list of texts"),
        ({"answer": []}, "'answer' to be a text"),
        ({"answer": [1]}, "'answer' to be a text"),
        ({"answer": True}, "'answer' to be a text"),
        ({"question": " "}, "'question' to be a text"),
    ],
)
def test_a_record_that_cannot_be_judged_is_named(record, message):
    with pytest.raises(UserError, match=f"record 'q1'.*{message}"):
        judge_of(lambda conversations: [server.verdict(1)]).score([item("Paris", **record)])


@pytest.mark.parametrize(
    ("answer", "shown"), [(42, "42"), (0.5, "0.5"), (["Paris"], "Paris"), (["a", "b"], "- a\n- b")]
)
def test_a_reference_may_be_a_number_or_several_texts(answer, shown):
    seen = []

    def generate(conversations):
        seen.extend(conversations)
        return [server.verdict(1)] * len(conversations)

    judge_of(generate).score([item("x", answer=answer)])
    assert f"\n{shown}\n</reference-" in seen[0][0]["content"]


def test_a_model_of_ours_gets_the_whole_batch_at_once_and_equal_cases_once():
    batches = []

    def generate(conversations):
        batches.append((len(conversations), threading.current_thread()))
        return [right_is_paris(conversation[0]["content"]) for conversation in conversations]

    reward = judge_of(generate)
    answers = ["Paris", "Lyon", "Paris", "Paris", "", "Lyon"]
    scores = checked_scores("judge", reward, [item(answer, thinking=str(n)) for n, answer in enumerate(answers)])
    assert [score.value for score in scores] == [1.0, 0.0, 1.0, 1.0, 0.0, 0.0]
    assert [score.status for score in scores][4] is Status.NO_ANSWER
    assert batches == [(2, threading.current_thread())]
    assert reward.threads == 0


def test_a_model_of_ours_is_asked_again_only_for_what_it_garbled_and_in_other_words():
    calls = []

    def generate(conversations):
        calls.append([conversation[0]["content"] for conversation in conversations])
        garbled = len(calls) < 3
        return ["what?" if garbled and "Lyon" in content else right_is_paris(content) for content in calls[-1]]

    scores = judge_of(generate).score([item("Paris"), item("Lyon")])
    assert [score.status for score in scores] == [Status.CORRECT, Status.WRONG]
    assert [len(call) for call in calls] == [2, 1, 1]
    assert len({calls[0][1], calls[1][0], calls[2][0]}) == 3
    assert judge_of(lambda conversations: ["what?"] * len(conversations)).score([item("x")]) == [
        Score(None, Status.VERIFIER_ERROR, "x")
    ]


@pytest.mark.parametrize(
    ("texts", "found"), [([], "found 0"), (["a", "b"], "found 2"), ([None], "found 1 of NoneType")]
)
def test_a_model_of_ours_gives_a_text_for_each(texts, found):
    with pytest.raises(RewardError, match=f"expected generate to give 1 texts, {found}"):
        judge_of(lambda conversations: texts).score([item("x")])


@pytest.mark.parametrize(
    "completion",
    [
        "\ud800\x00",
        "<answer>" * 10_000,
        "</think>" * 10_000,
        "<think>" * 10_000,
        "x" * 1_000_000,
        "<answer>\ud800</answer>",
    ],
)
def test_a_completion_may_be_anything(completion):
    start = time.monotonic()
    (score,) = judge_of(lambda conversations: [server.verdict(0)] * len(conversations)).score(
        [Item(RECORD, completion)]
    )
    assert score.value == 0.0
    assert time.monotonic() - start < 5.0
