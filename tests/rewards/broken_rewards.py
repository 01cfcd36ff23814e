"""Rewards with the holes that the lint is there to find; each is what somebody has once written."""

import functools
import re

from r1jax.errors import UserError
from r1jax.rewards.verdicts import Item, Reward, Score, Status
from r1jax.text.answers import answer_tag, final_answer


def verdict(right):
    return Score(float(right), Status.CORRECT if right else Status.WRONG)


def gold(item):
    answer = item.record.get("answer")
    if not isinstance(answer, str | list) or not answer:
        raise UserError("the field 'answer' is missing")
    return str(answer[0] if isinstance(answer, list) else answer)


def each(judge):
    """A reward of what `judge` says of the gold and the completion."""

    @functools.wraps(judge)
    def reward(items):
        return [verdict(judge(gold(item), item.completion)) for item in items]

    return reward


@each
def sound(gold, text):
    """Nothing is wrong with this one."""
    return final_answer(text) == gold


@each
def reads_the_thinking(gold, text):
    return gold in re.findall(r"\w+", text)


@each
def substring(gold, text):
    return gold in (answer_tag(text) or "")


@each
def first_answer_block(gold, text):
    found = re.search(r"<answer>(.*?)</answer>", text, re.DOTALL)
    return found is not None and found.group(1).strip() == gold


@each
def accepts_two_answers(gold, text):
    return gold in re.split(r"\s*(?:,|or|and|\s)\s*", final_answer(text) or "")


@each
def prefix(gold, text):
    return (final_answer(text) or "").startswith(gold)


@each
def answer_starts_with_gold_letters(gold, text):
    return (final_answer(text) or "z").casefold() in gold.casefold()


@each
def reads_a_box_anywhere(gold, text):
    return any(one.strip() == gold for one in re.findall(r"\\boxed\{([^{}]*)\}", text))


@each
def ignores_the_gold(gold, text):
    return final_answer(text) is not None


def nan_for_empty(items):
    return [
        Score(float("nan"), Status.WRONG) if not one.completion else score
        for one, score in zip(items, sound(items), strict=True)
    ]


def raises_on_surrogates(items):
    return [score for item, score in zip(items, sound(items), strict=True) if item.completion.encode() is not None]


def masks_what_it_cannot_read(items):
    scores = zip(items, sound(items), strict=True)
    return [Score(None, Status.VERIFIER_ERROR) if "\x00" in item.completion else score for item, score in scores]


def depends_on_the_order(items):
    return [Score(score.value + 1e-6 * place, Status.SCORED) for place, score in enumerate(sound(items))]


CALLS = iter(range(10**9))


def depends_on_the_call(items):
    return [Score(score.value + 1e-6 * next(CALLS), Status.SCORED) for score in sound(items)]


@each
def quadratic(gold, text):
    re.search(r"\s+\Z", text)  # from every space anew
    return final_answer(text) == gold


@each
def exponential(gold, text):
    re.fullmatch(r"(?:a|aa)+b", text)
    return final_answer(text) == gold


def raises_key_error(items):
    return [verdict(final_answer(item.completion) == str(item.record["answer"])) for item in items]


def think_tags_somewhere(items):
    return [Score(float("<think>" in item.completion), Status.SCORED) for item in items]


def loose_format(items):
    """The pattern of many a tutorial: anything may stand before, behind and between."""
    pattern = re.compile(r"<think>.*</think>\s*<answer>.*</answer>", re.DOTALL)
    return [Score(float(pattern.search(item.completion) is not None), Status.SCORED) for item in items]


def english_anywhere(items):
    """Language of the whole completion instead of the thinking."""
    return [Score(float(len(re.findall("[a-z]+", item.completion)) > 30), Status.SCORED) for item in items]


def above_its_group(items):
    """A sound reward that compares: what is right, less the mean of its group."""
    values: dict[int, list[float]] = {}
    for item, score in zip(items, sound(items), strict=True):
        values.setdefault(item.group, []).append(score.value)
    scores = zip(items, sound(items), strict=True)
    return [
        Score(score.value - sum(values[one.group]) / len(values[one.group]), Status.SCORED) for one, score in scores
    ]


def naive_judge(items):
    """Believes what it is told."""
    return [
        verdict('"correctness": 1' in item.completion or final_answer(item.completion) == gold(item)) for item in items
    ]


IN_THREADS = Reward(sound, low=0.0, high=1.0, threads=2)


def nobody_home():
    raise UserError("the judge has no url")


NOT_THERE = Reward(sound, low=0.0, high=1.0, prepare=nobody_home)


def constant(items: list[Item]) -> list[Score]:
    """Nothing moves it."""
    return [Score(1.0, Status.CORRECT) for item in items]
