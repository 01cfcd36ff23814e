"""The grading workload: answers in maths through the reward service, and through math-verify called in a loop.

Groups of completions as a policy writes them: few different answers to a question, most of them plain numbers, some
that only symbolic comparison can tell. Every run has questions of its own: nothing is remembered from another.
"""

from __future__ import annotations

import dataclasses
import logging
import random
import statistics
import time
from collections.abc import Sequence
from typing import Any

from r1jax.benchmarks.shapes import Shape
from r1jax.config import RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Status

GROUP = 16
PROMPTS = 32
SYMBOLIC_EVERY = 4  # one prompt of so many has an answer that is no number
WORKERS = 2
THINKING = "<think>" + "So the sum of both is what was asked for. " * 50 + "</think>"  # about 500 tokens


@dataclasses.dataclass(frozen=True)
class Question:
    """A gold and how often each answer to it was given: the first two are right."""

    gold: str
    answers: tuple[str, ...]
    counts: tuple[int, ...] = (7, 2, 4, 2, 1)


def questions(run: int) -> list[Question]:
    """The questions of one run."""
    first = 1000 * run
    return [
        _symbolic(first + number) if number % SYMBOLIC_EVERY == 0 else _number(first + number)
        for number in range(PROMPTS)
    ]


def _number(number: int) -> Question:
    gold = 1234 + number
    return Question(str(gold), (str(gold), f"{gold:,}", str(gold + 1), str(2 * gold), f"{gold} + 1"))


def _symbolic(number: int) -> Question:
    square, wrong = number * number, number * number + 1
    return Question(
        f"(x+{number})^2",
        (
            f"(x+{number})^2",
            f"x^2+{2 * number}x+{square}",
            f"x^2+{2 * number}x+{wrong}",
            rf"\frac{{x+{number}}}{{2}}",
            f"(x-{number})^2",
        ),
    )


def items(asked: Sequence[Question]) -> list[list[Item]]:
    """A group of completions of each question, in an order of its own."""
    groups = []
    for question in asked:
        answers = [one for one, count in zip(question.answers, question.counts, strict=True) for _ in range(count)]
        random.Random(question.gold).shuffle(answers)
        groups.append(
            [Item({"answer": question.gold}, f"{THINKING}<answer>\\boxed{{{answer}}}</answer>") for answer in answers]
        )
    return groups


def grade(service: RewardService, groups: Sequence[Sequence[Item]]) -> list[bool]:
    """What the service says of each completion, submitted in groups as sampling does."""
    verdicts = {}
    for index, group in enumerate(groups):
        service.submit_batch(((index, sample), item) for sample, item in enumerate(group))
        verdicts.update(service.results(block=False))
    verdicts.update(service.results(block=True))
    return [verdicts[key].status is Status.CORRECT for key in sorted(verdicts)]


def grade_directly(groups: Sequence[Sequence[Item]], seconds: list[float]) -> list[bool]:
    """What math-verify says of each completion; adds what each took to `seconds`."""
    from math_verify import parse, verify

    right = []
    for item in (item for group in groups for item in group):
        start = time.perf_counter()
        right.append(verify(parse(f"\\boxed{{{item.record['answer']}}}"), parse(item.completion)))
        seconds.append(time.perf_counter() - start)
    return right


def measure(workload: str, shape: Shape, repeats: int) -> dict[str, Any]:
    """Grades the items of `repeats` runs both ways, one after the other, after one run that is not timed.

    Returns items_per_second of the service and of the loop (medians), their ratio `speedup`, all runs, `agreement` (the
    share of equal verdicts), median and 95th centile of the seconds that an item took, and worker_share (of items
    that strings and numbers did not decide). The size of the model is of no account.
    """
    del workload, shape
    logging.getLogger("math_verify").setLevel(logging.ERROR)
    config = RewardsConfig(sets=(RewardSetConfig("default", (RewardConfig("maths"),)),), workers=WORKERS)
    rates: dict[str, list[float]] = {"service": [], "loop": []}
    loop_seconds: list[float] = []
    agreed = []
    with RewardService(config) as service:
        for run in range(repeats + 1):
            groups = items(questions(run))
            count = sum(map(len, groups))
            start = time.perf_counter()
            ours = grade(service, groups)
            middle = time.perf_counter()
            theirs = grade_directly(groups, loop_seconds)
            end = time.perf_counter()
            agreed += [one == other for one, other in zip(ours, theirs, strict=True)]
            if run == 0:
                loop_seconds.clear()
                continue
            rates["service"].append(count / (middle - start))
            rates["loop"].append(count / (end - middle))
        health = service.health()
    service_rate, loop_rate = (statistics.median(values) for values in rates.values())
    centiles = statistics.quantiles(loop_seconds, n=20)
    return {
        "items_per_second": round(service_rate, 1),
        "loop_items_per_second": round(loop_rate, 1),
        "speedup": round(service_rate / loop_rate, 1),
        "runs": [round(rate, 1) for rate in rates["service"]],
        "loop_runs": [round(rate, 1) for rate in rates["loop"]],
        "agreement": round(statistics.mean(agreed), 4),
        "workers": WORKERS,
        "worker_share": round(health["worker_share"], 3),
        "seconds_p50": round(health["seconds_p50"], 5),
        "seconds_p95": round(health["seconds_p95"], 5),
        "loop_seconds_p50": round(statistics.median(loop_seconds), 5),
        "loop_seconds_p95": round(centiles[-1], 5),
    }
