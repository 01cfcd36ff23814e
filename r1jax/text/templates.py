"""How a question becomes the text that a model continues, and where the completion begins.

Prompt, forced prefix and response are tokenised apart, so that RL, SFT and evaluation see the same ids on both
sides of a boundary, and no token spans one.
"""

from __future__ import annotations

import dataclasses
import datetime
import functools
import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import jinja2
from jinja2 import nodes, parser, sandbox
from jinja2.ext import Extension, loopcontrols

from r1jax.config import TemplateConfig
from r1jax.errors import UserError
from r1jax.text.tokenizer import Tokenizer

# Table 1 of arXiv 2501.12948v1.
R1_ZERO = (
    "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
    "The assistant first thinks about the reasoning process in the mind and then provides the user with "
    "the answer. The reasoning process and answer are enclosed within <think> </think> and "
    "<answer> </answer> tags, respectively, i.e., <think> reasoning process here </think> "
    "<answer> answer here </answer>. User: {question}. Assistant:"
)

# The cold-start format is reasoning, then a summary (section 2.3.1); the paper gives no prompt around the
# question, and a model that was trained on the format needs no description of it. The wording is our choice.
R1 = "User: {question}\n\nAssistant:"

OPENED_THINKING = re.compile(r"<think>\s*\Z")


class TemplateError(UserError):
    """A prompt or an example that cannot be rendered exactly; one line for the user."""


@dataclasses.dataclass(frozen=True)
class RenderedPrompt:
    """A prompt: `token_ids` decode to `text`, which ends with `forced_prefix`, where it is continued.

    `forced_prefix` is the opening of the assistant's turn that the model did not write but rewards must see:
    the configured one, or the `<think>` with which a chat template opens the turn by itself.
    """

    text: str
    token_ids: tuple[int, ...]
    forced_prefix: str


@dataclasses.dataclass(frozen=True)
class RenderedExample:
    """A training example: the loss is on `response_ids`, which end with the EOS."""

    prompt_ids: tuple[int, ...]
    response_ids: tuple[int, ...]


def render_prompt(template: TemplateConfig, question: str, tokenizer: Tokenizer) -> RenderedPrompt:
    """The prompt of `question`, up to and with the forced prefix. Raises TemplateError."""
    opening = TEMPLATES[template.name](_asked(template, question), tokenizer)
    added, forced_prefix = _force(opening, template.forced_prefix)
    return RenderedPrompt(
        text=_joined(opening, added, tokenizer),
        token_ids=(*tokenizer.encode(opening), *tokenizer.encode(added)),
        forced_prefix=forced_prefix,
    )


def render_example(template: TemplateConfig, question: str, response: str, tokenizer: Tokenizer) -> RenderedExample:
    """The prompt of `question` and the whole assistant's turn `response`, as ids.

    `response` begins with the forced prefix, which belongs to the prompt and is not trained. Raises
    TemplateError where it does not, where the chat template changes the response, or holds the EOS.
    """
    prompt = render_prompt(template, question, tokenizer)
    if template.name == "chat":
        _check_verbatim(_asked(template, question), response, tokenizer)
    if not response.startswith(prompt.forced_prefix):
        raise TemplateError(
            f"response: expected the forced prefix {prompt.forced_prefix!r} first, found {response[:40]!r}"
        )
    response_ids = tokenizer.encode(response.removeprefix(prompt.forced_prefix))
    if not response_ids:
        raise TemplateError(f"response: expected text after {prompt.forced_prefix!r}, found {response!r}")
    if response_ids[-1] != tokenizer.eos_id:
        response_ids = [*response_ids, tokenizer.eos_id]
    if tokenizer.eos_id in response_ids[:-1]:
        raise TemplateError(
            f"response: expected {tokenizer.eos_token!r} at its end only, found it inside {response[:40]!r}"
        )
    return RenderedExample(prompt.token_ids, tuple(response_ids))


def completion_text(prompt: RenderedPrompt, token_ids: Sequence[int], tokenizer: Tokenizer) -> str:
    """The assistant's turn as rewards and readers see it: forced prefix and completion, without the EOS."""
    ids = [int(one) for one in token_ids]
    if ids and ids[-1] == tokenizer.eos_id:
        ids = ids[:-1]
    return _joined(prompt.forced_prefix, tokenizer.decode(ids), tokenizer)


