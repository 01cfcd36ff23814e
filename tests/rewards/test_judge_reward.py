"""The judge reward: every way an endpoint can fail has its status, and no completion costs more than it must."""

import concurrent.futures
import logging
import threading
import time

import judge_server as server
import pytest

from r1jax.chat_client import http_client
from r1jax.config import ConfigError, RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.config.rewards import JudgeConfig
from r1jax.errors import UserError
from r1jax.rewards import routing
from r1jax.rewards.judge.ask import ASKED
from r1jax.rewards.judge.remembered import Remembered
from r1jax.rewards.judge.reward import judge_reward
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Score, Status, checked_scores

pytest.importorskip("httpx2", reason="pip install 'r1jax[judge]'")

KEY = "sk-Qm4vRz81LpXw7Tn2Yb"
RECORD = {"id": "q1", "question": "What is the capital of France?", "answer": "Paris"}
DOWN, UNREAD = Status.INFRASTRUCTURE_ERROR, Status.VERIFIER_ERROR


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(http_client, "FIRST_PAUSE_SECONDS", 0.02)


def config(url, **changes):
    settings = {"timeout_seconds": 5.0, "tries": 2, "concurrency": 4, "model": "judge-7b"} | changes
    sets = (RewardSetConfig("default", (RewardConfig("judge"),)),)
    return RewardsConfig(sets=sets, judge=JudgeConfig(url=url, **settings))


def item(final, thinking="hm", **record):
    return Item(RECORD | record, f"<think>{thinking}</think>\n<answer>{final}</answer>")


def right_is_paris(content):
    """A judge that looks for the reference in what it is asked to grade."""
    graded = content.partition("<graded-")[2].partition("</graded-")[0]
    return server.verdict(int("Paris" in graded))


def test_the_verdict_is_the_reward():
    with server.JudgeServer(server.answers(right_is_paris)) as judge:
        reward = judge_reward(config(judge.url))
        assert checked_scores("judge", reward, [item("Paris"), item("Lyon", thinking="Paris!")]) == [
            Score(1.0, Status.CORRECT, "Paris"),
            Score(0.0, Status.WRONG, "Lyon"),
        ]
        content = judge.requests[0]["messages"][0]["content"]
        assert RECORD["question"] in content
        assert "hm" not in content.partition("<graded-")[2].partition("</graded-")[0]
        assert judge.requests[0]["temperature"] == 0.0
        assert judge.requests[0]["max_tokens"] == 4096
        assert reward.threads == 4


FAILURES = {
    "slow": (server.slow(60.0, server.says("late")), DOWN),
    "drips the body": (server.drips_body, DOWN),
    "drips headers": (server.drips_headers, DOWN),
    "500": (server.fails(500), DOWN),
    "429": (server.fails(429, Retry_After="0.1"), DOWN),
    "malformed JSON": (server.sends(b'{"choices": [{"mess'), DOWN),
    "no choices": (server.sends(b'{"object": "chat.completion"}'), DOWN),
    "drops halfway": (server.drops_halfway, DOWN),
    "closes at once": (server.closes, DOWN),
    "a huge body": (server.endless, DOWN),
    "no JSON in the reply": (server.says("It is correct, I think."), UNREAD),
    "half a verdict": (server.says('{"analysis": "same"}'), UNREAD),
    "no content": (server.says(None), UNREAD),
    "cut": (server.says(server.verdict(1), finish_reason="length"), UNREAD),
    "thinks for ever": (server.says(f"<think>{server.verdict(1)}"), UNREAD),
}


