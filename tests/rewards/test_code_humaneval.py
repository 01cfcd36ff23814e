"""All 164 problems of HumanEval through the reward: every canonical solution passes, every mutant of one fails."""

import ast
import collections
import dataclasses
import gzip
import json
import os
import pathlib
import time

import pytest
from code_cases import assertions, completion, config, needs_jail

from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Status

DATA = pathlib.Path(os.environ.get("R1JAX_TEST_DATA", "R1JAX_TEST_DATA-is-not-set")) / "HumanEval.jsonl.gz"
WORKERS = 2

pytestmark = [
    pytest.mark.slow,
    needs_jail,
    pytest.mark.skipif(not DATA.exists(), reason="R1JAX_TEST_DATA names no folder with HumanEval.jsonl.gz"),
]

WRONG = """
def _wrong(value):
    if isinstance(value, bool):
        return not value
    if value is None:
        return 0
    if isinstance(value, (int, float)):
        return value + 1 if value + 1 != value else 0
    if isinstance(value, str):
        return value + "x"
    if isinstance(value, (list, tuple)):
        return value + type(value)([0])
    if isinstance(value, dict):
        return {**value, "another key": 0}
    raise TypeError(type(value))
"""


class Mutation(ast.NodeTransformer):
    """Makes every return of a function return something else of the same kind; it calls the right one, not itself."""

    def __init__(self, function):
        self.function = function
        self.returns = 0

    def visit_Name(self, node):
        return ast.Name(f"{node.id}_right", node.ctx) if node.id == self.function else node

    def visit_Return(self, node):
        self.returns += 1
        value = self.visit(node.value) if node.value is not None else ast.Constant(None)
        return ast.Return(ast.Call(ast.Name("_wrong", ast.Load()), [value], []))

    def visit_FunctionDef(self, node):
        return Calls(self.function).visit(node)  # one within: its returns are not the function's

    visit_Lambda = visit_FunctionDef

    def mutate(self, definition):
        definition.body = [self.visit(statement) for statement in definition.body]
        return definition


class Calls(ast.NodeTransformer):
    """Renames a function, where it is defined and where it is called."""

    def __init__(self, function):
        self.function = function

    visit_Name = Mutation.visit_Name

    def visit_FunctionDef(self, node):
        node.name = f"{node.name}_right" if node.name == self.function else node.name
        return self.generic_visit(node)


def mutant(problem):
    """A whole program: the solution under another name, and one of the right name whose every return is wrong."""
    program, function = problem["prompt"] + problem["canonical_solution"], problem["entry_point"]
    right = Calls(function).visit(ast.parse(program))
    wrong = next(
        node for node in ast.walk(ast.parse(program)) if isinstance(node, ast.FunctionDef) and node.name == function
    )
    mutation = Mutation(function)
    wrong = mutation.mutate(wrong)
    assert mutation.returns > 0, problem["task_id"]
    return "\n".join([ast.unparse(right), WRONG, ast.unparse(ast.fix_missing_locations(wrong))])


def problems():
    with gzip.open(DATA, "rt") as lines:
        return [json.loads(line) for line in lines]


def items(make_program):
    return [
        Item(
            {
                "id": one["task_id"],
                "tests": assertions(one["entry_point"], one["test"], prelude=one["prompt"]),
            },
            completion(make_program(one)),
        )
        for one in problems()
    ]


def statuses(service, batch):
    start = time.perf_counter()
    verdicts = service.score(batch)
    seconds = time.perf_counter() - start
    odd = collections.defaultdict(list)
    for item, verdict in zip(batch, verdicts, strict=True):
        odd[verdict.status].append(item.record["id"])
    return dict(odd), len(batch) / seconds


def test_every_canonical_solution_passes_and_every_mutant_fails(capsys):
    with RewardService(dataclasses.replace(config(), workers=WORKERS)) as service:
        statuses(service, items(lambda one: one["canonical_solution"])[:4])  # the workers start
        right, speed = statuses(service, items(lambda one: one["canonical_solution"] + "    # again\n"))
        whole, _ = statuses(service, items(lambda one: one["prompt"] + one["canonical_solution"]))
        wrong, speed_of_wrong = statuses(service, items(mutant))
        health = service.health()
    passed, caught = len(right[Status.CORRECT]), 164 - len(wrong.get(Status.CORRECT, []))
    with capsys.disabled():
        print(f"\nHumanEval with {WORKERS} workers on {len(os.sched_getaffinity(0))} cores:")
        print(f"{passed} of 164 canonical solutions pass, {speed:.1f} programs/s")
        print(f"{caught} of 164 mutants fail, {speed_of_wrong:.1f} programs/s")
    assert {status: len(ids) for status, ids in right.items()} == {Status.CORRECT: 164}, right
    assert {status: len(ids) for status, ids in whole.items()} == {Status.CORRECT: 164}, whole
    assert {status: len(ids) for status, ids in wrong.items()} == {Status.WRONG: 164}, wrong
    assert health["respawns"] == 0
