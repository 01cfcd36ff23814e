"""The accuracy reward of maths: final answer against gold, by strings and numbers, then by math-verify.

math-verify compares symbolically: it may hang, and eat memory, on what a model writes, so it runs in a worker
with its own alarms off (they work in main threads only, and some towers of powers hang past them). It takes
whatever is raised inside it, a MemoryError and a RecursionError too, for "not equal": such an answer is wrong.
"""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Hashable, Sequence

from r1jax.rewards.verdicts import Isolation, Item, Score, Status, require_field
from r1jax.text.answers import ASCII, fast_equal, final_answer

GOLDS_KEPT = 4096  # parsed golds: the samples of a group share one
SMALL = 1e-4  # math-verify compares six decimals, which are few of a number below this, and none below 1e-6
SMALL_ROUNDING = 1e-5  # so these are held against each other by their ratio
VANISHING = 1e-100  # what is left of an expression that is 0 when it is evaluated in numbers


def maths_reward(items: Sequence[Item]) -> list[Score]:
    """1.0 where the final answer equals the record's `answer`, else 0.0; masked if the gold does not parse.

    The answer is read from the answer section, never from the thinking (`r1jax.text.answers.final_answer`).
    """
    return [_score(item) for item in items]


def _score(item: Item) -> Score:
    quick = quick_score(item)
    if quick is not None:
        return quick
    gold, answer = gold_of(item), final_answer(item.completion)
    golds = parse_gold(gold)
    if not golds:
        return Score(None, Status.VERIFIER_ERROR, answer)
    return _verdict(_verify(golds, parse(answer)), answer)


def quick_score(item: Item) -> Score | None:
    """The score where strings or plain numbers decide it, without math-verify; else None."""
    gold, answer = gold_of(item), final_answer(item.completion)
    if answer is None:
        return Score(0.0, Status.NO_ANSWER)
    equal = fast_equal(gold, answer)
    return None if equal is None else _verdict(equal, answer)


def _verdict(right: bool, answer: str) -> Score:
    return Score(float(right), Status.CORRECT if right else Status.WRONG, answer)


def gold_of(item: Item) -> str:
    """The gold as text (data sets have numbers there too)."""
    return str(require_field(item, "answer", "maths"))


def gold_is_gradable(item: Item) -> bool:
    """Whether math-verify parses the gold and finds it equal to itself."""
    gold = gold_of(item)
    golds = parse_gold(gold)
    return bool(golds) and _verify(golds, parse(gold))


def gold_and_answer(item: Item) -> Hashable:
    """What the score depends on."""
    return gold_of(item), final_answer(item.completion)


def equivalent(left: str, right: str) -> bool:
    """Whether two answers are equal whichever of them is taken for the gold (verify is not symmetric).

    Both ways must hold: then a gold that one of them meets is met by the other.
    """
    equal = fast_equal(left, right)
    if equal is not None:
        return equal
    lefts, rights = parse(left), parse(right)
    return _verify(lefts, rights) and _verify(rights, lefts)


@functools.lru_cache(maxsize=GOLDS_KEPT)
def parse_gold(gold: str) -> tuple:
    """The expressions of a gold; empty when math-verify understands none (its string fallback is none)."""
    parsed = parse(gold)
    return tuple(parsed) if any(not isinstance(one, str) for one in parsed) else ()


def parse(answer: str) -> list:
    """What math-verify makes of an answer: an expression, and its text as fallback.

    The text alone where its braces do not balance: it would leave the box that it is put in.
    """
    from math_verify import parse as parse_mathematics

    answer = answer.translate(ASCII)
    # Escaped braces are text to LaTeX, and braces to math-verify.
    if not _balanced(answer) or not _balanced(re.sub(r"\\.", "", answer, flags=re.DOTALL)):
        return [answer]
    return parse_mathematics(f"\\boxed{{{answer}}}", parsing_timeout=None)


def _verify(gold: Sequence, answer: Sequence) -> bool:
    from math_verify import verify

    return verify(list(gold), list(answer), timeout_seconds=None) and not _small_and_apart(gold, answer)


def _small_and_apart(gold: Sequence, answer: Sequence) -> bool:
    """Whether both are numbers too small for the decimals that math-verify compares, and not the same."""
    values = _number(gold), _number(answer)
    if None in values or max(map(abs, values)) >= SMALL:
        return False
    return abs(values[0] - values[1]) > max(SMALL_ROUNDING * max(map(abs, values)), VANISHING)


def _number(parsed: Sequence) -> float | None:
    """The value of what was parsed, or None when it is no real number."""
    import sympy

    expressions = [one for one in parsed if isinstance(one, sympy.Expr)]
    return float(expressions[0]) if expressions and expressions[0].is_comparable else None


def _balanced(text: str) -> bool:
    depth = 0
    for brace in re.findall(r"[{}]", text):
        depth += 1 if brace == "{" else -1
        if depth < 0:
            return False
    return depth == 0


def warm_up() -> None:
    """Imports math-verify (about a second) and lets it build its grammars and patterns."""
    logging.getLogger("math_verify").setLevel(logging.ERROR)  # it warns that its alarms are off: ours to know
    _verify(parse("\\frac{x}{2}"), parse("0.5x"))


MATHS_ISOLATION = Isolation(warm_up=warm_up, quick=quick_score, control=gold_is_gradable, key=gold_and_answer)
