"""What a suite is: benchmarks with their prompts, the rewards that read their answers, and a pairwise comparison."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Literal

from r1jax.config import (
    BenchmarkConfig,
    ConfigError,
    DataConfig,
    EvaluationConfig,
    RewardSetConfig,
    RunConfig,
    SamplerConfig,
    SamplingConfig,
    TemplateConfig,
    check,
)
from r1jax.config.data import FILE_KINDS

YOURS = "<yours>"  # the path of data that only the user can name
PAIRWISE = "pairwise"  # the name of the comparison among the benchmarks
EACH = "each"  # on the command line: every benchmark


@dataclasses.dataclass(frozen=True)
class Asking:
    """How a question is put: in the template, and with the opening of the turn."""

    template: Literal["stage", "r1_zero", "r1", "chat", "plain"] = "stage"  # stage: that of the stage evaluated
    forced_prefix: str = "<think>\n"
    instruction: str = ""  # after the question

    def of(self, stage: TemplateConfig) -> TemplateConfig:
        """The template in full."""
        name = stage.name if self.template == "stage" else self.template
        return TemplateConfig(name=name, forced_prefix=self.forced_prefix, instruction=self.instruction)


@dataclasses.dataclass(frozen=True)
class SuiteBenchmark(BenchmarkConfig):
    """A benchmark of a suite. `evaluation.template` stays None: `asking` takes its place."""

    asking: Asking = Asking()
    source: str = ""  # what the data is, for the person who has to find it

    def __post_init__(self):
        super().__post_init__()
        check(
            self.name not in (PAIRWISE, EACH), "suite.benchmarks", f"names other than {PAIRWISE} and {EACH}", self.name
        )
        check(
            self.evaluation.template is None,
            f"suite.{self.name}.evaluation.template",
            f"None: suite.{self.name}.asking has the prompt",
            self.evaluation.template,
        )

    def evaluation_of(self, stage: TemplateConfig) -> EvaluationConfig:
        """The evaluation as it is made, its template in full. ConfigError where the data has no path yet."""
        data = self.evaluation.data
        if data.path == YOURS:
            if data.kind in FILE_KINDS:
                raise ConfigError(
                    f"--suite.{self.name}.evaluation.data.path: expected the path of {self.source or 'its data'}, "
                    f"found none; give it, or leave {self.name} out with --benchmarks"
                )
            data = dataclasses.replace(data, path=None)
        return dataclasses.replace(self.evaluation, data=data, template=self.asking.of(stage))


@dataclasses.dataclass(frozen=True)
class PairwiseConfig:
    """Our answer against a reference's, judged by rewards.judge, which reads the summaries alone."""

    votes: int = 2  # of the judge on a pair, half of them in either order
    sampling: SamplingConfig = SamplingConfig()
    sampler: SamplerConfig = SamplerConfig(max_prompt_tokens=4096)
    asking: Asking = Asking()
    columns: tuple[tuple[str, str], ...] = ()  # of the reference's file, as data.columns: question, response
    limit: int | None = None  # questions
    bootstrap_resamples: int = 1000

    def __post_init__(self):
        check(
            self.votes >= 2 and self.votes % 2 == 0,  # noqa: PLR2004
            "suite.pairwise.votes",
            "an even number, so that either order has as many",
            self.votes,
        )
        check(self.limit is None or self.limit >= 1, "suite.pairwise.limit", "1 or more, or None", self.limit)
        check(
            self.bootstrap_resamples >= 1, "suite.pairwise.bootstrap_resamples", "1 or more", self.bootstrap_resamples
        )


@dataclasses.dataclass(frozen=True)
class SuiteConfig:
    """Benchmarks, and the reward sets that their records name (`data.rewards`)."""

    name: str
    benchmarks: tuple[SuiteBenchmark, ...] = ()
    sets: tuple[RewardSetConfig, ...] = ()
    pairwise: PairwiseConfig = PairwiseConfig()

    def __post_init__(self):
        names = [one.name for one in self.benchmarks]
        check(len(set(names)) == len(names), "suite.benchmarks", "names of their own", names)
        known = [one.name for one in self.sets]
        for one in self.benchmarks:
            rewards = one.evaluation.data.rewards
            check(rewards in known, f"suite.{one.name}.evaluation.data.rewards", f"one of {', '.join(known)}", rewards)

    def only(self, names: Sequence[str] | None) -> SuiteConfig:
        """The suite with the benchmarks of those names alone, in the suite's order; None: with all."""
        if names is None:
            return self
        known = [one.name for one in self.benchmarks]
        for name in names:
            check(name in known, "--benchmarks", f"names out of {', '.join(known) or 'none'}", name)
        return dataclasses.replace(self, benchmarks=tuple(one for one in self.benchmarks if one.name in names))

    def of(self, run: RunConfig) -> RunConfig:
        """A run with the reward sets that these benchmarks need in the place of its own; its settings stay."""
        wanted = {one.evaluation.data.rewards for one in self.benchmarks}
        sets = tuple(one for one in self.sets if one.name in wanted)
        return dataclasses.replace(run, rewards=dataclasses.replace(run.rewards, sets=sets)) if sets else run


def file_data(rewards: str, kind: Literal["jsonl", "parquet", "csv"] = "jsonl", **fields) -> DataConfig:
    """Data of the user's: a file whose path the command line has to give."""
    return DataConfig(kind=kind, path=YOURS, split="test", rewards=rewards, **fields)
