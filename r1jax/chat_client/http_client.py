"""The client: many conversations at once, each with tries, a deadline and a limit on what comes back.

| what the endpoint does                                               | what becomes of it                         |
| -------------------------------------------------------------------- | ------------------------------------------ |
| no connection, a drop, too slow, too long, not the protocol          | another try, then NoReply                  |
| 408, 409, 425, 429, 5xx                                              | another try after Retry-After, then NoReply |
| 400, 413, 422                                                        | Rejected; UserError where it never answered |
| redirects (never followed) and the rest of 4xx: key, model, url      | UserError                                  |

HTTP is httpx2's: TLS, proxies of the environment, pooled connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import email.utils
import logging
import math
import os
import random
import threading
import time
from collections.abc import Sequence
from typing import Any

from r1jax.chat_client.background_loop import CLOSE_SECONDS, BackgroundLoop
from r1jax.chat_client.endpoint import Endpoint
from r1jax.chat_client.messages import (
    BadReply,
    ChatError,
    Conversation,
    NoReply,
    Rejected,
    Reply,
    Sampling,
    error_words,
    one_line,
    read_reply,
    request_body,
)
from r1jax.errors import UserError

FIRST_PAUSE_SECONDS = 1.0  # before the second try; it doubles
MOST_PAUSE_SECONDS = 30.0
MOST_RETRY_AFTER_SECONDS = 60.0  # of what a server may ask for
CONNECT_SECONDS = 10.0  # to a host that does not answer at all
MOST_ERROR_BYTES = 2**16  # that are read of a refusal
LOGGED_FAILURES = 20  # a line each, then silence

OK = 200
AGAIN = frozenset({408, 409, 425, 429})  # and all from 500 on
OF_THE_REQUEST = frozenset({400, 413, 422})  # a prompt too long, or a field that the endpoint does not know
NEWER_LIMIT = "max_completion_tokens"  # what OpenAI's reasoning models want in the place of max_tokens

log = logging.getLogger("r1jax.chat_client")


class _Failure(Exception):
    """Another try may help; `pause` is what the server asks for, in seconds."""

    def __init__(self, words: str, pause: float | None = None):
        super().__init__(words)
        self.pause = pause


@dataclasses.dataclass(frozen=True)
class _Connection:
    """What belongs to one loop, in one process."""

    loop: BackgroundLoop
    http: Any  # httpx2.AsyncClient
    slots: asyncio.Semaphore
    process: int


class ChatClient:
    """Asks one endpoint; safe to use from several threads, which share its limit of requests.

    UserError at once when httpx2 is not installed.
    """

    def __init__(self, endpoint: Endpoint):
        self.endpoint = endpoint
        self._httpx = _library()
        self._lock = threading.Lock()
        self._connection: _Connection | None = None
        self._closed = False
        self._limit_field = "max_tokens"
        self._answered = False
        self._failures = 0

    def __repr__(self) -> str:
        return f"ChatClient({self.endpoint!r})"

    def __enter__(self) -> ChatClient:
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def close(self) -> None:
        """Ends all connections, and calls under way in other threads with a RuntimeError."""
        with self._lock:
            self._closed = True
            connection, self._connection = self._connection, None
        if connection is not None and connection.process == os.getpid():
            with contextlib.suppress(TimeoutError):
                connection.loop.run(asyncio.wait_for(connection.http.aclose(), CLOSE_SECONDS))
            connection.loop.close()

    def complete(self, conversations: Sequence[Conversation], sampling: Sampling) -> list[Reply | ChatError]:
        """The reply to each conversation, in their order, or why there is none.

        UserError, which ends the other requests of this call, for what no try can mend: see the table above.
        """
        self.endpoint.key()  # one that cannot be sent is an error before anything is
        connection = self._connected()
        return connection.loop.run(self._complete(connection, conversations, sampling))

    def _connected(self) -> _Connection:
        with self._lock:
            if self._closed:
                raise RuntimeError("the chat client is closed")
            if self._connection is None or self._connection.process != os.getpid():  # no thread survives a fork
                self._connection = self._connect()
            return self._connection

    def _connect(self) -> _Connection:
        httpx = self._httpx
        try:
            http = httpx.AsyncClient(
                timeout=httpx.Timeout(None, connect=min(CONNECT_SECONDS, self.endpoint.timeout_seconds)),
                limits=httpx.Limits(max_connections=None, max_keepalive_connections=self.endpoint.concurrency),
                headers={"Accept-Encoding": "identity", "User-Agent": "r1jax"},  # a small zip may hold a huge text
                follow_redirects=False,
                trust_env=not self.endpoint.local,
            )
        except (ImportError, ValueError, httpx.InvalidURL) as error:
            raise UserError(
                f"chat client: expected proxies and certificates in the environment (HTTPS_PROXY, SSL_CERT_FILE) "
                f"that httpx2 can use, found {type(error).__name__}"
            ) from None  # its text may hold the proxy's password
        slots = asyncio.Semaphore(self.endpoint.concurrency)
        return _Connection(BackgroundLoop("r1jax chat client"), http, slots, os.getpid())

    # In the loop's thread.

    async def _complete(
        self, connection: _Connection, conversations: Sequence[Conversation], sampling: Sampling
    ) -> list[Reply | ChatError]:
        tasks = [asyncio.create_task(self._ask(connection, one, sampling)) for one in conversations]
        try:
            return await asyncio.gather(*tasks)
        except BaseException:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            raise

    async def _ask(self, connection: _Connection, conversation: Conversation, sampling: Sampling) -> Reply | ChatError:
        endpoint = self.endpoint
        async with connection.slots:  # kept through the pauses: a server that is too busy gets fewer requests
            end = time.monotonic() + endpoint.deadline_seconds
            for number in range(1, endpoint.tries + 1):
                seconds = min(endpoint.timeout_seconds, end - time.monotonic())
                try:
                    async with asyncio.timeout(seconds):
                        return await self._request(connection.http, conversation, sampling)
                except Rejected as rejected:
                    return rejected
                except TimeoutError:
                    failure = _Failure(f"no whole answer within {seconds:.3g} s")
                except _Failure as failed:
                    failure = failed
                pause = _pause(number, failure.pause)
                last = number == endpoint.tries or time.monotonic() + pause >= end
                self._log_failure(failure, number, None if last else pause)
                if last:
                    return NoReply(f"{endpoint.completions_url}: {failure} (try {number} of {endpoint.tries})")
                await asyncio.sleep(pause)
        raise AssertionError("unreachable: tries >= 1")

    async def _request(self, http: Any, conversation: Conversation, sampling: Sampling) -> Reply:
        limit_field = self._limit_field
        body = request_body(self.endpoint.model, conversation, sampling, limit_field)
        try:
            status, headers, answer = await self._post(http, body)
        except (self._httpx.TransportError, OSError) as error:
            words = f"{type(error).__name__}: {error}"
            raise _Failure(self.endpoint.without_key(one_line(words))) from None
        if status == OK:
            try:
                reply = read_reply(answer)
            except BadReply as error:
                raise _Failure(str(error)) from None
            self._answered = True
            return reply
        words = error_words(answer)
        if status in AGAIN or status >= 500:  # noqa: PLR2004
            raise _Failure(
                f"HTTP {status}: {self.endpoint.without_key(words)}", _retry_after(headers.get("retry-after"))
            )
        if status in OF_THE_REQUEST:
            if NEWER_LIMIT in words and limit_field != NEWER_LIMIT:
                self._limit_field = NEWER_LIMIT
                return await self._request(http, conversation, sampling)
            if self._answered:
                raise Rejected(f"{self.endpoint.completions_url}: HTTP {status}: {self.endpoint.without_key(words)}")
        if status < 300:  # noqa: PLR2004
            raise _Failure(f"HTTP {status} where 200 was expected")
        raise self.endpoint.refusal(status, words, headers.get("location"))

    async def _post(self, http: Any, body: bytes) -> tuple[int, Any, bytes]:
        """Status, headers and body (of a refusal: its beginning) of the answer."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        async with http.stream(
            "POST", self.endpoint.completions_url, content=body, headers=headers, auth=self._authorize
        ) as response:
            if response.status_code == OK and response.headers.get("content-encoding", "identity") != "identity":
                raise _Failure("an answer that is packed, though it was asked not to be")
            parts, size = [], 0
            async for part in response.aiter_raw():
                parts.append(part)
                size += len(part)
                if response.status_code != OK and size > MOST_ERROR_BYTES:
                    break
                if size > self.endpoint.most_reply_bytes:
                    raise _Failure(f"an answer of more than {self.endpoint.most_reply_bytes} bytes")
            return response.status_code, response.headers, b"".join(parts)

    def _authorize(self, request: Any) -> Any:
        """The key goes into the request as it leaves, and into nothing that is kept."""
        key = self.endpoint.key()
        if key is not None:
            request.headers["Authorization"] = f"Bearer {key}"
        return request

    def _log_failure(self, failure: _Failure, number: int, pause: float | None) -> None:
        self._failures += 1
        if self._failures <= LOGGED_FAILURES:
            then = "given up" if pause is None else f"again in {pause:.1f} s"
            log.warning("%s, try %d of %d: %s; %s", self.endpoint.url, number, self.endpoint.tries, failure, then)


def _library() -> Any:
    try:
        import httpx2
    except ImportError:
        raise UserError(
            "chat client: expected the package httpx2, found none; pip install 'r1jax[judge]' brings it"
        ) from None
    for name in ("httpx2", "httpcore2"):  # a line of INFO for each request, the headers of each answer as DEBUG
        logger = logging.getLogger(name)
        if logger.level == logging.NOTSET:
            logger.setLevel(logging.WARNING)
    return httpx2


def _pause(number: int, asked: float | None) -> float:
    """Seconds to wait after try `number`: what the server asks for, or doubling; up to half more or less at random."""
    if asked is not None:
        return min(asked, MOST_RETRY_AFTER_SECONDS) * random.uniform(1.0, 1.1)  # not earlier, and not all at once
    return min(FIRST_PAUSE_SECONDS * 2.0 ** min(number - 1, 30), MOST_PAUSE_SECONDS) * random.uniform(0.5, 1.5)


def _retry_after(value: str | None) -> float | None:
    """Seconds of a Retry-After header: a number, or a date; None for neither."""
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
    return max(0.0, seconds) if math.isfinite(seconds) else None
