"""FLOPs of a model: worked by hand, and beside what the compiler counts."""

import dataclasses

import jax
import numpy as np
import pytest
from tiny_models import FAMILIES

from r1jax.config import LatentConfig, LoraConfig, ModelConfig, MoeConfig, OptimizerConfig
from r1jax.data.packing import micro_batches, pack, training_sequence
from r1jax.learn import steps
from r1jax.learn.state import StepConfig, init_state
from r1jax.models import decoder
from r1jax.models.adapters import combined
from r1jax.models.flops import Work, batch_work, flops, flops_per_token, sampling_work, sequences_work
from r1jax.models.lora import init as init_adapters

SMALL = ModelConfig(vocab_size=10, hidden_size=4, num_layers=3, num_heads=2, num_kv_heads=1, ffn_size=5)


def test_a_small_model_by_hand():
    # A layer: queries 4 x 4, keys and values 4 x 2 each, out 4 x 4; gate, up and down 4 x 5: 48 + 60 weights.
    # A key: 2 heads of 2, in the score and in the sum: 8. The head: 40 weights.
    forward = 2 * (3 * (48 + 60) + 3 * 8 * 7 + 40)
    assert flops_per_token(SMALL, 7) == (forward, 3 * forward)
    assert flops_per_token(SMALL, 7, predicts=False).forward == forward - 2 * 40


def test_a_tied_head_costs_what_another_does_and_a_gate_a_third_of_the_feed_forward():
    assert flops_per_token(dataclasses.replace(SMALL, tie_embeddings=True), 7) == flops_per_token(SMALL, 7)
    ungated = dataclasses.replace(SMALL, gated_ffn=False)
    assert flops_per_token(SMALL, 7).forward - flops_per_token(ungated, 7).forward == 2 * 3 * 20


def test_only_the_experts_that_a_token_passes_count():
    # Layer 0 is dense (60 weights); layers 1 and 2: router 4 x 8, 2 of 8 experts and 1 shared one of 3 x 4 x 6.
    moe = MoeConfig(num_experts=8, experts_per_token=2, expert_size=6, shared_experts=1, first_dense_layers=1)
    feed_forward = 60 + 2 * (32 + 3 * 72)
    expected = 2 * (3 * 48 + feed_forward + 3 * 8 * 7 + 40)
    assert flops_per_token(dataclasses.replace(SMALL, moe=moe), 7).forward == expected


LATENT = dataclasses.replace(
    SMALL,
    num_kv_heads=2,
    latent=LatentConfig(kv_rank=6, query_rank=5, nope_size=4, rope_size=2, value_size=3),
)


def test_latent_attention_by_hand_in_training_and_in_decoding():
    # A layer: queries 4 x 5 and 5 x 2 heads x 6; latents 4 x 8; from them 6 x 2 x 7; out 2 x 3 x 4; feed-forward 60.
    kernels = 3 * (20 + 60 + 32 + 84 + 24 + 60)
    assert flops_per_token(LATENT, 7).forward == 2 * (kernels + 3 * 2 * (6 + 3) * 7 + 40)
    # In decoding both products run over the 8 cached numbers.
    assert flops(LATENT, Work(1, 7, 1), "decode") == 2 * (kernels + 3 * 2 * (8 + 8) * 7 + 40)
    assert flops(SMALL, Work(1, 7, 1), "decode") == flops_per_token(SMALL, 7).forward


def test_a_frozen_base_has_no_gradient_of_its_weights():
    model = dataclasses.replace(SMALL, lora=LoraConfig(rank=2, targets=("ffn.up",)))
    base = flops_per_token(SMALL, 7).forward
    adapters = 2 * 3 * 2 * (4 + 5)
    attention = 2 * 3 * 8 * 7
    found = flops_per_token(model, 7)
    assert found.forward == base + adapters
    assert found.training == 2 * base + 3 * adapters + attention  # attention's two factors both have one


def test_a_score_head_is_one_number_and_trained_beside_a_frozen_base():
    plain = dataclasses.replace(SMALL, head="score")
    head = 2 * (40 - 4)
    assert flops_per_token(SMALL, 7).forward - flops_per_token(plain, 7).forward == head
    model = dataclasses.replace(plain, lora=LoraConfig(rank=2))
    with_head, without = (flops_per_token(model, 7, predicts=predicts) for predicts in (True, False))
    assert with_head.training - without.training == 3 * 2 * 4


