"""What the sampler promises: the trainer's log-probs, draws that depend on nothing else, few programs."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.config import (
    ConfigError,
    LatentConfig,
    MeshConfig,
    ModelConfig,
    MoeConfig,
    RopeConfig,
    SamplerConfig,
    SamplingConfig,
)
from r1jax.models import decoder, decoding
from r1jax.parallel.mesh import make_mesh
from r1jax.sampler.board import PromptError, Request
from r1jax.sampler.engine import Sampler, prompt_bucket

MODEL = ModelConfig(
    vocab_size=48,
    hidden_size=32,
    num_layers=2,
    num_heads=4,
    num_kv_heads=2,
    ffn_size=48,
    attention_bias=True,
    init_range=0.3,  # far from uniform logits, so that a wrong position or key shows
)
PARAMS = decoder.init(MODEL, jax.random.key(1))
SHAPE = SamplerConfig(lanes=8, width=2, chunk_steps=5, max_prompt_tokens=40)
FREE = SamplingConfig(temperature=1.0, top_p=None, max_new_tokens=10)
ONE_DEVICE = make_mesh(MeshConfig(), jax.devices()[:1])


def build(model=MODEL, shape=SHAPE, mesh=ONE_DEVICE, stop_ids=(), params=PARAMS):
    sampler = Sampler(model, shape, mesh=mesh, stop_ids=stop_ids, max_new_tokens=10, pad_id=0)
    sampler.load(params)
    return sampler


@pytest.fixture(scope="module")
def sampler():
    return build()


def prompt(number: int, length: int) -> tuple[int, ...]:
    return tuple(np.random.default_rng(number).integers(0, MODEL.vocab_size, length).tolist())


def ask(*lengths, samples=2, first=0):
    return [Request(first + i, prompt(first + i, length), samples) for i, length in enumerate(lengths)]


def run(sampler, requests, *, seed=3, step=5, sampling=FREE):
    completions = list(sampler.generate(requests, seed=seed, step=step, sampling=sampling))
    by_name = {(c.prompt, c.sample): c for c in completions}
    assert len(by_name) == len(completions)
    return by_name


def same(left, right):
    return left.tokens.tolist() == right.tokens.tolist() and left.logps.tolist() == right.logps.tolist()


@jax.jit
def forward_logits(tokens_BT):
    positions = jnp.broadcast_to(jnp.arange(tokens_BT.shape[1]), tokens_BT.shape)
    hidden = decoder.forward(PARAMS, tokens_BT, positions, jnp.ones_like(tokens_BT), config=MODEL)
    return decoder.logits(PARAMS, hidden, config=MODEL)


def next_logits(request, completion):
    """The trainer's logits at every position that drew a token of the completion (rows padded to 50)."""
    tokens = [*request.tokens, *completion.tokens.tolist()]
    row = np.zeros((1, 50), np.int32)
    row[0, : len(tokens)] = tokens
    start = len(request.tokens) - 1
    return np.asarray(forward_logits(row))[0, start : start + len(completion.tokens)]


def log_softmax(logits):
    return np.asarray(jax.nn.log_softmax(jnp.asarray(logits), axis=-1))


@pytest.mark.parametrize(
    "sampling",
    [
        SamplingConfig(temperature=0.7, top_p=None, max_new_tokens=10),
        SamplingConfig(temperature=1.3, top_p=0.8, top_k=20, max_new_tokens=10),
    ],
    ids=["plain", "filtered"],
)
def test_log_probs_are_the_trainers_at_the_sampling_temperature(sampler, sampling):
    requests = ask(1, 7, 33, 12, 5, 40, 20, 3, 8, 26)  # two waves: prompt buckets of 40 and 32 tokens
    completions = run(sampler, requests, sampling=sampling)
    assert len(completions) == 20
    for (number, _), completion in completions.items():
        logps = log_softmax(next_logits(requests[number], completion) / sampling.temperature)
        expected = logps[np.arange(len(completion.tokens)), completion.tokens]
        np.testing.assert_allclose(completion.logps, expected, atol=1e-4)


def test_filters_hold_at_every_token(sampler):
    requests = ask(7, 9)
    completions = run(
        sampler, requests, sampling=SamplingConfig(temperature=1.0, top_p=0.6, top_k=5, max_new_tokens=10)
    )
    for (number, _), completion in completions.items():
        for logps, token in zip(log_softmax(next_logits(requests[number], completion)), completion.tokens, strict=True):
            heavier = np.sort(np.exp(logps[logps > logps[token]]))
            assert len(heavier) < 5
            assert heavier.sum() < 0.6 * np.exp(np.sort(logps)[-5:]).sum() + 1e-5


def test_greedy_is_the_argmax_of_the_full_forward(sampler):
    requests = ask(1, 7, 33)
    greedy = SamplingConfig(temperature=0.0, max_new_tokens=10)
    for (number, _), completion in run(sampler, requests, sampling=greedy).items():
        logits = next_logits(requests[number], completion)
        assert completion.tokens.tolist() == logits.argmax(axis=-1).tolist()
        np.testing.assert_allclose(completion.logps, log_softmax(logits).max(axis=-1), atol=1e-4)