def _r1_zero(question: str, tokenizer: Tokenizer) -> str:
    return _bos(tokenizer) + R1_ZERO.replace("{question}", question)


def _r1(question: str, tokenizer: Tokenizer) -> str:
    return _bos(tokenizer) + R1.replace("{question}", question)


def _plain(question: str, tokenizer: Tokenizer) -> str:
    return _bos(tokenizer) + question


def _chat(question: str, tokenizer: Tokenizer) -> str:
    return _render_chat(tokenizer, [_message("user", question)], add_generation_prompt=True)


TEMPLATES: dict[str, Callable[[str, Tokenizer], str]] = {
    "r1_zero": _r1_zero,
    "r1": _r1,
    "chat": _chat,
    "plain": _plain,
}


def _bos(tokenizer: Tokenizer) -> str:
    return tokenizer.bos_token if tokenizer.adds_bos and tokenizer.bos_token is not None else ""


def _asked(template: TemplateConfig, question: str) -> str:
    return f"{question}\n{template.instruction}" if template.instruction else question


def _joined(left: str, right: str, tokenizer: Tokenizer) -> str:
    """Two texts with ids of their own, as one text."""
    return tokenizer.separator.join(part for part in (left, right) if part)


def _force(opening: str, wanted: str) -> tuple[str, str]:
    """What to add to the prompt's text, and the forced prefix that it then ends with."""
    opened = OPENED_THINKING.search(opening)
    if opened is None:
        return wanted, wanted
    # The template has opened the thinking itself, which must be neither doubled nor hidden from rewards.
    if wanted and not opening.endswith(wanted):
        raise TemplateError(
            f"template.forced_prefix: the prompt already ends with {opened.group()!r}; "
            f"expected that or nothing, found {wanted!r}"
        )
    return "", wanted or opened.group()


def _check_verbatim(question: str, response: str, tokenizer: Tokenizer) -> None:
    """Raises TemplateError unless the rendered conversation has `response` unchanged, after the question."""
    user = _message("user", question)
    before = _render_chat(tokenizer, [user], add_generation_prompt=False)
    whole = _render_chat(tokenizer, [user, _message("assistant", response)], add_generation_prompt=False)
    if not whole.startswith(before) or response not in whole[len(before) :]:
        raise TemplateError(
            f"chat template: expected the assistant's text verbatim, found {whole[-80:]!r} for "
            f"{response[:40]!r}...; use another template (r1 keeps the thinking) or another chat template"
        )


def _message(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _render_chat(tokenizer: Tokenizer, messages: list[dict[str, str]], *, add_generation_prompt: bool) -> str:
    if tokenizer.chat_template is None:
        raise TemplateError("template chat: the tokenizer has no chat_template; use r1_zero, r1 or plain")
    try:
        return _compiled(tokenizer.chat_template).render(
            messages=messages,
            add_generation_prompt=add_generation_prompt,
            bos_token=tokenizer.bos_token or "",
            eos_token=tokenizer.eos_token,
            tools=None,
            documents=None,
        )
    except jinja2.TemplateError as error:
        raise TemplateError(f"chat template: {error}") from error
    except Exception as error:  # a template is a program: what it gets wrong raises as Python does
        raise TemplateError(f"chat template: {type(error).__name__}: {error}") from error


class GenerationBlock(Extension):
    """`{% generation %}...{% endgeneration %}`, with which some templates mark what is trained: its text as is."""

    tags = {"generation"}

    def parse(self, parser: parser.Parser) -> list[nodes.Node]:
        next(parser.stream)
        return parser.parse_statements(("name:endgeneration",), drop_needle=True)


@functools.lru_cache(maxsize=16)
def _compiled(source: str) -> jinja2.Template:
    """The template in the environment that chat templates are written for (as in transformers), sandboxed."""
    environment = sandbox.ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[loopcontrols, GenerationBlock]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _raise_exception
    environment.globals["strftime_now"] = _strftime_now
    try:
        return environment.from_string(source)
    except jinja2.TemplateError as error:
        raise TemplateError(f"chat template: {error}") from error


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    # jinja's own filter escapes for HTML, which a model must not see.
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> None:
    raise jinja2.TemplateError(message)


def _strftime_now(date_format: str) -> str:
    # One day for ever: a run resumed tomorrow must see the prompts that it saw today. The day is the one that
    # Llama 3.1's template falls back to.
    return datetime.datetime(2024, 7, 26).strftime(date_format)