@pytest.mark.parametrize("name", FAILURES)
def test_a_failure_of_the_judge_is_masked_and_its_kind_is_told(name, caplog):
    behaviour, status = FAILURES[name]
    with server.JudgeServer(behaviour) as judge:
        reward = judge_reward(config(judge.url, timeout_seconds=0.4))
        start = time.monotonic()
        (score,) = checked_scores("judge", reward, [item("Paris")])
        assert score == Score(None, status, "Paris")
        assert time.monotonic() - start < 3.0
        assert len(judge.times) == (2 if status is DOWN else ASKED)
    assert any("record 'q1'" in record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    "plan",
    [
        [server.fails(500), server.says(server.verdict(1))],
        [server.fails(429, Retry_After="0.1"), server.says(server.verdict(1))],
        [server.closes, server.says(server.verdict(1))],
        [server.says("yes"), server.says(server.verdict(1))],
        [server.says("yes"), server.fails(503), server.says("{}"), server.says(server.verdict(1))],
    ],
)
def test_a_judge_that_recovers_is_believed(plan):
    with server.JudgeServer(*plan) as judge:
        assert judge_reward(config(judge.url)).score([item("Paris")]) == [Score(1.0, Status.CORRECT, "Paris")]
        assert len(judge.requests) == len(plan)


def test_one_request_that_is_refused_does_not_end_the_run():
    plan = [server.says("ready"), server.fails(400, "the prompt is too long"), server.says(server.verdict(0))]
    with server.JudgeServer(*plan) as judge:
        reward = judge_reward(config(judge.url))
        reward.prepare()
        assert reward.score([item("long")]) == [Score(None, UNREAD, "long")]
        assert reward.score([item("short")]) == [Score(0.0, Status.WRONG, "short")]


@pytest.mark.parametrize("status", [301, 401, 403, 404])
def test_a_wrong_key_model_or_url_is_the_users_when_the_service_opens_and_later(status, monkeypatch):
    monkeypatch.setenv("R1JAX_JUDGE_KEY", KEY)
    with server.JudgeServer(server.fails(status, KEY, Location="http://elsewhere/v1")) as judge:
        reward = judge_reward(config(judge.url))
        for call in (reward.prepare, lambda: reward.score([item("Paris")])):
            with pytest.raises(UserError, match=f"HTTP {status}") as error:
                call()
            assert KEY not in str(error.value)


def test_no_key_is_shown_by_a_reward_that_fails_and_logs(monkeypatch, caplog):
    monkeypatch.setenv("R1JAX_JUDGE_KEY", KEY)
    plan = [server.fails(500, KEY), server.says(KEY)]
    with caplog.at_level(logging.DEBUG), server.JudgeServer(*plan) as judge:
        reward = judge_reward(config(judge.url))
        assert reward.score([item("Paris")])[0].status is UNREAD
        assert judge.headers[0]["Authorization"] == f"Bearer {KEY}"
    assert KEY not in repr(reward)
    warnings = [record for record in caplog.records if record.name == "r1jax.rewards"]
    assert warnings
    assert not [record for record in caplog.records if KEY[:6] in record.getMessage()]


def test_the_service_is_told_at_once_that_there_is_no_judge():
    reward = judge_reward(RewardsConfig())
    with pytest.raises(ConfigError, match=r"rewards.judge.url: expected the url of an OpenAI-compatible endpoint"):
        reward.prepare()
    with pytest.raises(ConfigError, match=r"rewards.judge.url"):
        reward.score([item("Paris")])


def test_prepare_asks_once_and_says_who_judges():
    with server.JudgeServer(server.says(None, finish_reason="length")) as judge:
        assert judge_reward(config(judge.url)).prepare() == {"judge": "judge-7b", "url": judge.url}
        assert len(judge.requests) == 1
        url = judge.url
    with pytest.raises(UserError, match=r"rewards.judge.url: expected an endpoint that answers"):
        judge_reward(config(url)).prepare()


def test_threads_that_want_the_same_verdict_ask_once():
    with server.JudgeServer(server.slow(0.1, server.answers(right_is_paris))) as judge:
        reward = judge_reward(config(judge.url))
        items = [item(answer, thinking=str(number)) for number in range(8) for answer in ("Paris", "Lyon")]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            scores = [one for scores in pool.map(lambda one: reward.score([one]), items) for one in scores]
        assert [score.value for score in scores] == [1.0, 0.0] * 8
        assert len(judge.requests) == 2
        reward.score(items)
        assert len(judge.requests) == 2


def test_a_failure_is_not_remembered():
    with server.JudgeServer(server.fails(500), server.fails(500), server.says(server.verdict(1))) as judge:
        reward = judge_reward(config(judge.url))
        assert [reward.score([item("Paris")])[0].status for _ in range(2)] == [DOWN, Status.CORRECT]


