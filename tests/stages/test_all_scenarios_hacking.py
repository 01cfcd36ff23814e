"""A policy that finds out what a reward model loves: the alarm rings where answers get worse by it, and only there.

The policy has two habits, which it is taught first: a short answer that is right, and a long one that is wrong. One
reward model has learned that the longer answer is the better one, the other that the right one is.
"""

import dataclasses
import json
import random

import pytest
from tiny_preferences import helpful, written
from tiny_runs import BASE, EVALUATION, PLAIN, ZERO, lines, run_on_one, tiny_run

from r1jax import doctor
from r1jax.config import (
    BatchConfig,
    OptimizerConfig,
    PolicyLossConfig,
    PreferenceConfig,
    RewardConfig,
    RewardSetConfig,
    SftConfig,
    constant,
)
from r1jax.stages import session

DIGITS = "0123456789"
WINDOW = 5


def short(digit: str) -> str:
    return f"<answer> {digit} </answer>"


def long(digit: str, draw: random.Random) -> str:
    padding = " ".join(draw.choice(("check", "wait", "so")) for _ in range(draw.randint(6, 12)))
    return f"{padding} <answer> {draw.choice(DIGITS.replace(digit, ''))} </answer>"


def question(digit: str) -> str:
    return f"compute {digit} ?"


def habits(folder):
    """What the policy is taught: of each prompt as many short answers as long ones."""
    draw = random.Random(0)
    records = [
        {"id": f"{digit}-{number}-{kind}", "question": question(digit), "response": text}
        for digit in DIGITS
        for number in range(16)
        for kind, text in (("short", short(digit)), ("long", long(digit, draw)))
    ]
    return written(folder / "habits.jsonl", records)


def preferred(folder, *, longer: bool):
    """Pairs of a right short answer and a wrong long one."""
    draw = random.Random(1)
    records = []
    for number in range(120):
        digit = draw.choice(DIGITS)
        answers = (long(digit, draw), short(digit))
        chosen, rejected = answers if longer else answers[::-1]
        records.append({"id": f"{number}", "question": question(digit), "chosen": chosen, "rejected": rejected})
    return written(folder / f"pairs-{longer}.jsonl", records)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """What the two stages of RL have left: their lines of metrics, and what was said while they ran."""
    folder = tmp_path_factory.mktemp("hacking")
    prompts = written(
        folder / "prompts.jsonl", [{"id": one, "question": question(one), "answer": one} for one in DIGITS]
    )
    base = SftConfig(
        name="base",
        template=PLAIN,
        data=habits(folder),
        num_steps=400,
        batch_sequences=32,
        batch=BASE.batch,
        optimizer=OptimizerConfig(learning_rate=5e-3),
        checkpoint_every=400,
    )
    models = [
        helpful(
            preferred(folder, longer=longer),
            name=name,
            start="base",
            reads="whole",
            num_steps=20,
            checkpoint_every=20,
            batch=BatchConfig(row_tokens=64, micro_batch_rows=16),
            optimizer=OptimizerConfig(learning_rate=3e-3),
        )
        for name, longer in (("loves_length", True), ("loves_truth", False))
    ]
    stages = [
        dataclasses.replace(
            ZERO,
            name=name,
            start="base",
            data=prompts,
            num_steps=24,
            rollout_prompts=8,
            loss=PolicyLossConfig(kl_coefficient=0.0),
            optimizer=OptimizerConfig(learning_rate=5e-4),
            preferences=(PreferenceConfig(model, constant(1.0), sets=("default",)),),
            validation=dataclasses.replace(EVALUATION, data=prompts, samples=16),
            validate_every=3,
            hacking_window=WINDOW,
            checkpoint_every=24,
            evaluation=None,
        )
        for name, model in (("hacked", "loves_length"), ("healthy", "loves_truth"))
    ]
    run = tiny_run(base, *models, *stages)
    sets = (RewardSetConfig("default", (RewardConfig("maths", constant(0.1)),)),)
    run = dataclasses.replace(run, rewards=dataclasses.replace(run.rewards, sets=sets))
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session.logging, "warning", lambda text, *values: said.append(text % values))
        run_on_one(run, str(folder / "run"))
    found = {stage.name: lines(folder / "run" / stage.name / "metrics.jsonl") for stage in stages}
    return found, said, folder / "run"


def validated(metrics, name):
    return [line[f"validation/{name}"] for line in metrics if f"validation/{name}" in line]


@pytest.mark.slow
def test_the_alarm_rings_while_a_reward_model_that_loves_length_is_pleased_with_wrong_answers(runs):
    found, said, _ = runs
    right, scores = (validated(found["hacked"], name) for name in ("pass@1", "reward_model_score"))
    assert right[0] > 0.3  # it is planted: the policy was right more often
    assert right[-1] < right[0] - 0.2
    assert scores[-1] > scores[0]
    lengths = validated(found["hacked"], "mean_length_tokens")
    assert lengths[-1] > lengths[0] + 2
    (alarm,) = [one for one in said if "being hacked" in one]
    assert alarm.startswith("hacked: step ")
    assert int(alarm.split()[2].rstrip(":")) < 24  # not only when all is over
    findings = [one for one in doctor.diagnose(found["hacked"], doctor.Doctor(WINDOW)) if one.rule == "hacking"]
    assert [str(one) for one in findings] == [alarm.removeprefix("hacked: ")]


@pytest.mark.slow
def test_the_alarm_is_silent_where_the_reward_model_is_pleased_with_right_answers(runs):
    found, said, path = runs
    right, scores = (validated(found["healthy"], name) for name in ("pass@1", "reward_model_score"))
    assert right[-1] > right[0] + 0.1
    assert scores[-1] > scores[0]
    assert not [one for one in said if one.startswith("healthy:") and "hacked" in one]
    assert "hacking" not in {one.rule for one in doctor.diagnose(found["healthy"], doctor.Doctor(WINDOW))}
    for model in ("loves_length", "loves_truth"):  # each is right about what it was taught
        assert json.loads((path / model / "eval.json").read_text())["held_out_accuracy"] > 0.9
