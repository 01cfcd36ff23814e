"""How good a model is on k samples a question: pass@1, pass@k, cons@k, with intervals over questions.

- pass@1 is the mean correctness of a question's samples, averaged over questions [DeepSeek-R1, section 3].
- pass@k is the unbiased estimator 1 - C(n-c, k) / C(n, k) [Chen et al. 2021, arXiv 2107.03374, eq. 1].
- cons@k is the correctness of the majority answer. Votes are counted by equivalence class: first by the
  canonical text of the answer, then by asking whether the answer equals a class's representative. A tie is
  resolved by its exact expectation, not by a coin. A sample without an answer does not vote.

A sample that could not be graded (`masked`) is no wrong answer: it is left out of its question and shows
in `masked_rate`. A sample that is not there at all is an error.

Plain Python and NumPy; what grades answers is handed in.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Generator, Sequence

import numpy as np
from jaxtyping import Float

from r1jax.errors import UserError
from r1jax.text.answers import canonical_key, fast_equal

Pair = tuple[str, str]
Equivalent = Callable[[Sequence[Pair]], Sequence[bool | None]]
INTERVAL = 0.95  # the central share of the bootstrap distribution that an interval covers


class MissingSampleError(UserError):
    """A question has not the number of samples that its score is defined on."""


@dataclasses.dataclass(frozen=True)
class SampleResult:
    """What one completion of a question came to.

    Attributes:
      correct: whether its final answer is right; without meaning when `masked`.
      answer: the final answer as text, None when there is none (it then never votes).
      num_tokens: its length, end-of-text token included.
      truncated: whether it was cut at the longest allowed length.
      format_ok: whether it keeps the format asked for; None where no format reward applies.
      language_share: share of words in the prompt's language; None where not measured.
      masked: whether grading failed for a reason that is not the completion's.
      reflection_words: how many words such as "wait" it has; None where not counted.
      no_answer: whether it gives none; None: where `answer` is None. (A program is an answer, and no text to vote on.)
    """

    correct: bool
    answer: str | None
    num_tokens: int
    truncated: bool
    format_ok: bool | None = None
    language_share: float | None = None
    masked: bool = False
    reflection_words: int | None = None
    no_answer: bool | None = None


def pass_at_1(correct: Sequence[bool]) -> float:
    """The mean correctness of one question's samples."""
    if not correct:
        raise MissingSampleError("pass@1: expected at least one sample of the question, found none")
    return sum(map(bool, correct)) / len(correct)


def pass_at_k(num_samples: int, num_correct: int, k: int) -> float:
    """The unbiased estimate of the chance that at least one of k samples of a question is right.

    Args:
      num_samples: n, how many were drawn.
      num_correct: c, how many of them are right.
      k: how many the estimate is for, at most n.
    Raises:
      MissingSampleError: fewer than k samples were drawn.
    """
    if not 0 <= num_correct <= num_samples:
        raise ValueError(f"pass@{k}: expected 0 to {num_samples} correct samples, found {num_correct}")
    if not 1 <= k <= num_samples:
        raise MissingSampleError(f"pass@{k}: expected at least {k} samples a question, found {num_samples}")
    # Chen et al. 2021, eq. 1; exact integers, divided once.
    return 1.0 - math.comb(num_samples - num_correct, k) / math.comb(num_samples, k)


def cons_at_k(samples: Sequence[Sequence[SampleResult]], *, equivalent: Equivalent | None = None) -> list[float]:
    """The correctness of each question's majority answer, in [0, 1].

    Args:
      samples: the samples of each question; masked ones and those without an answer do not vote.
      equivalent: says of pairs (representative, answer) whether they are the same answer, looking both ways
        (`RewardService.equivalent`). None as a reply keeps the two apart. One call carries the pairs of many
        questions. Without it only the canonical text and plain numbers decide.
    Returns:
      For each question the chance of being right when one of the votes for the most frequent answer is drawn,
      tied answers being equally likely; 0 when nobody voted.
    """
    runs = [_classes([_vote(sample) for sample in question]) for question in samples]
    return [
        _expected_correctness(classes, question)
        for classes, question in zip(_answer_all(runs, equivalent), samples, strict=True)
    ]


def bootstrap_intervals(
    values_QM: Float[np.ndarray, "Q M"], *, resamples: int, seed: int = 0
) -> Float[np.ndarray, "M 2"]:
    """Percentile bootstrap intervals (95 %) of the column means, resampling questions.

    Args:
      values_QM: M scores of each of Q questions. All columns see the same resampled questions.
      resamples: how many times Q questions are drawn with replacement.
      seed: the interval is a function of it and of the values alone.
    Returns:
      The lower and upper end for each column.
    """
    rng = np.random.default_rng(seed)
    num_questions = len(values_QM)
    means_RM = np.stack(
        [values_QM[rng.integers(num_questions, size=num_questions)].mean(axis=0) for _ in range(resamples)]
    )
    tail = (1 - INTERVAL) / 2
    return np.quantile(means_RM, [tail, 1 - tail], axis=0).T


