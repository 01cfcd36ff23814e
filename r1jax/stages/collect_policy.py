"""The policy as a writer of samples: its checkpoint, its sampler, what it says to prompts."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from r1jax.checkpoint import find_checkpoint
from r1jax.config import CollectConfig, PreferencesConfig, SamplingConfig
from r1jax.data.records import Record
from r1jax.models.flops import sampling_work
from r1jax.rewards.judge.prompts import final_part
from r1jax.sampler.engine import Request, Sampler
from r1jax.stages.collect_batches import Part
from r1jax.stages.context import RunContext
from r1jax.stages.grading import Prompt, render_one, sample_and_grade
from r1jax.stages.weights import is_huggingface, start_checkpoint, start_params
from r1jax.text.templates import completion_text, render_prompt

Json = Any


class Policy:
    """The parameters that a stage starts from; they are loaded when something is to be sampled.

    Attributes:
      lineage: {"checkpoint", "step"}: the stage, or the folder, and its step; "random" or the run's weights without.
    """

    def __init__(self, stage: CollectConfig | PreferencesConfig, run: RunContext):
        self._stage, self._run = stage, run
        self.lineage = origin(stage.start, run)

    def prompt(self, record: Record, question: str) -> Prompt:
        """The prompt that asks `question` about the record; DataError names one that is too long."""
        limit = self._stage.sampler.max_prompt_tokens
        asked = render_one({**record, "question": question}, self._stage.template, self._run, max_prompt_tokens=limit)
        return Prompt(record, asked.rendered)

    def graded(self, records: Sequence[Record], questions: Sequence[str], first: int, part: Part) -> list[list[Json]]:
        """`stage.samples` samples of each record, asked by its question, and graded as answers to the record."""
        seed = self.seed("samples")
        groups = sample_and_grade(
            [self.prompt(record, question) for record, question in zip(records, questions, strict=True)],
            run=self._run,
            sampler=self._sampler,
            samples=self._stage.samples,
            seed=seed,
            step=0,
            sampling=self._stage.sampling,
            first_prompt=first,
            progress=part,
        )
        return [
            [
                {
                    "text": one.text,
                    "num_tokens": len(one.completion.tokens),
                    "truncated": not one.completion.stopped,
                    "seed": seed,
                    "verdict": one.verdict.to_json(),
                }
                for one in group
            ]
            for group in groups
        ]

    def cost(self, records: Sequence[Record], questions: Sequence[str], groups: Sequence[Sequence[Json]]) -> dict:
        """The work of the samples, as metrics (`models.flops`); that of refining them is not counted."""
        prompts = [self.prompt(*one).rendered.token_ids for one in zip(records, questions, strict=True)]
        prefill, decode = sampling_work(
            (len(prompt), [one["num_tokens"] for one in group]) for prompt, group in zip(prompts, groups, strict=True)
        )
        return prefill.metrics("prefill") | decode.metrics("decode")

    def plain(self, records: Sequence[Record], first: int, part: Part) -> list[list[Json]]:
        """`stage.samples` samples of each record that nothing has graded."""
        prompts = [self.prompt(record, record["question"]) for record in records]
        found = self._sampled(
            [prompt.rendered for prompt in prompts], first, "samples", self._stage.samples, self._stage.sampling, part
        )
        seed = self.seed("samples")
        return [[one | {"seed": seed} for one in group] for group in found]

    def replies(self, kind: str, asked: Sequence[str], first: int, sampling: SamplingConfig, part: Part) -> list[Json]:
        """What the policy says to each text, without its thinking: {"text"}, or {"failed": why there is none}."""
        rendered = [render_prompt(self._stage.template, text, self._run.tokenizer) for text in asked]
        limit = self._stage.sampler.max_prompt_tokens
        fits = [index for index, one in enumerate(rendered) if len(one.token_ids) <= limit]
        found: list[Json] = [{"failed": f"a prompt of more than sampler.max_prompt_tokens={limit}"} for _ in asked]
        numbers = [first + index for index in fits]
        groups = self._sampled([rendered[index] for index in fits], numbers, kind, 1, sampling, part)
        for index, (one,) in zip(fits, groups, strict=True):
            found[index] = reply_part(one["text"], truncated=one["truncated"])
        return found

    def seed(self, kind: str) -> int:
        """The seed of that kind of work."""
        return self._run.seed_of(f"{self._stage.name}/{kind}")

    @functools.cached_property
    def _sampler(self) -> Sampler:
        lengths = [self._stage.sampling.max_new_tokens]
        refine = self._stage.refine if isinstance(self._stage, CollectConfig) else None
        if refine is not None and refine.by == "policy":
            lengths.append(refine.sampling.max_new_tokens)
        sampler = self._run.sampler(self._stage.sampler, max(lengths))
        sampler.load(start_params(self._stage, self._run))
        return sampler

    def _sampled(self, rendered, first: int | Sequence[int], kind, samples, sampling, part) -> list[list[Json]]:
        """The samples of rendered prompts, whose numbers (of the keys) are given, or count from `first`."""
        if not rendered:
            return []
        numbers = [first + index for index in range(len(rendered))] if isinstance(first, int) else list(first)
        place = {number: index for index, number in enumerate(numbers)}
        requests = [
            Request(prompt=number, tokens=one.token_ids, num_samples=samples)
            for number, one in zip(numbers, rendered, strict=True)
        ]
        found: list[list[Json]] = [[None] * samples for _ in rendered]
        completions = self._sampler.generate(requests, seed=self.seed(kind), step=0, sampling=sampling)
        for count, one in enumerate(completions, start=1):
            index = place[one.prompt]
            found[index][one.sample] = {
                "text": completion_text(rendered[index], one.tokens, self._run.tokenizer),
                "num_tokens": int(np.size(one.tokens)),
                "truncated": not one.stopped,
            }
            part.show(count, {})
        return found


def reply_part(text: str, *, truncated: bool) -> Json:
    """What a reply says after its thinking: {"text"}, or {"failed"}."""
    said = final_part(text).strip()
    if truncated:
        return {"failed": "cut at the length limit"}
    return {"text": said} if said else {"failed": "nothing said"}


def origin(start: str | None, run: RunContext) -> dict[str, Any]:
    """{"checkpoint": a stage, a folder, or "random", "step": its step or None} of what a stage starts from."""
    folder, step = start_checkpoint(start, run)
    if folder is None:
        folder = run.config.weights
        if folder is None:
            return {"checkpoint": "random", "step": None}
    stages = {str(run.workdir.stage(one.name).checkpoints): one.name for one in run.whole.stages}
    if step is None and not is_huggingface(folder):
        newest = find_checkpoint(folder).name
        step = int(newest) if newest.isdigit() else None
    return {"checkpoint": stages.get(folder, folder), "step": step}
