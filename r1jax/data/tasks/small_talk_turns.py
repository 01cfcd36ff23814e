"""Answers to small talk, good ones and flawed ones, as whole turns.

A turn is `<think> thought </think> summary`, the form that `format_r1` asks for. A greeting needs no thinking; since
an empty block fails that format, its thought is the one word `so`, as in the direct answers of chained sums.

The flaws make an answer shorter as often and by as much as longer, so that length tells nothing about quality.
"""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

from r1jax.data.tasks.chained_sums import OTHER
from r1jax.data.tasks.small_talk_requests import (
    ALL_NOUNS,
    COURTESY,
    LANGUAGES,
    MAY_SAY_PLEASE,
    TOOL_OF,
    Keys,
    Request,
    bodies,
    spell,
)
from r1jax.data.tasks.task import chance, pick

KIND_SHARES = (("greeting", 0.1), ("unsafe", 0.3))  # the rest are instructions
FORMS = {
    "greeting": ("greet",),
    "unsafe": ("steal", "burn"),
    "instruction": ("repeat", "list", "list", "count", "choose", "choose", "draw"),  # the two with most words twice
}
PLEASE_SHARE = 0.4


@dataclasses.dataclass(frozen=True)
class Reply:
    """A summary: `keys` in a language, in answer tags where `tagged` (which belong to sums)."""

    keys: Keys
    language: str
    tagged: bool = False

    @property
    def text(self) -> str:
        text = spell(self.keys, self.language)
        return f"<answer> {text} </answer>" if self.tagged else text


def draw_request(rng: random.Random, split: str) -> Request:
    """A request of the split; kinds in their shares, whatever the split holds of each."""
    draw, kind = rng.random(), "instruction"
    for name, share in KIND_SHARES:
        if draw < share:
            kind = name
            break
        draw -= share
    form = pick(rng, FORMS[kind])
    body = pick(rng, bodies(form, split))
    please = form in MAY_SAY_PLEASE and chance(rng, PLEASE_SHARE)
    return Request(form, body, pick(rng, LANGUAGES), please)


def good_reply(rng: random.Random, request: Request) -> Reply:
    """An answer that does what is asked, politely, in the language of the question."""
    return Reply((COURTESY[request.kind], *request.content(rng)), request.language)


def flawed_reply(rng: random.Random, request: Request) -> Reply:
    """A good answer with one flaw: less helpful, and unsafe where it tells how."""
    return pick(rng, FLAWS[request.kind])(rng, request, good_reply(rng, request))


def telling_reply(rng: random.Random, request: Request) -> Reply:
    """An answer that does what an unsafe request asks for."""
    return _tells_all(rng, request, good_reply(rng, request))


def harm(request: Request) -> Keys:
    """How to do what an unsafe request asks for."""
    verb = request.body[1]
    return ("use", TOOL_OF[verb], "then", *request.body[1:])


def thought(rng: random.Random, request: Request, direct: float) -> Keys:
    """A good thought: what is asked (of an unsafe request: that it is not done), or in a `direct` share one word."""
    if request.kind == "greeting" or chance(rng, direct):
        return ("so",)
    if request.kind == "unsafe":
        return ("so", "not", request.body[1], ";")
    return ("so", *(request.body[1:] if request.form == "draw" else request.body), ";")


def turn(thinking: Keys, language: str, reply: Reply) -> str:
    """The whole turn."""
    return f"<think> {spell(thinking, language)} </think> {reply.text}"


def _rude(rng: random.Random, request: Request, good: Reply) -> Reply:
    return dataclasses.replace(good, keys=("fool", *good.keys[1:]))


def _rude_too(rng: random.Random, request: Request, good: Reply) -> Reply:
    return dataclasses.replace(good, keys=(*good.keys, "fool"))


def _no_courtesy(rng: random.Random, request: Request, good: Reply) -> Reply:
    return dataclasses.replace(good, keys=good.keys[1:])


def _other_language(rng: random.Random, request: Request, good: Reply) -> Reply:
    return dataclasses.replace(good, language=OTHER[good.language])


def _dropped_word(rng: random.Random, request: Request, good: Reply) -> Reply:
    place = 1 + int(rng.random() * (len(good.keys) - 1))
    return dataclasses.replace(good, keys=good.keys[:place] + good.keys[place + 1 :])


def _extra_word(rng: random.Random, request: Request, good: Reply) -> Reply:
    return dataclasses.replace(good, keys=(*good.keys, pick(rng, ALL_NOUNS)))


def _wrong_word(rng: random.Random, request: Request, good: Reply) -> Reply:
    opening, content = good.keys[:1], good.keys[1:]
    place = int(rng.random() * len(content))
    changed = [(*content[:place], noun, *content[place + 1 :]) for noun in ALL_NOUNS]
    return dataclasses.replace(good, keys=opening + pick(rng, [one for one in changed if not request.accepts(one)]))


def _off_the_point(rng: random.Random, request: Request, good: Reply) -> Reply:
    """The answer to another request of the same split."""
    while True:
        other = dataclasses.replace(draw_request(rng, request.split), language=request.language)
        reply = good_reply(rng, other)
        if other.kind != request.kind or not request.accepts(reply.keys[1:]):
            return reply


def _tagged(rng: random.Random, request: Request, good: Reply) -> Reply:
    return dataclasses.replace(good, tagged=True)


def _tells_all(rng: random.Random, request: Request, good: Reply) -> Reply:
    return dataclasses.replace(good, keys=(COURTESY["instruction"], *harm(request)))


def _tells_tool(rng: random.Random, request: Request, good: Reply) -> Reply:
    return dataclasses.replace(good, keys=(COURTESY["instruction"], *harm(request)[:2]))


Flaw = Callable[[random.Random, Request, Reply], Reply]

# One is drawn, all as likely. In words: nine of the same length, six shorter by one, four longer by one, one by two.
ANY_FLAWS: tuple[Flaw, ...] = (
    *(_rude, _wrong_word, _other_language) * 3,
    *(_no_courtesy, _dropped_word) * 3,
    *(_extra_word, _rude_too) * 2,
    _tagged,
    *(_off_the_point,) * 2,
)
FLAWS: dict[str, tuple[Flaw, ...]] = {
    "instruction": ANY_FLAWS,
    # Other answers are longer than a greeting by two words or three.
    "greeting": ANY_FLAWS + (_no_courtesy, _dropped_word) * 2,
    # To tell all takes two words more than to decline, to tell the tool alone one or two less.
    "unsafe": ANY_FLAWS + (_tells_all,) * 4 + (_tells_tool,) * 6,
}
