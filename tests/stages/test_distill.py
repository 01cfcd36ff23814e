"""On-policy distillation: what its gradient is, that the student comes nearer to its teacher, and that it resumes."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from test_resume import CLOCK, Stopped, stopping
from tiny_runs import BASE, NEW_TOKENS, OPTIMIZER, PLAIN, SAMPLER, lines, run_on_one, tiny_run

from r1jax.checkpoint import Checkpointer
from r1jax.claims.costs import stage_flops
from r1jax.config import (
    BatchConfig,
    ConfigError,
    DataConfig,
    DistillConfig,
    ModelConfig,
    PolicyLossConfig,
    StudentConfig,
    constant,
)
from r1jax.learn import steps
from r1jax.learn.policy_losses import PolicyTerms, policy_loss
from r1jax.learn.state import StepConfig, TrainState
from r1jax.models import decoder
from r1jax.models.flops import Work, flops
from r1jax.sampler.engine import Completion
from r1jax.stages import distill, distill_rollout
from r1jax.stages.context import open_context
from r1jax.stages.distill_rollout import DistillRollout
from r1jax.stages.distill_teacher import Teacher
from r1jax.stages.grading import Prompt
from r1jax.stages.session import Session
from r1jax.stages.weights import load_params
from r1jax.text.templates import RenderedPrompt
from r1jax.workdir import Workdir

SMALL = ModelConfig(
    vocab_size=48,
    hidden_size=16,
    num_layers=1,
    num_heads=2,
    num_kv_heads=1,
    ffn_size=32,
    scan_unroll=1,
)
TEACHER = dataclasses.replace(BASE, num_steps=16, checkpoint_every=16)
STAGE = DistillConfig(
    name="taught",
    teacher="base",
    student="small",
    template=PLAIN,
    data=DataConfig(kind="task", name="chained_sums", limit=32),
    num_steps=24,
    rollout_prompts=8,
    group_size=2,
    max_new_tokens=constant(NEW_TOKENS),
    optimizer=OPTIMIZER,
    batch=BatchConfig(row_tokens=64, micro_batch_rows=8),
    sampler=SAMPLER,
    checkpoint_every=8,
    minibatches=2,
)
RUN = tiny_run(TEACHER, STAGE, students=(StudentConfig("small", SMALL),))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A teacher, and a smaller student taught by it."""
    path = tmp_path_factory.mktemp("distilled")
    run_on_one(RUN, str(path))
    return path


# --- what the gradient is ---


def test_the_expected_gradient_is_that_of_the_reverse_kl_by_hand():
    """One token of three: p = (0.5, 0.3, 0.2), the teacher's q = (0.2, 0.3, 0.5).

    log p/q = (ln 2.5, 0, -ln 2.5); KL = 0.3 ln 2.5 = 0.27489; dKL/dz_v = p_v (log p_v/q_v - KL)
    = (0.5 x 0.64140, 0.3 x -0.27489, 0.2 x -1.19118).
    """
    p, q = np.array([0.5, 0.3, 0.2], np.float32), np.array([0.2, 0.3, 0.5], np.float32)
    config = STAGE.loss

    def loss(logits_V, token):
        logp_11 = jax.nn.log_softmax(logits_V)[token].reshape(1, 1)
        old_11 = jnp.log(p[token]).reshape(1, 1)
        terms = PolicyTerms(
            logps=logp_11,
            old_logps=old_11,
            advantages=jnp.log(q[token]).reshape(1, 1) - old_11,
            mask=jnp.ones((1, 1), jnp.float32),
            segments=jnp.ones((1, 1), jnp.int32),
            entropy=jnp.zeros((1, 1), jnp.float32),
        )
        sums = policy_loss(terms, config, kl_coefficient=0.0)
        return sums.loss / sums.weight

    gradient = sum(p[token] * jax.grad(loss)(jnp.log(p), token) for token in range(3))
    np.testing.assert_allclose(gradient, [0.32070, -0.08247, -0.23824], atol=1e-5)


