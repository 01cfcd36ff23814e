"""The workloads: what the stages run, without files and without data.

    rollout    prompts prefilled, a group of completions of each sampled to their last token
    update     one GRPO update: packing, log-probs of the reference, gradients, AdamW
    step       parameters to the sampler, rollout, a trivial reward, update

Each is built from a `Bench` and is then a function that does the work once and waits for its end.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from r1jax.benchmarks.shapes import Shape
from r1jax.config import (
    BatchConfig,
    DataConfig,
    GrpoConfig,
    OptimizerConfig,
    RewardConfig,
    RewardsConfig,
    RewardSetConfig,
    RunConfig,
    SamplerConfig,
    SamplingConfig,
    TemplateConfig,
    TokenizerConfig,
    constant,
)
from r1jax.data.iterators import epochs
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
from r1jax.stages.grading import Graded, Prompt, render
from r1jax.stages.policy_batch import policy_batches
from r1jax.text.tokenizer import Tokenizer
from r1jax.workdir import Workdir

TEMPERATURE = 1.0


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
            whole=config,
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
            jax.block_until_ready((self.state, metrics))
            assert float(metrics["grad_norm"]) > 0, "an update that has nothing to learn from is no benchmark"

        return update_on

    def prompts(self) -> list[Prompt]:
        """The records, rendered."""
        longest = self.stage.sampler.max_prompt_tokens
        return render(self.records, self.stage.template, self.run, max_prompt_tokens=longest)

    def made_up_rollout(self) -> rollouts.Rollout:
        """A rollout of random tokens, as `collect` would have returned it."""
        shape = self.shape
        prompts = self.prompts()
        (reward,) = self.run.config.rewards.sets[0].rewards

        def graded(prompt: int, sample: int) -> Graded:
            tokens = self.random.integers(2, shape.model.vocab_size, shape.new_tokens, dtype=np.int32)
            logps = np.full(shape.new_tokens, -np.log(shape.model.vocab_size), np.float32)
            verdict = Verdict({reward.name: Score(float(sample % 2), Status.SCORED)})
            return Graded(Completion(prompt, sample, tokens, logps, stopped=False), "", verdict)

        groups = [[graded(prompt, sample) for sample in range(shape.group)] for prompt in range(shape.prompts)]
        return rollouts.Rollout(prompts, groups, {}, drawn_groups=shape.prompts, backfill_rounds=0)


def rollout_workload(bench: Bench) -> Callable[[], None]:
    """All completions of the prompts, from weights that the sampler holds."""
    sampler = bench.sampler()
    sampler.load(bench.params())
    requests = [
        Request(prompt=number, tokens=prompt.rendered.token_ids, num_samples=bench.shape.group)
        for number, prompt in enumerate(bench.prompts())
    ]
    sampling = SamplingConfig(temperature=TEMPERATURE, top_p=None, max_new_tokens=bench.shape.new_tokens)

    def once() -> None:
        completions = list(sampler.generate(requests, seed=0, step=0, sampling=sampling))
        assert all(len(one.tokens) == bench.shape.new_tokens for one in completions)

    return once


def update_workload(bench: Bench) -> Callable[[], None]:
    """One update on a rollout that is there."""
    update_on, rollout = bench.updater(), bench.made_up_rollout()
    return lambda: update_on(rollout)


def step_workload(bench: Bench) -> Callable[[], None]:
    """One whole step of R1-Zero, of which only files are left out."""
    sampler, update_on = bench.sampler(), bench.updater()
    prompts = epochs(bench.records, seed=0, batch_size=bench.shape.prompts)

    def once() -> None:
        sampler.load(bench.state.policy)
        update_on(rollouts.collect(bench.stage, 0, run=bench.run, sampler=sampler, prompts=prompts))

    return once


WORKLOADS: dict[str, Callable[[Bench], Callable[[], None]]] = {
    "rollout": rollout_workload,
    "update": update_workload,
    "step": step_workload,
}
