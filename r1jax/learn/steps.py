"""The steps: pure functions from a state and a batch to the next state and metrics. `jit.py` compiles them.

A batch is a dict of arrays [M, B, T] (M micro-batches of B packed rows of T positions, as `data.packing`
makes them) and scalars:

    tokens, mask, segments, positions    every step
    targets                  every step but those of scores
    signs, pairs             reward_model_step (`score_losses.ScoreTerms`; mask is 1 where signs are not 0)
    num_micro                int32: the micro-batches in use; those after it are never touched
    temperature              float32: policy_step, score
    advantages               policy_step
    old_logps                policy_step, where the policy has moved since the rollout; absent: on-policy
    ref_logps, kl_coefficient    policy_step, where there is a KL term (ref_logps alone: KL is only measured)
    sampler_logps            policy_step: truncated importance sampling, mismatch metrics
    skipped_sequences, skipped_tokens    policy_step, optional: what was left out of the batch because every
                             term of its loss is zero, but counts in the weight

Gradients, losses and weights are summed over micro-batches in a loop whose length is traced, and divided
once: one compiled program serves any number of rows, and the split does not change the result.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float

from r1jax.config import ModelConfig
from r1jax.learn.logprobs import token_logps
from r1jax.learn.optimizer import learning_rate_at
from r1jax.learn.policy_losses import LossSums, PolicyTerms, loss_weight, policy_loss
from r1jax.learn.score_losses import ScoreTerms, score_loss
from r1jax.learn.segments import count_sequences
from r1jax.learn.state import StepConfig, TrainState
from r1jax.models import decoder, lora
from r1jax.models.adapters import combined
from r1jax.models.moe import balance_metrics, updated_bias
from r1jax.parallel.rules import constrain, is_dims

Batch = dict[str, Any]
Metrics = dict[str, Float[Array, ""]]


def next_token_step(state: TrainState, batch: Batch, *, config: StepConfig) -> tuple[TrainState, Metrics]:
    """One update on the mean of -log p(target) over the scored positions: pretraining and SFT alike.

    Metrics: loss (nats a token) and those of every step (`_update`).
    """
    gradients = next_token_gradients(state.params, batch, config=config, frozen=state.frozen)
    return _update(state, *gradients, config)


def policy_step(state: TrainState, batch: Batch, *, config: StepConfig) -> tuple[TrainState, Metrics]:
    """One update on a policy loss of the GRPO family (`config.loss`).

    Metrics besides those of every step: means over the scored tokens of the batch (NaN where it has none) of
    entropy, ratio, kl (nats; against the reference), clip_low_share, clip_high_share, mismatch (|trainer -
    sampler| log-prob); ratio_max and mismatch_max.
    """
    return _update(state, *policy_gradients(state.params, batch, config=config, frozen=state.frozen), config)


def reward_model_step(state: TrainState, batch: Batch, *, config: StepConfig) -> tuple[TrainState, Metrics]:
    """One update of a model with a score head on `config.score_loss`: pairwise or pointwise.

    Metrics besides those of every step: means over the scored answers (NaN where there are none) of accuracy, margin
    and score, and score_std. `tokens`, `sequences` and `weight` are all the number of scored answers.
    """
    gradients = reward_model_gradients(state.params, batch, config=config, frozen=state.frozen)
    next_state, metrics = _update(state, *gradients, config)
    mean, square = metrics.pop("score"), metrics.pop("score_squared")
    deviation = jnp.sqrt(jnp.maximum(square - mean**2, 0.0))
    return next_state, metrics | {"score_mean": mean, "score_std": deviation}


def next_token_gradients(
    params: Any, batch: Batch, *, config: StepConfig, frozen: Any | None = None
) -> tuple[Any, LossSums]:
    """Gradients by `params` of the mean next-token loss, and the sums that it is made of; `frozen` as in TrainState."""

    def micro_loss(params, rows) -> LossSums:
        logps_BT, _, load = _model_logps(combined(frozen, params), rows, 1.0, config.model)
        loss = -jnp.sum(jnp.where(rows["mask"] > 0, logps_BT * rows["mask"], 0.0))
        tokens = jnp.sum(rows["mask"])
        return LossSums(loss, tokens, tokens, count_sequences(rows["mask"], rows["segments"]), {}, {}, load)

    return _mean(*_accumulate(params, batch, micro_loss, config.model))


def policy_gradients(
    params: Any, batch: Batch, *, config: StepConfig, frozen: Any | None = None
) -> tuple[Any, LossSums]:
    """Gradients of the mean policy loss, and the sums that it is made of (what was skipped is in the weight)."""

    def micro_loss(params, rows) -> LossSums:
        logps_BT, entropy_BT, load = _model_logps(combined(frozen, params), rows, batch["temperature"], config.model)
        if config.loss.entropy_coefficient == 0:
            entropy_BT = jax.lax.stop_gradient(entropy_BT)  # only a metric: spares its backward pass
        terms = PolicyTerms(
            logps=logps_BT,
            old_logps=rows.get("old_logps", jax.lax.stop_gradient(logps_BT)),
            advantages=rows["advantages"],
            mask=rows["mask"],
            segments=rows["segments"],
            entropy=entropy_BT,
            ref_logps=rows.get("ref_logps"),
            sampler_logps=rows.get("sampler_logps"),
        )
        sums = policy_loss(
            terms,
            config.loss,
            kl_coefficient=batch.get("kl_coefficient", config.loss.kl_coefficient),
            max_new_tokens=config.max_new_tokens,
        )
        return sums._replace(load=load)

    grads, sums = _accumulate(params, batch, micro_loss, config.model)
    skipped = loss_weight(
        config.loss,
        sequences=batch.get("skipped_sequences", 0.0),
        tokens=batch.get("skipped_tokens", 0.0),
        max_new_tokens=config.max_new_tokens,
    )
    return _mean(grads, sums._replace(weight=sums.weight + skipped))


def reward_model_gradients(
    params: Any, batch: Batch, *, config: StepConfig, frozen: Any | None = None
) -> tuple[Any, LossSums]:
    """Gradients of the mean loss of scores, and the sums that it is made of."""

    def micro_loss(params, rows) -> LossSums:
        scores_BT, load = _model_scores(combined(frozen, params), rows, config.model)
        terms = ScoreTerms(scores_BT, rows["signs"], rows["segments"], rows["pairs"])
        return score_loss(terms, config.score_loss)._replace(load=load)

    return _mean(*_accumulate(params, batch, micro_loss, config.model))


def sequence_scores(params: Any, batch: Batch, *, config: ModelConfig) -> Float[Array, "M B T"]:
    """Float32 scores of a model with a score head at every token, without gradients: an answer's is at its last.

    Micro-batches that are not in use come back as 0.
    """
    rows = _rows(batch)

    def one(i, scores):
        return scores.at[i].set(_model_scores(params, _micro(rows, i), config)[0])

    return jax.lax.fori_loop(0, batch["num_micro"], one, jnp.zeros(batch["tokens"].shape, jnp.float32))


def score(params: Any, batch: Batch, *, config: StepConfig) -> dict[str, Float[Array, "M B T"]]:
    """Log-probs of the targets and entropies (nats, float32) at `batch["temperature"]`, without gradients.

    For the reference, and for the old policy where a rollout serves several updates. Micro-batches that are
    not in use come back as 0.
    """
    rows = _rows(batch)

    def one(i, outputs):
        logps_BT, entropy_BT, _ = _model_logps(params, _micro(rows, i), batch["temperature"], config.model)
        return {
            "logps": outputs["logps"].at[i].set(logps_BT),
            "entropy": outputs["entropy"].at[i].set(entropy_BT),
        }

    empty = jnp.zeros(batch["tokens"].shape, jnp.float32)
    return jax.lax.fori_loop(0, batch["num_micro"], one, {"logps": empty, "entropy": empty})


def _model_logps(params, rows, temperature, model: ModelConfig):
    """Log-probs and entropies [B, T], and the load of the experts [L, E] (None where there are none)."""
    hidden_BTD, load_LE = decoder.forward_with_load(
        params, rows["tokens"], rows["positions"], rows["segments"], config=model
    )
    logps_BT, entropy_BT = token_logps(
        hidden_BTD,
        decoder.unembedding(params, config=model),
        rows["targets"],
        temperature=temperature,
        budget_bytes=model.logits_budget_bytes,
        mask_BT=rows["mask"],
    )
    return logps_BT, entropy_BT, None if model.moe is None else jax.lax.stop_gradient(load_LE)


def _model_scores(params, rows, model: ModelConfig):
    """Scores [B, T], and the load of the experts as `_model_logps` has it."""
    hidden_BTD, load_LE = decoder.forward_with_load(
        params, rows["tokens"], rows["positions"], rows["segments"], config=model
    )
    scores_BT = decoder.scores(params, hidden_BTD, config=model)
    return scores_BT, None if model.moe is None else jax.lax.stop_gradient(load_LE)


def _rows(batch: Batch) -> Batch:
    return {name: array for name, array in batch.items() if jnp.ndim(array) == 3}


def _micro(rows: Batch, i) -> Batch:
    return {name: constrain(array[i], ("batch", "length")) for name, array in rows.items()}


def _accumulate(
    params: Any, batch: Batch, micro_loss: Callable[[Any, Batch], LossSums], model: ModelConfig
) -> tuple[Any, LossSums]:
    """Gradients of the summed loss and the sums themselves, over the micro-batches in use."""
    rows = _rows(batch)
    dims = lora.trained_dims(model)

    def loss_and_sums(params, i):
        sums = micro_loss(params, _micro(rows, i))
        return sums.loss, sums

    def one(i):
        grads, sums = jax.grad(loss_and_sums, has_aux=True)(params, i)
        # Beside their parameters: where those are spread over devices, so are the sums of the gradients.
        return jax.tree.map(lambda d, grad: constrain(grad, d), dims, grads, is_leaf=is_dims), sums

    if batch["tokens"].shape[0] == 1:
        return one(0)  # no loop, so no second copy of the gradients

    def add(i, carry):
        grads, sums = one(i)
        added = jax.tree.map(jnp.add, carry, (grads, sums))
        maxima = jax.tree.map(jnp.maximum, carry[1].maxima, sums.maxima)
        return added[0], added[1]._replace(maxima=maxima)

    zeros = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), jax.eval_shape(one, 0))
    # The gradient is taken inside the loop, never through it: a loop of traced length has no reverse mode.
    return jax.lax.fori_loop(0, batch["num_micro"], add, zeros)


def _mean(grads: Any, sums: LossSums) -> tuple[Any, LossSums]:
    """The one division: summed gradients over the summed weight (0 where nothing was scored)."""
    weight = jnp.where(sums.weight > 0, sums.weight, 1.0)
    return jax.tree.map(lambda grad: grad / weight, grads), sums


def _update(state: TrainState, grads: Any, sums: LossSums, config: StepConfig) -> tuple[TrainState, Metrics]:
    """The optimiser's update on the mean loss; or none, where it is not finite or nothing was scored.

    Metrics: loss, weight, tokens, sequences, grad_norm (before clipping), learning_rate, skipped (1: no
    update was made), bad_steps (in a row), total_bad; with a mixture of experts those of `moe.balance_metrics`.
    """
    loss = sums.loss / jnp.where(sums.weight > 0, sums.weight, 1.0)
    grad_norm = optax.tree.norm(grads)
    finite = jnp.isfinite(loss) & jnp.isfinite(grad_norm)
    apply = finite & (sums.weight > 0)
    updates, opt_state = config.make_optimizer().update(grads, state.opt_state, state.params, step=state.step)

    def chosen(new, old):
        return jax.tree.map(lambda n, o: jnp.where(apply, n, o), new, old)

    params = optax.apply_updates(state.params, updates)
    if config.model.moe is not None and config.model.moe.bias_update_rate > 0:
        params = _with_moved_biases(params, sums.load, config.model.moe.bias_update_rate)
    next_state = state._replace(
        params=chosen(params, state.params),
        opt_state=chosen(opt_state, state.opt_state),
        step=state.step + 1,
        bad_steps=jnp.where(finite, 0, state.bad_steps + 1),
        total_bad=state.total_bad + jnp.where(finite, 0, 1),
    )
    tokens = jnp.where(sums.tokens > 0, sums.tokens, jnp.nan)  # what was not measured is not 0
    metrics = {
        "loss": loss,
        "weight": sums.weight,
        "tokens": sums.tokens,
        "sequences": sums.sequences,
        "grad_norm": grad_norm,
        "learning_rate": learning_rate_at(config.optimizer, config.num_steps, state.step),
        "skipped": jnp.where(apply, 0, 1),
        "bad_steps": next_state.bad_steps,
        "total_bad": next_state.total_bad,
        **{name: value / tokens for name, value in sums.sums.items()},
        **sums.maxima,
        **({} if sums.load is None else balance_metrics(sums.load)),
    }
    return next_state, metrics


def _with_moved_biases(params: Any, load_LE: Float[Array, "L E"], rate: float) -> Any:
    """The parameters with the experts' correction biases moved against their load; no gradient moves them."""
    router = params["layers"]["ffn"]["router"]
    moved = router | {"correction_bias": updated_bias(router["correction_bias"], load_LE, rate)}
    ffn = params["layers"]["ffn"] | {"router": moved}
    return params | {"layers": params["layers"] | {"ffn": ffn}}
