"""A judge between our answers and a reference's: the win rate, from summaries alone.

As DeepSeek-R1 is held against others in ArenaHard and AlpacaEval (arXiv 2501.12948v1, section 3): the judge reads what
follows the thinking and nothing else, so that long thinking neither helps nor hurts. Both orders are asked equally
often, and a question is won, tied or lost by the mean of its votes; a tie counts half.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
from etils import epath

from r1jax.chat_client import ChatClient, Sampling
from r1jax.config import DataConfig, TemplateConfig
from r1jax.data.records import Record, require
from r1jax.data.sources import load
from r1jax.errors import UserError
from r1jax.metrics import Progress
from r1jax.rewards.judge.ask import Ask, of_endpoint
from r1jax.rewards.judge.prompts import summary
from r1jax.rewards.judge.reward import endpoint_of, judge_reward
from r1jax.rewards.judge.votes import Pair, Preference, preferences
from r1jax.sampler.engine import Completion, Request
from r1jax.scoring import bootstrap_intervals
from r1jax.stages.context import RunContext
from r1jax.stages.grading import render
from r1jax.suites.suite import PairwiseConfig
from r1jax.text.templates import completion_text
from r1jax.workdir.files import write_lines

PAIRS_AT_ONCE = 64  # questions between two looks at the progress
WON, TIED, LOST = 1.0, 0.5, 0.0


@dataclasses.dataclass(frozen=True)
class Reference:
    """The questions, each with the `response` of the model that ours is compared with."""

    path: epath.Path
    records: tuple[Record, ...]

    @classmethod
    def read(cls, path: epath.Path, config: PairwiseConfig) -> Reference:
        """From JSONL. UserError for a file that is not there, and for a record without a question or a response."""
        if not path.exists() or path.is_dir():
            raise UserError(
                f"--judge_against={path}: expected a JSONL file, found {'a folder' if path.exists() else 'none'}"
            )
        data = DataConfig(kind="jsonl", path=str(path), columns=config.columns, limit=config.limit)
        records = tuple(load(data))
        for record in records:
            require(record, "question")
            require(record, "response")
        return cls(path, records)


@dataclasses.dataclass(frozen=True)
class Judged:
    """What came of one question: `score` is WON, TIED or LOST, None where a vote of either order is missing."""

    score: float | None
    preference: Preference | None  # None: nobody was asked


def prepare(reference: Reference, config: PairwiseConfig, template: TemplateConfig, run: RunContext) -> None:
    """Raises UserError for a prompt that is too long, and for a judge that does not answer."""
    render(reference.records, template, run, max_prompt_tokens=config.sampler.max_prompt_tokens)
    reward = judge_reward(run.config.rewards)
    try:
        reward.prepare()
    finally:
        reward.close()


def compare(
    params,
    reference: Reference,
    config: PairwiseConfig,
    template: TemplateConfig,
    *,
    run: RunContext,
    answers: epath.Path,
) -> dict[str, Any]:
    """Samples one answer to each question, has them judged, and writes both answers and the votes to `answers`.

    Returns the figures of `figures`, with lengths. UserError where not one question could be judged.
    """
    completions, ours = _answers(params, reference, config, template, run)
    theirs = [record["response"] for record in reference.records]
    pairs = [
        Pair(record["question"], our, their) for record, our, their in zip(reference.records, ours, theirs, strict=True)
    ]
    settings = run.config.rewards.judge
    with ChatClient(endpoint_of(settings)) as client:
        ask = of_endpoint(client, Sampling(settings.max_tokens, settings.temperature))
        judged = judge_pairs(ask, pairs, votes=config.votes, seed=run.seed_of("pairwise/orders"))
    write_lines(answers, map(_line, reference.records, ours, judged))
    found = figures(judged, resamples=config.bootstrap_resamples, seed=run.seed_of("pairwise/bootstrap"))
    lengths = {
        "mean_length_tokens": float(np.mean([len(one.tokens) for one in completions])),
        "truncation_rate": float(np.mean([not one.stopped for one in completions])),
        "mean_summary_chars": float(np.mean([len(summary(one)) for one in ours])),
        "mean_reference_summary_chars": float(np.mean([len(summary(one)) for one in theirs])),
    }
    drawn = {
        "k": 1,
        "temperature": config.sampling.temperature,
        "top_p": config.sampling.top_p,
        "top_k": config.sampling.top_k,
        "max_tokens": config.sampling.max_new_tokens,
        "template": template.name,
    }
    return found | lengths | drawn | {"votes": config.votes, "judge": settings.model, "reference": reference.path.name}


def judge_pairs(ask: Ask, pairs: Sequence[Pair], *, votes: int, seed: int) -> list[Judged]:
    """Who has won each pair, ours being the first of it. An answer without a summary has lost, and nobody is asked."""
    asked = [pair for pair in pairs if summary(pair.first) and summary(pair.second)]
    progress = Progress("pairwise/judge", len(asked), unit="question")
    found: list[Preference] = []
    for start in range(0, len(asked), PAIRS_AT_ONCE):
        found += preferences(ask, asked[start : start + PAIRS_AT_ONCE], votes, seed)
        progress.show(len(found), {})
    progress.close()
    replies = iter(found)
    judged = []
    for pair in pairs:
        ours, theirs = bool(summary(pair.first)), bool(summary(pair.second))
        if ours and theirs:
            preference = next(replies)
            judged.append(Judged(score_of(preference), preference))
        else:
            judged.append(Judged(TIED if ours == theirs else WON if ours else LOST, None))
    return judged


def score_of(preference: Preference) -> float | None:
    """WON, TIED or LOST by the mean of the votes; None where an order has no vote (votes.mean_vote)."""
    mean = preference.mean
    return None if mean is None else WON if mean > 0 else LOST if mean < 0 else TIED


def figures(judged: Sequence[Judged], *, resamples: int, seed: int) -> dict[str, Any]:
    """`win_rate` with its 95 % interval over questions, and how many were won, tied, lost and not judged.

    UserError where none was judged.
    """
    scores = [one.score for one in judged if one.score is not None]
    if not scores:
        reasons = {vote.reason for one in judged if one.preference for vote in one.preference.votes if vote.reason}
        raise UserError(
            f"pairwise: none of the {len(judged)} questions could be judged ({'; '.join(sorted(reasons)[:2])})"
        )
    interval = bootstrap_intervals(np.array(scores, np.float64)[:, None], resamples=resamples, seed=seed)[0]
    return {
        "win_rate": sum(scores) / len(scores),
        "win_rate_interval": [float(end) for end in interval],
        "won": scores.count(WON),
        "tied": scores.count(TIED),
        "lost": scores.count(LOST),
        "unjudged": len(judged) - len(scores),
        "num_prompts": len(judged),
    }


def _answers(
    params, reference: Reference, config: PairwiseConfig, template: TemplateConfig, run: RunContext
) -> tuple[list[Completion], list[str]]:
    """One completion of each question, and its text, in order."""
    prompts = render(reference.records, template, run, max_prompt_tokens=config.sampler.max_prompt_tokens)
    requests = [
        Request(prompt=index, tokens=prompt.rendered.token_ids, num_samples=1) for index, prompt in enumerate(prompts)
    ]
    sampler = run.sampler(config.sampler, config.sampling.max_new_tokens)
    sampler.load(params)
    progress = Progress("pairwise/answers", len(prompts), unit="completion")
    found: dict[int, Completion] = {}
    drawn = sampler.generate(requests, seed=run.seed_of("pairwise/answers"), step=0, sampling=config.sampling)
    for count, completion in enumerate(drawn, start=1):
        found[completion.prompt] = completion
        progress.show(count, {})
    progress.close()
    completions = [found[index] for index in range(len(prompts))]
    texts = [
        completion_text(prompt.rendered, one.tokens, run.tokenizer)
        for prompt, one in zip(prompts, completions, strict=True)
    ]
    return completions, texts


def _line(record: Record, ours: str, judged: Judged) -> dict[str, Any]:
    votes = [] if judged.preference is None else [dataclasses.asdict(vote) for vote in judged.preference.votes]
    return {
        "id": record["id"],
        "question": record["question"],
        "response": ours,
        "reference": record["response"],
        "score": judged.score,
        "votes": votes,
    }
