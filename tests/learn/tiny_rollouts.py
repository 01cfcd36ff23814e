"""A tiny model, a recorded rollout of ragged sequences, and batches of it: packed or not, split as one likes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.config import MeshConfig, ModelConfig, OptimizerConfig, PolicyLossConfig
from r1jax.data.packing import micro_batches, pack, training_sequence
from r1jax.learn.state import StepConfig
from r1jax.models import decoder
from r1jax.parallel.mesh import make_mesh

MODEL = ModelConfig(
    vocab_size=32,
    hidden_size=16,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    ffn_size=24,
    attention_bias=True,
    qk_norm=True,
    init_range=0.2,
    scan_unroll=2,
)
OPTIMIZER = OptimizerConfig(learning_rate=1e-2, weight_decay=0.1)
MAX_NEW_TOKENS = 10


def step_config(loss="grpo", *, optimizer=OPTIMIZER, model=MODEL, **fields):
    policy = None if loss is None else PolicyLossConfig(name=loss, **({"kl_coefficient": 0.05} | fields))
    return StepConfig(model, optimizer, num_steps=10, loss=policy, max_new_tokens=MAX_NEW_TOKENS)


@functools.cache
def params(model=MODEL):
    return jax.jit(lambda key: decoder.init(model, key))(jax.random.key(0))


def single_device():
    return make_mesh(MeshConfig(data=1), jax.devices()[:1])


def sequences(count=12, seed=0):
    """`count` prompts with responses of 1 to MAX_NEW_TOKENS tokens; every fourth is masked whole."""
    rng = np.random.default_rng(seed)
    made = []
    for index in range(count):
        prompt = rng.integers(0, MODEL.vocab_size, rng.integers(2, 6))
        response = rng.integers(0, MODEL.vocab_size, rng.integers(1, MAX_NEW_TOKENS + 1))
        around = -3.4 + rng.normal(0, 0.4, (3, len(response)))  # log(1 / 32) = -3.5
        sequence = training_sequence(
            prompt,
            response,
            advantages=float(rng.normal()),
            old_logps=around[0],
            ref_logps=around[1],
            sampler_logps=around[2],
        )
        if index % 4 == 3:
            sequence["mask"] = 0 * sequence["mask"]
        made.append(sequence)
    return made


def batch(made=None, *, packed=True, rows=2, capacity=6, drop=(), **scalars):
    """`capacity` micro-batches of `rows` rows, without the arrays named in `drop`.

    The defaults leave some micro-batches unused, and give most tests arrays of one shape: one compilation.
    """
    made = sequences() if made is None else made
    made = [{name: array for name, array in one.items() if name not in drop} for one in made]
    arrays, _ = pack(made, row_tokens=32 if packed else 16, packed=packed)
    arrays = micro_batches(arrays, micro_batch_rows=rows, capacity=capacity)
    scalars = {"temperature": np.float32(1.0), "kl_coefficient": np.float32(0.05)} | scalars
    return {name: jnp.asarray(value) for name, value in (arrays | scalars).items()}


def relative_difference(tree, other):
    """|tree - other| / |other| over all leaves, in float64."""
    pairs = list(zip(jax.tree.leaves(tree), jax.tree.leaves(other), strict=True))
    pairs = [(np.asarray(a, np.float64), np.asarray(b, np.float64)) for a, b in pairs]
    difference = sum(np.sum((a - b) ** 2) for a, b in pairs)
    return float(np.sqrt(difference / sum(np.sum(b**2) for _, b in pairs)))