@functools.partial(jax.jit, static_argnums=(2, 3))
def logps_after(params, tokens_T, model: ModelConfig, temperature: float):
    """Log-probs of every token after each position of a row, [T, V]; the row may be padded with -1."""
    tokens_1T, positions_1T = jnp.maximum(tokens_T, 0)[None], jnp.arange(tokens_T.size)[None]
    segments_1T = (tokens_T >= 0).astype(jnp.int32)[None]
    hidden_1TD = decoder.forward(params, tokens_1T, positions_1T, segments_1T, config=model)
    return jax.nn.log_softmax(decoder.logits(params, hidden_1TD, config=model)[0] / temperature)


def test_through_the_stage_too_the_expected_gradient_is_that_of_the_reverse_kl():
    """Every possible completion of one token goes through scoring, batching and the loss, weighted with its chance."""
    temperature = 0.7
    model = dataclasses.replace(SMALL, vocab_size=12, init_range=0.3)
    wide = dataclasses.replace(model, hidden_size=32, num_layers=2)
    one = {"minibatches": 1, "rollout_prompts": 1, "group_size": 1}
    stage = dataclasses.replace(STAGE, temperature=constant(temperature), **one)
    student, other = (jax.jit(lambda key, m=m: decoder.init(m, key))(jax.random.key(4)) for m in (model, wide))
    prompt = (2, 3, 5)
    prompt_T = jnp.asarray(prompt, jnp.int32)
    config = StepConfig(model, stage.optimizer, num_steps=1, loss=stage.loss, max_new_tokens=NEW_TOKENS)
    of_teacher = dataclasses.replace(config, model=wide)
    score = jax.jit(lambda params, batch: steps.score(params, batch, config=config)["logps"])
    score_teacher = jax.jit(lambda batch: steps.score(other, batch, config=of_teacher)["logps"])
    gradients = jax.jit(lambda batch: steps.policy_gradients(student, batch, config=config)[0])
    context = dataclasses.make_dataclass("Context", ["seed_of"])(lambda purpose: 0)
    state = TrainState(student, None, None, None, None, None)

    old_V = np.asarray(logps_after(student, prompt_T, model, temperature)[-1])
    teacher = Teacher(wide, lambda batch: np.asarray(score_teacher(batch)))
    expected = jax.grad(
        lambda params: jnp.sum(
            jnp.exp(logps := logps_after(params, prompt_T, model, temperature)[-1])
            * (logps - logps_after(other, prompt_T, wide, temperature)[-1])
        )
    )(student)

    def by_student(params):
        return lambda batch: np.asarray(score(params, batch))

    found = jax.tree.map(jnp.zeros_like, student)
    for token in range(model.vocab_size):
        completion = Completion(0, 0, np.array([token], np.int32), old_V[token : token + 1], True)
        rollout = DistillRollout([Prompt({"id": "0"}, RenderedPrompt("", prompt, ""))], [completion], {})
        distill.add_scores(rollout, stage, 0, run=context, student=by_student(student), teacher=teacher)
        (batch,), _ = distill.distill_batches(stage, 0, rollout, run=context, state=state, scored_by=by_student)
        found = jax.tree.map(lambda sum_, one, t=token: sum_ + np.exp(old_V[t]) * one, found, gradients(batch))
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=2e-5)
    assert max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected)) > 0.01


# --- the stage ---


def exact_kl(path, folder: str | None) -> float:
    """KL(student || teacher) of the next token, mean over the positions of what the student wrote in the run, nats."""
    with open_context(RUN, Workdir(str(path)), jax.devices()[:1]) as run:
        student, teacher = run.of("taught"), run.of("base")
        ours = load_params(folder, None, student)
        theirs = load_params(str(path / "base" / "checkpoints"), None, teacher)
        total = []
        for sample in lines(path / "taught" / "samples.jsonl"):
            prompt = student.tokenizer.encode(sample["question"])
            tokens = prompt + student.tokenizer.encode(sample["completion"])
            tokens_T = jnp.asarray(tokens + [-1] * (64 - len(tokens)), jnp.int32)
            p_TV = logps_after(ours, tokens_T, student.config.model, 1.0)
            q_TV = logps_after(theirs, tokens_T, teacher.config.model, 1.0)
            kl_T = jnp.sum(jnp.exp(p_TV) * (p_TV - q_TV), axis=-1)
            total.append(float(kl_T[len(prompt) - 1 : len(tokens)].mean()))
    return float(np.mean(total))