def test_what_is_remembered_is_bounded_and_errors_reach_all_who_wait():
    computed = []

    def compute(keys):
        computed.extend(keys)
        return list(keys)

    remembered = Remembered(compute, worth_keeping=lambda value: value != "bad", most=3)
    for key in ("a", "b", "bad", "c", "d", "a", "d", "bad"):
        assert remembered([key, key]) == [key, key]
    assert computed == ["a", "b", "bad", "c", "d", "a", "bad"]

    entered, go = threading.Event(), threading.Event()

    def fail(keys):
        entered.set()
        go.wait(10)
        raise UserError("no judge")

    remembered = Remembered(fail, lambda value: True, 3)
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        first = pool.submit(remembered, ["x"])
        entered.wait(10)
        second = pool.submit(remembered, ["x"])
        time.sleep(0.05)
        go.set()
        for waiting in (first, second):
            with pytest.raises(UserError, match="no judge"):
                waiting.result(10)


def test_the_service_grades_a_mixture_while_the_judge_stumbles(monkeypatch):
    monkeypatch.setitem(routing.REWARDS, "judge", judge_reward)
    stumbles = {3: server.fails(500), 6: server.closes, 9: server.says("hm"), 12: server.talks_nonsense}
    good = server.slow(0.02, server.answers(right_is_paris))
    plan = [server.says("ready"), *(stumbles.get(number, good) for number in range(1, 40)), good]
    with server.JudgeServer(*plan) as judge, RewardService(config(judge.url, tries=5)) as service:
        items = [item(f"{'Paris' if number % 3 else 'Lyon'} {number}") for number in range(30)]
        verdicts = service.score(items)
        assert [verdict.scores["judge"].value for verdict in verdicts] == [float(n % 3 != 0) for n in range(30)]
        assert 1 < judge.most_at_once <= 4


def test_a_service_that_closes_ends_what_its_threads_wait_for_and_leaves_no_thread(monkeypatch):
    monkeypatch.setitem(routing.REWARDS, "judge", judge_reward)
    before = set(threading.enumerate())
    with server.JudgeServer(server.says("ready"), server.slow(60.0, server.says("late"))) as judge:
        with_server = set(threading.enumerate())
        service = RewardService(config(judge.url, timeout_seconds=60.0))
        service.prepare()
        service.submit_batch((number, item(f"Paris {number}")) for number in range(8))
        while len(judge.requests) < 4:
            time.sleep(0.01)
        start = time.monotonic()
        service.close()
        assert time.monotonic() - start < 4.0  # with threads that are left to themselves it takes 5 s
        ours = set(threading.enumerate()) - with_server
        assert not [one.name for one in ours if one.name.startswith(("reward-", "r1jax"))]
    assert not [one.name for one in set(threading.enumerate()) - before if one.name.startswith("r1jax")]


def test_a_service_that_cannot_be_entered_keeps_no_connection(monkeypatch):
    monkeypatch.setitem(routing.REWARDS, "judge", judge_reward)
    before = set(threading.enumerate())
    with server.JudgeServer(server.fails(401)) as judge:
        with pytest.raises(UserError, match="HTTP 401"), RewardService(config(judge.url)):
            pass
        left = set(threading.enumerate()) - before
        assert not [one.name for one in left if one.name.startswith("r1jax")]


def test_a_reward_of_a_closed_service_can_be_used_again():
    with server.JudgeServer(server.says(server.verdict(1))) as judge:
        reward = judge_reward(config(judge.url))
        reward.close()  # nothing was opened
        for answer in ("Paris", "Paris, France"):
            assert reward.score([item(answer)])[0].status is Status.CORRECT
            reward.close()


def test_the_service_passes_a_wrong_key_on_to_its_caller(monkeypatch):
    monkeypatch.setitem(routing.REWARDS, "judge", judge_reward)
    plan = [server.says("ready"), server.fails(401)]
    with server.JudgeServer(*plan) as judge, RewardService(config(judge.url)) as service:
        service.prepare()
        with pytest.raises(UserError, match="HTTP 401"):
            service.score([item("Paris"), item("Lyon")])