def summarize(
    samples: Sequence[Sequence[SampleResult]],
    *,
    expected_samples: int,
    vote: bool = True,
    equivalent: Equivalent | None = None,
    bootstrap_resamples: int = 1000,
    seed: int = 0,
) -> dict[str, float | int | list[float] | None]:
    """All scores of an evaluation, as one flat JSON-able dict.

    Args:
      samples: exactly `expected_samples` of each question.
      expected_samples: k.
      vote: whether answers can be counted against each other; without, there is no cons@k.
      equivalent: see `cons_at_k`.
      bootstrap_resamples, seed: see `bootstrap_intervals`.
    Returns:
      `pass@1`, `pass@2`, `pass@4`, ... `pass@k`, `cons@k`, each with `<name>_interval` [low, high];
      `mean_length_tokens`, `truncation_rate`, `no_answer_rate`, `masked_rate`; `format_rate` and
      `language_consistency`, `reflection_words` (None where no sample has one); `k`, `num_prompts`,
      `ungraded_prompts`.
      Where grading failed for some samples of a question, its pass@k is that of the graded ones (a lower
      bound).
    Raises:
      MissingSampleError: a question has not exactly k samples, or no sample at all could be graded.
    """
    k = expected_samples
    _check_complete(samples, k)
    graded = [[one for one in question if not one.masked] for question in samples]
    graded = [question for question in graded if question]
    if not graded:
        raise MissingSampleError(
            f"evaluation: none of the {len(samples)} x {k} samples could be graded; see their statuses"
        )
    columns: dict[str, list[float]] = {}
    for n in [*(2**i for i in range(k.bit_length()) if 2**i < k), k]:
        columns[f"pass@{n}"] = [_pass_at_most(question, n) for question in graded]
    if vote:
        columns[f"cons@{k}"] = cons_at_k(graded, equivalent=equivalent)

    summary: dict[str, float | int | list[float] | None] = {}
    values_QM = np.array(list(columns.values()), np.float64).T
    intervals_M2 = bootstrap_intervals(values_QM, resamples=bootstrap_resamples, seed=seed)
    for name, mean, interval in zip(columns, values_QM.mean(axis=0), intervals_M2, strict=True):
        summary[name] = float(mean)
        summary[f"{name}_interval"] = [float(end) for end in interval]
    every = [one for question in samples for one in question]
    return summary | {
        "mean_length_tokens": _mean([one.num_tokens for one in every]),
        "format_rate": _mean([one.format_ok for one in every]),
        "language_consistency": _mean([one.language_share for one in every]),
        "reflection_words": _mean([one.reflection_words for one in every]),
        "truncation_rate": _mean([one.truncated for one in every]),
        "no_answer_rate": _mean([one.answer is None if one.no_answer is None else one.no_answer for one in every]),
        "masked_rate": _mean([one.masked for one in every]),
        "k": k,
        "num_prompts": len(samples),
        "ungraded_prompts": len(samples) - len(graded),
    }


def _check_complete(samples: Sequence[Sequence[SampleResult]], k: int) -> None:
    if not samples:
        raise MissingSampleError("evaluation: expected at least one question, found none")
    for number, question in enumerate(samples):
        if len(question) != k:
            raise MissingSampleError(
                f"evaluation: expected k={k} samples of question {number}, found {len(question)}; "
                "a missing sample is not a wrong one: sample it again"
            )


def _pass_at_most(graded: Sequence[SampleResult], k: int) -> float:
    return pass_at_k(len(graded), sum(one.correct for one in graded), min(k, len(graded)))


def _mean(values: Sequence[float | bool | None]) -> float | None:
    known = [float(value) for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _vote(sample: SampleResult) -> str | None:
    return None if sample.masked else sample.answer


def _classes(
    answers: Sequence[str | None],
) -> Generator[list[Pair], Sequence[bool | None], list[list[int]]]:
    """Groups the answers of one question; yields the pairs it must know about, is sent the replies.

    Frequent answers found classes first, so that the outcome does not depend on the order of the samples.
    """
    by_key: dict[str, list[int]] = {}
    for index, answer in enumerate(answers):
        if answer is not None:
            by_key.setdefault(canonical_key(answer), []).append(index)
    keys = sorted(by_key, key=lambda key: (-len(by_key[key]), key))
    votes = sum(map(len, by_key.values()))
    if keys and 2 * len(by_key[keys[0]]) > votes:
        return [by_key[keys[0]]]  # no merging of the others can outvote an absolute majority
    representatives: list[str] = []
    classes: list[list[int]] = []
    for key in keys:
        answer = min(answers[index] for index in by_key[key])
        verdicts = [fast_equal(representative, answer) for representative in representatives]
        open_at = [at for at, verdict in enumerate(verdicts) if verdict is None]
        if open_at and not any(verdicts):
            replies = yield [(representatives[at], answer) for at in open_at]
            for at, reply in zip(open_at, replies, strict=True):
                verdicts[at] = reply
        home = next((at for at, verdict in enumerate(verdicts) if verdict), None)
        if home is None:
            representatives.append(answer)
            classes.append(list(by_key[key]))
        else:
            classes[home].extend(by_key[key])
    return classes


def _answer_all(
    runs: Sequence[Generator[list[Pair], Sequence[bool | None], list[list[int]]]],
    equivalent: Equivalent | None,
) -> list[list[list[int]]]:
    """Drives all questions in step: one call of `equivalent` has pairs of many, for workers in parallel."""
    results: list[list[list[int]]] = [[] for _ in runs]
    replies: dict[int, Sequence[bool | None] | None] = dict.fromkeys(range(len(runs)))
    while replies:
        asked: dict[int, list[Pair]] = {}
        for number, reply in replies.items():
            try:
                asked[number] = runs[number].send(reply)
            except StopIteration as finished:
                results[number] = finished.value
        pairs = [pair for question in asked.values() for pair in question]
        verdicts = iter(equivalent(pairs) if equivalent is not None and pairs else [None] * len(pairs))
        replies = {number: [next(verdicts) for _ in question] for number, question in asked.items()}
    return results


def _expected_correctness(classes: list[list[int]], samples: Sequence[SampleResult]) -> float:
    most = max(map(len, classes), default=0)
    tied = [members for members in classes if len(members) == most]
    shares = [sum(samples[index].correct for index in members) / len(members) for members in tied]
    return sum(shares) / len(shares) if shares else 0.0