def test_work_is_counted_by_sequence_however_it_is_packed():
    lengths = [(3, 4), (2, 5), (6, 1)]
    sequences = [training_sequence([1] * prompt, [2] * response) for prompt, response in lengths]
    # Tokens read: 6, 6, 6; keys 1 + ... + 6 = 21 each; targets 4 + 5 + 1.
    expected = Work(18, 63, 10)
    for packed in (True, False):
        rows, _ = pack(sequences, row_tokens=14, packed=packed)
        assert batch_work(micro_batches(rows, micro_batch_rows=2, capacity=4)) == expected
    assert sequences_work(lengths) == expected


def test_sampling_reads_a_prompt_once_and_never_a_last_token():
    prefill, decode = sampling_work([(3, [4, 1])])
    assert prefill == Work(3, 6, 1)
    # The completion of 4 reads 3 tokens, over 3 + 1, 3 + 2, 3 + 3 keys; that of 1 reads none.
    assert decode == Work(3, 15, 3)


def test_one_completion_sampled_costs_what_its_scoring_does():
    prefill, decode = sampling_work([(9, [20])])
    assert prefill + decode == sequences_work([(9, 20)])


def test_work_comes_back_from_metrics():
    work = {"train": Work(1, 2, 3), "score/old": Work(4, 5, 6)}
    line = {"step": 7, "loss": 0.5, **{k: v for name, one in work.items() for k, v in one.metrics(name).items()}}
    assert Work.read(line) == work


# Wide enough that the products outweigh norms, softmax and the optimiser, which the compiler counts too.
WIDE = ModelConfig(
    vocab_size=512, hidden_size=192, num_layers=2, num_heads=4, num_kv_heads=2, ffn_size=512, scan_unroll=2
)
COMPILED = {
    "grouped": WIDE,
    "latent": dataclasses.replace(
        WIDE,
        num_kv_heads=4,
        latent=LatentConfig(kv_rank=64, query_rank=96, nope_size=48, rope_size=16, value_size=48),
    ),
    "adapters": dataclasses.replace(WIDE, lora=LoraConfig(rank=16)),
    "tied": dataclasses.replace(WIDE, tie_embeddings=True, gated_ffn=False, activation="relu2"),
}
ROWS, POSITIONS = 8, 64


def arrays(kind="int32"):
    return jax.ShapeDtypeStruct((1, ROWS, POSITIONS), kind)


def fresh_params(model):
    key = jax.random.key(0)
    params = decoder.init(model, key)
    return params if model.lora is None else combined(params, init_adapters(model, key))


def compiler_flops(fn, *args) -> float:
    return jax.jit(fn).lower(*args).compile().cost_analysis()["flops"]


@pytest.mark.parametrize("name", COMPILED)
def test_the_compiler_counts_as_many(name):
    """One micro-batch, layers unrolled: no loop, whose body the compiler would count once."""
    model = COMPILED[name]
    config = StepConfig(model, OptimizerConfig(), num_steps=1)
    batch = {key: arrays() for key in ("tokens", "targets", "segments", "positions")} | {
        "mask": arrays("float32"),
        "num_micro": jax.ShapeDtypeStruct((), "int32"),
        "temperature": jax.ShapeDtypeStruct((), "float32"),
    }
    params = jax.eval_shape(lambda: fresh_params(model))
    state = jax.eval_shape(lambda params: init_state(params, config=config), params)
    # The programs compute the whole square of scores: every token meets all positions of its row.
    expected = flops_per_token(model, POSITIONS)
    tokens = ROWS * POSITIONS
    trained = compiler_flops(lambda state, batch: steps.next_token_step(state, batch, config=config), state, batch)
    assert trained / tokens == pytest.approx(expected.training, rel=0.03)

    def forward(params, tokens, positions, segments):
        hidden = decoder.forward(params, tokens, positions, segments, config=model)
        return decoder.logits(params, hidden, config=model)

    rows = jax.ShapeDtypeStruct((ROWS, POSITIONS), "int32")
    assert compiler_flops(forward, params, rows, rows, rows) / tokens == pytest.approx(expected.forward, rel=0.015)


def test_every_family_has_a_cost_that_grows_with_its_context():
    for model in FAMILIES.values():
        near, far = flops_per_token(model, 10), flops_per_token(model, 110)
        assert 0 < near.forward < far.forward < far.training
        work = Work(5, 50, 5)
        assert flops(model, work, "train") == pytest.approx(5 * near.training)
        assert np.isclose(flops(model, work, "forward"), 5 * near.forward)
