"""The benchmarks run what the stages run, and count operations as a pencil does."""

import pytest

from r1jax.benchmarks.measure import FLOPS
from r1jax.benchmarks.shapes import SHAPES, Shape, forward_flops, new_tokens
from r1jax.benchmarks.workloads import WORKLOADS, Bench
from r1jax.config import ModelConfig
from r1jax.dryrun.memory import count_params

MODEL = ModelConfig(vocab_size=32, hidden_size=8, num_layers=2, num_heads=2, num_kv_heads=1, ffn_size=16)
SHAPE = Shape(MODEL, prompts=8, prompt_tokens=4, group=2, new_tokens=4, micro_batch_rows=8)


def test_operations_of_a_forward_pass():
    # A layer: queries and output 2 x 8 x 8, keys and values 2 x 8 x 4, feed-forward 3 x 8 x 16: 576 products.
    # A token attends to 5 positions: scores and values 2 x 5 x 8 = 80 products. The head: 8 x 32 = 256.
    # Each product is two operations: 10 tokens x 2 layers x 2 x 656 + 3 tokens x 2 x 256 = 27,776.
    assert forward_flops(SHAPE, tokens=10, context=5, head_tokens=3) == 27_776


def test_a_whole_step_is_a_rollout_and_an_update():
    assert FLOPS["step"](SHAPE) == FLOPS["rollout"](SHAPE) + FLOPS["update"](SHAPE)
    assert new_tokens(SHAPES["tiny"]) == 8_192


def test_small_has_the_parameters_of_qwen2_5_0_5b():
    assert count_params(SHAPES["small"].model) == 494_032_768


@pytest.mark.parametrize("workload", WORKLOADS)
def test_a_workload_runs_again_and_again(workload):
    bench = Bench(SHAPE)
    once = WORKLOADS[workload](bench)
    once()
    once()
    if workload != "rollout":
        assert int(bench.state.step) == 2
        assert int(bench.state.total_bad) == 0
