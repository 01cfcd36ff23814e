"""The chat client against a real server that misbehaves: every call ends, in time, as its table says."""

import concurrent.futures
import json
import signal
import sys
import threading
import time

import judge_server as server
import pytest
from judge_calls import HELLO, ask, endpoint

from r1jax.chat_client import ChatClient, NoReply, Rejected, Reply, Sampling, http_client
from r1jax.chat_client.messages import error_words
from r1jax.errors import UserError

pytest.importorskip("httpx2", reason="pip install 'r1jax[judge]'")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(http_client, "FIRST_PAUSE_SECONDS", 0.02)


def test_a_reply_comes_back_with_all_that_the_server_says():
    (reply,), _, _ = ask([server.says("forty-two", finish_reason="length", reasoning_content="hm")])
    assert reply == Reply("forty-two", "hm", "length", 11, 7)
    assert reply.cut
    (reply,), _, _ = ask([server.sends(b'{"choices": [{"message": {"content": null}}]}')])
    assert reply == Reply("")


def test_the_request_holds_the_model_the_messages_and_the_sampling_that_is_set():
    _, judge, _ = ask([server.says("yes")], sampling=Sampling(99, temperature=0.0, seed=3))
    assert judge.requests == [
        {
            "path": "/v1/chat/completions",
            "model": "judge-7b",
            "messages": HELLO,
            "max_tokens": 99,
            "temperature": 0.0,
            "seed": 3,
        }
    ]


def test_replies_keep_the_order_of_their_conversations():
    conversations = [[{"role": "user", "content": str(number)}] for number in range(20)]

    def echo(handler, body):
        number = int(body["messages"][0]["content"])
        handler.server.judge.stopping.wait(0.005 * (20 - number))
        handler.send(200, server.completion(f"got {number}"))

    replies, _, _ = ask([echo], conversations)
    assert [reply.text for reply in replies] == [f"got {number}" for number in range(20)]


def test_what_no_utf8_can_hold_is_sent_as_a_replacement_and_zeros_arrive():
    text = "a\ud800b\0c\udfff 好 \U0001f600"
    _, judge, _ = ask([server.says("ok")], [[{"role": "user", "content": text}]])
    assert judge.requests[0]["messages"][0]["content"] == "a\ufffdb\0c\ufffd 好 \U0001f600"


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (server.closes, "RemoteProtocolError"),
        (server.drops_halfway, "RemoteProtocolError"),
        (server.talks_nonsense, "RemoteProtocolError"),
        (server.sends(b"x" * 300_000), "more than 200000 bytes"),
        (server.endless, "more than 200000 bytes"),
        (server.sends(b"{'choices': oops"), "expected JSON"),
        (server.sends(b"\xff\xfe\x00"), "expected JSON"),
        (server.sends(b"[" * 100_000), "expected JSON"),
        (server.sends(b""), "expected JSON"),
        (server.sends(b"{}"), "expected an answer with choices"),
        (server.sends(b"[1]"), "expected an answer with choices"),
        (server.sends(b'{"choices": []}'), "expected an answer with choices"),
        (server.sends(b'{"choices": [{"message": null}]}'), "a choice with a message"),
        (server.says(["a", "part"]), "expected a message of text, found a list"),
        (server.sends(b"\x1f\x8b", Content_Encoding="gzip"), "packed"),
        (server.fails(500, "boom"), "HTTP 500: boom"),
        (server.fails(503), "HTTP 503"),
        (server.fails(408), "HTTP 408"),
        (server.fails(409), "HTTP 409"),
        (server.fails(429), "HTTP 429"),
        (server.fails(202), "HTTP 202"),
        (server.fails(500, "x" * 1_000_000), "HTTP 500"),
    ],
)
def test_a_failure_that_may_pass_is_tried_again(failure, words):
    (reply,), judge, _ = ask([failure, server.says("well")], most_reply_bytes=200_000)
    assert reply == Reply("well", None, "stop", 11, 7)
    assert len(judge.requests) == 2
    (reply,), judge, _ = ask([failure], most_reply_bytes=200_000)
    assert isinstance(reply, NoReply)
    assert words in str(reply)
    assert "try 2 of 2" in str(reply)
    assert "\n" not in str(reply)
    assert len(judge.requests) == 2


SLOW = [server.slow(60.0, server.says("late")), server.drips_headers, server.drips_body, server.drips_chunks]


