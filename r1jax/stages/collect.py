"""The stage that collects data: samples of a policy or a teacher, graded, refined, filtered, with general data beside.

Cold-start data and rejection sampling of DeepSeek-R1 (arXiv 2501.12948v1, 2.3.1 and 2.3.3; v2, B.3.2 and B.3.3).
What it leaves in DIR/<stage>: data.jsonl (for the next stage, and for people to edit), prompts.jsonl (the prompts with
their pass rates), filters.json (what each step has dropped), samples.jsonl (some samples as they were drawn), and
sampled/ (all of them, and what models said since, by batches: a stage that is started again takes them from there).
"""

from __future__ import annotations

import contextlib
import dataclasses
import sys
from collections.abc import Sequence
from typing import Any

from r1jax.config import CollectConfig, TeacherConfig
from r1jax.data import stage_files
from r1jax.data.records import DataError, Record, require
from r1jax.stages.collect_batches import Batches, Part
from r1jax.stages.collect_filters import Funnel, after_refinement, before_refinement, evaluation_texts
from r1jax.stages.collect_general import general_records
from r1jax.stages.collect_policy import Policy
from r1jax.stages.collect_records import prompt_records, sample_lines, sample_records
from r1jax.stages.collect_teacher import Teacher
from r1jax.stages.context import RunContext
from r1jax.stages.refine import refine
from r1jax.text.asking import few_shot, reflect
from r1jax.workdir.files import write_json, write_lines

SHOWN_SAMPLES = 200  # in samples.jsonl
Json = Any


def run(stage: CollectConfig, run: RunContext) -> dict[str, Any]:
    """Collects, and says what came of it: {"records", "seen", "prompts", "general", "filters": {step: dropped}, work}.

    Raises:
      DataError: nothing is left, in a line that says what each step has dropped; a prompt without a question, or one
        that is too long.
      UserError: a teacher that answers nothing at all.
      Preempted: SIGTERM has come; what is sampled is on disk.
    """
    folder = run.workdir.stage(stage.name)
    prompts = run.load(stage.data)
    prompts = [prompts[index] for index in range(len(prompts))]
    questions = wrapped(stage, run, prompts)
    with contextlib.ExitStack() as stack:

        def teacher(settings: TeacherConfig, field: str) -> Teacher:
            return stack.enter_context(Teacher(stage, run, settings, field))

        writer = Policy(stage, run) if stage.teacher is None else teacher(stage.teacher, "teacher")
        batches = stack.enter_context(Batches(stage, run, size=stage.batch_prompts, origin=writer.lineage))

        def sample(batch: Sequence[Json], first: int, part: Part) -> list[Json]:
            records, asked = zip(*batch, strict=True)
            return writer.graded(records, asked, first, part)

        groups = batches.each(
            "samples",
            list(zip(prompts, questions, strict=True)),
            sample,
            per_input=stage.samples,
        )
        cost = writer.cost(prompts, questions, groups)
        lines = sample_lines(prompts, groups, writer.lineage["step"], SHOWN_SAMPLES)
        write_lines(folder.samples.path, lines)
        sampled, counts = sample_records(stage, run, prompts, groups, writer.lineage)
        stage_files.write(folder.data_file("prompts.jsonl"), prompt_records(prompts, sampled, stage))
        funnel = Funnel(stage, evaluation_texts(stage, run))
        try:
            records = funnel.add(counts, sampled)
            if stage.refine is None:
                records = funnel.filter(records, stage.filters)
            else:
                records = funnel.filter(records, before_refinement(stage.filters))
                other = stage.refine.teacher
                refiner = writer if other is None else teacher(other, "refine.teacher")
                refined, counts = refine(records, stage, run, batches, refiner)
                records = funnel.filter(funnel.add(counts, refined), after_refinement(stage.filters))
            general = general_records(stage, run, batches, writer, funnel, writer.lineage)
        finally:
            write_json(folder.path / "filters.json", dataclasses.asdict(funnel.report()))
        stage_files.write(folder.data_file(), [*records, *general])
    print(funnel.report().table(), file=sys.stderr, flush=True)
    return {
        "records": len(records) + len(general),
        "seen": sum(map(len, groups)),
        "prompts": len(prompts),
        "general": len(general),
        "filters": funnel.dropped(),
        **cost,
    }


def wrapped(stage: CollectConfig, run: RunContext, prompts: Sequence[Record]) -> list[str]:
    """The questions as they are asked: after worked examples, or before a request to reflect, or bare."""
    questions = [require(record, "question") for record in prompts]
    prompting = stage.prompting
    if prompting.style == "reflect":
        return [reflect(question, prompting.instruction) for question in questions]
    if prompting.style == "few_shot":
        examples = [(require(one, "question"), require(one, "response")) for one in run.load(prompting.examples)]
        if not examples:
            raise DataError(f"{stage.name}.prompting.examples: expected worked examples, found none")
        return [few_shot(question, examples) for question in questions]
    return questions
