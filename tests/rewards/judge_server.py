"""A chat-completions endpoint on this machine that misbehaves as it is told; it counts what it is asked."""

from __future__ import annotations

import contextlib
import http.server
import json
import threading
import time
from collections.abc import Callable


class JudgeServer:
    """Answers each request by the next of its `plan`, a list of behaviours; the last one repeats.

    A behaviour takes the handler and the request's JSON. What is counted: the requests (JSON, headers), when each
    came, and the most that were in hand at once.
    """

    def __init__(self, *plan: Callable):
        self.plan = plan
        self.requests: list[dict] = []
        self.headers: list[dict[str, str]] = []
        self.times: list[float] = []
        self.most_at_once = 0
        self._at_once = 0
        self._lock = threading.Lock()
        self.stopping = threading.Event()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.judge = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def __enter__(self) -> JudgeServer:
        self._thread.start()
        return self

    def __exit__(self, *exception) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def take(self, handler: _Handler) -> None:
        with self._lock:
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            self.times.append(time.monotonic())
            self.headers.append(dict(handler.headers))
            number = len(self.times) - 1
            behaviour = self.plan[min(number, len(self.plan) - 1)]
        try:
            body = json.loads(handler.rfile.read(int(handler.headers["Content-Length"])))
            self.requests.append(body | {"path": handler.path})
            behaviour(handler, body)
        finally:
            with self._lock:
                self._at_once -= 1


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request, client_address):
        """A client that leaves is no event here."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # headers and body go out in two writes

    def do_POST(self):
        self.server.judge.take(self)

    def log_message(self, *words):
        """Quiet."""

    def send(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        """A whole answer; `length` may lie."""
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def drip(self, byte: bytes, seconds: float) -> None:
        """The byte again and again, until the client or the test has had enough."""
        with contextlib.suppress(OSError):
            while not self.server.judge.stopping.wait(seconds):
                self.wfile.write(byte)
                self.wfile.flush()
        self.close_connection = True


# Behaviours.


def completion(content: object, finish_reason: str = "stop", **message: object) -> bytes:
    """The JSON of an answer with one choice."""
    choice = {"index": 0, "message": {"role": "assistant", "content": content, **message}}
    usage = {"prompt_tokens": 11, "completion_tokens": 7}
    return json.dumps({"choices": [choice | {"finish_reason": finish_reason}], "usage": usage}).encode()


def verdict(correctness: object, analysis: str = "It agrees.") -> str:
    return json.dumps({"analysis": analysis, "correctness": correctness})


def says(content: object, **fields: object) -> Callable:
    return lambda handler, body: handler.send(200, completion(content, **fields))


def answers(reply: Callable[[str], str]) -> Callable:
    """What `reply` makes of the last message."""
    return lambda handler, body: handler.send(200, completion(reply(body["messages"][-1]["content"])))


def fails(status: int, words: str = "no", **headers: str) -> Callable:
    body = json.dumps({"error": {"message": words}}).encode()
    return lambda handler, _: handler.send(status, body, **headers)


def sends(body: bytes, **headers: str) -> Callable:
    return lambda handler, _: handler.send(200, body, **headers)


def slow(seconds: float, then: Callable) -> Callable:
    def behave(handler, body):
        handler.server.judge.stopping.wait(seconds)
        then(handler, body)

    return behave


def drips_body(handler, body):
    handler.send(200, b"", length=10_000)
    handler.drip(b" ", 0.05)


def drips_headers(handler, body):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Padding: ")
    handler.drip(b"x", 0.05)


def drips_chunks(handler, body):
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    handler.drip(b"1\r\n \r\n", 0.05)


def closes(handler, body):
    handler.close_connection = True


def drops_halfway(handler, body):
    whole = completion(verdict(1))
    handler.send(200, whole[: len(whole) // 2], length=len(whole))
    handler.close_connection = True


def talks_nonsense(handler, body):
    handler.wfile.write(b"220 mail.example ESMTP ready\r\n")
    handler.close_connection = True


def endless(handler, body):
    """A body that never ends, as fast as it is read."""
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    chunk = b"10000\r\n" + b" " * 0x10000 + b"\r\n"
    with contextlib.suppress(OSError):
        while not handler.server.judge.stopping.is_set():
            handler.wfile.write(chunk)
    handler.close_connection = True