@pytest.mark.parametrize("failure", SLOW, ids=["silent", "headers", "body", "chunks"])
def test_a_server_that_keeps_the_line_busy_is_left(failure):
    (reply,), judge, seconds = ask([failure], timeout_seconds=0.3)
    assert isinstance(reply, NoReply)
    assert "no whole answer within 0.3 s (try 2 of 2)" in str(reply)
    assert len(judge.requests) == 2
    assert 0.6 <= seconds < 2.0


def test_nobody_at_home_is_no_reply():
    with server.JudgeServer(server.says("x")) as judge:
        url = judge.url
    with ChatClient(endpoint(url)) as client:
        reply = client.complete([HELLO], Sampling(1))[0]
    assert isinstance(reply, NoReply)
    assert "ConnectError" in str(reply)


def test_all_tries_together_have_a_deadline():
    (reply,), judge, seconds = ask([server.drips_body], tries=50, timeout_seconds=0.3, deadline_seconds=0.8)
    assert isinstance(reply, NoReply)
    assert seconds < 2.0
    assert 2 <= len(judge.requests) <= 3
    (reply,), judge, seconds = ask([server.drips_body], timeout_seconds=60.0, deadline_seconds=0.4)
    assert isinstance(reply, NoReply)
    assert seconds < 2.0


def test_the_server_says_how_long_to_wait():
    _, judge, _ = ask([server.fails(429, Retry_After="0.4"), server.says("yes")])
    assert 0.4 <= judge.times[1] - judge.times[0] < 2.0


def test_a_date_says_so_as_well(monkeypatch):
    monkeypatch.setattr(http_client.time, "time", lambda: 784_111_777.0)
    assert http_client._retry_after("Sun, 06 Nov 1994 08:49:47 GMT") == 10.0
    assert http_client._retry_after("Sun, 06 Nov 1994 08:40:00 GMT") == 0.0


@pytest.mark.parametrize("value", [None, "soon", "nan", "inf", "1e999", "Sun, 99 Nov 1994 08:49:47 GMT", ""])
def test_a_wait_that_is_none_is_left_to_the_client(value):
    assert http_client._retry_after(value) is None


def test_no_server_can_make_the_client_wait_for_long():
    assert http_client._pause(1, 86_400.0) <= 66.0
    (reply,), judge, seconds = ask([server.fails(503, Retry_After="86400")], deadline_seconds=30.0, tries=5)
    assert isinstance(reply, NoReply)  # the wait would pass the deadline, so there is none
    assert seconds < 5.0
    assert len(judge.requests) == 1


def test_pauses_double_with_jitter_up_to_a_bound(monkeypatch):
    monkeypatch.setattr(http_client, "FIRST_PAUSE_SECONDS", 1.0)
    for number, middle in ((1, 1.0), (2, 2.0), (4, 8.0), (6, 30.0), (10_000, 30.0)):
        pauses = {http_client._pause(number, None) for _ in range(50)}
        assert len(pauses) > 40
        assert 0.5 * middle <= min(pauses) < max(pauses) <= 1.5 * middle


def test_no_more_requests_at_once_than_allowed():
    replies, judge, _ = ask([server.slow(0.1, server.says("ok"))], [HELLO] * 24, concurrency=4)
    assert {reply.text for reply in replies} == {"ok"}
    assert 1 < judge.most_at_once <= 4


def test_a_slow_one_holds_up_no_other():
    def by_content(handler, body):
        behaviour = server.drips_body if body["messages"][0]["content"] == "drip" else server.says("ok")
        behaviour(handler, body)

    conversations = [[{"role": "user", "content": "drip" if number == 3 else "go"}] for number in range(10)]
    replies, _, seconds = ask([by_content], conversations, tries=1, timeout_seconds=1.0, concurrency=2)
    assert [isinstance(reply, NoReply) for reply in replies] == [number == 3 for number in range(10)]
    assert seconds < 3.0


def test_what_is_the_users_does_not_wait_for_the_other_requests():
    def by_content(handler, body):
        behaviour = server.fails(404) if body["messages"][0]["content"] == "wrong" else server.drips_body
        behaviour(handler, body)

    conversations = [[{"role": "user", "content": text}] for text in ("right", "wrong", "right")]
    start = time.monotonic()
    with pytest.raises(UserError, match="HTTP 404"):
        ask([by_content], conversations, timeout_seconds=30.0)
    assert time.monotonic() - start < 5.0


