"""A suite of generated sums for the smallest run, and that run with a checkpoint of two steps."""

import dataclasses
import pathlib
import sys

import jax
from etils import epath
from tiny_runs import BASE, EVALUATION, run_on_one, tiny_run

from r1jax.config import EvaluateConfig, RewardConfig, RewardSetConfig, SamplingConfig
from r1jax.stages.context import open_context
from r1jax.suites.running import run_suite, subject_of
from r1jax.suites.suite import Asking, PairwiseConfig, SuiteBenchmark, SuiteConfig
from r1jax.workdir import Workdir

sys.path.insert(0, str(pathlib.Path(__file__).parent.parent / "rewards"))
import judge_server as server  # noqa: E402, F401

AS_IT_IS = Asking(forced_prefix="")  # a vocabulary of words has no room for instructions
SHORT = SamplingConfig(max_new_tokens=8)
STAGE = dataclasses.replace(BASE, num_steps=2, checkpoint_every=1)
LOOK = EvaluateConfig(name="look", template=BASE.template, evaluation=EVALUATION)


def sums(name: str, skip: int = 0, **changes) -> SuiteBenchmark:
    """A benchmark of four sums, two samples each."""
    data = dataclasses.replace(EVALUATION.data, rewards="maths", skip=skip)
    evaluation = dataclasses.replace(EVALUATION, data=data, samples=2, sampling=SHORT)
    return SuiteBenchmark(
        name, dataclasses.replace(evaluation, **changes), (("a model of others", 0.5),), asking=AS_IT_IS
    )


SUITE = SuiteConfig(
    name="tiny",
    benchmarks=(sums("first"), sums("second", skip=4)),
    sets=(RewardSetConfig("maths", (RewardConfig("maths"),)), RewardSetConfig("code", (RewardConfig("code"),))),
    pairwise=PairwiseConfig(sampling=SHORT, sampler=EVALUATION.sampler, asking=AS_IT_IS, bootstrap_resamples=50),
)
RUN = tiny_run(STAGE, LOOK)


def trained(folder) -> str:
    """A workdir in which STAGE has been run."""
    run_on_one(tiny_run(STAGE), str(folder))
    return str(folder)


def results_of(
    suite: SuiteConfig, workdir: str, *, stage=STAGE, step=None, checkpoint=None, config=RUN, judge_against=None, **more
) -> dict[str, dict]:
    """What `run_suite` gives of a stage's checkpoint."""
    config = suite.of(config)
    with open_context(config, Workdir(workdir), jax.devices()[:1]) as whole:
        run = whole.of(stage.name)
        subject = subject_of(stage, run, checkpoint, step)
        reference = None if judge_against is None else epath.Path(judge_against)
        return run_suite(suite, subject, run, reference=reference, **more)
