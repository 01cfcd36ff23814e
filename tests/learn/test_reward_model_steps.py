"""Losses of scores and their step: the same gradient however pairs are laid out, against numbers worked by hand."""

import dataclasses
import functools
import math
import typing

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import tiny_rollouts
from tiny_rollouts import relative_difference, single_device

from r1jax.config import LoraConfig, MeshConfig, OptimizerConfig, RewardModelConfig
from r1jax.data.packing import micro_batches
from r1jax.data.scored import pack_scored, scored_unit
from r1jax.learn import steps
from r1jax.learn.jit import jit_make, jit_score, jit_step, place_batch
from r1jax.learn.score_losses import SCORE_MARGINS, ScoreTerms, score_loss
from r1jax.learn.state import StepConfig, init_state, state_shardings
from r1jax.models import decoder, lora
from r1jax.models.adapters import combined, separate
from r1jax.parallel.mesh import make_mesh

SAME = 1e-5  # |delta gradient| / |gradient|, in float32
MODEL = dataclasses.replace(tiny_rollouts.MODEL, head="score")
LOSSES = ("pairwise", "pointwise")


def config_of(loss, model=MODEL):
    return StepConfig(model, OptimizerConfig(learning_rate=1e-2), num_steps=10, score_loss=loss)


def answers(loss, count=12, seed=0):
    """`count` ragged pairs (chosen first), or single answers of which every third has label 0."""
    draw = np.random.default_rng(seed)

    def one():
        return draw.integers(0, MODEL.vocab_size, draw.integers(2, 9)).tolist()

    if loss == "pairwise":
        return [[(one(), 1), (one(), -1)] for _ in range(count)]
    return [[(one(), -1 if number % 3 == 0 else 1)] for number in range(count)]


def host(made, *, packed=True, rows=2, capacity=6):
    arrays = pack_scored([scored_unit(one) for one in made], row_tokens=32 if packed else 16, packed=packed)
    return micro_batches(arrays, micro_batch_rows=rows, capacity=capacity)


def batch(made, **layout):
    return {name: jnp.asarray(array) for name, array in host(made, **layout).items()}


def params(model=MODEL):
    return tiny_rollouts.params(model)


@functools.partial(jax.jit, static_argnames="config")
def gradients(params, batch, config):
    return steps.reward_model_gradients(params, batch, config=config)


@functools.partial(jax.jit, static_argnames="config")
def step(state, batch, config):
    return steps.reward_model_step(state, batch, config=config)


@functools.partial(jax.jit, static_argnames="config")
def scores(params, batch, config):
    return steps.sequence_scores(params, batch, config=config)


APART = {"packed": False, "rows": 12, "capacity": 1}
LAYOUTS = {
    "packed": {"packed": True, "rows": 8, "capacity": 1},
    "micro-batched": {"packed": False, "rows": 4, "capacity": 3},
    "packed, micro-batched, spare capacity": {},
}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_score_gradient_does_not_depend_on_the_layout(loss, layout):
    expected, expected_sums = gradients(params(), batch(answers(loss), **APART), config_of(loss))
    found, sums = gradients(params(), batch(answers(loss), **LAYOUTS[layout]), config_of(loss))
    assert relative_difference(found, expected) <= SAME
    assert relative_difference(sums._asdict(), expected_sums._asdict()) <= SAME


def alone(token_ids, params):
    """The score of one sequence in a row of its own, by the plain forward pass."""
    tokens_1T = jnp.asarray([token_ids])
    positions_1T, segments_1T = jnp.arange(len(token_ids))[None], jnp.ones_like(tokens_1T)
    hidden = decoder.forward(params, tokens_1T, positions_1T, segments_1T, config=MODEL)
    return float(decoder.scores(params, hidden, config=MODEL)[0, -1])


@pytest.mark.parametrize("loss", LOSSES)
def test_loss_and_metrics_are_those_of_scores_of_sequences_run_alone(loss):
    made = answers(loss)
    scored = [[(alone(ids, params()), sign) for ids, sign in one] for one in made]
    flat = np.array([score for one in scored for score, _ in one])
    margins = np.array([sum(sign * score for score, sign in one) for one in scored])
    _, metrics = step(init_state(params(), config=config_of(loss)), batch(made), config_of(loss))
    np.testing.assert_allclose(metrics["loss"], np.mean(np.log1p(np.exp(-margins))), rtol=1e-5)
    np.testing.assert_allclose(metrics["margin"], margins.mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["accuracy"], np.mean(margins > 0), rtol=1e-6)
    assert 0 < metrics["accuracy"] < 1
    np.testing.assert_allclose(metrics["score_mean"], flat.mean(), rtol=1e-4)
    np.testing.assert_allclose(metrics["score_std"], flat.std(), rtol=1e-3)
    assert metrics["sequences"] == metrics["tokens"] == metrics["weight"] == len(flat)


def terms(scores, signs, pairs):
    """One row of scores at the last tokens of answers of one token each."""
    numbers = jnp.arange(1, len(scores) + 1)[None]
    return ScoreTerms(
        jnp.asarray([scores], jnp.float32), jnp.asarray([signs], jnp.float32), numbers, jnp.asarray([pairs])
    )


def test_pairwise_worked_by_hand():
    # Margins 2 - 0.5 = 1.5 and -1 - 0 = -1: -log sigmoid is log(1 + e^-1.5) = 0.201413 and log(1 + e) = 1.313262.
    sums = score_loss(terms([2.0, 0.5, -1.0, 0.0, 9.0], [1, -1, 1, -1, 0], [1, 1, 2, 2, 0]), "pairwise")
    np.testing.assert_allclose(sums.loss / sums.weight, (0.201413 + 1.313262) / 2, rtol=1e-5)
    np.testing.assert_allclose(sums.sums["margin"] / sums.tokens, (1.5 - 1.0) / 2)
    assert sums.sums["accuracy"] / sums.tokens == 0.5


