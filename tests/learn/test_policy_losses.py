"""Every loss of the table, value and gradient, against the NumPy float64 reference; and worked by hand."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import policy_reference
import pytest

from r1jax.config import PolicyLossConfig
from r1jax.data.packing import pack, unpack
from r1jax.learn.advantages import group_advantages
from r1jax.learn.policy_losses import POLICY_LOSSES, PolicyTerms, loss_weight, policy_loss

MAX_NEW_TOKENS = 9
BETA = 0.05
VARIANTS = {
    "plain": {"kl_coefficient": 0.0},
    "k3": {"kl_coefficient": BETA},
    "k2": {"kl_coefficient": BETA, "kl_estimator": "k2"},
    "asymmetric": {"kl_coefficient": 0.0, "clip_low": 0.1, "clip_high": 0.3},
    "eps10": {"kl_coefficient": BETA, "clip_low": 10.0, "clip_high": 10.0},  # R1's RL stage 1
    "dual_clip": {"kl_coefficient": 0.0, "dual_clip": 1.5},
    "importance_cap": {"kl_coefficient": BETA, "importance_cap": 1.1},
    "entropy": {"kl_coefficient": 0.0, "entropy_coefficient": 0.02},
    "unscaled": {"kl_coefficient": 0.0, "advantage_scaling": "none"},
}
CASES = [
    (name, variant)
    for name in POLICY_LOSSES
    for variant in VARIANTS
    if (name, variant) != ("cispo", "dual_clip")  # refused by StepConfig
]


def rollout(config, seed=0):
    """A group of 4 with a masked and a truncated sample, one of 3 with equal rewards, one of 2, one dropped."""
    rng = np.random.default_rng(seed)
    rewards = [1.0, 0.0, None, 0.5, 1.0, 1.0, 1.0, 0.0, 1.5, None, 1.0]
    groups = [0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 3]
    truncated = 3
    advantages = group_advantages(rewards, groups, scaling=config.advantage_scaling, epsilon=config.advantage_epsilon)
    sequences = []
    for index in range(len(rewards)):
        length, prompt = int(rng.integers(4, 8)), 2
        logps = -rng.exponential(1.0, length)
        mask = np.ones(length)
        mask[:prompt] = 0
        if not advantages.valid[index] or index == truncated:
            mask[:] = 0
        sequences.append(
            {
                "logps": logps,
                "old_logps": logps + rng.normal(0, 0.3, length),
                "ref_logps": logps + rng.normal(0, 0.3, length),
                "sampler_logps": logps + rng.normal(0, 0.3, length),
                "entropy": rng.exponential(1.0, length),
                "advantages": np.full(length, advantages.values[index], np.float64),
                "mask": mask,
            }
        )
    return sequences


def rows_of(sequences, *, packed):
    """The sequences as float32 rows, padding filled with what must not matter."""
    arrays = [
        {"tokens": np.zeros(len(s["mask"]), np.int32)} | {k: v.astype(np.float32) for k, v in s.items()}
        for s in sequences
    ]
    rows, placement = pack(arrays, row_tokens=20 if packed else 8, packed=packed)
    for name in ("logps", "old_logps", "ref_logps", "sampler_logps", "entropy"):
        rows[name] = np.where(rows["segments"] > 0, rows[name], 1e30 if name == "ref_logps" else -1e30)
    return {name: jnp.asarray(array) for name, array in rows.items()}, placement


def sums_of(rows, config):
    terms = PolicyTerms(**{field: rows[field] for field in PolicyTerms._fields})
    return policy_loss(terms, config, kl_coefficient=config.kl_coefficient, max_new_tokens=MAX_NEW_TOKENS)


def value_and_gradients(rows, config):
    """The mean loss, and its gradient with respect to logps and entropy."""

    def mean(logps, entropy):
        sums = sums_of({**rows, "logps": logps, "entropy": entropy}, config)
        return sums.loss / sums.weight

    # Not jitted: one operation at a time is quicker than a compilation for each of the many cases.
    return jax.value_and_grad(mean, argnums=(0, 1))(rows["logps"], rows["entropy"])


@pytest.mark.parametrize(("name", "variant"), CASES)
def test_value_and_gradient_equal_the_float64_reference(name, variant):
    config = PolicyLossConfig(name=name, **VARIANTS[variant])
    sequences = rollout(config)
    arguments = {"beta": config.kl_coefficient, "max_new_tokens": MAX_NEW_TOKENS}
    expected = policy_reference.mean_loss(sequences, config, **arguments)
    rows, placement = rows_of(sequences, packed=True)

    value, gradients = value_and_gradients(rows, config)

    np.testing.assert_allclose(value, expected, rtol=2e-6, atol=2e-7)
    moved = {"logps": gradients[0]} | ({"entropy": gradients[1]} if variant == "entropy" else {})
    for which, found in moved.items():
        reference = policy_reference.gradient(sequences, config, which, **arguments)
        assert np.abs(np.concatenate(reference)).max() > 1e-4
        for sequence, (got, want) in enumerate(zip(unpack(found, placement), reference, strict=True)):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-7, err_msg=f"{which} of {sequence}")
    if variant != "entropy":
        assert not np.any(gradients[1])


@pytest.mark.parametrize("name", POLICY_LOSSES)
def test_sums_do_not_depend_on_packing_or_on_how_the_rows_are_split(name):
    config = PolicyLossConfig(name=name, kl_coefficient=BETA, entropy_coefficient=0.01)
    sequences = rollout(config)
    packed, _ = rows_of(sequences, packed=True)
    apart, _ = rows_of(sequences, packed=False)
    whole = sums_of(packed, config)
    one_a_row = sums_of(apart, config)
    pieces = [sums_of({k: v[i : i + 3] for k, v in apart.items()}, config) for i in range(0, 11, 3)]
    split = jax.tree.map(lambda *parts: sum(parts), *[p._replace(maxima={}) for p in pieces])
    for other in (one_a_row, split):
        for field in ("loss", "weight", "tokens", "sequences", "sums"):
            for a, b in zip(
                jax.tree.leaves(getattr(whole, field)), jax.tree.leaves(getattr(other, field)), strict=True
            ):
                np.testing.assert_allclose(a, b, rtol=2e-6, err_msg=field)


@pytest.mark.parametrize("name", POLICY_LOSSES)
def test_a_batch_of_equal_rewards_has_no_policy_gradient(name):
    config = PolicyLossConfig(name=name, kl_coefficient=0.0)
    sequences = [{**s, "advantages": 0 * s["advantages"]} for s in rollout(config)]
    value, (gradient, _) = value_and_gradients(rows_of(sequences, packed=True)[0], config)
    assert value == 0
    assert not np.any(gradient)


@pytest.mark.parametrize("name", POLICY_LOSSES)
def test_what_stands_at_unscored_positions_does_not_matter(name):
    config = PolicyLossConfig(name=name, kl_coefficient=BETA, importance_cap=2.0, entropy_coefficient=0.01)
    rows, _ = rows_of(rollout(config), packed=True)
    value, gradients = value_and_gradients(rows, config)
    spoilt = {
        field: jnp.where(rows["mask"] > 0, rows[field], jnp.nan)
        for field in ("logps", "old_logps", "ref_logps", "sampler_logps", "entropy")
    }
    spoilt_value, spoilt_gradients = value_and_gradients({**rows, **spoilt}, config)
    assert value == spoilt_value
    for a, b in zip(gradients, spoilt_gradients, strict=True):
        np.testing.assert_array_equal(a, b)


def hand_made(**changes):
    """Two sequences in one row: A = 1 with two tokens, A = -1 with one; log-ratios log 1.5, 0 and log 0.5."""
    rows = {
        "logps": [math.log(0.6), math.log(0.5), math.log(0.25), 0.0],
        "old_logps": [math.log(0.4), math.log(0.5), math.log(0.5), 0.0],
        "advantages": [1.0, 1.0, -1.0, 0.0],
        "mask": [1.0, 1.0, 1.0, 0.0],
        "entropy": [0.0] * 4,
        "ref_logps": [math.log(0.3), math.log(0.5), math.log(0.5), 0.0],
        "sampler_logps": [math.log(0.4), math.log(0.25), math.log(0.5), 0.0],
    }
    arrays = {name: jnp.asarray([values], jnp.float32) for name, values in (rows | changes).items()}
    return {**arrays, "segments": jnp.asarray([[1, 1, 2, 0]])}


@pytest.mark.parametrize(
    ("name", "loss", "weight"),
    [
        # Terms with eps 0.2: -min(1.5, 1.2) = -1.2; -1; -min(-0.5, -0.8) = 0.8.
        ("grpo", (-1.2 - 1.0) / 2 + 0.8, 2),
        ("bnpo", -1.2 - 1.0 + 0.8, 3),
        ("dapo", -1.2 - 1.0 + 0.8, 3),
        ("dr_grpo", -1.2 - 1.0 + 0.8, 2 * MAX_NEW_TOKENS),
        # Sequence ratios sqrt(1.5) = 1.2247 -> 1.2, and 0.5 -> 0.8.
        ("gspo", -1.2 + 0.8, 2),
        # -1.2 log 0.6 - 1 log 0.5 + 0.8 log 0.25.
        ("cispo", -1.2 * math.log(0.6) - math.log(0.5) + 0.8 * math.log(0.25), 3),
    ],
)
def test_worked_by_hand(name, loss, weight):
    sums = sums_of(hand_made(), PolicyLossConfig(name=name, kl_coefficient=0.0))
    np.testing.assert_allclose(sums.loss, loss, rtol=1e-6)
    assert sums.weight == weight
    assert (sums.tokens, sums.sequences) == (3, 2)


def test_kl_estimators_worked_by_hand():
    # Log-ratios of reference over policy: log 0.5, 0, log 2. k3: 0.5 + log 2 - 1; 0; 2 - log 2 - 1.
    k3 = 0.5 + math.log(2) - 1 + 2 - math.log(2) - 1
    # k2: twice (log 2)^2 / 2.
    for estimator, expected in {"k3": k3, "k2": math.log(2) ** 2}.items():
        config = PolicyLossConfig(name="bnpo", kl_coefficient=0.1, kl_estimator=estimator)
        sums = sums_of(hand_made(advantages=[0.0] * 4), config)
        np.testing.assert_allclose(sums.sums["kl"], expected, rtol=1e-6)
        np.testing.assert_allclose(sums.loss, 0.1 * expected, rtol=1e-6)


def test_metrics_count_what_was_clipped_and_how_far_the_sampler_is():
    sums = sums_of(hand_made(), PolicyLossConfig(name="grpo"))
    assert sums.sums["clip_high_share"] == 1  # 1.5 with A > 0
    assert sums.sums["clip_low_share"] == 1  # 0.5 with A < 0
    np.testing.assert_allclose(sums.sums["ratio"], 1.5 + 1.0 + 0.5, rtol=1e-6)
    np.testing.assert_allclose(sums.maxima["ratio_max"], 1.5, rtol=1e-6)
    # old over sampler: 0, log(0.5 / 0.25), 0.
    np.testing.assert_allclose(sums.sums["mismatch"], math.log(2), rtol=1e-6)
    np.testing.assert_allclose(sums.maxima["mismatch_max"], math.log(2), rtol=1e-6)


@pytest.mark.parametrize(
    ("fields", "low", "high"),
    [
        # Ratios 1.5, 1.0, 0.5 against A = -1, -1, 1: PPO's minimum takes none of the cut ones.
        ({"name": "grpo"}, 0, 0),
        ({"name": "grpo", "dual_clip": 1.4}, 0, 1),  # -1.5 is raised to -1.4
        ({"name": "grpo", "dual_clip": 1.6}, 0, 0),
        ({"name": "cispo"}, 1, 1),  # whatever the sign
    ],
)
def test_each_loss_counts_the_ratios_that_it_cuts_itself(fields, low, high):
    sums = sums_of(hand_made(advantages=[-1.0, -1.0, 1.0, 0.0]), PolicyLossConfig(**fields)).sums
    assert (sums["clip_low_share"], sums["clip_high_share"]) == (low, high)
    sums = sums_of(hand_made(advantages=[0.0] * 4), PolicyLossConfig(**fields)).sums
    assert (sums["clip_low_share"], sums["clip_high_share"]) == (0, 0)


@pytest.mark.parametrize(
    ("name", "weight"), [("grpo", 3), ("gspo", 3), ("bnpo", 40), ("dapo", 40), ("cispo", 40), ("dr_grpo", 27)]
)
def test_the_weight_of_what_was_skipped(name, weight):
    config = PolicyLossConfig(name=name)
    assert loss_weight(config, sequences=3, tokens=40, max_new_tokens=MAX_NEW_TOKENS) == weight


def test_missing_inputs_are_errors_that_name_them():
    terms = PolicyTerms(**{f: hand_made()[f] for f in PolicyTerms._fields})
    without = terms._replace(ref_logps=None, sampler_logps=None)
    with pytest.raises(ValueError, match="kl_coefficient is 0.001: expected ref_logps"):
        policy_loss(without, PolicyLossConfig(), kl_coefficient=0.1)
    with pytest.raises(ValueError, match="importance_cap is 2.0: expected sampler_logps"):
        policy_loss(without, PolicyLossConfig(kl_coefficient=0.0, importance_cap=2.0), kl_coefficient=0.0)
    with pytest.raises(ValueError, match="dr_grpo: expected max_new_tokens"):
        policy_loss(terms, PolicyLossConfig(name="dr_grpo"), kl_coefficient=0.1)
