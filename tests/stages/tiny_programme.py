"""A whole programme at the smallest size: every kind of stage, each taking what earlier ones have left."""

import dataclasses
import os
import pathlib
import subprocess
import sys

from tiny_collect import COLLECT, PREFER
from tiny_preferences import helpful, labelled, written
from tiny_runs import BASE, EVALUATION, NEW_TOKENS, OPTIMIZER, PLAIN, SAMPLER, ZERO, tiny_run
from tiny_search import labels, of_stage, policy, searching, value

from r1jax.config import (
    BatchConfig,
    BenchmarkConfig,
    DataConfig,
    DistillConfig,
    EvaluateConfig,
    GateConfig,
    GeneralDataConfig,
    MixedDataConfig,
    PreferenceConfig,
    RefineConfig,
    RewardConfig,
    RewardsConfig,
    RewardSetConfig,
    RunConfig,
    Schedule,
    StageConfig,
    StudentConfig,
    constant,
)

ROOT = pathlib.Path(__file__).resolve().parents[2]
ROWS = BatchConfig(row_tokens=64, micro_batch_rows=8)
QUICK = dataclasses.replace(EVALUATION, samples=2)
CHANGES = {"num_steps": 8, "minibatches": 2, "checkpoint_every": 2, "evaluation": QUICK}
LAST = Schedule(((0, 0.0), (4, 1.0)))  # of eight steps


def general(folder: pathlib.Path) -> DataConfig:
    """Small talk with answers."""
    answers = [f"so {n} + {n} is {2 * n}" for n in range(5)] + ["check"]
    records = [
        {"id": f"talk-{n}", "question": f"Tom has {n} ?", "response": response, "rewards": "general"}
        for n, response in enumerate(answers)
    ]
    return written(folder / "general.jsonl", records)


def stages_of_all_kinds(folder: pathlib.Path) -> tuple[StageConfig, ...]:
    """The stages, in order; files that they read are written into `folder`."""
    talk = general(folder)
    halved = RefineConfig(by="rule", rule="tiny_collect:halved")
    return (
        dataclasses.replace(BASE, gate=GateConfig(QUICK, accuracy=0.01), evaluation=QUICK),
        dataclasses.replace(ZERO, **CHANGES, validation=QUICK, validate_every=2, reference_refresh_every=2),
        dataclasses.replace(COLLECT, name="cold_start_data", start="zero", samples=6, refine=halved),
        policy(of_stage("cold_start_data"), name="cold_start", num_steps=4, evaluation=QUICK),
        dataclasses.replace(PREFER, start="cold_start"),
        helpful(of_stage("pairs"), start="base", batch_records=4, num_steps=4, validate_every=2),
        helpful(
            written(folder / "labelled.jsonl", labelled(32)),
            name="safety",
            start="base",
            loss="pointwise",
            reads="whole",
            num_steps=4,
        ),
        dataclasses.replace(
            COLLECT, name="rejection_data", start="cold_start", samples=2, general=(GeneralDataConfig(talk),)
        ),
        policy(of_stage("rejection_data"), name="rejection_sft", num_steps=4),
        dataclasses.replace(
            ZERO,
            name="all_scenarios",
            start="rejection_sft",
            **CHANGES,
            mixed=(MixedDataConfig(talk, LAST),),
            preferences=(PreferenceConfig("helpful", LAST), PreferenceConfig("safety", sets=("default",))),
            validation=QUICK,
            validate_every=2,
            preference_validation=dataclasses.replace(QUICK, data=talk),
            benchmarks=(BenchmarkConfig("talk", dataclasses.replace(QUICK, data=talk, answers_vote=False)),),
        ),
        labels(start="cold_start", samples=3),
        value(of_stage("labels"), start="cold_start"),
        searching(start="cold_start"),
        policy(of_stage("search"), name="searched_policy", start="cold_start"),
        value(of_stage("search", "values.jsonl"), name="searched_value", start="value"),
        dataclasses.replace(BASE, name="student_base", student="small", num_steps=4, checkpoint_every=2),
        policy(of_stage("rejection_data"), name="student_distilled", start="student_base", student="small"),
        DistillConfig(
            name="student_taught",
            teacher="cold_start",
            student="small",
            start="student_base",
            template=PLAIN,
            data=ZERO.data,
            num_steps=4,
            minibatches=2,
            rollout_prompts=4,
            group_size=2,
            max_new_tokens=constant(NEW_TOKENS),
            optimizer=OPTIMIZER,
            batch=ROWS,
            sampler=SAMPLER,
            checkpoint_every=2,
            evaluation=QUICK,
        ),
        EvaluateConfig(
            name="check",
            start="all_scenarios",
            template=PLAIN,
            evaluation=dataclasses.replace(QUICK, scored_by=("helpful", "value")),
        ),
    )


def programme(folder: pathlib.Path) -> RunConfig:
    """The run of all kinds of stages."""
    small = dataclasses.replace(tiny_run(BASE).model, hidden_size=16, ffn_size=32, num_layers=1, scan_unroll=1)
    run = tiny_run(*stages_of_all_kinds(folder), students=(StudentConfig("small", small),))
    graded = RewardConfig("tiny_collect:even"), RewardConfig("tiny_runs:length")
    sets = RewardSetConfig("default", graded), RewardSetConfig("general", (RewardConfig("format"), graded[1]))
    return dataclasses.replace(run, rewards=RewardsConfig(sets=sets, workers=1))


def config_file(folder: pathlib.Path, call: str) -> pathlib.Path:
    """A config file whose run is what `call` gives, a call of a function of this module or of a test's."""
    module = call.partition(".")[0]
    path = folder / "config.py"
    path.write_text(
        f"""
import pathlib, sys
sys.path.insert(0, {str(pathlib.Path(__file__).parent)!r})
import {module}

def get_config():
    return {call}
"""
    )
    return path


def start(config: pathlib.Path, workdir: pathlib.Path, *flags: str) -> subprocess.Popen:
    """The command that runs stages, on one device."""
    command = [sys.executable, "experiments/run.py", f"--config={config}", f"--workdir={workdir}", *flags]
    one_device = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    return subprocess.Popen(
        command, cwd=ROOT, env=one_device, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )
