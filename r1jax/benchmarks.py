"""How fast a machine rolls out, updates and steps: three workloads on random weights, beside a plain GEMM.

    rollout    prompts prefilled, a group of completions of each sampled to their last token
    update     one GRPO update: packing, log-probs of the reference, gradients, AdamW
    step       parameters to the sampler, rollout, a trivial reward, update

All run what the stages run: the sampler, `rollout.collect`, `policy_batches`, the compiled steps, in float32
with the layers unrolled. Each workload has a process of its own, so that its peak memory is its own. A float32
GEMM is timed before every repetition: `gemm_share`, the time that GEMM would need for the workload's
multiplications over the time that it took, is what machines (and quiet and busy hours of one) can be compared by.
"""

from __future__ import annotations

import concurrent.futures
import dataclasses
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from r1jax.config import (
    BatchConfig,
    DataConfig,
    GrpoConfig,
    ModelConfig,
    OptimizerConfig,
    RewardConfig,
    RewardsConfig,
    RewardSetConfig,
    RopeConfig,
    RunConfig,
    SamplerConfig,
    SamplingConfig,
    TemplateConfig,
    TokenizerConfig,
    constant,
)
from r1jax.data.iterators import Epochs, epochs
from r1jax.learn.jit import jit_make, jit_score, jit_step, place_batch
from r1jax.learn.state import StepConfig, init_state, state_shardings
from r1jax.learn.steps import policy_step, score
from r1jax.models import decoder
from r1jax.parallel.mesh import make_mesh
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Score, Status, Verdict
from r1jax.sampler.engine import Completion, Request, Sampler
from r1jax.stages import rollout as rollouts
from r1jax.stages.context import RunContext
from r1jax.stages.grading import Graded, render
from r1jax.stages.policy_batch import policy_batches
from r1jax.text.tokenizer import Tokenizer
from r1jax.workdir import Workdir

GEMM_SIZE = 2048
TEMPERATURE = 1.0


@dataclasses.dataclass(frozen=True)
class Shape:
    """The size of the three workloads."""

    model: ModelConfig
    prompts: int
    prompt_tokens: int
    group: int
    new_tokens: int
    micro_batch_rows: int  # as many as the caches bear

    @property
    def row_tokens(self) -> int:
        return self.prompt_tokens + self.new_tokens - 1  # the last token is predicted, never read


SHAPES = {
    "tiny": Shape(
        ModelConfig(
            vocab_size=2048,
            hidden_size=256,
            num_layers=4,
            num_heads=4,
            num_kv_heads=2,
            ffn_size=1024,
            attention_bias=True,
            tie_embeddings=True,
            scan_unroll=4,
        ),
        prompts=8,
        prompt_tokens=64,
        group=8,
        new_tokens=128,
        micro_batch_rows=8,
    ),
    "small": Shape(  # Qwen2.5-0.5B
        ModelConfig(
            vocab_size=151_936,
            hidden_size=896,
            num_layers=24,
            num_heads=14,
            num_kv_heads=2,
            ffn_size=4864,
            attention_bias=True,
            tie_embeddings=True,
            rope=RopeConfig(theta=1e6),
            scan_unroll=24,
        ),
        prompts=2,
        prompt_tokens=64,
        group=4,
        new_tokens=32,
        micro_batch_rows=4,
    ),
}


def trivial_reward(items: Sequence[Item]) -> list[Score]:
    """1 where the last word's number is even: differs within groups, costs nothing."""
    return [Score(float(item.completion[-1] in "02468"), Status.SCORED) for item in items]


