"""The dry run, printed: resolved config, stage graph, programs, and memory on each device."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence

import jax
from jax.sharding import AbstractMesh
from rich.console import Console
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from r1jax.config import (
    CollectConfig,
    DataConfig,
    ModelConfig,
    PreferencesConfig,
    PretrainedConfig,
    RunConfig,
    SearchConfig,
    StageConfig,
    StepLabelsConfig,
    TrainingConfig,
)
from r1jax.config.references import references
from r1jax.config.serialize import to_json
from r1jax.dryrun.arrays import abstract_mesh
from r1jax.dryrun.memory import (
    Holding,
    brief_peaks,
    count_active,
    count_params,
    count_trained,
    holdings_of,
    phases_of,
    resting_bytes,
    total,
)
from r1jax.dryrun.programs import programs_of
from r1jax.models.pretrained import resolved

UNITS = ("B", "KiB", "MiB", "GiB", "TiB")
NAME_WIDTH = 20  # of what is held, at least


def describe(config: RunConfig, *, stages: Sequence[str] | None = None, console: Console | None = None) -> None:
    """Prints what the run, or those of its stages, would do and need; reads no data and no weights.

    Of a Hugging Face folder (the model's, a student's, a teacher's) its `config.json` alone is read. Needs no more
    devices than one: a mesh that asks for others is planned for as written, as that of one process (several multiply
    the rows of a micro-batch by their number). Raises ConfigError for an unknown stage, preset or reward set, and for a
    size that the mesh does not divide; WeightsError for a folder without a model.
    """
    console = console or Console()
    config.check_reward_sets()
    weights = {None: _first_weights(config.model, config.weights)}
    weights |= {one.name: _first_weights(one.model, one.weights) for one in config.students}
    config = resolved(config)
    chosen = config.stages if stages is None else [config.stage(name) for name in stages]
    mesh = abstract_mesh(config.mesh, jax.device_count())
    console.print_json(json.dumps(to_json(config), ensure_ascii=False))
    console.print(_graph(config, weights))
    console.print()
    heads = _parameter_lines(config.model)
    for student in config.students:
        heads |= {f"{student.name}: {head}": line for head, line in _parameter_lines(student.model).items()}
    heads["mesh"] = _mesh_line(mesh)
    for head, line in heads.items():
        console.print(Text(f"{head:<{max(map(len, heads)) + 2}}{line}"))
    for stage in chosen:
        console.print()
        of = "" if stage.student is None else f" of {stage.student}"
        console.rule(Text.assemble((stage.name, "bold cyan"), of), align="left", style="dim")
        if not phases_of(stage):
            console.print(Text("nothing on the devices: the texts come from elsewhere"))
            continue
        console.print(_programs(stage, config))
        for table in _memory(stage, config, mesh, console):
            console.print()
            console.print(table)
        for line in _further_lines(stage, config, mesh):
            console.print(Text(line))


def readable(num_bytes: int) -> str:
    """1536 -> 1.50 KiB."""
    power = min(int(math.log(num_bytes, 1024)), len(UNITS) - 1) if num_bytes else 0
    return f"{num_bytes / 1024**power:.{2 if power else 0}f} {UNITS[power]}"


def _mesh_line(mesh: AbstractMesh) -> str:
    sizes = ", ".join(f"{axis}={size}" for axis, size in mesh.shape.items() if size > 1)
    here = jax.device_count()
    there = "" if mesh.size == here else f"; here {'is' if here == 1 else 'are'} {here} ({jax.default_backend()})"
    return f"{mesh.size:,} device{'s' if mesh.size > 1 else ''}{f': {sizes}' if sizes else ''}{there}"


def _first_weights(model: ModelConfig | PretrainedConfig, weights: str | None) -> str:
    """What stages without a `start` begin from."""
    reference = model if isinstance(model, PretrainedConfig) else None
    if weights is not None or (reference is not None and reference.path is not None):
        return f"weights of {weights or reference.path}"
    return "random weights" if reference is None else f"random weights in the shape of {reference.preset}"


def _parameter_lines(model: ModelConfig) -> dict[str, str]:
    """How many parameters there are, and where these are not all, how many a token meets and an update changes."""
    params = count_params(model)

    def part(number: int) -> str:
        return f"{number:,} ({100 * number / params:.3g} %)"

    lines = {"parameters": f"{params:,}"}
    if moe := model.moe:
        shared = f" and {moe.shared_experts} shared" if moe.shared_experts else ""
        chosen = f"{moe.experts_per_token} of {moe.num_experts} experts{shared}"
        lines["active"] = f"{part(count_active(model))} for a token: {chosen}"
    if model.lora is not None:
        lines["trained"] = f"{part(count_trained(model))}: adapters of rank {model.lora.rank}"
    return lines


def _graph(config: RunConfig, weights: Mapping[str | None, str]) -> Tree:
    """The stages under what they start from."""
    root = Tree(Text(config.name, style="bold"))
    nodes: dict[str, Tree] = {}
    for stage in config.stages:
        start = stage.start or _source(stage, weights)
        if start not in nodes:
            nodes[start] = root.add(Text(start, style="dim"))
        nodes[stage.name] = nodes[start].add(Text(f"{stage.name}: {_stage_line(stage)}"))
    return root


def _source(stage: StageConfig, weights: Mapping[str | None, str]) -> str:
    """What a stage without a `start` begins from."""
    if isinstance(stage, CollectConfig) and stage.teacher is not None:
        return f"{stage.teacher.model} at {stage.teacher.url}"
    return weights[stage.student] if stage.student is None else f"{stage.student}: {weights[stage.student]}"


def _stage_line(stage: StageConfig) -> str:
    kind = type(stage).__name__.removesuffix("Config").lower()
    parts = [kind]
    if isinstance(stage, TrainingConfig):
        parts = [f"{kind}, {stage.num_steps:,} steps on {_data_line(stage.data)}"]
    elif isinstance(stage, CollectConfig | PreferencesConfig):
        parts = [f"{kind}, {stage.samples} samples for {_data_line(stage.data)}"]
    elif isinstance(stage, StepLabelsConfig):
        how = f"{stage.samples} solutions, {stage.rollouts} rollouts from each step"
        parts = [f"{kind}, {how} for {_data_line(stage.data)}"]
    elif isinstance(stage, SearchConfig):
        how = f"{stage.method} of at most {stage.simulations} expansions by {stage.width} steps"
        parts = [f"{kind}, {how} for {_data_line(stage.data)}"]
    if others := sorted(set(references(stage)) - {stage.start}):
        parts.append(f"takes {', '.join(others)}")
    if stage.evaluation is not None:
        parts.append(f"evaluated with {stage.evaluation.samples} samples on {_data_line(stage.evaluation.data)}")
    if stage.benchmarks:
        parts.append(f"benchmarks {', '.join(one.name for one in stage.benchmarks)}")
    return "; ".join(parts)


def _data_line(data: DataConfig) -> str:
    if data.kind == "stage":
        return f"{data.name}/{data.path or 'data.jsonl'}"
    source = data.name if data.kind == "task" else " ".join(filter(None, (data.name, data.path)))
    limit = "" if data.limit is None else f", {data.limit:,} records"
    return f"{data.kind} {source} ({data.split}{limit})"


def _programs(stage: StageConfig, config: RunConfig) -> Table:
    table = Table("program", "shapes", "at most", box=None, padding=(0, 2, 0, 0), pad_edge=False)
    table.columns[0].max_width = 26
    table.columns[2].justify = "right"
    for program in programs_of(stage, config):
        table.add_row(program.name, Text(program.shapes), str(program.count))
    return table


def _memory(stage: StageConfig, config: RunConfig, mesh: AbstractMesh, console: Console) -> list[Table]:
    """As many phases side by side as the page is wide; those that hold the same have one column."""
    holdings = holdings_of(stage, config, mesh)
    names = list(dict.fromkeys(one.name for one in holdings))
    alike: dict[tuple[int, ...], list[str]] = {}
    for phase in phases_of(stage):
        held = tuple(sum(one.bytes for one in holdings if one.name == name and phase in one.phases) for name in names)
        alike.setdefault(held, []).append(phase)
    tables: list[Table] = []
    columns: list[list[str]] = []
    for together in alike.values():
        wider = _columns(holdings, [*columns, together])
        if columns and _least_width(wider, console) > console.width:
            columns, wider = [together], _columns(holdings, [together])
        else:
            columns = [*columns, together]
            tables = tables[:-1]
        tables.append(wider)
    return tables


def _least_width(table: Table, console: Console) -> int:
    """Of a table whose names may be broken into lines, and nothing else."""
    names = max(len(str(cell)) for cell in table.columns[0].cells)
    found = console.measure(table, options=console.options.update(max_width=10_000)).maximum
    return found - max(0, names - NAME_WIDTH)


def _columns(holdings: Sequence[Holding], columns: Sequence[Sequence[str]]) -> Table:
    """What is held in some phases, a column for each group of them."""
    phases = [together[0] for together in columns]
    table = Table(box=None, padding=(0, 2, 0, 0), pad_edge=False, show_footer=True)
    table.add_column("on each device", footer="together", min_width=NAME_WIDTH)
    for together in columns:
        footer = Text(readable(total(holdings, together[0])), style="bold")
        table.add_column("\n".join(together), justify="right", no_wrap=True, footer=footer)
    table.add_column("", no_wrap=True, min_width=len("estimate"))
    for name in dict.fromkeys(one.name for one in holdings if one.phases & set(phases)):
        same = [one for one in holdings if one.name == name]
        needed = [total(same, phase) if any(phase in one.phases for one in same) else None for phase in phases]
        cells = [Text("-", style="dim") if one is None else readable(one) for one in needed]
        table.add_row(Text(name), *cells, "exact" if same[0].exact else "estimate")
    return table


def _further_lines(stage: StageConfig, config: RunConfig, mesh: AbstractMesh) -> list[str]:
    """What is needed for a moment, where that is more than in any phase; and what rests in the host's memory."""
    holdings = holdings_of(stage, config, mesh)
    largest = max(total(holdings, phase) for phase in phases_of(stage))
    peaks = brief_peaks(stage, config, mesh)
    lines = [f"{moment}: {readable(peak)} (estimate)" for moment, peak in peaks.items() if peak > largest]
    if resting := resting_bytes(stage, config):
        size = readable(sum(resting.values()))
        lines.append(f"in the host's memory, where reward models rest: {size} of {', '.join(resting)}")
    return lines
