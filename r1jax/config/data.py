"""Where records come from and how they become token sequences."""

from __future__ import annotations

import dataclasses
import re
from typing import Literal

from r1jax.config.checks import check

TEXT_FIELDS = ("id", "question", "answer", "response", "chosen", "rejected", "text", "language", "rewards")
VALUE_FIELDS = ("answers", "choices", "tests")  # lists and objects, or JSON text of them
NUMBER_FIELDS = ("label",)
FILE_KINDS = ("jsonl", "parquet", "csv")  # of `path`
FIELDS = TEXT_FIELDS + VALUE_FIELDS + NUMBER_FIELDS


@dataclasses.dataclass(frozen=True)
class DataConfig:
    """A source of records.

    `jsonl`, `parquet`, `csv` (and tsv): `path` is a file, a folder or a glob. `tfds`: `name` (and `path` as data_dir).
    `task`: `name` is a generator of r1jax.data.tasks, which makes `limit` records from `seed`. `stage`: the data set
    that the earlier stage `name` has left (`path`: another file of its folder than data.jsonl), as it lies there when
    this stage begins, edited by hand maybe.
    """

    kind: Literal["jsonl", "parquet", "csv", "tfds", "task", "stage"]
    path: str | None = None
    name: str | None = None
    split: str = "train"
    columns: tuple[tuple[str, str], ...] = ()  # (field of ours, column of theirs or a place in one: a.0.b)
    answer_pattern: str | None = None  # regex; its first group, searched in the answer column, is the gold
    response_pattern: str | None = None  # likewise, of the response
    response_format: str | None = None  # what is trained on, e.g. "<think>{response}</think><answer>{answer}</answer>"
    # Whose columns hold the tests of programs (r1jax.data.code_sets); None: a column `tests`, or no programs.
    tests_from: Literal["humaneval", "mbpp", "apps", "livecodebench", "open_r1"] | None = None
    choices_from: Literal["gpqa"] | None = None  # whose columns hold choices, to be shuffled (r1jax.data.choice_sets)
    skip: int = 0
    limit: int | None = None
    seed: int = 0  # of a task's generator, and of the order of choices
    rewards: str = "default"  # reward set of records that name none

    def __post_init__(self):
        if self.kind in FILE_KINDS:
            check(self.path is not None, "data.path", f"a path (data.kind is {self.kind})", self.path)
        else:
            check(self.name is not None, "data.name", f"a name (data.kind is {self.kind})", self.name)
        if self.kind == "task":
            check(self.limit is not None, "data.limit", "how many records the task makes", self.limit)
        if self.kind == "stage":
            mapping = ("columns", "answer_pattern", "response_pattern", "response_format", "tests_from", "choices_from")
            for field in mapping:
                check(
                    not getattr(self, field), f"data.{field}", "none: a stage leaves our fields", getattr(self, field)
                )
            check(
                self.path is None or re.fullmatch(r"[\w-][\w.-]*", self.path) is not None,
                "data.path",
                "None, or the name of a file of the stage's folder, such as prompts.jsonl",
                self.path,
            )
        for field, _ in self.columns:
            check(field in FIELDS, "data.columns", f"fields out of {', '.join(FIELDS)}", field)
        check(self.skip >= 0, "data.skip", "0 or more", self.skip)
        check(self.limit is None or self.limit >= 1, "data.limit", "1 or more, or None", self.limit)


@dataclasses.dataclass(frozen=True)
class TokenizerConfig:
    """A Hugging Face `tokenizer.json` (file or folder), or the vocabulary of a task. Set exactly one."""

    path: str | None = None
    task: str | None = None

    def __post_init__(self):
        check(
            (self.path is None) != (self.task is None),
            "tokenizer",
            "exactly one of path and task",
            (self.path, self.task),
        )


@dataclasses.dataclass(frozen=True)
class TemplateConfig:
    """How a question becomes the text that the model continues.

    `forced_prefix` opens the assistant's turn (the paper's evaluation uses "<think>\\n"); rewards see it.
    """

    name: Literal["r1_zero", "r1", "chat", "plain"] = "r1_zero"
    forced_prefix: str = ""
    instruction: str = ""  # appended to the question, e.g. the boxed-answer request
