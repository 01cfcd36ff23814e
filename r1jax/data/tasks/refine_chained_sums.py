"""The refinement of the miniature's cold start: R1-Zero's own correct samples made readable, by rule alone.

DeepSeek-R1's cold start has mixed thinking translated into the language of the prompt, rewritten, and followed by a
summary (arXiv:2501.12948v2, B.3.2). Here a dictionary of two languages translates, a step is written in one form,

    then 4 7 plus 8 is 5 5 ;        然后 4 7 加 8 得 5 5 ;

and the summary is the answer block. What the sample did stays: its steps, in their order, with their numbers, right
or wrong, and its answer. A thinking with anything in it that is no step is not rewritten but refused.
"""

from __future__ import annotations

import re

from r1jax.data.records import Record, require
from r1jax.data.tasks.chained_sums import WORDS
from r1jax.data.tasks.task import tagged
from r1jax.text.answers import final_answer
from r1jax.text.language import detect_target

# What a word of a trace means, in keys of WORDS: the two dictionaries, and the signs and story words of the questions.
MEANING = {
    **{words[key]: key for words in WORDS.values() for key in ("then", "wait", "check", "plus", "minus", "is")},
    **{words[key]: sign for words in WORDS.values() for key, sign in (("gain", "plus"), ("loss", "minus"))},
    "+": "plus",
    "-": "minus",
}
STEP_END = re.compile(r"[;\n]")
STEP = re.compile(
    r"(?:(?P<opening>then|wait|check) )?"
    r"(?P<sum>[0-9] [0-9](?: (?:plus|minus) [0-9])+ is [0-9] [0-9])"  # as the corpus has them, in keys
)
ANSWER = re.compile(r"[0-9](?: [0-9])*")


def refine(record: Record) -> Record | None:
    """The sample in the form of the cold start, or None where its thinking cannot be read as steps.

    A rule for `CollectConfig.refine` ("r1jax.data.tasks.refine_chained_sums:refine"). To refine twice changes nothing
    more.

    Args:
        record: `response` (a whole turn), `question`, and perhaps `language` (else that of the question).
    Returns:
        A new record, or None too without exactly one thinking block, an answer in digits after it, and a language of
        WORDS. `lineage.refined` has gained what was done to it of "translate" (words of another language were
        there), "rewrite" (the thinking is written differently otherwise) and "summarize" (the summary is).
    Raises:
        DataError: the record lacks `question` or `response`.
    """
    response = require(record, "response")
    language = record.get("language") or detect_target(require(record, "question"))
    head, _, rest = response.partition("</think>")
    trace, answer = head.strip().removeprefix("<think>"), final_answer(response)
    if answer is None or "think>" in rest or language not in WORDS:
        return None
    answer = " ".join(answer.split())
    steps = _steps(trace)
    if not steps or not ANSWER.fullmatch(answer):
        return None
    written = [_written(step, language) for step in steps]
    refined = tagged(" ".join(written), answer)
    done = [
        name
        for name, is_done in (
            ("translate", _in_words(trace, language) != trace.split()),
            ("rewrite", _in_words(trace, language) != " ".join(written).split()),
            ("summarize", rest.split() != ["<answer>", *answer.split(), "</answer>"]),
        )
        if is_done
    ]
    lineage = record.get("lineage") or {}
    before = lineage.get("refined") or []
    lineage = {**lineage, "refined": [*before, *(name for name in done if name not in before)]}
    return {**record, "response": refined, "lineage": lineage}


def _steps(trace: str) -> list[tuple[str, str]] | None:
    """Of each step of the trace its opening and its sum, in keys; None where something is no step."""
    steps = []
    for part in STEP_END.split(trace):
        if not part.strip():
            continue
        match = STEP.fullmatch(" ".join(MEANING.get(word, word) for word in part.split()))
        if match is None:
            return None
        steps.append((match["opening"] or "then", match["sum"]))
    return steps


def _written(step: tuple[str, str], language: str) -> str:
    """A step in the words of a language."""
    words = WORDS[language]
    return " ".join(words.get(key, key) for key in " ".join((*step, ";")).split())


def _in_words(trace: str, language: str) -> list[str]:
    """The trace word by word in a language, otherwise as it is."""
    words = WORDS[language]
    known = {word: words[key] for both in WORDS.values() for key, word in both.items()}
    return [known.get(word, word) for word in trace.split()]
