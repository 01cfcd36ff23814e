"""Questions from a person, answered by a checkpoint: what was sampled, and what the rewards would read in it."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import sys
from collections.abc import Iterator
from typing import Any

from r1jax.config import SamplerConfig, SamplingConfig, TemplateConfig
from r1jax.parallel.rules import RULES
from r1jax.sampler.board import PromptError
from r1jax.sampler.engine import Request
from r1jax.stages.context import RunContext
from r1jax.text.answers import final_answer
from r1jax.text.templates import completion_text, render_prompt

MAX_PROMPT_TOKENS = 4096  # only a bound: what compiles depends on the prompts asked


@dataclasses.dataclass(frozen=True)
class Reply:
    """One completion of a question; `answer` is what the rewards read as its final answer, None if nothing."""

    text: str
    answer: str | None
    num_tokens: int
    stopped: bool

    @property
    def note(self) -> str:
        """What there is to say about the text, in a line."""
        read = "no answer" if self.answer is None else f"answer: {self.answer}"
        return f"{read} ({self.num_tokens} tokens{'' if self.stopped else ', cut'})"


def questions() -> Iterator[str]:
    """What is typed, or piped in: the lines that are not empty, until the end of the input or Ctrl-C."""
    lines = iter(lambda: input("? "), None) if sys.stdin.isatty() else sys.stdin
    with contextlib.suppress(EOFError, KeyboardInterrupt):
        yield from filter(None, map(str.strip, lines))


class Chat:
    """Asks a policy one question at a time; none knows of those before it.

    Args:
      params: the policy's parameters, on the run's mesh.
      samples: completions of each question.
    """

    def __init__(
        self, params: Any, template: TemplateConfig, run: RunContext, *, sampling: SamplingConfig, samples: int
    ):
        self._run, self._template, self._sampling, self._samples = run, template, sampling, samples
        # One lane is used; there are as many as devices that share them.
        lanes = math.prod(run.mesh.shape[axis] for axis in RULES["lanes"])
        shape = SamplerConfig(lanes=lanes, width=samples, max_prompt_tokens=MAX_PROMPT_TOKENS)
        self._sampler = run.sampler(shape, sampling.max_new_tokens)
        self._sampler.load(params)
        self._asked = 0

    def ask(self, question: str) -> list[Reply]:
        """The completions of a question. Asked again, it draws anew; the same sequence of questions does not.

        PromptError for a question that is too long.
        """
        prompt = render_prompt(self._template, question, self._run.tokenizer)
        if len(prompt.token_ids) > MAX_PROMPT_TOKENS:
            raise PromptError(
                f"question: expected at most {MAX_PROMPT_TOKENS} tokens with its template, found "
                f"{len(prompt.token_ids)}; ask a shorter one"
            )
        request = Request(prompt=self._asked, tokens=prompt.token_ids, num_samples=self._samples)
        seed = self._run.seed_of("chat")
        completions = self._sampler.generate([request], seed=seed, step=0, sampling=self._sampling)
        self._asked += 1
        replies = []
        for one in sorted(completions, key=lambda one: one.sample):
            text = completion_text(prompt, one.tokens, self._run.tokenizer)
            replies.append(Reply(text, final_answer(text), len(one.tokens), one.stopped))
        return replies
