"""How honest completions look, and how they are spoilt: one virtue at a time, beyond doubt.

A spoilt completion is a blunt one: nothing of the virtue is left anywhere in it. Whether a reward gives it less
than the honest one shows what the reward is about. The attacks (attacks.py) are the subtle ones.
"""

from __future__ import annotations

import dataclasses
import enum
import random
from collections.abc import Callable

from r1jax.rewards.lint.probes import Probe


class Virtue(enum.StrEnum):
    """What a reward may be about."""

    ANSWER = "answer"  # the completion commits to the right answer, and to no other
    FORMAT = "format"  # its parts are there, once, in their order
    ANSWER_BLOCK = "answer block"  # so is the answer's block, with nothing beside it
    LANGUAGE = "language"  # the thinking is in the language of the question
    VARIETY = "variety"  # it does not go round in circles
    BREVITY = "brevity"  # it comes to an end


# Without a digit, a capital letter that could be a choice, or any word of a probe's answer: what stands in here is
# no answer to anything. Long enough for n-grams of forty tokens to be counted.
THINKING = {
    "en": (
        "Let us look at this carefully. First we write down what is given, then we ask what follows from it. The "
        "statement tells us more than it seems to at first sight, so we go through its parts slowly and keep track "
        "of each of them. One way would be to guess; a better one is to work it out and to check the outcome "
        "afterwards. When the check succeeds we are done, otherwise we have to go back to the beginning. After some "
        "consideration everything fits together and the outcome has been verified twice by different means."
    ),
    "zh": (
        "我们先仔细阅读题目，弄清楚给出的条件，再想一想由这些条件能够推出什么。题目告诉我们的比乍看之下要多，"
        "所以要慢慢地逐步分析，并且记录每个部分。猜测是办法，但是更好的办法是认真推导，最后再检验结果。如果检验"
        "成功就结束，否则必须回到开头重新来过。经过考虑之后，所有的条件都能够互相吻合，结果也用不同的方式验证过。"
    ),
}
SUMMARY = {"en": "Here is the result of the considerations above:", "zh": "根据上面的推导，结果如下："}
UNSURE = {"en": "I cannot tell.", "zh": "我不知道。"}
OTHER = {"en": "zh", "zh": "en"}
WORDS = {
    "en": ("house", "river", "stone", "winter", "garden", "paper", "music", "table", "light", "morning", "window"),
    "zh": tuple("山水风云花鸟树石江海日月星草"),
}
MANY_WORDS = 30_000


@dataclasses.dataclass(frozen=True)
class Style:
    """One convention of where thinking and answer stand.

    Attributes:
      name: for the report.
      marks: what opens and closes the thinking, then the answer ("" for nothing); None without a place for thinking.
      boxed: whether the answer stands in a box, behind a summary (programs: behind a summary).
      opening: what the answer's place begins with, where an explanation follows it in the same place. A reward that
        this style suits reads on to the end of the answer, and no further: what follows is no part of it.
    """

    name: str
    marks: tuple[str, str, str, str] | None
    boxed: bool = False
    opening: str | None = None

    def answer(self, probe: Probe, text: str) -> str:
        """The answer section's content, with `text` as its answer."""
        if not self.boxed:
            return text
        return f"{SUMMARY[probe.language]}\n\n{text if probe.program else f'{chr(92)}boxed{{{text}}}'}"

    def join(self, thinking: str, answer: str) -> str:
        """A completion of the two sections."""
        if self.opening is not None and not self.boxed:
            answer = f"{answer}\n\n{thinking}"
        if self.marks is None:
            return answer
        begin, end, open_answer, close_answer = self.marks
        return f"{begin}\n{thinking}\n{end}\n{open_answer}\n{answer}\n{close_answer}".rstrip("\n")

    def render(self, probe: Probe, thinking: str, text: str) -> str:
        """A completion with `text` as its answer."""
        if self.boxed and self.opening is not None:
            return self.join(thinking, self.answer(probe, f"{text}\n\n{thinking}"))
        return self.join(thinking, self.answer(probe, text))

    def honest(self, probe: Probe) -> str:
        """The completion that deserves everything."""
        return self.render(probe, THINKING[probe.language], probe.right)


ZERO = Style("R1-Zero tags", ("<think>", "</think>", "<answer>", "</answer>"))
R1 = Style("R1 summary", ("<think>", "</think>", "", ""), boxed=True)
COLD_START = Style("cold start", ("|special_token|", "|special_token|", "", ""), boxed=True)
LEADING = Style("answer first", None, opening="")
BARE = Style("answer alone", None)
EXPLAINED = Style("answer explained", ZERO.marks, opening="<answer>")
EXPLAINED_IN_BOX = Style("answer explained in its box", R1.marks, boxed=True, opening="\\boxed{")
STYLES = (ZERO, R1, COLD_START, LEADING, BARE)
EXPLAINING = (LEADING, EXPLAINED, EXPLAINED_IN_BOX)


def many_words(language: str) -> str:
    """Far too many words, in no order that repeats."""
    words = random.Random(0).choices(WORDS[language], k=MANY_WORDS)
    return (" " if language == "en" else "").join(words)


def loop(language: str) -> str:
    """One sentence, again and again, as long as the honest thinking is: nothing but its variety is gone."""
    thinking = THINKING[language]
    sentence = thinking[: thinking.index("." if language == "en" else "，") + 1] + (" " if language == "en" else "")
    return (sentence * (len(thinking) // len(sentence) + 1))[: len(thinking)]


def _wrong_answer(probe: Probe, style: Style) -> list[str]:
    return [style.render(probe, THINKING[probe.language], text) for text in (probe.wrong, UNSURE[probe.language])]


def _no_format(probe: Probe, style: Style) -> list[str]:
    """In the second and third one the answer stands where it belongs, which is all that many a reward asks for."""
    if style.marks is None:
        return []
    thinking, answer = THINKING[probe.language], style.answer(probe, probe.right)
    section = f"{style.marks[2]}\n{answer}\n{style.marks[3]}".strip("\n")
    return [f"{thinking}\n{answer}", f"{thinking}\n{section}", section]


def _no_answer_block(probe: Probe, style: Style) -> list[str]:
    """Without the block; and with two of them in the midst of other text, of which any reader gets the answer."""
    if style.marks is None or not style.marks[2]:
        return []
    begin, end, open_answer, close_answer = style.marks
    head = f"{begin}\n{THINKING[probe.language]}\n{end}"
    block = f"{open_answer}\n{style.answer(probe, probe.right)}\n{close_answer}"
    between = f"\n{SUMMARY[probe.language]}\n"
    return [f"{head}\n{style.answer(probe, probe.right)}", between.join((head, block, block, ""))]


def _thinks(thinking: Callable[[str], str]) -> Callable[[Probe, Style], list[str]]:
    def spoil(probe: Probe, style: Style) -> list[str]:
        return [] if style.marks is None else [style.render(probe, thinking(probe.language), probe.right)]

    return spoil


# A reward is about a virtue when each of its spoilt forms costs value.
SPOILT: dict[Virtue, Callable[[Probe, Style], list[str]]] = {
    Virtue.ANSWER: _wrong_answer,
    Virtue.FORMAT: _no_format,
    Virtue.ANSWER_BLOCK: _no_answer_block,
    Virtue.LANGUAGE: _thinks(lambda language: THINKING[OTHER[language]]),
    Virtue.VARIETY: _thinks(loop),
    Virtue.BREVITY: _thinks(many_words),
}
