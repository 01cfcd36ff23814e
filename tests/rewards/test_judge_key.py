"""The key of an endpoint goes to that endpoint and nowhere else: no log, no error, no repr, no other host."""

import logging
import traceback

import judge_server as server
import pytest
from judge_calls import HELLO, KEY, KEY_VARIABLE, ask, endpoint

from r1jax.chat_client import ChatClient, Sampling, http_client
from r1jax.errors import UserError

pytest.importorskip("httpx2", reason="pip install 'r1jax[judge]'")


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch):
    monkeypatch.setattr(http_client, "FIRST_PAUSE_SECONDS", 0.02)


@pytest.fixture
def key(monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, KEY)


@pytest.mark.parametrize("status", [401, 403])
def test_a_wrong_key_is_the_users_at_once_and_is_not_shown(status, key):
    with pytest.raises(UserError, match=f"HTTP {status}.*R1JAX_TEST_KEY is set, and refused") as error:
        ask([server.fails(status, f"wrong key {KEY}")])
    assert "\n" not in str(error.value)


def test_a_missing_key_is_named():
    with pytest.raises(UserError, match="HTTP 401.*R1JAX_TEST_KEY is not set"):
        ask([server.fails(401)])


def test_a_redirect_is_not_followed_and_the_key_goes_nowhere(key):
    with server.JudgeServer(server.says("stolen")) as thief:
        elsewhere = thief.url.replace("127.0.0.1", "localhost") + "/chat/completions"
        for status in (301, 302, 307, 308):
            with pytest.raises(UserError, match=f"HTTP {status}, a redirect to 'localhost'") as error:
                ask([server.fails(status, Location=elsewhere)])
            assert "\n" not in str(error.value)
        assert thief.headers == []


def test_the_key_is_sent_where_one_is_set_and_nothing_else_is(key, monkeypatch):
    _, judge, _ = ask([server.says("x")])
    assert judge.headers[0]["Authorization"] == f"Bearer {KEY}"
    monkeypatch.setenv(KEY_VARIABLE, " ")
    _, judge, _ = ask([server.says("x")])
    assert "Authorization" not in judge.headers[0]
    monkeypatch.delenv(KEY_VARIABLE)
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    _, judge, _ = ask([server.says("x")])
    assert "Authorization" not in judge.headers[0]


@pytest.mark.parametrize("value", [f"{KEY}\nX-Evil: 1", f"{KEY} {KEY}", f"{KEY}é", f"{KEY}\x1b"])
def test_a_key_that_no_header_can_hold_is_not_shown(value, monkeypatch):
    monkeypatch.setenv(KEY_VARIABLE, value)
    with pytest.raises(UserError, match="R1JAX_TEST_KEY: expected a key of printable ASCII") as error:
        ask([server.says("x")])
    assert KEY not in str(error.value)


LEAKS = [
    server.says("fine"),
    server.fails(500, f"internal: Authorization: Bearer {KEY}"),
    server.fails(429, f"quota of {KEY[:9]}... used up"),
    server.fails(401, f"Incorrect API key provided: {KEY}"),
    server.fails(404, f"no model for {KEY[-8:]}"),
    server.fails(400, KEY),
    server.fails(307, Location=f"http://{KEY.lower()}.example/"),
    server.fails(307, Location=f"http://a/{KEY}"),
    server.sends(KEY.encode()),
    server.says([KEY]),
    server.closes,
    server.drops_halfway,
    server.talks_nonsense,
    server.drips_headers,
]


@pytest.mark.parametrize("number", range(len(LEAKS)))
def test_the_key_is_in_no_log_and_no_error(number, key, caplog, capfd):
    with (
        caplog.at_level(logging.DEBUG),
        server.JudgeServer(LEAKS[number]) as judge,
        ChatClient(endpoint(judge.url, timeout_seconds=0.5)) as client,
    ):
        try:
            found = repr(client.complete([HELLO], Sampling(1)))
        except UserError as error:
            found = "".join(traceback.format_exception(error)) + repr(error)
        found += repr(client) + repr(vars(client)) + repr(client.endpoint)
        assert judge.headers[0]["Authorization"] == f"Bearer {KEY}"
    logged = "".join(f"{record.getMessage()} {record.args!r} {record.exc_text}" for record in caplog.records)
    printed = "".join(capfd.readouterr())
    for start in range(len(KEY) - 5):
        assert KEY[start : start + 6] not in found + logged + printed


def test_the_library_knows_no_key_when_it_is_asked_to_tell_all(key, caplog):
    with (
        caplog.at_level(logging.DEBUG, "httpcore2"),
        caplog.at_level(logging.DEBUG, "httpx2"),
    ):
        ask([server.fails(500), server.says("x")])
    assert {"httpx2", "httpcore2.http11"} <= {record.name for record in caplog.records}
    assert KEY[:6] not in "".join(record.getMessage() for record in caplog.records)


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("judge:8000/v1", "found 'judge:8000/v1'"),
        ("ftp://judge/v1", "found 'ftp://judge/v1'"),
        ("http:///v1", "found 'http:///v1'"),
        ("", "found ''"),
        ("http://judge:port/v1", "found one that cannot be read"),
        ("http://[::1/v1", "found one that cannot be read"),
        ("http://user:hunter2@judge/v1", "found one with a user"),
        ("http://judge/v1?key=hunter2", "found one with a user, a password or a query"),
    ],
)
def test_a_url_that_is_none_or_holds_a_secret_is_refused(url, found):
    with pytest.raises(UserError, match="expected a url such as") as error:
        endpoint(url)
    assert found in str(error.value)
    assert "hunter2" not in str(error.value)


def test_a_proxy_of_the_environment_does_not_stand_before_this_machine(monkeypatch):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    (reply,), _, _ = ask([server.says("direct")])
    assert reply.text == "direct"
    with server.JudgeServer(server.says("through a proxy")) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url.removesuffix("/v1"))
        with ChatClient(endpoint("http://judge.invalid/v1")) as client:
            assert client.complete([HELLO], Sampling(1))[0].text == "through a proxy"
        assert proxy.requests[0]["path"] == "http://judge.invalid/v1/chat/completions"


def test_a_proxy_that_cannot_be_used_is_the_users_and_its_password_is_not_shown(monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", "gopher://me:hunter2@proxy:1")
    monkeypatch.setenv("http_proxy", "gopher://me:hunter2@proxy:1")
    with (
        ChatClient(endpoint("http://judge.invalid/v1")) as client,
        pytest.raises(UserError, match="HTTPS_PROXY") as error,
    ):
        client.complete([HELLO], Sampling(1))
    assert "hunter2" not in "".join(traceback.format_exception(error.value))
