"""Pretraining: next-token training on packed documents, until a gate is passed.

The gate exists because reinforcement learning on a base that lacks the step skill learns the format and collapses to
direct answers; a base below the gate trains on, and a run whose base stays below it stops.
"""

from __future__ import annotations

from r1jax.config import PretrainConfig
from r1jax.data.iterators import documents, epochs
from r1jax.data.packing import micro_batches
from r1jax.learn.state import StepConfig
from r1jax.learn.steps import next_token_step
from r1jax.stages.context import RunContext
from r1jax.stages.errors import TrainingError
from r1jax.stages.evaluate import evaluate
from r1jax.stages.session import Session
from r1jax.workdir.files import write_json


def run(stage: PretrainConfig, run: RunContext) -> int:
    """Trains to the end of the stage; returns the step of the checkpoint that later stages take."""
    rows = documents(run.load(stage.data), run.tokenizer, row_tokens=stage.batch.row_tokens)
    config = StepConfig(model=run.config.model, optimizer=stage.optimizer, num_steps=stage.num_steps)
    with Session(stage, run, next_token_step, config) as session:
        batches = epochs(rows, seed=run.seed_of(f"{stage.name}/data"), batch_size=stage.batch_rows)
        if "data" in session.extras:
            batches.set_state(session.extras["data"])
        while True:
            while not session.done:
                batch = micro_batches(next(batches), micro_batch_rows=stage.batch.micro_batch_rows)
                session.log(session.update(batch))
                session.settle({"data": batches.get_state()})
            if stage.gate is None or passes(stage, run, session):
                return session.result_step()


def passes(stage: PretrainConfig, run: RunContext, session: Session) -> bool:
    """Whether the gate is passed; otherwise the session's steps are extended, or TrainingError ends the run."""
    gate = stage.gate
    accuracy = evaluate(
        session.state.policy, gate.evaluation, run=run, template=stage.template, purpose=f"{stage.name}/gate"
    ).summary["pass@1"]
    write_json(
        session.folder.path / "gate.json",
        {"step": session.step, "pass@1": accuracy, "needed": gate.accuracy},
    )
    if accuracy >= gate.accuracy:
        return True
    longest = stage.num_steps + round(stage.num_steps * gate.extra)
    extension = -(-(longest - stage.num_steps) // gate.rounds)
    session.num_steps = min(longest, session.num_steps + extension)
    if not session.done:
        return False
    if session.step < session.num_steps:
        advice = f"validation ended the stage there: raise stages.{stage.name}.patience or stop_at"
    else:
        advice = f"raise stages.{stage.name}.num_steps, or gate.extra (now {gate.extra})"
    raise TrainingError(
        f"{stage.name}: the gate needs a pass@1 of {gate.accuracy} and {session.step} steps gave {accuracy:.3f}; "
        f"{advice}"
    )