def test_pointwise_worked_by_hand():
    # log(1 + e^-2) = 0.126928 for label 1, log(1 + e^0.5) = 0.974077 for label 0.
    sums = score_loss(terms([2.0, 0.5, 9.0], [1, -1, 0], [1, 2, 3]), "pointwise")
    np.testing.assert_allclose(sums.loss / sums.weight, (0.126928 + 0.974077) / 2, rtol=1e-5)
    assert sums.sums["accuracy"] / sums.tokens == 0.5
    assert sums.sequences == 2


@pytest.mark.parametrize("loss", LOSSES)
def test_equal_scores_are_half_right_and_their_loss_is_log_two(loss):
    sums = score_loss(terms([0.0, 0.0], [1, -1], [1, 1] if loss == "pairwise" else [1, 2]), loss)
    np.testing.assert_allclose(sums.loss / sums.weight, math.log(2), rtol=1e-6)
    assert sums.sums["accuracy"] / sums.tokens == 0.5


@pytest.mark.parametrize("loss", LOSSES)
def test_margins_far_from_zero_have_finite_losses_and_gradients(loss):
    def mean(scores):
        given = terms(scores, [1, -1], [1, 1] if loss == "pairwise" else [1, 2])
        return score_loss(given._replace(scores=scores[None]), loss).loss

    value, gradient = jax.value_and_grad(mean)(jnp.asarray([-400.0, 400.0]))
    assert np.isfinite(value)
    assert value >= 400
    assert np.isfinite(gradient).all()
    assert gradient[0] < 0 < gradient[1]


def test_there_is_a_margin_for_every_loss_that_a_config_may_name():
    assert set(SCORE_MARGINS) == set(typing.get_args(typing.get_type_hints(RewardModelConfig)["loss"]))


def test_a_pair_does_not_see_its_other_answer_or_its_neighbours():
    made = answers("pairwise", count=4)
    changed = [list(one) for one in made]
    other = [(token + 1) % MODEL.vocab_size for token in made[0][0][0]]
    changed[0][0] = (other, 1)
    before, after = (batch(one, rows=8, capacity=1) for one in (made, changed))
    moved = np.asarray(scores(params(), after, MODEL) - scores(params(), before, MODEL)) * (np.asarray(before["mask"]))
    assert np.count_nonzero(np.abs(moved) > 1e-7) == 1


def test_tokens_after_the_scored_one_do_not_exist_and_padding_is_ignored():
    rows = batch(answers("pairwise"))
    spoilt = rows | {"tokens": jnp.where(rows["segments"] > 0, rows["tokens"], 7)}
    found, _ = gradients(params(), spoilt, config_of("pairwise"))
    expected, _ = gradients(params(), rows, config_of("pairwise"))
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.mark.parametrize("mesh_config", [MeshConfig(data=8), MeshConfig(data=1, fsdp=4, tensor=2)], ids=str)
def test_score_gradient_on_eight_devices_equals_that_on_one(mesh_config):
    config, made = config_of("pairwise"), host(answers("pairwise"), rows=8, capacity=1)
    results = []
    for mesh in (single_device(), make_mesh(mesh_config)):
        shardings = state_shardings(config, mesh).params
        compiled = jit_score(steps.reward_model_gradients, mesh, shardings, config)
        results.append(jax.device_get(compiled(jax.device_put(params(), shardings), place_batch(made, mesh))))
    assert relative_difference(results[1][0], results[0][0]) <= SAME
    assert relative_difference(results[1][1]._asdict(), results[0][1]._asdict()) <= SAME


def test_a_score_step_is_traced_once_however_many_rows_there_are():
    config, mesh = config_of("pairwise"), single_device()
    shardings = state_shardings(config, mesh)
    state = jit_make(functools.partial(init_state, config=config), mesh, shardings)(params())
    compiled = jit_step(chex.assert_max_traces(steps.reward_model_step, n=1), mesh, shardings, config)
    for count in (12, 5, 9):
        state, metrics = compiled(state, place_batch(host(answers("pairwise", count)), mesh))
        assert metrics["sequences"] == 2 * count


@pytest.mark.parametrize("loss", LOSSES)
def test_steps_learn_which_answers_are_better(loss):
    config, rows = config_of(loss), batch(answers(loss))
    state = init_state(params(), config=config)
    for _ in range(60):
        state, metrics = step(state, rows, config)
    assert metrics["accuracy"] == 1
    assert metrics["loss"] < 0.05
    assert metrics["margin"] > 2


def test_with_adapters_they_and_the_score_head_are_all_that_moves():
    model = dataclasses.replace(MODEL, lora=LoraConfig(rank=2))
    config = config_of("pairwise", model)
    start = combined(params(dataclasses.replace(model, lora=None)), lora.init(model, jax.random.key(1)))
    state = init_state(start, config=config)
    assert set(state.params) == {"layers", "score"}
    assert "score" not in state.frozen
    rows = batch(answers("pairwise"))
    after, _ = step(state, rows, config)
    after, metrics = step(after, rows, config)  # B is zero at first, and so is the gradient of A
    jax.tree.map(np.testing.assert_array_equal, after.frozen, state.frozen)
    moved = jax.tree.map(lambda new, old: float(np.abs(new - old).max()), after.params, state.params)
    assert all(change > 0 for change in jax.tree.leaves(moved)), moved
    assert set(separate(after.params)[1]) == {"layers"}
    assert np.isfinite(metrics["grad_norm"])
