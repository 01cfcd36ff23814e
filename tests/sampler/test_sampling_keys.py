"""Uniform draws belong to (seed, step, prompt, sample, position) and to nothing else."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.sampler.keys import rollout_key, slot_keys, uniforms


def drawn(seed=0, step=0, prompt=0, sample=0, position=0) -> float:
    keys = slot_keys(rollout_key(seed, step), jnp.uint32([prompt]), jnp.uint32([sample]))
    return float(uniforms(keys, jnp.int32([position]))[0])


def test_a_draw_is_the_threefry_word_of_its_five_numbers():
    key = jax.random.key(0, impl="threefry2x32")
    for number in (7, 11, 13, 17, 19):
        key = jax.random.fold_in(key, number)
    expected = int(jax.random.key_data(key)[0]) >> 8
    assert drawn(7, 11, 13, 17, 19) == expected / 2**24


def test_draws_never_change_between_versions():
    # Were this number to change, no run made before could be resumed or repeated.
    assert int(drawn(7, 11, 13, 17, 19) * 2**24) == 4_708_712


def test_every_number_matters():
    base = drawn()
    names = ("seed", "step", "prompt", "sample", "position")
    others = [drawn(**{name: 1}) for name in names]
    assert len({base, *others}) == 6


def test_a_draw_does_not_depend_on_the_rows_beside_it():
    prompts, samples = jnp.arange(64, dtype=jnp.uint32), jnp.arange(64, dtype=jnp.uint32) % 8
    keys = slot_keys(rollout_key(3, 4), prompts, samples)
    together = uniforms(keys, jnp.full(64, 5))
    for row in (0, 17, 63):
        assert float(together[row]) == drawn(3, 4, row, row % 8, 5)


def test_draws_are_uniform_over_samples_and_positions():
    keys = slot_keys(rollout_key(1, 2), jnp.zeros(400, jnp.uint32), jnp.arange(400, dtype=jnp.uint32))
    draws = np.concatenate([uniforms(keys, jnp.full(400, position)) for position in range(50)])
    counts = np.histogram(draws, bins=10, range=(0, 1))[0]
    # 20,000 draws, 2,000 a bin with a standard deviation of sqrt(20000 * 0.1 * 0.9) = 42: within 4 of them.
    assert np.abs(counts - 2000).max() < 170
    assert draws.min() >= 0
    assert draws.max() < 1


@pytest.mark.parametrize(("seed", "step", "name"), [(-1, 0, "seed"), (0, 2**32, "step")])
def test_numbers_out_of_range_are_refused_by_name(seed, step, name):
    with pytest.raises(ValueError, match=f"^{name}: expected"):
        rollout_key(seed, step)
