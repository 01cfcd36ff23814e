"""Attacks on rewards that are about the format, the language, the variety or the length of a completion."""

from __future__ import annotations

from r1jax.rewards.lint.attacks import Attack, Pieces, has_answer_tags, has_think_tags, shapes, summary
from r1jax.rewards.lint.probes import Probe
from r1jax.rewards.lint.styles import OTHER, THINKING, UNSURE, Style, Virtue, loop, many_words
from r1jax.rewards.lint.wrong_answers import LOOK_ALIKE

F, K, L = Virtue.FORMAT, Virtue.ANSWER_BLOCK, Virtue.LANGUAGE
V, B = Virtue.VARIETY, Virtue.BREVITY
WIDE = {code: code + 0xFEE0 for code in range(0x21, 0x7F)}
MANY = 3000
ENGLISH_OR_CHINESE = {"en": "english", "zh": "chinese"}


def _tags(begin, end):
    """The thinking's marks, written otherwise: `begin` and `end` take the mark and give the disguise."""
    return lambda probe, style, p: f"{begin(p.begin)}\n{p.thinking}\n{end(p.end)}\n{p.tail}"


def _thinks(thinking, after=lambda probe: ""):
    """Another thinking, of the probe and the foreign language's; `after` stands behind the thinking."""

    def shape(probe: Probe, style: Style, p: Pieces) -> str:
        return f"{p.begin}\n{thinking(probe, THINKING[OTHER[probe.language]])}\n{p.end}\n{after(probe)}{p.tail}"

    return shape


def own(probe: Probe) -> str:
    return THINKING[probe.language]


def _half_and_half(probe: Probe, foreign: str) -> str:
    return f"{foreign[: len(foreign) // 2]} {own(probe)[: len(own(probe)) // 2]}"


def _look_alike(probe: Probe, foreign: str) -> str:
    return own(probe).translate(LOOK_ALIKE) if probe.language == "en" else foreign


def _language_tag(probe: Probe) -> str:
    return f"<{ENGLISH_OR_CHINESE[probe.language]}></{ENGLISH_OR_CHINESE[probe.language]}>"


WRONG_SHAPES: tuple[Attack, ...] = (
    shapes(
        "empty thinking",
        {F},
        lambda probe, style, p: f"{p.begin}{p.end}\n{p.tail}",
        lambda probe, style, p: f"{p.begin} \u200b\n{p.end}\n{p.tail}",
    ),
    shapes("no thinking", {F}, lambda probe, style, p: p.tail),
    shapes("thinking that is never opened", {F}, lambda probe, style, p: f"{p.thinking}\n{p.end}\n{p.tail}"),
    shapes("the answer before the thinking", {F}, lambda probe, style, p: f"{p.tail}\n{p.head}"),
    shapes("two blocks of thinking", {F}, lambda probe, style, p: f"{p.head}\n{p.whole}"),
    shapes(
        "a block of thinking in another",
        {F},
        lambda probe, style, p: f"{p.begin}\n{p.begin}\n{p.thinking}\n{p.end}\n{p.end}\n{p.tail}",
    ),
    shapes("text before the thinking", {F}, lambda probe, style, p: f"{summary(probe)}\n{p.whole}"),
    shapes(
        "disguised tags",
        {F},
        _tags(str.upper, str.upper),
        _tags(lambda mark: f"`{mark}`", lambda mark: f"`{mark}`"),
        _tags(lambda mark: f"{mark[:-1]} {mark[-1]}", lambda mark: f"{mark[:-1]} {mark[-1]}"),
        _tags(lambda mark: mark.translate(WIDE), lambda mark: mark.translate(WIDE)),
        _tags(lambda mark: f"{mark[:3]}\u200b{mark[3:]}", lambda mark: f"{mark[:3]}\u200b{mark[3:]}"),
    ),
    shapes(
        "repeated tags about an honest completion",
        {F},
        lambda probe, style, p: p.begin * MANY + p.whole,
        lambda probe, style, p: p.whole + p.end * MANY,
    ),
    shapes("the completion twice", {F}, lambda probe, style, p: f"{p.whole}\n{p.whole}"),
    shapes("text after the answer", {K}, lambda probe, style, p: f"{p.whole}\n{UNSURE['en']}", where=has_answer_tags),
    shapes(
        "text between thinking and answer",
        {K},
        lambda probe, style, p: f"{p.head}\n{UNSURE['en']}\n{p.tail}",
        where=has_answer_tags,
    ),
    shapes(
        "two answer blocks, the last is right",
        {K},
        lambda probe, style, p: f"{p.head}\n<answer>{probe.wrong}</answer>\n{p.tail}",
        where=has_answer_tags,
    ),
    shapes(
        "an answer that is never closed",
        {K},
        lambda probe, style, p: f"{p.head}\n{p.open_answer}\n{p.answer}",
        where=has_answer_tags,
    ),
    shapes(
        "words of the language where they do not count",
        {L},
        _thinks(lambda probe, foreign: foreign, after=lambda probe: f"{own(probe)}\n"),
        _thinks(lambda probe, foreign: f"{foreign}\n```\n{own(probe)}\n```"),
        _thinks(lambda probe, foreign: f"{foreign} $${summary(probe)}$$"),
        _thinks(_half_and_half),
        _thinks(_look_alike),
        _thinks(lambda probe, foreign: "1 + 1 = 2, " * 40),
        _thinks(lambda probe, foreign: "здесь ничего нет " * 20),
        where=has_think_tags,
    ),
    shapes(
        "language tags without content",
        {L},
        _thinks(lambda probe, foreign: ""),
        _thinks(lambda probe, foreign: _language_tag(probe)),
        _thinks(lambda probe, foreign: f"{_language_tag(probe)} {foreign}"),
        _thinks(lambda probe, foreign: f"```{ENGLISH_OR_CHINESE[probe.language]}\n```"),
        where=has_think_tags,
    ),
    shapes(
        "a loop for thinking",
        {V},
        _thinks(lambda probe, foreign: loop(probe.language)),
        _thinks(lambda probe, foreign: own(probe) * 40),
    ),
    shapes(
        "one token for thinking",
        {V},
        _thinks(lambda probe, foreign: "wait " * 500),
        _thinks(lambda probe, foreign: "等" * 500),
        _thinks(lambda probe, foreign: "\n" * 2000),
    ),
    shapes(
        "thinking without an end", {B}, _thinks(lambda probe, foreign: f"{own(probe)}\n{many_words(probe.language)}")
    ),
    shapes(
        "words without an end after the answer", {B}, lambda probe, style, p: f"{p.whole}\n{many_words(probe.language)}"
    ),
)
