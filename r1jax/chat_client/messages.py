"""What is sent to a chat-completions endpoint, and what is read from its answer.

The fields are those of OpenAI's `POST /chat/completions`, as far as vLLM, SGLang, llama.cpp and Ollama share them.
"""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any

Conversation = Sequence[Mapping[str, str]]  # messages: {"role": "user", "content": "..."}

SURROGATE = re.compile("[\ud800-\udfff]")  # a half of a character: no UTF-8 holds it, and servers refuse it


class ChatError(Exception):
    """No reply to one conversation; the text says why, in one line."""


class NoReply(ChatError):
    """The endpoint cannot be reached, fails, is too slow, or does not speak the protocol, after all tries."""


class Rejected(ChatError):
    """The endpoint refuses this one request, too long a prompt for instance, though it has answered others."""


class BadReply(Exception):
    """An answer that is not in the protocol; another try may get a better one."""


@dataclasses.dataclass(frozen=True)
class Sampling:
    """How a reply is drawn. None: not sent, so that the endpoint's default holds."""

    max_tokens: int
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None


@dataclasses.dataclass(frozen=True)
class Reply:
    """What the model has said.

    Attributes:
      text: the message's content; "" where there is none.
      reasoning: what a server with a reasoning parser has taken out of the text, or None.
      finish_reason: "stop", "length" (cut at max_tokens), whatever the server says, or None.
      prompt_tokens, completion_tokens: as the server counts them, or None.
    """

    text: str
    reasoning: str | None = None
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @property
    def cut(self) -> bool:
        return self.finish_reason == "length"


def request_body(model: str, conversation: Conversation, sampling: Sampling, limit_field: str = "max_tokens") -> bytes:
    """The JSON of one request; half characters become U+FFFD. `limit_field`: what the endpoint calls max_tokens."""
    optional = {name: getattr(sampling, name) for name in ("temperature", "top_p", "seed")}
    body = {
        "model": model,
        "messages": [{name: _whole(text) for name, text in message.items()} for message in conversation],
        limit_field: sampling.max_tokens,
        **{name: value for name, value in optional.items() if value is not None},
    }
    return json.dumps(body, ensure_ascii=False).encode()


def read_reply(body: bytes) -> Reply:
    """The first choice of an answer; BadReply says what is wrong with it."""
    answer = _parsed(body)
    choices = answer.get("choices") if isinstance(answer, dict) else None
    if not isinstance(choices, list) or not choices:
        raise BadReply("expected an answer with choices, found none")
    choice = choices[0]
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(message, dict):
        raise BadReply("expected a choice with a message, found none")
    reasoning = next((message[name] for name in ("reasoning_content", "reasoning") if message.get(name)), None)
    for found in (message.get("content"), reasoning):
        if not isinstance(found, str | None):
            raise BadReply(f"expected a message of text, found a {type(found).__name__}")
    usage = answer.get("usage")
    return Reply(
        text=_whole(message.get("content") or ""),
        reasoning=None if reasoning is None else _whole(reasoning),
        finish_reason=_only(str, choice.get("finish_reason")),
        prompt_tokens=_only(int, usage.get("prompt_tokens")) if isinstance(usage, dict) else None,
        completion_tokens=_only(int, usage.get("completion_tokens")) if isinstance(usage, dict) else None,
    )


def error_words(body: bytes) -> str:
    """What a refusal says of its reason, as one printable line."""
    words: Any = body.decode(errors="replace")
    try:
        answer = _parsed(body)
    except BadReply:
        answer = None
    for name in ("error", "detail", "message"):  # {"error": {"message": ..}}, {"detail": ..}
        if isinstance(answer, dict) and answer.get(name):
            answer = words = answer[name]
    return one_line(words if isinstance(words, str) else json.dumps(words))


def one_line(words: str, most_chars: int = 300) -> str:
    """`words` without control characters and line breaks, cut."""
    printable = "".join(char if char.isprintable() else " " for char in words[: 4 * most_chars])
    return " ".join(printable.split())[:most_chars]


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:  # UnicodeDecodeError and json's own are ValueErrors
        raise BadReply(f"expected JSON, found {len(body)} bytes of something else") from error


def _only(kind: type, value: Any) -> Any:
    return value if isinstance(value, kind) and not isinstance(value, bool) else None


def _whole(text: str) -> str:
    return SURROGATE.sub("\ufffd", text)
