"""One call of the chat client to a misbehaving server."""

import time

import judge_server

from r1jax.chat_client import ChatClient, Endpoint, Sampling

KEY_VARIABLE = "R1JAX_TEST_KEY"
KEY = "sk-Gz7bV1qLw93kTt0pXy"
HELLO = [{"role": "user", "content": "hello"}]


def endpoint(url, **changes):
    settings = {"model": "judge-7b", "key_variable": KEY_VARIABLE, "timeout_seconds": 5.0, "tries": 2}
    return Endpoint(url, **(settings | changes))


def ask(plan, conversations=(HELLO,), sampling=None, **changes):
    """(replies, server, seconds) of one call to a server with this plan."""
    with judge_server.JudgeServer(*plan) as judge, ChatClient(endpoint(judge.url, **changes)) as client:
        start = time.monotonic()
        replies = client.complete(conversations, sampling or Sampling(16))
        return replies, judge, time.monotonic() - start
