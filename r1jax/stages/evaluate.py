"""Evaluation: k samples a question, pass@1, pass@k, cons@k, with intervals over the questions."""

from __future__ import annotations

import dataclasses

import numpy as np

from r1jax import scoring
from r1jax.config import EvaluationConfig, LanguageConfig, TemplateConfig
from r1jax.metrics import Progress
from r1jax.rewards.health import status_shares
from r1jax.rewards.language import consistency, has_target
from r1jax.rewards.verdicts import Item, Status
from r1jax.stages import best_of
from r1jax.stages.context import RunContext
from r1jax.stages.grading import Graded, Prompt, render, sample_and_grade
from r1jax.text.latin_language import classifier_stamp
from r1jax.text.reflection import count_reflection_words

FORMATS = ("format", "format_r1", "format_cold_start")  # the rewards that a sample's `format_ok` is taken from


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """The figures of one evaluation, and the graded samples behind them, [questions][k]."""

    summary: dict
    prompts: list[Prompt]
    graded: list[list[Graded]]


def evaluate(
    params, evaluation: EvaluationConfig, *, run: RunContext, template: TemplateConfig, purpose: str
) -> Evaluation:
    """Samples and scores every question of `evaluation.data`.

    `purpose` names the stream of random numbers: the same purpose draws the same numbers at every call, so
    that two checkpoints are compared on the same draws.
    """
    prompts = render(
        run.load(evaluation.data),
        evaluation.template or template,
        run,
        max_prompt_tokens=evaluation.sampler.max_prompt_tokens,
    )
    if run.config.rewards.language.tell_latin_apart:
        classifier_stamp()  # UserError now where it is not installed, and not when all is sampled
    sampler = run.sampler(evaluation.sampler, evaluation.sampling.max_new_tokens)
    sampler.load(params)
    total = len(prompts) * evaluation.samples
    progress = Progress(purpose, total, unit="completion")
    graded = sample_and_grade(
        prompts,
        run=run,
        sampler=sampler,
        samples=evaluation.samples,
        seed=run.seed_of(purpose),
        step=0,
        sampling=evaluation.sampling,
        progress=progress,
    )
    progress.close()
    summary = scoring.summarize(
        [
            [sample_result(one, prompt, run.config.rewards.language) for one in group]
            for prompt, group in zip(prompts, graded, strict=True)
        ],
        expected_samples=evaluation.samples,
        vote=evaluation.answers_vote,
        equivalent=run.rewards.equivalent,
        bootstrap_resamples=evaluation.bootstrap_resamples,
        seed=run.seed_of(f"{purpose}/bootstrap"),
    )
    summary |= best_of.figures(evaluation, prompts, graded, run=run, seed=run.seed_of(f"{purpose}/bootstrap"))
    sampling = evaluation.sampling
    protocol = {
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "max_tokens": sampling.max_new_tokens,
        "template": (evaluation.template or template).name,
    }
    shares = status_shares(one.verdict.status for group in graded for one in group)
    grading = {f"grading/{name}": value for name, value in shares.items()}
    return Evaluation(summary | grading | protocol, prompts, graded)


def sample_result(one: Graded, prompt: Prompt, language: LanguageConfig) -> scoring.SampleResult:
    """What scoring needs to know of one sample."""
    item = Item(prompt.record, one.text)
    format_score = next((score for name, score in one.verdict.scores.items() if name in FORMATS), None)
    return scoring.SampleResult(
        correct=one.verdict.status is Status.CORRECT,
        answer=one.verdict.answer,
        num_tokens=len(one.completion.tokens),
        truncated=not one.completion.stopped,
        format_ok=None if format_score is None else format_score.value == 1.0,
        language_share=consistency(item, language) if has_target(item, language) else None,
        masked=one.verdict.masked,
        reflection_words=count_reflection_words(one.text),
        no_answer=one.verdict.status is Status.NO_ANSWER,
    )


def sample_lines(prompts: list[Prompt], graded: list[list[Graded]], limit: int) -> list[dict]:
    """The first `limit` samples as lines for samples.jsonl, one of each prompt before a second of any."""
    lines = []
    for prompt, one in (
        (prompt, group[sample])
        for sample in range(max(len(group) for group in graded))
        for prompt, group in zip(prompts, graded, strict=True)
        if sample < len(group)
    ):
        if len(lines) == limit:
            break
        lines.append(
            {
                "prompt": prompt.record["id"],
                "sample": one.completion.sample,
                "question": prompt.record["question"],
                "gold": prompt.record.get("answer"),
                "completion": one.text,
                "answer": one.verdict.answer,
                "status": one.verdict.status.value,
                "rewards": {name: score.value for name, score in one.verdict.scores.items()},
                "tokens": int(np.size(one.completion.tokens)),
                "stopped": one.completion.stopped,
            }
        )
    return lines