class Bench:
    """The open parts that the workloads share, for one shape, on all devices there are."""

    def __init__(self, shape: Shape):
        self.shape = shape
        words = [f"w{number}" for number in range(shape.model.vocab_size - 2)]  # padding and EOS are the first two
        self.stage = GrpoConfig(
            name="bench",
            template=TemplateConfig(name="plain"),
            data=DataConfig(kind="task", name="random words", limit=shape.prompts),  # made below, never loaded
            num_steps=1_000,
            group_size=shape.group,
            rollout_prompts=shape.prompts,
            max_new_tokens=constant(shape.new_tokens),
            temperature=constant(TEMPERATURE),
            optimizer=OptimizerConfig(),
            batch=BatchConfig(row_tokens=shape.row_tokens, micro_batch_rows=shape.micro_batch_rows),
            sampler=SamplerConfig(
                lanes=shape.prompts,
                width=shape.group,
                chunk_steps=min(32, shape.new_tokens),
                max_prompt_tokens=shape.prompt_tokens,
            ),
        )
        reward = RewardConfig(f"{__name__}:{trivial_reward.__name__}")
        config = RunConfig(
            name="bench",
            model=shape.model,
            tokenizer=TokenizerConfig(path="in memory"),
            stages=(self.stage,),
            rewards=RewardsConfig(sets=(RewardSetConfig("default", (reward,)),)),
        )
        self.run = RunContext(
            config=config,
            workdir=Workdir(tempfile.gettempdir()),  # nothing is written
            mesh=make_mesh(config.mesh),
            tokenizer=Tokenizer.from_texts_wordlevel(words),
            rewards=RewardService(config.rewards),
        )
        self.random = np.random.default_rng(0)
        self.records = [
            {"id": str(number), "question": " ".join(self.random.choice(words, shape.prompt_tokens))}
            for number in range(shape.prompts)
        ]
        self.step_config = StepConfig(
            model=shape.model,
            optimizer=self.stage.optimizer,
            num_steps=self.stage.num_steps,
            loss=self.stage.loss,
            max_new_tokens=shape.new_tokens,
        )

    def sampler(self) -> Sampler:
        """Without stop tokens: every completion has `new_tokens`."""
        return Sampler(
            self.shape.model,
            self.stage.sampler,
            mesh=self.run.mesh,
            stop_ids=(),
            max_new_tokens=self.shape.new_tokens,
            pad_id=self.run.tokenizer.pad_id,
        )

    def params(self) -> Any:
        """Random weights on the mesh."""
        layout = state_shardings(self.step_config, self.run.mesh).params
        init = jit_make(lambda key: decoder.init(self.shape.model, key), self.run.mesh, layout)
        return init(jax.random.key(0))

    def updater(self) -> Callable[[rollouts.Rollout], None]:
        """What updates `state` on a rollout, and waits for the result."""
        shardings = state_shardings(self.step_config, self.run.mesh, reference=True)
        make = jit_make(lambda p: init_state(p, config=self.step_config, reference=True), self.run.mesh, shardings)
        update = jit_step(policy_step, self.run.mesh, shardings, self.step_config)
        compiled_score = jit_score(score, self.run.mesh, shardings.params, self.step_config)
        self.state = make(self.params())

        def score_batch(params: Any, batch: dict[str, Any]) -> dict[str, np.ndarray]:
            scores = compiled_score(params, place_batch(batch, self.run.mesh))
            return {name: np.asarray(values) for name, values in scores.items()}

        def update_on(rollout: rollouts.Rollout) -> None:
            (batch,), _ = policy_batches(self.stage, 0, rollout, run=self.run, state=self.state, score=score_batch)
            batch["kl_coefficient"] = np.float32(self.stage.loss.kl_coefficient)
            self.state, metrics = update(self.state, place_batch(batch, self.run.mesh))
            if not float(metrics["grad_norm"]) > 0:
                raise RuntimeError(f"the update had nothing to learn from: {jax.device_get(metrics)}")
            jax.block_until_ready(self.state)

        return update_on

    def prompts(self) -> Epochs:
        return epochs(self.records, seed=0, batch_size=self.shape.prompts)

    def made_up_rollout(self) -> rollouts.Rollout:
        """A rollout of random tokens, as `collect` would have returned it."""
        shape = self.shape
        prompts = render(self.records, self.stage.template, self.run)

        def graded(prompt: int, sample: int) -> Graded:
            tokens = self.random.integers(2, shape.model.vocab_size, shape.new_tokens, dtype=np.int32)
            logps = np.full(shape.new_tokens, -np.log(shape.model.vocab_size), np.float32)
            reward = self.stage_reward(float(sample % 2))
            return Graded(Completion(prompt, sample, tokens, logps, stopped=False), "", reward)

        groups = [[graded(prompt, sample) for sample in range(shape.group)] for prompt in range(shape.prompts)]
        return rollouts.Rollout(prompts, groups, {}, drawn_groups=shape.prompts, backfill_rounds=0)

    def stage_reward(self, value: float) -> Verdict:
        (reward,) = self.run.config.rewards.sets[0].rewards
        return Verdict({reward.name: Score(value, Status.SCORED)})


def rollout_workload(bench: Bench) -> Callable[[], None]:
    """All completions of the prompts, from weights that the sampler holds."""
    sampler = bench.sampler()
    sampler.load(bench.params())
    requests = [
        Request(prompt=number, tokens=prompt.rendered.token_ids, num_samples=bench.shape.group)
        for number, prompt in enumerate(render(bench.records, bench.stage.template, bench.run))
    ]
    sampling = SamplingConfig(temperature=TEMPERATURE, top_p=None, max_new_tokens=bench.shape.new_tokens)

    def once() -> None:
        drawn = sum(len(one.tokens) for one in sampler.generate(requests, seed=0, step=0, sampling=sampling))
        if drawn != new_tokens(bench.shape):
            raise RuntimeError(f"expected {new_tokens(bench.shape)} tokens, found {drawn}")

    return once


def update_workload(bench: Bench) -> Callable[[], None]:
    """One update on a rollout that is there."""
    update_on, rollout = bench.updater(), bench.made_up_rollout()
    return lambda: update_on(rollout)