def test_completions_do_not_depend_on_slots_or_company(sampler):
    requests = ask(1, 7, 12, 5, 32, 8, 4, 6, 11, 2)  # two waves
    everyone = run(sampler, requests)
    backwards = run(sampler, requests[::-1])
    alone = run(sampler, requests[3:4])
    assert all(same(everyone[name], backwards[name]) for name in everyone)
    assert all(same(everyone[name], alone[name]) for name in alone)


def test_more_samples_than_slots_draw_on_where_fewer_end(sampler):
    many = run(sampler, ask(7, samples=5))
    few = run(sampler, ask(7, samples=2))
    assert sorted(many) == [(0, i) for i in range(5)]
    assert all(same(many[name], few[name]) for name in few)
    assert len({tuple(completion.tokens.tolist()) for completion in many.values()}) == 5


def test_a_resumed_call_draws_the_same_and_another_step_or_seed_does_not(sampler):
    requests = ask(7, 9)
    first = run(sampler, requests)
    run(sampler, requests, step=6)
    resumed = run(build(), requests)
    assert all(same(first[name], resumed[name]) for name in first)
    for changed in ({"step": 6}, {"seed": 4}):
        other = run(sampler, requests, **changed)
        assert not any(same(first[name], other[name]) for name in first)


def test_cache_growth_does_not_change_completions(sampler):
    grown = run(sampler, ask(7, 9))  # caches of 5, then 10 tokens
    at_once = run(build(shape=dataclasses.replace(SHAPE, chunk_steps=10)), ask(7, 9))
    for name in grown:
        assert grown[name].tokens.tolist() == at_once[name].tokens.tolist()
        np.testing.assert_allclose(grown[name].logps, at_once[name].logps, atol=1e-5)


def test_the_stop_token_is_kept_and_nothing_behind_it(sampler):
    requests = ask(1, 7, 12, 5, 9)
    free, stop_ids = run(sampler, requests), (3, 20, 41, 47)
    stopping = build(stop_ids=stop_ids)
    stopped = run(stopping, requests)
    lengths = set()
    for name, completion in free.items():
        hits = np.flatnonzero(np.isin(completion.tokens, stop_ids))
        length = int(hits[0]) + 1 if len(hits) else 10
        lengths.add(length)
        assert stopped[name].tokens.tolist() == completion.tokens[:length].tolist()
        assert stopped[name].logps.tolist() == completion.logps[:length].tolist()
        assert stopped[name].stopped == bool(len(hits))
    assert len(lengths) > 2, "the case is too easy: choose other stop tokens"
    assert stopping.stats.truncated == sum(not completion.stopped for completion in stopped.values()) > 0


@pytest.mark.parametrize("limit", [1, 2, 5, 10])
def test_the_limit_of_a_call_cuts_completions(sampler, limit):
    requests = ask(7, 9)
    cut = run(sampler, requests, sampling=dataclasses.replace(FREE, max_new_tokens=limit))
    free = run(sampler, requests)
    for name, completion in cut.items():
        assert completion.tokens.tolist() == free[name].tokens[:limit].tolist()
        assert not completion.stopped


def test_decoding_ends_with_the_last_completion():
    sampler = build()
    run(sampler, ask(7, 9), sampling=dataclasses.replace(FREE, max_new_tokens=3))
    assert sampler.stats.decode_steps == 2  # of a chunk of 5
    completions = run(sampler, ask(7, 9))
    stopping = build(stop_ids={int(completion.tokens[0]) for completion in completions.values()})
    assert all(len(completion.tokens) == 1 for completion in run(stopping, ask(7, 9)).values())
    assert stopping.stats.decode_steps == 0  # the first token is drawn by prefill


def test_stats_count_tokens_and_idle_slots(sampler):
    run(sampler, ask(7, 9, 5, samples=1))
    stats = sampler.stats
    assert (stats.completions, stats.truncated, stats.new_tokens, stats.decode_steps) == (3, 3, 30, 9)
    assert stats.idle_share == pytest.approx(1 - 3 / 16)  # three of 16 slots
    assert stats.tokens_per_second > 0


def test_completions_stream_before_the_rest_is_decoded():
    sampler = build(stop_ids=(3, 20, 41, 47))
    requests = ask(1, 7, 12, 5)
    completions = sampler.generate(requests, seed=3, step=5, sampling=FREE)
    first = next(completions)
    assert len(first.tokens) < 10
    early = sampler.stats.decode_steps
    rest = list(completions)
    assert len(rest) == 7
    assert early < sampler.stats.decode_steps


def test_loaded_parameters_are_the_ones_sampled_from(sampler):
    requests = ask(7, 9)
    before = run(sampler, requests)
    sampler.load(jax.tree.map(lambda leaf: leaf * 1.1, PARAMS))
    changed = run(sampler, requests)
    sampler.load(PARAMS)
    again = run(sampler, requests)
    assert all(same(before[name], again[name]) and not same(before[name], changed[name]) for name in before)