def test_the_student_comes_nearer_to_a_teacher_of_another_size(finished):
    measured = [line["reverse_kl"] for line in lines(finished / "taught" / "metrics.jsonl") if "reverse_kl" in line]
    assert len(measured) == STAGE.num_steps // STAGE.minibatches
    assert np.mean(measured[-3:]) < 0.5 * measured[0]
    # Not as the run estimates it, but exactly, and on the same prefixes before and after.
    before, after = exact_kl(finished, None), exact_kl(finished, str(finished / "taught" / "checkpoints"))
    assert 0 < after < 0.75 * before


def test_the_metrics_of_a_rollout_fit_one_another(finished):
    line = lines(finished / "taught" / "metrics.jsonl")[0]
    assert line["reverse_kl"] == pytest.approx(line["student_logp"] - line["teacher_logp"], abs=1e-5)
    completions = STAGE.rollout_prompts * STAGE.group_size
    assert line["work/score/teacher_targets"] == round(line["completion_tokens"] * completions)
    assert line["work/score/old_tokens"] == line["work/score/teacher_tokens"]
    predicted = line["work/decode_targets"] + line["work/prefill_targets"]
    # A group's first tokens all come from one prefill.
    assert predicted == line["work/score/old_targets"] - completions + STAGE.rollout_prompts
    assert line["mismatch"] < 1e-3
    sample = lines(finished / "taught" / "samples.jsonl")[0]
    assert {"question", "completion", "reverse_kl", "stopped"} <= sample.keys()


def test_a_step_costs_what_both_models_do_each_at_its_own_size(finished):
    costs = stage_flops(Workdir(str(finished)), "taught")
    rollouts = [line for line in lines(finished / "taught" / "metrics.jsonl") if "reverse_kl" in line]
    read = Work()
    for line in rollouts:
        read += Work.read(line)["score/teacher"]
    assert costs.score == pytest.approx(flops(RUN.model, read, "forward") + flops(SMALL, read, "forward"))
    assert costs.sample > 0


def test_a_distillation_can_be_held_near_its_start(tmp_path):
    loss = PolicyLossConfig(name="grpo", kl_coefficient=0.1, kl_target=1e-6, kl_horizon=100)
    held = dataclasses.replace(STAGE, loss=loss, num_steps=4, checkpoint_every=4)
    run_on_one(dataclasses.replace(RUN, stages=(TEACHER, held)), str(tmp_path))
    first, second, third, _ = lines(tmp_path / "taught" / "metrics.jsonl")
    assert first["kl"] == pytest.approx(0, abs=1e-6)
    assert second["kl"] > 1e-5
    # Far above its target: 0.1 x (1 + 0.2 x 16 completions / 100).
    assert third["kl_coefficient"] == pytest.approx(0.1 * 1.032)
    assert Work.read(third)["score/reference"] == Work.read(third)["score/teacher"]  # one more that reads it all


def test_a_loss_with_a_reward_in_it_is_refused():
    with pytest.raises(ConfigError, match=r"taught.loss.kl_in_reward: expected 0 \(the teacher's"):
        dataclasses.replace(STAGE, loss=PolicyLossConfig(kl_in_reward=0.1))


# --- masks ---


def made_rollout(stopped=(True, True)) -> DistillRollout:
    prompts = [Prompt({"id": str(number)}, RenderedPrompt("", (2, 3 + number), "")) for number in range(2)]
    tokens = [np.array([4, 5, 1], np.int32), np.array([6, 50, 7], np.int32)]  # the teacher has no token 50
    done = [
        Completion(n, 0, one, np.full(len(one), -3.0, np.float32), stop)
        for n, (one, stop) in enumerate(zip(tokens, stopped, strict=True))
    ]
    return DistillRollout(prompts, done, {})


def constant_scores(value: float):
    return lambda batch: np.full(batch["tokens"].shape, value, np.float32)


