"""A suite on one checkpoint: all that can be wrong is found first, then benchmark after benchmark is made and kept."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Callable, Mapping
from typing import Any

from etils import epath

from r1jax.config import EvaluationConfig, StageConfig, check
from r1jax.stages.context import RunContext
from r1jax.stages.evaluate import evaluate, sample_lines
from r1jax.stages.grading import render
from r1jax.stages.weights import load_params, stage_weights
from r1jax.suites import pairwise, protocol
from r1jax.suites.pairwise import Reference
from r1jax.suites.results import Results
from r1jax.suites.suite import PAIRWISE, SuiteBenchmark, SuiteConfig
from r1jax.workdir.files import write_lines
from r1jax.workdir.weights_mark import weights_mark


@dataclasses.dataclass(frozen=True)
class Subject:
    """The weights that are evaluated.

    Attributes:
      folder: of one checkpoint, or of Hugging Face's files; None: the run's first weights.
      step: of the checkpoint; 0 for weights that no stage of ours has trained.
      mark: by which the weights are known again; None: they are drawn from the run's seed.
      results: where the figures go: beside the checkpoint, or into the folder of a stage that only evaluates.
    """

    stage: StageConfig
    folder: str | None
    step: int
    mark: str | None
    results: Results


def subject_of(stage: StageConfig, run: RunContext, checkpoint: str | None, step: int | None) -> Subject:
    """The weights of a stage (of `step`; None: its result), or of the folder `checkpoint`.

    Raises ConfigError for a stage that leaves no policy, CheckpointError where there is no such checkpoint.
    """
    check(stage.leaves == "policy", f"stages.{stage.name}", "a stage that leaves a policy", type(stage).__name__)
    base = run.config.weights if run.config.model.lora is not None else None
    weights = stage_weights(stage, run, step, checkpoint)
    mark = _mark(weights.folder or run.config.weights, base)
    results = Results(weights.results / f"benchmarks-{weights.step}.json")
    return Subject(stage, weights.folder, weights.step, mark, results)


def run_suite(
    suite: SuiteConfig, subject: Subject, run: RunContext, *, reference: epath.Path | None = None, again: bool = False
) -> dict[str, dict[str, Any]]:
    """The figures of the suite's benchmarks, and with a `reference` of the comparison with it, by name.

    Those that are there already, of the same protocol, are taken as they are, unless `again`. The rest is written to
    the results' file benchmark by benchmark. All data is read and all prompts are made before the first is sampled:
    UserError for the first that is not as it should be.
    """
    jobs = [_benchmark(suite, one, subject, run) for one in suite.benchmarks]
    if reference is not None:
        jobs.append(_comparison(suite, subject, run, reference))
    left = [job for job in jobs if again or not _is_there(job, subject.results)]
    for job in left:
        job.prepare()
    if any(job.name != PAIRWISE for job in left):
        run.rewards.prepare()
    params = load_params(subject.folder, None, run) if left else None
    for number, job in enumerate(left, start=1):
        say(f"{job.name} ({number} of {len(left)})")
        figures = job.make(params)
        whose = {"suite": suite.name, "stage": subject.stage.name, "step": subject.step}
        subject.results.write(job.name, figures | whose | {"protocol": dict(job.protocol)})
    every = subject.results.all()
    return {job.name: every[job.name] for job in jobs}


@dataclasses.dataclass(frozen=True)
class _Job:
    name: str
    protocol: Mapping[str, Any]
    prepare: Callable[[], None]
    make: Callable[[Any], dict[str, Any]]


def _benchmark(suite: SuiteConfig, one: SuiteBenchmark, subject: Subject, run: RunContext) -> _Job:
    template = subject.stage.template
    evaluation = one.evaluation_of(template)
    purpose = f"{suite.name}/{one.name}"

    def make(params) -> dict[str, Any]:
        result = evaluate(params, evaluation, run=run, template=template, purpose=purpose)
        # One sample of each question, for people to read.
        lines = sample_lines(result.prompts, result.graded, limit=len(result.prompts))
        write_lines(subject.results.beside(one.name), lines)
        return result.summary | {"published": dict(one.published)}

    return _Job(
        one.name,
        protocol.of_benchmark(evaluation, subject.mark, run),
        lambda: _check_prompts(evaluation, run),
        make,
    )


def _check_prompts(evaluation: EvaluationConfig, run: RunContext) -> None:
    """Raises what `evaluate` would raise of the data after the benchmarks before this one."""
    records = run.load(evaluation.data)
    render(records, evaluation.template, run, max_prompt_tokens=evaluation.sampler.max_prompt_tokens)


def _comparison(suite: SuiteConfig, subject: Subject, run: RunContext, path: epath.Path) -> _Job:
    config = suite.pairwise
    template = config.asking.of(subject.stage.template)
    reference = Reference.read(path, config)
    answers = subject.results.beside(PAIRWISE)

    def make(params) -> dict[str, Any]:
        return pairwise.compare(params, reference, config, template, run=run, answers=answers)

    return _Job(
        PAIRWISE,
        protocol.of_pairwise(config, template, path, subject.mark, run),
        lambda: pairwise.prepare(reference, config, template, run),
        make,
    )


def _is_there(job: _Job, results: Results) -> bool:
    found, differs = results.of_protocol(job.name, job.protocol)
    if found is not None:
        say(f"{job.name}: done already, in {results.path} (--again makes it anew)")
    elif differs:
        say(f"{job.name}: {results.path} has it by another protocol ({'; '.join(differs[:3])}); it is made anew")
    return found is not None


def _mark(folder: str | None, base: str | None) -> str | None:
    marks = [weights_mark(one) for one in (folder, base) if one is not None]
    return " on ".join(mark or "none" for mark in marks) or None


def say(text: str) -> None:
    """A line for the person who watches."""
    print(text, file=sys.stderr, flush=True)
