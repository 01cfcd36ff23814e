"""The loop behind the chat client ends when it is told to, and nobody waits for it for ever."""

import asyncio
import concurrent.futures
import threading
import time

import pytest

from r1jax.chat_client import background_loop
from r1jax.chat_client.background_loop import BackgroundLoop


async def nothing():
    return 7


def test_a_call_under_way_and_every_later_one_end_with_an_error():
    loop = BackgroundLoop("test loop")
    assert loop.run(nothing()) == 7
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        begun = threading.Event()

        async def wait():
            begun.set()
            await asyncio.sleep(60)

        call = pool.submit(loop.run, wait())
        assert begun.wait(10)
        loop.close()
        with pytest.raises(RuntimeError, match="closed while a call ran"):
            call.result(10)
    loop.close()
    with pytest.raises(RuntimeError, match="the loop is closed"):
        loop.run(nothing())


def test_a_look_up_that_hangs_holds_up_neither_close_nor_later_calls(monkeypatch):
    monkeypatch.setattr(background_loop, "CLOSE_SECONDS", 0.2)
    loop = BackgroundLoop("test loop")
    gate, begun = threading.Event(), threading.Event()

    def look_up():  # as getaddrinfo: in a thread of the loop, which nothing can cancel
        begun.set()
        gate.wait(30)

    async def connect():
        await asyncio.get_running_loop().run_in_executor(None, look_up)

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        call = pool.submit(loop.run, connect())
        assert begun.wait(10)
        start = time.monotonic()
        loop.close()
        assert time.monotonic() - start < 5.0
        with pytest.raises(RuntimeError, match="closed while a call ran"):
            call.result(10)
        with pytest.raises(RuntimeError, match="the loop is closed"):
            loop.run(nothing())
        gate.set()
