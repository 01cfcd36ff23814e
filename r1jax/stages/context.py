"""What all stages of a run share."""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Sequence

import jax

from r1jax.config import (
    ConfigError,
    DataConfig,
    ModelConfig,
    RewardModelConfig,
    RunConfig,
    SamplerConfig,
    StageConfig,
    TokenizerConfig,
    check,
)
from r1jax.data import sources, stage_files
from r1jax.data.records import Record
from r1jax.data.tasks import TASKS
from r1jax.models.pretrained import resolved
from r1jax.parallel.mesh import make_mesh
from r1jax.rewards.service import RewardService
from r1jax.sampler.engine import Sampler
from r1jax.text.tokenizer import Tokenizer
from r1jax.workdir import Workdir


@dataclasses.dataclass
class RunContext:
    """The open parts of a run. Stages read them; only `pipeline.run` makes and closes them.

    `config` is the run as the stage at hand sees it, with the model and tokenizer of its student; `whole` as it was
    given.
    """

    config: RunConfig
    whole: RunConfig
    workdir: Workdir
    mesh: jax.sharding.Mesh
    tokenizer: Tokenizer
    rewards: RewardService

    def __enter__(self) -> RunContext:
        return self

    def __exit__(self, *exception: object) -> None:
        self.rewards.close()

    def seed_of(self, purpose: str) -> int:
        """A 32-bit seed for one purpose, a function of the run's seed alone.

        A stage's own purposes begin with its name ("zero/rollouts"); those of the run have no slash ("weights").
        """
        return zlib.crc32(f"{self.config.seed}/{purpose}".encode())

    def of(self, name: str) -> RunContext:
        """This run as the stage of that name sees it; closed with this one."""
        config = self.whole.of(name)
        if config is self.config:
            return self
        tokenizer = self.tokenizer if config.tokenizer == self.config.tokenizer else load_tokenizer(config.tokenizer)
        return dataclasses.replace(self, config=config, tokenizer=tokenizer)

    def load(self, data: DataConfig) -> Sequence[Record]:
        """The records of a source; of an earlier stage's data set as it lies in its folder now. Raises DataError."""
        if data.kind != "stage":
            return sources.load(data)
        records = stage_files.read(self.workdir.stage(data.name).data_file(data.path))
        records = records[data.skip : None if data.limit is None else data.skip + data.limit]
        return [{**record, "rewards": data.rewards} if record.get("rewards") is None else record for record in records]

    def scoring(self) -> RunContext:
        """This run with a score head on its model, for a stage that trains a reward model; closed with this one."""
        return dataclasses.replace(self, config=self.config.scoring())

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


def open_context(config: RunConfig, workdir: Workdir, devices: Sequence[jax.Device] | None = None) -> RunContext:
    """The context of a run, on `devices` or all there are; UserError when mesh, tokenizer and model do not fit."""
    config = resolved(config)
    workdir.check_weights(config)
    tokenizer = load_tokenizer(config.tokenizer)
    _check_model(config.model, tokenizer, [stage for stage in config.stages if stage.student is None], "model")
    for student in config.students:
        theirs = tokenizer if student.tokenizer is None else load_tokenizer(student.tokenizer)
        stages = [stage for stage in config.stages if stage.student == student.name]
        _check_model(student.model, theirs, stages, f"students.{student.name}.model")
    return RunContext(
        config=config,
        whole=config,
        workdir=workdir,
        mesh=make_mesh(config.mesh, devices),
        tokenizer=tokenizer,
        rewards=RewardService(config.rewards),
    )


def _check_model(model: ModelConfig, tokenizer: Tokenizer, stages: Sequence[StageConfig], field: str) -> None:
    """ConfigError where a model cannot do what its stages ask of it, or has no room for the tokenizer."""
    check(
        model.head == "tokens" or all(isinstance(stage, RewardModelConfig) for stage in stages),
        f"{field}.head",
        "tokens (stages other than those of reward models predict them)",
        model.head,
    )
    check(
        tokenizer.vocab_size <= model.vocab_size,
        f"{field}.vocab_size",
        f"at least the {tokenizer.vocab_size} ids of the tokenizer",
        model.vocab_size,
    )


def load_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """The tokenizer of a file, or the word-level one over a task's vocabulary."""
    if config.path is not None:
        return Tokenizer.load(config.path)
    words = TASKS[config.task].vocabulary if config.task in TASKS else ()
    if not words:
        known = ", ".join(name for name, task in TASKS.items() if task.vocabulary)
        raise ConfigError(f"tokenizer.task: expected a task with a vocabulary ({known}), found {config.task!r}")
    return Tokenizer.from_texts_wordlevel(words)
