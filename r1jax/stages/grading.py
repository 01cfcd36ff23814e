"""Sampling and grading together: a prompt's completions go to the reward service while those of others still decode.

They go together, for a reward may compare the completions of a group.
"""

from __future__ import annotations

import array
import dataclasses
from collections.abc import Hashable, Sequence

import numpy as np

from r1jax.config import SamplingConfig, TemplateConfig
from r1jax.data.records import DataError, require
from r1jax.metrics import Progress
from r1jax.rewards.verdicts import Item, Verdict
from r1jax.sampler.engine import Completion, Request, Sampler
from r1jax.stages.context import RunContext
from r1jax.text.templates import RenderedPrompt, completion_text, render_prompt


@dataclasses.dataclass(frozen=True)
class Graded:
    """One completion, the text that was graded (forced prefix included) and what was said of it."""

    completion: Completion
    text: str
    verdict: Verdict


@dataclasses.dataclass(frozen=True)
class Prompt:
    """A record of the data and the tokens that ask it."""

    record: dict
    rendered: RenderedPrompt


def render(
    records: Sequence[dict], template: TemplateConfig, run: RunContext, *, max_prompt_tokens: int
) -> list[Prompt]:
    """The prompts of the records, each as by `render_one`."""
    return [render_one(record, template, run, max_prompt_tokens=max_prompt_tokens) for record in records]


def render_one(record: dict, template: TemplateConfig, run: RunContext, *, max_prompt_tokens: int) -> Prompt:
    """The prompt of a record; DataError names one without a question, or with one that is too long."""
    rendered = render_prompt(template, require(record, "question"), run.tokenizer)
    if len(rendered.token_ids) > max_prompt_tokens:
        raise DataError(
            f"record {record['id']}: expected a prompt of at most sampler.max_prompt_tokens={max_prompt_tokens} "
            f"tokens, found {len(rendered.token_ids)}; raise it or leave the record out"
        )
    return Prompt(record, rendered)


def sample_and_grade(
    prompts: Sequence[Prompt],
    *,
    run: RunContext,
    sampler: Sampler,
    samples: int,
    seed: int,
    step: int,
    sampling: SamplingConfig,
    first_prompt: int = 0,
    progress: Progress | None = None,
) -> list[list[Graded]]:
    """`samples` graded completions of every prompt, in order: [P][G].

    The draws are a function of (seed, step, first_prompt + index, sample, position) alone.
    """
    requests = [
        Request(prompt=first_prompt + index, tokens=prompt.rendered.token_ids, num_samples=samples)
        for index, prompt in enumerate(prompts)
    ]
    texts: dict[tuple[int, int], tuple[Completion, str]] = {}
    verdicts: dict[Hashable, Verdict] = {}
    groups: list[list[tuple[Hashable, Item]]] = [[] for _ in prompts]
    call = object()  # in the service's keys: verdicts that an interrupted call has left there are not taken for ours
    for count, completion in enumerate(sampler.generate(requests, seed=seed, step=step, sampling=sampling), start=1):
        index = completion.prompt - first_prompt
        text = completion_text(prompts[index].rendered, completion.tokens, run.tokenizer)
        texts[index, completion.sample] = (completion, text)
        item = Item(
            record=prompts[index].record,
            completion=text,
            group=index,
            num_tokens=len(completion.tokens),
            truncated=not completion.stopped,
            tokens=array.array("i", completion.tokens.astype(np.int32).tobytes()),  # 4 bytes each, of many
        )
        groups[index].append(((call, index, completion.sample), item))
        if len(groups[index]) == samples:
            run.rewards.submit_batch(groups[index])
        verdicts.update(run.rewards.results(block=False))
        if progress is not None:
            progress.show(count, {})
    verdicts.update(run.rewards.results(block=True))
    return [
        [Graded(*texts[index, sample], verdicts[call, index, sample]) for sample in range(samples)]
        for index in range(len(prompts))
    ]