def test_loaded_parameters_outlive_the_donated_originals():
    params = jax.tree.map(jnp.copy, PARAMS)
    sampler = build(params=params)
    jax.tree.map(lambda leaf: leaf.delete(), params)  # as a training step does with the state it is given
    assert len(run(sampler, ask(7))) == 2


def test_nothing_is_traced_again_when_only_the_sampling_changes(monkeypatch):
    traces = {"prefill": 0, "decode": 0}
    for name in traces:
        original = getattr(decoding, name)

        def counted(*args, name=name, original=original, **kwargs):
            traces[name] += 1
            return original(*args, **kwargs)

        monkeypatch.setattr(decoding, name, counted)
    sampler = build(model=dataclasses.replace(MODEL, norm_eps=2e-6))  # programs that no other test made
    run(sampler, ask(7, 9, 30))
    assert traces == {"prefill": 1, "decode": 2}  # one prompt bucket; caches of 5 and 10 tokens
    for changed in (
        {"temperature": 0.3},
        {"temperature": 0.0},
        {"top_p": 0.9},
        {"top_k": 3},
        {"max_new_tokens": 6},
    ):
        run(sampler, ask(1, 20, samples=3), sampling=dataclasses.replace(FREE, **changed), step=1)
    sampler.load(jax.tree.map(lambda leaf: leaf + 0.0, PARAMS))
    run(sampler, ask(2, 3))
    run(build(model=dataclasses.replace(MODEL, norm_eps=2e-6), stop_ids=(3, 4)), ask(5))
    assert traces == {"prefill": 1, "decode": 2}


def test_prompt_buckets_are_few():
    assert [prompt_bucket(size, 100) for size in (1, 32, 33, 64, 65, 100)] == [32, 32, 64, 64, 100, 100]
    assert prompt_bucket(5, 20) == 20


@pytest.mark.parametrize("axes", [{"fsdp": 4, "tensor": 2}, {"data": 8}], ids=["fsdp4xtensor2", "data8"])
def test_eight_devices_sample_what_one_samples(axes):
    mesh = make_mesh(MeshConfig(**{"data": 1, **axes}))
    requests = ask(1, 7, 12, 5, 9, 30, 8, 3, 4)
    sampler = build(mesh=mesh)
    with jax.set_mesh(mesh):
        own_k = sampler._programs.empty(32, 5).cache.own[0]["k"]
    lanes, kv_heads = 8 // mesh.shape["data"] // mesh.shape["fsdp"], 2 // mesh.shape["tensor"]
    assert own_k.addressable_shards[0].data.shape == (lanes, 2, kv_heads, 8, 5)
    sharded, single = run(sampler, requests), run(build(), requests)
    assert sorted(sharded) == sorted(single)
    for name in single:
        # A token may differ where its uniform lies within 1e-4 of a boundary: none of these does.
        assert sharded[name].tokens.tolist() == single[name].tokens.tolist()
        np.testing.assert_allclose(sharded[name].logps, single[name].logps, atol=1e-4)


@pytest.mark.slow
def test_experts_and_latent_caches_sample_the_same_on_eight_devices():
    rope = RopeConfig(scaling="yarn", factor=4.0, original_max_positions=16, mscale_all_dim=1.0, neighbours=True)
    model = dataclasses.replace(
        MODEL,
        num_kv_heads=4,
        attention_bias=False,
        rope=rope,
        latent=LatentConfig(kv_rank=12, query_rank=16, nope_size=8, rope_size=4, value_size=6),
        moe=MoeConfig(8, 2, 16, shared_experts=1, first_dense_layers=1, gate="sigmoid", num_groups=4, top_groups=2),
    )
    params = decoder.init(model, jax.random.key(1))
    mesh = make_mesh(MeshConfig(data=1, expert=4, tensor=2))
    requests = ask(1, 7, 12, 5, 9, 30, 8, 3, 4)
    sharded, single = (run(build(model, mesh=on, params=params), requests) for on in (mesh, ONE_DEVICE))
    for name in single:
        assert sharded[name].tokens.tolist() == single[name].tokens.tolist()
        np.testing.assert_allclose(sharded[name].logps, single[name].logps, atol=1e-4)


def test_what_cannot_be_sampled_is_refused_at_once(sampler):
    with pytest.raises(PromptError, match="prompt number 0: expected at most .*=40 tokens, found 41"):
        sampler.generate(ask(41), seed=0, step=0, sampling=FREE)
    with pytest.raises(ConfigError, match="sampling.max_new_tokens"):
        sampler.generate(ask(4), seed=0, step=0, sampling=dataclasses.replace(FREE, max_new_tokens=11))
    with pytest.raises(ConfigError, match="'lanes'.*found 4"):
        build(shape=dataclasses.replace(SHAPE, lanes=4), mesh=make_mesh(MeshConfig(data=8)))
    with pytest.raises(ConfigError, match="stop tokens: expected ids below model.vocab_size=48"):
        build(stop_ids=(2, 48))
    assert list(sampler.generate([], seed=0, step=0, sampling=FREE)) == []
