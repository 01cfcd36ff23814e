"""What the training stages can be told to do, seen in what they leave behind."""

import dataclasses
import json

import jax
import numpy as np
import pytest
from test_resume import Stopped, stopping
from tiny_runs import BASE, EVALUATION, ZERO, lines, run_on_one, tiny_run, with_loss

from r1jax import pipeline
from r1jax.config import DataConfig, GateConfig, MeshConfig, RewardConfig, SftConfig, constant
from r1jax.stages import pretrain
from r1jax.stages.errors import TrainingError
from r1jax.stages.evaluate import evaluate
from r1jax.stages.session import Session
from r1jax.workdir import Workdir


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The checkpoint folder of a pretrained miniature."""
    path = tmp_path_factory.mktemp("base")
    run_on_one(tiny_run(BASE), str(path))
    return str(path / "base" / "checkpoints")


def zero_metrics(stage, path) -> list[dict]:
    run_on_one(tiny_run(stage), str(path))
    return lines(path / stage.name / "metrics.jsonl")


def test_dynamic_sampling_replaces_groups_without_a_signal_and_counts_them(base, tmp_path):
    # The maths reward alone: an untrained model is wrong everywhere, so every group is without a signal.
    run = tiny_run(dataclasses.replace(ZERO, start=base, num_steps=1, dynamic_sampling=True, max_backfill_rounds=2))
    rewards = dataclasses.replace(run.rewards.sets[0], rewards=run.rewards.sets[0].rewards[:1])
    run = dataclasses.replace(run, rewards=dataclasses.replace(run.rewards, sets=(rewards,)))
    with pytest.raises(TrainingError, match="after 3 rounds .* no group whose rewards differ"):
        run_on_one(run, str(tmp_path / "wrong"))
    (line,) = zero_metrics(
        dataclasses.replace(ZERO, start=base, num_steps=1, dynamic_sampling=True, evaluation=None), tmp_path / "mixed"
    )
    assert line["groups"] == ZERO.rollout_prompts
    assert line["zero_variance_share"] == 0
    assert line["drawn_groups"] == ZERO.rollout_prompts * (1 + line["backfill_rounds"])


def test_a_reward_that_compares_completions_sees_their_whole_group(base, tmp_path):
    run = tiny_run(dataclasses.replace(ZERO, start=base, num_steps=1, evaluation=None, checkpoint_every=1))
    ranked = dataclasses.replace(run.rewards.sets[0], rewards=(RewardConfig("tiny_runs:rank"),))
    run = dataclasses.replace(
        run,
        rewards=dataclasses.replace(run.rewards, sets=(ranked,)),
        logging=dataclasses.replace(run.logging, samples_per_step=16),
    )
    run_on_one(run, str(tmp_path))
    groups = {}
    for line in lines(tmp_path / "zero" / "samples.jsonl"):
        groups.setdefault(line["prompt"], []).append((line["tokens"], line["rewards"]["tiny_runs:rank"]))
    assert len(groups) == ZERO.rollout_prompts
    for group in groups.values():
        lengths = [length for length, _ in group]
        assert [reward for _, reward in group] == [sum(other < one for other in lengths) / 4 for one in lengths]
    assert len({length for group in groups.values() for length, _ in group}) > 1


def test_inner_epochs_train_several_times_on_one_rollout(base, tmp_path):
    stage = dataclasses.replace(
        ZERO, start=base, num_steps=8, minibatches=2, inner_epochs=2, checkpoint_every=4, evaluation=None
    )
    found = zero_metrics(stage, tmp_path)
    assert [("reward" in line) for line in found] == [True, False, False, False] * 2
    # On the first pass over the first minibatch the policy is still the one that sampled; later it has moved.
    assert found[0]["ratio_max"] == pytest.approx(1.0, abs=1e-5)
    assert all(line["ratio_max"] > 1.0 + 1e-4 for line in found[1:4])


def test_refreshing_the_reference_brings_the_kl_back_to_zero(base, tmp_path):
    stage = dataclasses.replace(ZERO, start=base, num_steps=4, reference_refresh_every=2, evaluation=None)
    kl = [line["kl"] for line in zero_metrics(stage, tmp_path)]
    assert kl[0] == pytest.approx(0.0, abs=1e-6)
    assert kl[1] > 1e-4
    assert kl[2] == pytest.approx(0.0, abs=1e-6)  # the reference was made after step 2
    assert kl[3] > 1e-4


def test_kl_in_the_reward_is_taken_from_it(base, tmp_path):
    plain = dataclasses.replace(ZERO, start=base, num_steps=2, evaluation=None)
    first = zero_metrics(with_loss(plain, kl_coefficient=0.0), tmp_path / "without")
    second = zero_metrics(with_loss(plain, kl_coefficient=0.0, kl_in_reward=0.5), tmp_path / "with")
    assert first[0]["reward"] == pytest.approx(second[0]["reward"], abs=1e-4)  # policy and reference are the same
    assert first[1]["reward"] != pytest.approx(second[1]["reward"], abs=1e-4)


def test_an_adaptive_kl_coefficient_survives_a_resume(base, tmp_path):
    stage = with_loss(
        dataclasses.replace(ZERO, start=base, num_steps=4, evaluation=None), kl_coefficient=0.1, kl_target=1e-6
    )
    found = zero_metrics(dataclasses.replace(stage, loss=dataclasses.replace(stage.loss, kl_horizon=16)), tmp_path)
    # Far above its target, KL raises the coefficient by 1 + 0.2 x 16 sequences / 16 a rollout, but for the first
    # rollout, where it is 0 and lowers it as much.
    assert [line["kl_coefficient"] for line in found] == pytest.approx([0.1, 0.08, 0.096, 0.1152], rel=1e-4)


def test_a_kl_coefficient_without_a_target_is_the_config_s_also_after_a_resume(base, tmp_path, monkeypatch):
    stage = dataclasses.replace(ZERO, start=base, num_steps=3, checkpoint_every=2, evaluation=None)
    with monkeypatch.context() as patch:
        stopping(patch, Session, "update", call=3, after=False)
        with pytest.raises(Stopped):
            run_on_one(tiny_run(with_loss(stage, kl_coefficient=0.1)), str(tmp_path))
    found = zero_metrics(with_loss(stage, kl_coefficient=0.2), tmp_path)
    assert [line["kl_coefficient"] for line in found] == [0.1, 0.1, 0.2]


def test_masked_truncated_completions_give_no_tokens_to_the_loss(base, tmp_path):
    stage = dataclasses.replace(ZERO, start=base, num_steps=1, max_new_tokens=constant(6), evaluation=None)
    (kept,) = zero_metrics(stage, tmp_path / "kept")
    (masked,) = zero_metrics(with_loss(stage, mask_truncated=True), tmp_path / "masked")
    assert kept["truncated_share"] == masked["truncated_share"] > 0
    cut = round(kept["truncated_share"] * ZERO.rollout_prompts * ZERO.group_size)
    assert kept["tokens"] - masked["tokens"] == 6 * cut
    assert kept["reward"] == masked["reward"]


def test_schedules_change_length_and_temperature_by_step(base, tmp_path):
    stage = dataclasses.replace(
        ZERO,
        start=base,
        num_steps=2,
        evaluation=None,
        max_new_tokens=dataclasses.replace(constant(6), points=((0, 6), (1, 12))),
    )
    found = zero_metrics(stage, tmp_path)
    assert found[0]["completion_tokens_max"] == 6
    assert 6 < found[1]["completion_tokens_max"] <= 12


@pytest.mark.parametrize("name", ["bnpo", "dr_grpo", "dapo", "gspo", "cispo"])
def test_every_loss_trains(name, base, tmp_path):
    (line,) = zero_metrics(
        with_loss(dataclasses.replace(ZERO, start=base, num_steps=1, evaluation=None), name=name), tmp_path
    )
    assert line["skipped"] == 0
    assert line["grad_norm"] > 0


def test_sft_learns_its_responses(base, tmp_path):
    path = tmp_path / "examples.jsonl"
    path.write_text(
        "".join(
            json.dumps({"question": f"compute 4 {i} + 2 ?", "response": f"<answer> 4 {i} </answer>"}) + "\n"
            for i in range(8)
        )
    )
    stage = SftConfig(
        name="sft",
        start=base,
        template=BASE.template,
        data=DataConfig(kind="jsonl", path=str(path)),
        num_steps=80,
        batch_sequences=8,
        batch=BASE.batch,
        optimizer=BASE.optimizer,
    )
    run_on_one(tiny_run(stage), str(tmp_path / "run"))
    losses = [line["loss"] for line in lines(tmp_path / "run" / "sft" / "metrics.jsonl")]
    assert losses[-1] < 0.5 * losses[0]


def test_a_gate_that_is_not_passed_extends_the_stage_and_then_stops_the_run(tmp_path):
    gate = GateConfig(evaluation=dataclasses.replace(EVALUATION, samples=2), accuracy=1.0, extra=0.5, rounds=1)
    with pytest.raises(TrainingError, match=r"base: the gate needs a pass@1 of 1.0 and 9 steps gave 0"):
        run_on_one(tiny_run(dataclasses.replace(BASE, gate=gate)), str(tmp_path))
    assert len(lines(tmp_path / "base" / "metrics.jsonl")) == 9  # 6, and half as many again
    assert json.loads((tmp_path / "base" / "gate.json").read_text())["step"] == 9


def test_a_gate_is_not_asked_again_where_validation_has_ended_the_stage(tmp_path, monkeypatch):
    looks = []
    monkeypatch.setattr(pretrain, "evaluate", lambda *args, **kw: looks.append(kw["purpose"]) or evaluate(*args, **kw))
    samples = dataclasses.replace(EVALUATION, samples=2)  # an untrained model is wrong everywhere
    stage = dataclasses.replace(
        BASE,
        gate=GateConfig(evaluation=samples, accuracy=1.0, extra=1.0, rounds=3),
        validation=samples,
        validate_every=1,
        patience=1,
    )
    with pytest.raises(TrainingError, match=r"base: .* and 2 steps gave 0.000; validation ended .*patience or stop_at"):
        run_on_one(tiny_run(stage), str(tmp_path))
    assert looks == ["base/gate"]


def test_validation_stops_at_a_plateau_and_keeps_the_best(base, tmp_path):
    stage = dataclasses.replace(
        ZERO,
        start=base,
        num_steps=6,
        validation=dataclasses.replace(EVALUATION, samples=2),
        validate_every=1,
        patience=2,
        keep_best=True,
        evaluation=None,
    )
    found = zero_metrics(stage, tmp_path)
    scores = [line["validation/pass@1"] for line in found]
    best = scores.index(max(scores))
    assert len(scores) == min(6, best + 3)
    assert Workdir(tmp_path).outputs("zero")["step"] == best + 1


def test_updates_that_are_never_finite_stop_the_run(base, tmp_path, monkeypatch):
    update = Session.update

    def poisoned(self, batch):
        return update(self, batch | {"advantages": np.full_like(batch["advantages"], np.nan)})

    monkeypatch.setattr(Session, "update", poisoned)
    stage = dataclasses.replace(
        ZERO, start=base, num_steps=6, evaluation=None, optimizer=dataclasses.replace(ZERO.optimizer, max_bad_steps=3)
    )
    with pytest.raises(TrainingError, match="zero: 3 updates in a row"):
        run_on_one(tiny_run(stage), str(tmp_path))


@pytest.mark.slow
def test_a_run_on_eight_devices_starts_as_that_on_one(base, tmp_path):
    stage = dataclasses.replace(ZERO, start=base, num_steps=2)
    meshes = {"one": MeshConfig(), "fsdp x tensor": MeshConfig(data=1, fsdp=4, tensor=2), "data": MeshConfig(data=8)}
    found = {}
    for name, mesh in meshes.items():
        devices = jax.devices()[:1] if name == "one" else jax.devices()
        pipeline.run(dataclasses.replace(tiny_run(stage), mesh=mesh), str(tmp_path / name), devices=devices)
        found[name] = lines(tmp_path / name / "zero" / "metrics.jsonl")[0]
    for name in ("fsdp x tensor", "data"):
        assert found[name]["reward"] == found["one"]["reward"]
        assert found[name]["grad_norm"] == pytest.approx(found["one"]["grad_norm"], rel=1e-5)