def test_a_wrong_model_or_path_is_named():
    with pytest.raises(UserError, match=r"HTTP 404.*'judge-7b'.*ends as in /v1 \(no such model\)"):
        ask([server.fails(404, "no such model")])


@pytest.mark.parametrize("status", [400, 402, 404, 405, 413, 418, 422, 451])
def test_other_refusals_are_the_users_too(status):
    with pytest.raises(UserError, match=f"HTTP {status}"):
        ask([server.fails(status)], [HELLO] * 5)


def test_an_endpoint_that_has_answered_may_refuse_one_request():
    plan = [server.says("fine"), server.fails(400, "the prompt is too long"), server.says("fine")]
    with server.JudgeServer(*plan) as judge, ChatClient(endpoint(judge.url)) as client:
        replies = [client.complete([HELLO], Sampling(1))[0] for _ in range(3)]
        assert [type(reply) for reply in replies] == [Reply, Rejected, Reply]
        assert "HTTP 400: the prompt is too long" in str(replies[1])


def test_the_newer_name_of_the_limit_is_found_out():
    words = "Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead."
    plan = [server.fails(400, words), server.says("ok")]
    with server.JudgeServer(*plan) as judge, ChatClient(endpoint(judge.url)) as client:
        assert client.complete([HELLO], Sampling(5))[0].text == "ok"
        assert client.complete([HELLO], Sampling(6))[0].text == "ok"
        assert [request.get("max_tokens") for request in judge.requests] == [5, None, None]
        assert [request.get("max_completion_tokens") for request in judge.requests] == [None, 5, 6]


def test_connections_are_kept():
    ports = set()

    def note(handler, body):
        ports.add(handler.client_address[1])
        handler.send(200, server.completion("x"))

    with server.JudgeServer(note) as judge, ChatClient(endpoint(judge.url)) as client:
        for _ in range(10):
            client.complete([HELLO], Sampling(1))
    assert len(ports) == 1


def test_a_closed_client_says_so_and_one_that_is_busy_lets_go():
    with server.JudgeServer(server.drips_body) as judge:
        client = ChatClient(endpoint(judge.url, timeout_seconds=60.0))
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(client.complete, [HELLO], Sampling(1))
            while not judge.requests:
                time.sleep(0.01)
            client.close()
            with pytest.raises(RuntimeError, match="closed"):
                waiting.result(timeout=5)
        with pytest.raises(RuntimeError, match="closed"):
            client.complete([HELLO], Sampling(1))


def test_an_interrupted_call_lets_go_of_its_requests():
    class Interrupt(Exception):
        pass

    def interrupt(number, frame):
        raise Interrupt

    gone = threading.Event()

    def waits_for_the_end(handler, body):
        handler.connection.recv(1)  # nothing, when the client leaves
        gone.set()

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with (
            server.JudgeServer(waits_for_the_end, server.says("on")) as judge,
            ChatClient(endpoint(judge.url, timeout_seconds=60.0)) as client,
        ):
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            with pytest.raises(Interrupt):
                client.complete([HELLO], Sampling(1))
            assert gone.wait(5)
            assert client.complete([HELLO], Sampling(1))[0].text == "on"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        signal.signal(signal.SIGALRM, before)


def test_without_the_library_the_user_is_told_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "httpx2", None)
    with pytest.raises(UserError, match=r"pip install 'r1jax\[judge\]'"):
        ChatClient(endpoint("http://judge/v1"))


def test_words_of_a_refusal_are_read_from_whatever_form_they_have():
    forms = [
        {"error": {"message": "m"}},
        {"error": "m"},
        {"message": "m"},
        {"detail": "m"},
        {"detail": {"message": "m"}},
    ]
    assert {error_words(json.dumps(form).encode()) for form in forms} == {"m"}
    assert error_words(b"<html>\n<b>502</b>\x00\x1b[31m") == "<html> <b>502</b> [31m"
    assert error_words(b"\xff" * 10_000) == "\ufffd" * 300


@pytest.mark.parametrize("name", ["concurrency", "tries", "timeout_seconds", "deadline_seconds"])
def test_an_endpoint_without_a_try_or_a_second_is_refused(name):
    with pytest.raises(ValueError, match="expected concurrency and tries of 1 or more"):
        endpoint("http://judge/v1", **{name: 0})
