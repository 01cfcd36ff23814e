"""Who is asked, with which key, and what a refusal means to the user.

The key is read from the environment where a request is made and kept nowhere. A url that carries one is refused: it
would end up in the run's files.
"""

from __future__ import annotations

import dataclasses
import ipaddress
import os
import re
import urllib.parse

from r1jax.errors import UserError

KEY = re.compile(r"[\x21-\x7e]+")  # what a header may hold
TELLING_CHARS = 6  # so many in a row of a key are too many to show

UNAUTHORIZED, FORBIDDEN, NOT_FOUND, NOT_ALLOWED = 401, 403, 404, 405


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """An OpenAI-compatible endpoint. UserError for a url that is none, or that holds a password or a query.

    Attributes:
      url: up to and without /chat/completions: http://host:8000/v1.
      model: the name that the endpoint serves it by.
      key_variable: of the environment. Unset or empty: no Authorization is sent.
      concurrency: requests at once.
      timeout_seconds: of one request, from the connection to the last byte.
      deadline_seconds: of all tries of one conversation and the pauses between them, once its turn has come.
      tries: requests for one conversation.
      most_reply_bytes: of the body of an answer.
    """

    url: str
    model: str
    key_variable: str
    concurrency: int = 16
    timeout_seconds: float = 120.0
    deadline_seconds: float = 600.0
    tries: int = 5
    most_reply_bytes: int = 2**24

    def __post_init__(self):
        if min(self.concurrency, self.tries) < 1 or min(self.timeout_seconds, self.deadline_seconds) <= 0:
            raise ValueError("chat client: expected concurrency and tries of 1 or more, and times above 0")
        expected = "chat client: expected a url such as http://host:8000/v1"
        try:
            parts = urllib.parse.urlsplit(self.url)
            host = parts.hostname
            _ = parts.port  # raises for what is no port
        except ValueError:
            raise UserError(f"{expected}, found one that cannot be read") from None
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise UserError(
                f"{expected}, found one with a user, a password or a query; put the key into the environment "
                f"variable {self.key_variable}"
            )
        if parts.scheme not in ("http", "https") or not host:
            raise UserError(f"{expected}, found {self.url!r}")

    @property
    def completions_url(self) -> str:
        return f"{self.url.rstrip('/')}/chat/completions"

    @property
    def local(self) -> bool:
        """Whether it is on this machine, so that no proxy can reach it."""
        host = urllib.parse.urlsplit(self.url).hostname
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost" or host.endswith(".localhost")

    def key(self) -> str | None:
        """The key, or None; UserError for one that no header can hold (its text is not shown)."""
        key = os.environ.get(self.key_variable, "").strip()
        if key and not KEY.fullmatch(key):
            raise UserError(f"{self.key_variable}: expected a key of printable ASCII characters, found others in it")
        return key or None

    def without_key(self, words: str) -> str:
        """`words`, unless they hold a part of the key."""
        key = self.key() or ""
        pieces = {key[start : start + TELLING_CHARS] for start in range(max(1, len(key) - TELLING_CHARS + 1))} - {""}
        return "(its words are left out: they hold the key)" if any(piece in words for piece in pieces) else words

    def refusal(self, status: int, words: str, location: str | None) -> UserError:
        """What to tell the user of an answer that no further try can mend."""
        found = f"{self.completions_url}: found HTTP {status}"
        if 300 <= status < 400:  # noqa: PLR2004
            host = self.without_key(_host(location))
            return UserError(f"{found}, a redirect to {host}; redirects are not followed: put the right url")
        if status in (UNAUTHORIZED, FORBIDDEN):
            state = "not set" if self.key() is None else "set, and refused"
            return UserError(f"{found}; expected a key that it accepts: {self.key_variable} is {state}")
        if status in (NOT_FOUND, NOT_ALLOWED):
            hint = f"expected the model {self.model!r} there: check its name, and that the url ends as in /v1"
            return UserError(f"{found}; {hint} ({self.without_key(words)})")
        return UserError(f"{found}; it says: {self.without_key(words)}")


def _host(location: str | None) -> str:
    """Where a redirect leads, in words that are safe to print."""
    try:
        host = urllib.parse.urlsplit(location or "").hostname
    except ValueError:
        host = None
    return repr(host[:100]) if host else "somewhere on the same host"
