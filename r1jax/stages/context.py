"""What all stages of a run share."""

from __future__ import annotations

import dataclasses
import zlib

import jax

from r1jax.config import RunConfig, SamplerConfig, TokenizerConfig
from r1jax.data.tasks import TASKS
from r1jax.parallel.mesh import make_mesh
from r1jax.rewards.service import RewardService
from r1jax.sampler.engine import Sampler
from r1jax.text.tokenizer import Tokenizer
from r1jax.workdir import Workdir


@dataclasses.dataclass
class RunContext:
    """The open parts of a run. Stages read them; only `pipeline.run` makes and closes them."""

    config: RunConfig
    workdir: Workdir
    mesh: jax.sharding.Mesh
    tokenizer: Tokenizer
    rewards: RewardService

    def __enter__(self) -> RunContext:
        return self

    def __exit__(self, *exception: object) -> None:
        self.rewards.close()

    def seed_of(self, purpose: str) -> int:
        """A 32-bit seed for one purpose ("zero", "zero/validation"), a function of the run's seed alone."""
        return zlib.crc32(f"{self.config.seed}/{purpose}".encode())

    def sampler(self, shape: SamplerConfig, max_new_tokens: int) -> Sampler:
        """A sampler of that shape for the run's model."""
        return Sampler(
            self.config.model,
            shape,
            mesh=self.mesh,
            stop_ids=(self.tokenizer.eos_id,),
            pad_id=self.tokenizer.pad_id,
            max_new_tokens=max_new_tokens,
        )


def open_context(config: RunConfig, workdir: Workdir) -> RunContext:
    """The context of a run; ConfigError when mesh, tokenizer or vocabulary do not fit."""
    return RunContext(
        config=config,
        workdir=workdir,
        mesh=make_mesh(config.mesh),
        tokenizer=load_tokenizer(config.tokenizer),
        rewards=RewardService(config.rewards),
    )


def load_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """The tokenizer of a file, or the word-level one over a task's vocabulary."""
    if config.path is not None:
        return Tokenizer.load(config.path)
    return Tokenizer.from_texts_wordlevel(TASKS[config.task].vocabulary)