def step_workload(bench: Bench) -> Callable[[], None]:
    """One whole step of R1-Zero, of which only files are left out."""
    sampler, update_on, prompts = bench.sampler(), bench.updater(), bench.prompts()

    def once() -> None:
        sampler.load(bench.state.params)
        update_on(rollouts.collect(bench.stage, 0, run=bench.run, sampler=sampler, prompts=prompts))

    return once


def new_tokens(shape: Shape) -> int:
    """Tokens that a rollout draws."""
    return shape.prompts * shape.group * shape.new_tokens


def forward_flops(shape: Shape, tokens: int, context: float, head_tokens: int) -> float:
    """Floating-point operations of the multiplications of a forward pass.

    Args:
      tokens: how many go through the layers; `head_tokens` of them through the output head.
      context: mean number of positions that a token attends to.
    """
    model = shape.model
    heads = model.num_heads * model.head_width
    projections = model.hidden_size * 2 * (heads + model.num_kv_heads * model.head_width)
    layer = projections + (3 if model.gated_ffn else 2) * model.hidden_size * model.ffn_size
    per_token = 2 * layer + 4 * context * heads  # 4: scores and weighted values
    return tokens * model.num_layers * per_token + 2.0 * head_tokens * model.hidden_size * model.vocab_size


def rollout_flops(shape: Shape) -> float:
    """Each prompt once, each drawn token but the last once."""
    completions = shape.prompts * shape.group
    prefill = forward_flops(shape, shape.prompts * shape.prompt_tokens, shape.prompt_tokens / 2, shape.prompts)
    fed = completions * (shape.new_tokens - 1)
    return prefill + forward_flops(shape, fed, shape.prompt_tokens + shape.new_tokens / 2, fed)


def update_flops(shape: Shape) -> float:
    """A forward pass of the reference, and forward and backward (twice forward) of the policy."""
    tokens = shape.prompts * shape.group * shape.row_tokens
    return 4 * forward_flops(shape, tokens, shape.row_tokens / 2, tokens)


WORKLOADS: dict[str, tuple[Callable[[Bench], Callable[[], None]], Callable[[Shape], float]]] = {
    "rollout": (rollout_workload, rollout_flops),
    "update": (update_workload, update_flops),
    "step": (step_workload, lambda shape: rollout_flops(shape) + update_flops(shape)),
}


def measure(workload: str, shape: Shape, repeats: int) -> dict[str, Any]:
    """Times a workload in this process: the first call (it compiles), a warm-up, then `repeats` runs.

    Returns seconds (median) and runs, compile_seconds (what the first call took longer), peak_memory_bytes of the
    process, gemm_gflops (of the float32 GEMMs between the runs), gflop and gemm_share (see above), and
    tokens_per_second of generated tokens where some are.
    """
    jax.config.update("jax_enable_compilation_cache", False)
    make, flops = WORKLOADS[workload]
    once, gemm = make(Bench(shape)), make_gemm()
    first = timed(once)
    timed(once), timed(gemm), timed(gemm)
    pairs = [(timed(gemm), timed(once)) for _ in range(repeats)]
    seconds = statistics.median(run for _, run in pairs)
    gemm_flops = 2 * GEMM_SIZE**3 / statistics.median(gemm for gemm, _ in pairs)
    return {
        "seconds": round(seconds, 4),
        **({} if workload == "update" else {"tokens_per_second": round(new_tokens(shape) / seconds)}),
        "runs": [round(run, 4) for _, run in pairs],
        "compile_seconds": round(first - seconds, 2),
        "peak_memory_bytes": peak_memory_bytes(),
        "gflop": round(flops(shape) / 1e9, 1),
        "gemm_gflops": round(gemm_flops / 1e9, 1),
        "gemm_share": round(flops(shape) / gemm_flops / seconds, 3),
    }


def make_gemm() -> Callable[[], None]:
    """One float32 product of square matrices."""
    with jax.default_matmul_precision("float32"):
        left = jax.random.normal(jax.random.key(0), (GEMM_SIZE, GEMM_SIZE), jnp.float32)
        product = jax.jit(jnp.matmul).lower(left, left).compile()
    return lambda: jax.block_until_ready(product(left, left))


def timed(call: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory_bytes() -> int:
    """The most memory that this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes, but on macOS bytes


def environment() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    device = jax.devices()[0]
    return {
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": device.device_kind,
        "devices": jax.device_count(),
        "cores": os.process_cpu_count() if hasattr(os, "process_cpu_count") else len(os.sched_getaffinity(0)),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def run_all(workloads: Sequence[str], size: str, repeats: int) -> dict[str, Any]:
    """Measures each workload in a fresh process, one after the other."""
    # Not forked: jax does not survive it, and peak memory would be inherited.
    fresh = multiprocessing.get_context("spawn")

    def apart(function: Callable[..., Any], *args: Any) -> Any:
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=fresh) as pool:
            return pool.submit(function, *args).result()

    return {
        "environment": apart(environment),
        "size": size,
        "workloads": {name: apart(measure, name, SHAPES[size], repeats) for name in workloads},
    }
