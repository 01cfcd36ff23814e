"""What becomes of a rollout before the update: which completions are scored, charged, left out, and counted."""

import dataclasses
import types

import jax
import numpy as np
import pytest
from tiny_runs import BASE, ZERO, tiny_run, with_loss

from r1jax.config import BatchConfig
from r1jax.learn import steps
from r1jax.learn.state import StepConfig
from r1jax.models import decoder
from r1jax.rewards.verdicts import Score, Status, Verdict
from r1jax.sampler.engine import Completion
from r1jax.stages.grading import Graded, Prompt
from r1jax.stages.policy_batch import policy_batches
from r1jax.stages.rollout import Rollout
from r1jax.text.templates import RenderedPrompt

RUN = types.SimpleNamespace(
    seed_of=lambda purpose: 0, rewards=types.SimpleNamespace(weights_at=lambda step: {"default": {"maths": 1.0}})
)
STATE = types.SimpleNamespace(policy="policy", reference_policy="reference")
TOKENS = 5  # of each completion
GAP = 0.25  # nats a token between policy and reference


def rollout(groups, truncated=()) -> Rollout:
    """Groups of completions with these rewards (None: masked); `truncated` holds (group, sample)."""
    random = np.random.default_rng(0)

    def graded(group, sample, reward):
        status = Status.VERIFIER_ERROR if reward is None else Status.SCORED
        tokens = random.integers(2, 40, TOKENS, dtype=np.int32)
        stopped = (group, sample) not in truncated
        completion = Completion(group, sample, tokens, np.full(TOKENS, -3.0, np.float32), stopped)
        return Graded(completion, "", Verdict({"maths": Score(reward, status)}, "default"))

    prompts = [Prompt({"id": str(number)}, RenderedPrompt("", (2, 3, 4 + number), "")) for number in range(len(groups))]
    done = [[graded(g, s, reward) for s, reward in enumerate(rewards)] for g, rewards in enumerate(groups)]
    return Rollout(prompts, done, {}, drawn_groups=len(groups), backfill_rounds=0)


class Scorer:
    """Stands in for the models: the policy's log-probs are GAP above the reference's. Remembers what it was given."""

    def __init__(self):
        self.seen = []

    def __call__(self, params, batch):
        self.seen.append((params, {name: np.shape(array) for name, array in batch.items()}))
        return {"logps": np.full(batch["tokens"].shape, -3.0 + (GAP if params == "policy" else 0.0), np.float32)}


def batches_of(stage, made, score=None):
    return policy_batches(stage, 0, made, run=RUN, state=STATE, score=score or Scorer())


def test_both_models_score_the_same_arrays_so_that_one_program_serves_them():
    score = Scorer()
    stage = dataclasses.replace(ZERO, minibatches=2)
    batches, _ = batches_of(stage, rollout([[1.0, 0.0]] * 4), score)
    assert [params for params, _ in score.seen] == ["reference", "policy"] * 2
    assert all(given == score.seen[0][1] for _, given in score.seen)
    assert all({"old_logps", "ref_logps", "advantages"} <= batch.keys() for batch in batches)


def test_a_truncated_completion_pays_its_kl_though_it_is_not_trained_on():
    # Every completion has k1 = 5 x 0.25 = 1.25; at coefficient 0.4 it pays 0.5, whether it is trained on or not.
    stage = with_loss(ZERO, kl_in_reward=0.4, mask_truncated=True, advantage_scaling="none")
    made = rollout([[1.0, 0.0]], truncated={(0, 1)})
    (batch,), metrics = batches_of(stage, made)
    assert metrics["reward"] == pytest.approx(0.5 - 0.5)  # the mean of 1 - 0.5 and 0 - 0.5
    trained = batch["mask"] > 0
    assert trained.sum() == TOKENS
    # 0.5 - 0, and not 0.5 - (0.5 + 0) / 2 as if the truncated one had paid nothing.
    np.testing.assert_allclose(batch["advantages"][trained], 0.5)


def test_more_minibatches_than_completions_leave_some_with_nothing_scored():
    stage = dataclasses.replace(ZERO, rollout_prompts=8, minibatches=8, num_steps=8, checkpoint_every=8)
    batches, _ = batches_of(stage, rollout([[1.0, 0.0, 0.5]]))
    assert [int(batch["mask"].sum()) for batch in batches] == [TOKENS] * 3 + [0] * 5
    assert [float(batch["skipped_tokens"]) for batch in batches] == [0.0] * 8
    shapes = [{name: np.shape(array) for name, array in batch.items()} for batch in batches]
    assert all(one == shapes[0] for one in shapes)


# Group 0 has a signal, and in its middle a completion with A = 0; group 1 has none; group 2 a masked sample.
MIXED = rollout([[1.0, 0.5, 0.0], [1.0, 1.0, 1.0], [1.0, None, 0.0]])


def test_completions_without_any_term_are_left_out_and_counted():
    pure = with_loss(ZERO, kl_coefficient=0.0)
    (batch,), _ = batches_of(pure, MIXED)
    assert batch["mask"].sum() == 4 * TOKENS
    assert np.unique(np.sign(batch["advantages"][batch["mask"] > 0])).tolist() == [-1, 1]
    assert (batch["skipped_sequences"], batch["skipped_tokens"]) == (4, 4 * TOKENS)  # the masked one counts nowhere
    for other in (with_loss(ZERO, kl_coefficient=0.1), with_loss(ZERO, kl_coefficient=0.0, entropy_coefficient=0.01)):
        (batch,), _ = batches_of(other, MIXED)
        assert batch["mask"].sum() == 8 * TOKENS
        assert (batch["skipped_sequences"], batch["skipped_tokens"]) == (0, 0)


@pytest.mark.parametrize("name", ["grpo", "dapo", "dr_grpo"])
def test_what_is_left_out_changes_no_gradient(name):
    """With an entropy term in the config all completions stay in; both gradients are taken without it."""
    stage = dataclasses.replace(ZERO, batch=BatchConfig(row_tokens=64, micro_batch_rows=2))
    pure = with_loss(stage, name=name, kl_coefficient=0.0)
    (left,), _ = batches_of(pure, MIXED)
    (whole,), _ = batches_of(with_loss(pure, name=name, kl_coefficient=0.0, entropy_coefficient=0.01), MIXED)
    assert left["mask"].sum() < whole["mask"].sum()
    assert {key: np.shape(array) for key, array in left.items()} == {key: np.shape(a) for key, a in whole.items()}

    model = tiny_run(BASE).model
    config = StepConfig(model, stage.optimizer, num_steps=1, loss=pure.loss, max_new_tokens=24)
    params = jax.jit(lambda key: decoder.init(model, key))(jax.random.key(0))
    gradients = jax.jit(lambda batch: steps.policy_gradients(params, batch, config=config))
    (found, sums), (expected, expected_sums) = gradients(left), gradients(whole)
    assert sums.weight == expected_sums.weight
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)
    assert max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(expected)) > 1e-3
