"""Supervised fine-tuning: the response of each record after its question; only the response is scored."""

from __future__ import annotations

from r1jax.config import SftConfig
from r1jax.data.iterators import epochs
from r1jax.data.packing import micro_batches, pack, training_sequence
from r1jax.data.records import DataError, require
from r1jax.learn.state import StepConfig
from r1jax.learn.steps import next_token_step
from r1jax.stages.context import RunContext
from r1jax.stages.edited_lines import named_line
from r1jax.stages.session import Session
from r1jax.text.templates import render_example


def run(stage: SftConfig, run: RunContext) -> int:
    """Trains to the end of the stage; returns the step of the checkpoint that later stages take."""
    sequences = []
    for number, record in enumerate(run.load(stage.data)):
        with named_line(number, stage.data, run):
            sequences.append(example_sequence(record, stage, run))
    config = StepConfig(model=run.config.model, optimizer=stage.optimizer, num_steps=stage.num_steps)
    with Session(stage, run, next_token_step, config) as session:
        batches = epochs(sequences, seed=run.seed_of(f"{stage.name}/data"), batch_size=stage.batch_sequences)
        if "data" in session.extras:
            batches.set_state(session.extras["data"])
        capacity = -(-stage.batch_sequences // stage.batch.micro_batch_rows)
        while not session.done:
            rows, _ = pack(next(batches), row_tokens=stage.batch.row_tokens, packed=stage.batch.packed)
            batch = micro_batches(rows, micro_batch_rows=stage.batch.micro_batch_rows, capacity=capacity)
            session.log(session.update(batch))
            session.settle({"data": batches.get_state()})
        return session.result_step()


def example_sequence(record: dict, stage: SftConfig, run: RunContext) -> dict:
    """The training sequence of a record; DataError names one that lacks a field or is longer than a row."""
    example = render_example(stage.template, require(record, "question"), require(record, "response"), run.tokenizer)
    sequence = training_sequence(example.prompt_ids, example.response_ids)
    positions = len(sequence["tokens"])
    if positions > stage.batch.row_tokens:
        raise DataError(
            f"{stage.name}: record {record['id']}: expected at most batch.row_tokens={stage.batch.row_tokens} "
            f"positions, found {positions}; raise it or leave the record out"
        )
    return sequence
