"""How completions are scored: the sets of rewards, what each kind of reward is told, and the processes that grade."""

from __future__ import annotations

import dataclasses
import math
from typing import Literal

from r1jax.config.checks import check
from r1jax.config.learn import Schedule, constant

MOST_DEADLINE_SECONDS = 86_400  # a day; a wait of some weeks is more than the system call takes
MOST_FILE_MIB = 256  # what a reward worker may write into one file


@dataclasses.dataclass(frozen=True)
class RewardConfig:
    """One reward of a set: a name of r1jax.rewards, or `module:function` of the user's own."""

    name: str
    weight: Schedule = constant(1.0)  # over optimiser steps of the stage

    def __post_init__(self):
        values = [value for _, value in self.weight.points]
        check(all(map(math.isfinite, values)), f"rewards.sets: the weight of {self.name}", "finite numbers", values)


@dataclasses.dataclass(frozen=True)
class RewardSetConfig:
    """The rewards of the prompts that carry this name (the routing key `rewards` of a record)."""

    name: str
    rewards: tuple[RewardConfig, ...]

    def __post_init__(self):
        names = [reward.name for reward in self.rewards]
        check(bool(names), f"rewards.sets.{self.name}", "at least one reward", names)
        check(len(set(names)) == len(names), f"rewards.sets.{self.name}", "each reward once", names)


@dataclasses.dataclass(frozen=True)
class SandboxConfig:
    """Where programs of the policy run (docs/sandbox.md)."""

    backend: Literal["bubblewrap", "sandbox_fusion", "piston"] = "bubblewrap"
    url: str | None = None  # of an HTTP backend
    cgroup: str | None = None  # a control group (version 2) that is delegated to the run
    unsafe: bool = False  # plain processes of this host, with a banner and a stamp in the manifest

    def __post_init__(self):
        check(
            (self.url is None) == (self.backend == "bubblewrap"),
            "rewards.sandbox.url",
            "a url with an HTTP backend and only there",
            self.url,
        )
        check(
            self.cgroup is None or (self.backend == "bubblewrap" and not self.unsafe),
            "rewards.sandbox.cgroup",
            "None without jails on this host",
            self.cgroup,
        )
        check(
            not self.unsafe or self.backend == "bubblewrap",
            "rewards.sandbox.unsafe",
            "it in the place of bubblewrap",
            self.backend,
        )


@dataclasses.dataclass(frozen=True)
class CodeConfig:
    """The `code` reward: the limits of one test, and what a completion that passes some tests is worth."""

    credit: Literal["all", "fraction"] = "all"  # 1 where every test passes, or the share that passes
    stop_early: bool = True  # at the first failed test (with credit="all")
    most_tests: int | None = None  # of a record; the first ones. None: all
    compare: Literal["exact", "tokens", "numbers"] = "tokens"  # whole outputs; a record's own `compare` goes first
    tolerance: float = 1e-6  # of "numbers", relative and absolute
    wall_seconds: float = 10.0  # twice the CPU time: other programs run beside it
    cpu_seconds: float = 5.0
    memory_mib: int = 512
    processes: int = 16
    output_kib: int = 1024
    file_mib: int = 32

    def __post_init__(self):
        for name in ("wall_seconds", "cpu_seconds", "processes", "output_kib", "file_mib"):
            check(getattr(self, name) > 0, f"rewards.code.{name}", "above 0", getattr(self, name))
        for name in ("wall_seconds", "cpu_seconds"):
            check(
                getattr(self, name) <= MOST_DEADLINE_SECONDS,
                f"rewards.code.{name}",
                "a day at most",
                getattr(self, name),
            )
        check(self.memory_mib >= 32, "rewards.code.memory_mib", "at least 32: an interpreter needs it", self.memory_mib)
        check(self.file_mib <= MOST_FILE_MIB, "rewards.code.file_mib", f"at most {MOST_FILE_MIB}", self.file_mib)
        check(0 <= self.tolerance < 1, "rewards.code.tolerance", "0 or more, and below 1", self.tolerance)
        check(
            self.most_tests is None or self.most_tests >= 1,
            "rewards.code.most_tests",
            "1 or more, or None",
            self.most_tests,
        )


