"""The steps: the same gradient however a batch is laid out; what is skipped, counted and measured."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import policy_reference
import pytest
from tiny_rollouts import (
    MAX_NEW_TOKENS,
    MODEL,
    batch,
    params,
    relative_difference,
    sequences,
    step_config,
)

from r1jax.config import OptimizerConfig
from r1jax.data.packing import pack, unpack
from r1jax.learn import steps
from r1jax.learn.state import init_state
from r1jax.models import decoder

SAME = 1e-5  # |delta gradient| / |gradient|, in float32 (DESIGN: what is exact)


@functools.partial(jax.jit, static_argnames="config")
def policy_gradients(params, batch, config):
    return steps.policy_gradients(params, batch, config=config)


@functools.partial(jax.jit, static_argnames="config")
def next_token_gradients(params, batch, config):
    return steps.next_token_gradients(params, batch, config=config)


@functools.partial(jax.jit, static_argnames="config")
def policy_step(state, batch, config):
    return steps.policy_step(state, batch, config=config)


@functools.partial(jax.jit, static_argnames="config")
def score(params, batch, config):
    return steps.score(params, batch, config=config)


# Every term of the loss at once. (Tests share configs and shapes where they can: each pair is a compilation.)
EVERY_TERM = step_config("grpo", entropy_coefficient=0.01, importance_cap=1.2)

# One sequence a row in one micro-batch, against each of these.
APART = {"packed": False, "rows": 12, "capacity": 1}
LAYOUTS = {
    "packed": {"packed": True, "rows": 8, "capacity": 1},
    "micro-batched": {"packed": False, "rows": 4, "capacity": 3},
    "packed, micro-batched, spare capacity": {},
}


@pytest.mark.parametrize(("loss", "layout"), [*(("grpo", layout) for layout in LAYOUTS), ("gspo", list(LAYOUTS)[-1])])
def test_policy_gradient_does_not_depend_on_the_layout(loss, layout):
    config = dataclasses.replace(EVERY_TERM, loss=dataclasses.replace(EVERY_TERM.loss, name=loss))
    expected, expected_sums = policy_gradients(params(), batch(**APART), config)
    found, sums = policy_gradients(params(), batch(**LAYOUTS[layout]), config)
    assert relative_difference(found, expected) <= SAME
    assert relative_difference(sums._asdict(), expected_sums._asdict()) <= SAME


def test_next_token_gradient_does_not_depend_on_the_layout():
    config = step_config(None)
    expected, _ = next_token_gradients(params(), batch(**APART), config)
    found, _ = next_token_gradients(params(), batch(), config)
    assert relative_difference(found, expected) <= SAME


def test_policy_gradient_does_not_depend_on_the_blocks_of_the_head():
    whole, _ = policy_gradients(params(), batch(), EVERY_TERM)
    # 2 rows x 32 positions x 32 of vocabulary x 4 bytes = 8,192: five blocks.
    model = dataclasses.replace(MODEL, logits_budget_bytes=2000)
    in_blocks, _ = policy_gradients(params(), batch(), dataclasses.replace(EVERY_TERM, model=model))
    assert relative_difference(in_blocks, whole) <= SAME


@pytest.mark.parametrize("loss", ["grpo", "dapo"])
def test_loss_and_metrics_of_the_step_equal_the_float64_reference(loss):
    config = step_config(loss)
    made = sequences()
    _, placement = pack(made, row_tokens=32, packed=True)
    layout = batch(made)
    scored = score(params(), layout, step_config())
    logps, entropy = (unpack(np.asarray(scored[name]), placement) for name in ("logps", "entropy"))
    reference = [
        {**{k: np.asarray(v, np.float64) for k, v in one.items()}, "logps": np.asarray(l, np.float64), "entropy": e}
        for one, l, e in zip(made, logps, entropy, strict=True)
    ]
    expected = policy_reference.mean_loss(reference, config.loss, beta=0.05, max_new_tokens=MAX_NEW_TOKENS)

    _, metrics = policy_step(init_state(params(), config=config), layout, config)

    np.testing.assert_allclose(metrics["loss"], expected, rtol=2e-5)
    tokens = sum(one["mask"].sum() for one in made)
    assert metrics["tokens"] == tokens
    gaps = np.concatenate([(np.abs(s["old_logps"] - s["sampler_logps"]) * s["mask"]) for s in made])
    np.testing.assert_allclose(metrics["mismatch"], gaps.sum() / tokens, rtol=1e-5)
    np.testing.assert_allclose(metrics["mismatch_max"], gaps.max(), rtol=1e-5)
    flat = np.concatenate([e[s["mask"] > 0] for e, s in zip(entropy, made, strict=True)])
    np.testing.assert_allclose(metrics["entropy"], flat.mean(), rtol=1e-5)


def test_scores_are_those_of_the_plain_forward_pass_at_the_temperature():
    config, layout = step_config(), batch(temperature=np.float32(0.7))
    scored = score(params(), layout, config)
    rows = {name: layout[name][0] for name in ("tokens", "positions", "segments", "targets")}
    hidden = decoder.forward(params(), rows["tokens"], rows["positions"], rows["segments"], config=MODEL)
    logps = jax.nn.log_softmax(decoder.logits(params(), hidden, config=MODEL) / 0.7)
    expected = jnp.take_along_axis(logps, rows["targets"][..., None], -1)[..., 0]
    np.testing.assert_allclose(scored["logps"][0], expected, rtol=1e-5, atol=1e-5)


def test_on_policy_the_ratio_is_one_and_old_log_probs_may_be_left_out():
    config, layout = EVERY_TERM, batch()
    rows = batch(drop=("old_logps",))
    scored = score(params(), layout, step_config())
    given, given_sums = policy_gradients(params(), {**rows, "old_logps": scored["logps"]}, config)
    absent, sums = policy_gradients(params(), rows, config)
    assert relative_difference(absent, given) <= SAME
    assert sums.sums["ratio"] == sums.tokens
    assert sums.maxima["ratio_max"] == 1


def test_a_group_left_out_for_its_zero_advantages_still_counts_in_the_weight():
    """beta = 0 and no entropy term: every term of sequences with A = 0 is zero."""
    for loss in ("dapo", "dr_grpo"):
        config = step_config(loss, kl_coefficient=0.0)
        made = sequences()
        for one in made[:3]:
            one["advantages"] = 0 * one["advantages"]
        tokens = sum(one["mask"].sum() for one in made[:3])

        def gradient(made, sequences, tokens, config=config):
            skipped = {"skipped_sequences": np.float32(sequences), "skipped_tokens": np.float32(tokens)}
            return policy_gradients(params(), batch(made, **skipped), config)[0]

        assert relative_difference(gradient(made[3:], 3, tokens), gradient(made, 0, 0)) <= SAME, loss


def test_micro_batches_not_in_use_are_never_touched():
    config, layout = EVERY_TERM, batch()
    used = int(layout["num_micro"])
    assert used < 6
    spoilt = {
        name: array.at[used:].set(jnp.nan) if array.ndim == 3 and array.dtype == jnp.float32 else array
        for name, array in layout.items()
    }
    for a, b in zip(
        jax.tree.leaves(policy_gradients(params(), layout, config)),
        jax.tree.leaves(policy_gradients(params(), spoilt, config)),
        strict=True,
    ):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_a_gradient_that_is_not_finite_skips_the_update_and_is_counted(optimizer):
    config = step_config()
    if optimizer == "muon":
        config = step_config(optimizer=OptimizerConfig("muon", 1e-2, muon_learning_rate=1e-2))
    good = batch()
    bad = {**good, "advantages": jnp.where(good["mask"] > 0, jnp.inf, 0.0)}
    state, _ = policy_step(init_state(params(), config=config), good, config)

    after, metrics = policy_step(state, bad, config)

    for before_leaf, after_leaf in zip(
        jax.tree.leaves((state.params, state.opt_state)),
        jax.tree.leaves((after.params, after.opt_state)),
        strict=True,
    ):
        np.testing.assert_array_equal(before_leaf, after_leaf)
    assert (metrics["skipped"], metrics["bad_steps"], metrics["total_bad"]) == (1, 1, 1)
    assert after.step == state.step + 1
    again, metrics = policy_step(after, bad, config)
    assert (metrics["bad_steps"], metrics["total_bad"]) == (2, 2)
    recovered, metrics = policy_step(again, good, config)
    assert (metrics["skipped"], metrics["bad_steps"], metrics["total_bad"]) == (0, 0, 2)
    assert relative_difference(recovered.params, again.params) > 0


def test_a_batch_with_nothing_scored_changes_nothing_and_is_no_bad_step():
    config, layout = step_config(), batch()
    state, _ = policy_step(init_state(params(), config=config), layout, config)
    after, metrics = policy_step(state, {**layout, "mask": 0 * layout["mask"]}, config)
    assert relative_difference(after.params, state.params) == 0
    assert (metrics["skipped"], metrics["bad_steps"], metrics["loss"]) == (1, 0, 0)
    assert np.isnan(metrics["entropy"])  # not 0, which would look like a collapse, or a KL that has met its target
    assert np.isnan(metrics["kl"])


def test_next_token_steps_learn_a_sequence_by_heart():
    config = step_config(None, optimizer=OptimizerConfig(learning_rate=1e-2))
    step = jax.jit(functools.partial(steps.next_token_step, config=config))
    state, layout = init_state(params(), config=config), batch()
    losses = []
    for _ in range(60):
        state, metrics = step(state, layout)
        losses.append(float(metrics["loss"]))
    # Untrained: about log(32) = 3.5 nats a token.
    assert 3.0 < losses[0] < 4.5
    assert losses[-1] < 0.5
    assert state.step == 60


def test_policy_steps_raise_the_likelihood_of_what_was_rewarded():
    config, layout = step_config(), batch()
    before = score(params(), layout, config)["logps"]
    layout |= {"old_logps": before, "ref_logps": before}
    state = init_state(params(), config=config)
    for _ in range(5):
        state, metrics = policy_step(state, layout, config)
    gain = np.asarray((score(state.params, layout, config)["logps"] - before) * layout["mask"])
    good, bad = np.asarray(layout["advantages"]) > 0, np.asarray(layout["advantages"]) < 0
    assert gain[good].sum() > 0 > gain[bad].sum()
    assert metrics["kl"] > 0


def test_scores_do_not_depend_on_the_split():
    config, made = step_config(), sequences()
    rows, placement = pack(made, row_tokens=32, packed=True)
    spare = score(params(), batch(made), config)["logps"]
    exact = score(params(), batch(made, rows=len(rows["tokens"]), capacity=1), config)["logps"]
    for a, b in zip(unpack(np.asarray(spare), placement), unpack(np.asarray(exact), placement), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