CONTEXT = dataclasses.make_dataclass("Context", ["seed_of"])(lambda purpose: 0)
TWO = dataclasses.replace(STAGE, rollout_prompts=2, group_size=1, minibatches=1)


def scored_rollout(stage=TWO, **fields) -> DistillRollout:
    rollout = made_rollout(**fields)
    teacher = Teacher(dataclasses.replace(SMALL, vocab_size=48), constant_scores(-2.0))
    distill.add_scores(rollout, stage, 0, run=CONTEXT, student=constant_scores(-3.5), teacher=teacher)
    return rollout


def test_a_token_that_the_teacher_lacks_is_unlearnt_and_what_follows_is_left_out():
    rollout = scored_rollout()
    never = np.float32(np.log(1e-9))
    np.testing.assert_array_equal(rollout.teacher_logps[1], np.array([-2, never, np.nan], np.float32))
    (batch,), metrics = distill.distill_batches(TWO, 0, rollout, run=CONTEXT, state=None, scored_by=None)
    assert metrics["untrained_share"] == pytest.approx(1 / 6)
    trained = batch["advantages"][batch["mask"] > 0]
    np.testing.assert_allclose(np.sort(trained), [never + 3.5, 1.5, 1.5, 1.5, 1.5], rtol=1e-6)
    assert np.isfinite(batch["advantages"]).all()


def test_truncated_completions_can_be_left_out():
    stage = dataclasses.replace(TWO, loss=dataclasses.replace(TWO.loss, mask_truncated=True))
    rollout = scored_rollout(stage, stopped=(False, True))
    (batch,), metrics = distill.distill_batches(stage, 0, rollout, run=CONTEXT, state=None, scored_by=None)
    assert metrics["untrained_share"] == pytest.approx(4 / 6)
    assert batch["mask"].sum() == 2


# --- kills ---

MOMENTS = {
    "after the journal": (distill_rollout, "journal", 3, True),
    "between two minibatches": (Session, "update", TEACHER.num_steps + 4, False),
    "after a save": (Checkpointer, "save", 2, True),
}


def final_arrays(path) -> list[np.ndarray]:
    from orbax.checkpoint import v1 as ocp

    folder = path / "taught" / "checkpoints" / str(STAGE.num_steps)
    return jax.tree.leaves(ocp.load_checkpointables(folder)["state"])


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_distillation_that_was_stopped_resumes_to_the_same_bits(moment, finished, tmp_path, monkeypatch):
    owner, name, call, after = MOMENTS[moment]
    with monkeypatch.context() as patch:
        stopping(patch, owner, name, call=call, after=after)
        with pytest.raises(Stopped):
            run_on_one(RUN, str(tmp_path))
    run_on_one(RUN, str(tmp_path))
    for found, expected in zip(final_arrays(tmp_path), final_arrays(finished), strict=True):
        np.testing.assert_array_equal(found, expected)
    for file in ("metrics.jsonl", "samples.jsonl"):
        found, expected = (
            [{k: v for k, v in line.items() if k not in CLOCK} for line in lines(path / "taught" / file)]
            for path in (tmp_path, finished)
        )
        assert found == expected


def test_a_scored_rollout_is_replayed_as_it_was(tmp_path, monkeypatch):
    kept = []
    journal = distill_rollout.journal
    monkeypatch.setattr(
        distill_rollout, "journal", lambda rollout, *rest: kept.append(rollout) or journal(rollout, *rest)
    )
    short = dataclasses.replace(STAGE, num_steps=2, checkpoint_every=2)
    run_on_one(dataclasses.replace(RUN, stages=(TEACHER, short)), str(tmp_path))
    with open_context(RUN, Workdir(str(tmp_path)), jax.devices()[:1]) as run:
        replayed = distill_rollout.replay(0, run.of("taught"), STAGE)
    assert [one.prompt for one in replayed.completions] == [one.prompt for one in kept[0].completions]
    for name in ("old_logps", "teacher_logps"):
        for found, expected in zip(getattr(replayed, name), getattr(kept[0], name), strict=True):
            np.testing.assert_array_equal(found, expected)
    assert replayed.data_state == kept[0].data_state