@dataclasses.dataclass(frozen=True)
class JudgeConfig:
    """The `judge` reward: an OpenAI-compatible endpoint that compares answers with references."""

    url: str | None = None  # http://host:8000/v1; the reward refuses to run without
    model: str = "default"  # the name that the endpoint serves it by
    key_variable: str = "R1JAX_JUDGE_KEY"  # of the environment: the key is never in a config or a log
    concurrency: int = 16  # requests at once
    timeout_seconds: float = 120.0  # of one request
    tries: int = 5
    max_tokens: int = 4096
    temperature: float = 0.0

    def __post_init__(self):
        for name in ("concurrency", "tries", "max_tokens"):
            check(getattr(self, name) >= 1, f"rewards.judge.{name}", "1 or more", getattr(self, name))
        check(
            0 < self.timeout_seconds <= MOST_DEADLINE_SECONDS,
            "rewards.judge.timeout_seconds",
            f"above 0 and at most {MOST_DEADLINE_SECONDS}",
            self.timeout_seconds,
        )
        check(
            0 <= self.temperature < math.inf,
            "rewards.judge.temperature",
            "a finite number, 0 or more",
            self.temperature,
        )


@dataclasses.dataclass(frozen=True)
class CosineConfig:
    """The `cosine_length` reward (arXiv 2502.03373): a cosine from `_short` at no tokens to `_long` at `max_tokens`."""

    correct_short: float = 1.0
    correct_long: float = 0.5
    wrong_short: float = -1.0
    wrong_long: float = -0.5
    exceeded: float = -1.0  # what the length limit cut, or is longer than `max_tokens`
    max_tokens: int = 8192

    def __post_init__(self):
        check(self.max_tokens >= 1, "rewards.cosine.max_tokens", "1 or more", self.max_tokens)


@dataclasses.dataclass(frozen=True)
class RepetitionConfig:
    """The `repetition` reward: 0 down to `penalty` as n-grams of tokens repeat (arXiv 2502.03373, appendix)."""

    ngram: int = 40
    penalty: float = -1.0

    def __post_init__(self):
        check(self.ngram >= 1, "rewards.repetition.ngram", "1 or more", self.ngram)
        check(-math.inf < self.penalty < 0, "rewards.repetition.penalty", "a finite number below 0", self.penalty)


@dataclasses.dataclass(frozen=True)
class LanguageConfig:
    """The `language` reward."""

    han_per_word: float = 1.5  # Chinese characters that count as one word
    tell_latin_apart: bool = (
        False  # by py3langid, on windows of words: French is not English (pip install 'r1jax[language]')
    )
    window_words: int = 50  # of such a window; shorter ones are mislabelled

    def __post_init__(self):
        check(
            0 < self.han_per_word < math.inf,
            "rewards.language.han_per_word",
            "a finite number above 0",
            self.han_per_word,
        )
        check(self.window_words >= 20, "rewards.language.window_words", "20 or more", self.window_words)


@dataclasses.dataclass(frozen=True)
class RewardsConfig:
    """The reward sets, what some rewards are told, and the worker processes that grade what may hang or crash."""

    sets: tuple[RewardSetConfig, ...] = (RewardSetConfig("default", (RewardConfig("maths"), RewardConfig("format"))),)
    code: CodeConfig = CodeConfig()
    sandbox: SandboxConfig = SandboxConfig()
    judge: JudgeConfig = JudgeConfig()
    cosine: CosineConfig = CosineConfig()
    repetition: RepetitionConfig = RepetitionConfig()
    language: LanguageConfig = LanguageConfig()
    workers: int = 2
    deadline_seconds: float = 5.0  # for one item; then its worker is killed and replaced
    worker_memory_mib: int = 2048
    recycle_after: int = 2000  # items a worker grades before it is replaced

    def __post_init__(self):
        names = [one.name for one in self.sets]
        check(
            bool(names) and len(set(names)) == len(names),
            "rewards.sets",
            "sets with names of their own",
            names,
        )
        for name in ("workers", "worker_memory_mib", "recycle_after"):
            check(getattr(self, name) >= 1, f"rewards.{name}", "1 or more", getattr(self, name))
        check(
            0 < self.deadline_seconds <= MOST_DEADLINE_SECONDS,
            "rewards.deadline_seconds",
            f"above 0 and at most {MOST_DEADLINE_SECONDS}",
            self.deadline_seconds,
        )
        runs_code = any(reward.name == "code" for one in self.sets for reward in one.rewards)
        check(
            not runs_code or self.code.memory_mib <= self.worker_memory_mib,
            "rewards.code.memory_mib",
            f"at most rewards.worker_memory_mib={self.worker_memory_mib}, whose limit programs inherit",
            self.code.memory_mib,
        )
