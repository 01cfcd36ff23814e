"""Workdirs as a run leaves them, with figures and work made up."""

import dataclasses

from r1jax.config import (
    BatchConfig,
    DataConfig,
    DistillConfig,
    GrpoConfig,
    ModelConfig,
    OptimizerConfig,
    PretrainConfig,
    RunConfig,
    SftConfig,
    StudentConfig,
    TokenizerConfig,
)
from r1jax.config.serialize import to_json
from r1jax.models.flops import Work
from r1jax.workdir import Workdir
from r1jax.workdir.files import write_json

MODEL = ModelConfig(vocab_size=10, hidden_size=4, num_layers=3, num_heads=2, num_kv_heads=1, ffn_size=5)
STUDENT = dataclasses.replace(MODEL, num_layers=1)
_COMMON = {
    "data": DataConfig(kind="task", name="chained_sums", limit=4),
    "num_steps": 4,
    "optimizer": OptimizerConfig(),
    "batch": BatchConfig(row_tokens=2048, micro_batch_rows=1),
    "checkpoint_every": 4,
}
RUN = RunConfig(
    name="claims",
    model=MODEL,
    tokenizer=TokenizerConfig(task="chained_sums"),
    students=(StudentConfig("small", STUDENT),),
    stages=(
        PretrainConfig(name="base", **_COMMON),
        SftConfig(name="distilled", student="small", **_COMMON),
        GrpoConfig(name="rl", student="small", **_COMMON),
        DistillConfig(name="taught", student="small", teacher="base", **_COMMON),
    ),
)
TRAIN = Work(100, 1000, 60)


def made_run(path, *, lines=None, summary=None, config: RunConfig = RUN) -> Workdir:
    """A workdir with these lines of metrics by stage, and this summary by stage."""
    workdir = Workdir(path)
    write_json(workdir.path / "config.json", to_json(config))
    for stage, found in (lines or {}).items():
        workdir.stage(stage).metrics.append(*found)
    for stage, figures in (summary or {}).items():
        workdir.write_summary(stage, figures)
    return workdir
