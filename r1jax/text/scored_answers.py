"""What a reward model reads of an answer: the final summary, or the whole turn with its thinking.

DeepSeek-R1 scores helpfulness on the summary alone, so that the reasoning is left as it is, and harmlessness on
everything that was written (arXiv 2501.12948v1, section 2.3.4).
"""

from __future__ import annotations

from typing import Literal

from r1jax.config import TemplateConfig
from r1jax.text.answers import after_thinking
from r1jax.text.templates import render_prompt
from r1jax.text.tokenizer import Tokenizer

Reads = Literal["summary", "whole"]


def answer_part(turn: str, reads: Reads) -> str:
    """The part of an assistant's turn that is read; "" for the summary of a turn that ends while it thinks."""
    return after_thinking(turn) if reads == "summary" else turn


def question_ids(template: TemplateConfig, question: str, tokenizer: Tokenizer) -> list[int]:
    """The prompt without its forced prefix: that is part of the turn, not of a summary. Raises TemplateError."""
    prompt = render_prompt(template, question, tokenizer)
    return tokenizer.encode(prompt.text.removesuffix(prompt.forced_prefix))


def part_ids(turn: str, reads: Reads, tokenizer: Tokenizer) -> list[int]:
    """What is read of a turn, and the end-of-text token, which a turn that was cut off is given, too.

    Any text can be read: what is no Unicode (half of a surrogate pair) becomes a question mark.
    """
    text = answer_part(turn, reads).encode("utf-8", "replace").decode()
    ids = tokenizer.encode(text)
    return ids if ids[-1:] == [tokenizer.eos_id] else [*ids, tokenizer.eos_id]
