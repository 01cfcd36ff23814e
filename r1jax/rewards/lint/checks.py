"""What must hold for any reward on any text, whatever it is about."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

from r1jax.rewards.lint.grading import Grader, Hang, Outcome, is_refusal, item_of
from r1jax.rewards.lint.probes import Probe
from r1jax.rewards.lint.report import Finding
from r1jax.rewards.lint.styles import Style
from r1jax.rewards.verdicts import Item, Status

ASKED_ALONE = 40  # completions that are scored again by themselves
SHORT, LONG = 2**14, 2**20  # characters; the short ones find what is so slow that it had to be interrupted
MOST_SECONDS = 1.0  # of CPU, for the short ones; and for the long ones, before their growth is looked at
MOST_GROWTH = 24.0  # from an eighth to the whole: 8 is linear, 64 quadratic
ENOUGH = 2  # findings: each may have taken seconds
UNITS = (
    "a", "9", " ", "\n", "的", "\ud800", "{", "(", "$", "`", "\\", "1,", ". ", "wait, ", "1 + ", "A) ", '{"', "\\(",
    "<think>", "</think>", "<answer>", "< think", "|special_token|", "\\boxed{", "\\text{", "```python\n", "ANSWER: ",
)  # fmt: skip


def raised(error: Exception) -> str:
    """In words."""
    return str(error) if isinstance(error, Hang) else f"it raised {type(error).__name__}: {error}"


def refuses_strangers(grader: Grader, probes: Sequence[Probe], style: Style) -> list[Finding]:
    """A record that lacks what the reward needs, or has it of a wrong kind, is a UserError, if anything."""
    findings = []
    for probe in probes:
        for field, value in itertools.chain([("", None)], itertools.product(probe.record, (None, "", [], {}, -1, 1.5))):
            record = {**probe.record, field: value} if field else {"id": "lint"}
            item = dataclasses.replace(item_of(probe, style.honest(probe), right=True), record=record)
            (outcome,) = grader.ask([item])
            if isinstance(outcome, Exception) and not is_refusal(outcome):
                problem = f"expected a UserError or a score for {f'{field}={value!r}' if field else 'no fields'}, but "
                findings.append(Finding("a record of another kind", problem + raised(outcome), probe.name, style.name))
    return findings


def says_the_same_again(grader: Grader, items: Sequence[Item]) -> list[Finding]:
    """The score of a completion in a group of its own depends on nothing but itself."""
    items = [dataclasses.replace(item, group=number) for number, item in enumerate(items)]
    together = grader.ask(items)
    comparisons = [
        ("the same batch again", grader.ask(items)),
        ("the batch in reverse order", grader.ask(items[::-1])[::-1]),
        ("each completion alone", [grader.ask([item])[0] for item in items[:ASKED_ALONE]]),
    ]
    return [
        Finding(name, f"expected {_plain(first)} as before, found {_plain(then)}", "a batch", "", item.completion)
        for name, again in comparisons
        for item, first, then in zip(items, together, again, strict=False)
        if _plain(first) != _plain(then)
    ]


def takes_linear_time(grader: Grader, probe: Probe, style: Style) -> list[Finding]:
    """A megabyte of anything takes about eight times as long as an eighth of it: alone, and as thinking and answer."""
    findings = []
    places = (lambda text: text, lambda text: style.join(text, text))
    for unit, place in itertools.product(UNITS, places):

        def seconds(size: int, unit: str = unit, place: Callable[[str], str] = place) -> float:
            text = place(unit * (size // len(unit)))
            item = Item(probe.record, text, num_tokens=size // 4, tokens=(7,) * (size // 4), judged=Status.WRONG)
            return grader.seconds(item)

        try:
            problem = _slowness(seconds)
        except Exception as error:
            problem = raised(error)
        if problem:
            findings.append(Finding("linear time", problem, probe.name, style.name, place(unit * 20)[:60]))
        if len(findings) == ENOUGH:
            break
    return findings


def _slowness(seconds: Callable[[int], float]) -> str:
    """What is wrong with how CPU time grows with the size; "" where nothing is. Other work on the machine may double a
    time, so what looks slow is looked at twice.
    """
    if seconds(SHORT) > MOST_SECONDS and (slow := seconds(SHORT)) > MOST_SECONDS:
        return f"{SHORT} characters took {slow:.1f} s of CPU"
    if seconds(LONG) < MOST_SECONDS:
        return ""
    part, whole = (min(seconds(size) for _ in range(2)) for size in (LONG // 8, LONG))
    return "" if whole < MOST_GROWTH * part else f"{LONG} characters took {whole / part:.0f} x as long as an eighth"


def _plain(outcome: Outcome) -> object:
    return raised(outcome) if isinstance(outcome, Exception) else outcome.to_json()
