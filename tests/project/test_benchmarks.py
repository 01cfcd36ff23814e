"""The benchmarks run what the stages run, and count operations as a pencil does."""

import pytest

from r1jax.benchmarks import grading
from r1jax.benchmarks.measure import FLOPS, MEASURES
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


def test_grading_asks_what_a_policy_writes_and_no_run_what_another_did():
    first, second = grading.questions(0), grading.questions(1)
    assert {one.gold for one in first}.isdisjoint(one.gold for one in second)
    assert len(first) == grading.PROMPTS
    assert all(
        sum(one.counts) == grading.GROUP == len(group) for one, group in zip(first, grading.items(first), strict=True)
    )
    assert sum("x" in one.gold for one in first) == grading.PROMPTS / grading.SYMBOLIC_EVERY


def test_grading_by_the_service_and_in_a_loop_agree(monkeypatch):
    monkeypatch.setattr(grading, "PROMPTS", 5)
    figures = grading.measure("grading", SHAPE, repeats=1)
    assert figures["agreement"] == 1.0
    assert figures["workers"] == 2
    assert 0 < figures["worker_share"] < 1
    assert figures["items_per_second"] > 0
    assert figures["speedup"] == pytest.approx(figures["items_per_second"] / figures["loop_items_per_second"], rel=0.1)
    groups = grading.items(grading.questions(7))
    right = grading.grade_directly(groups, [])
    assert sum(right) == 5 * 9  # of 16 answers to each question the first two kinds are right: 7 + 2


def test_the_command_times_every_workload():
    assert MEASURES.keys() == {*WORKLOADS, "grading"}
