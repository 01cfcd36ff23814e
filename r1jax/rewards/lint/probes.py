"""Records of every kind whose right answer is known, so that completions which deserve nothing can be built of them.

A probe is tried on every reward. It suits one that gives its honest completion its best value and takes something
away when that completion is spoilt; what it is for need not be said anywhere.
"""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from r1jax.errors import UserError


@dataclasses.dataclass(frozen=True, eq=False)
class Probe:
    """A record, what a good completion of it answers, and what a bad one does.

    Attributes:
      name: for the report.
      record: as a data set has it (plain JSON values).
      right: the right answer, as it stands in a completion.
      wrong: an answer of the same kind that is wrong.
      everything: answers that name the right one among all others.
      language: that of the question.
      program: what the answer is a program for (the kind of its tests), or None.
      function: the name of the function that such a program defines.
    """

    name: str
    record: Mapping[str, Any]
    right: str
    wrong: str
    everything: tuple[str, ...] = ()
    language: Literal["en", "zh"] = "en"
    program: Literal["stdio", "calls", "assertions"] | None = None
    function: str = "add"


def fenced(code: str) -> str:
    """Source as completions show it."""
    return f"```python\n{code}\n```"


ADD = "def add(a, b):\n    return a + b"
SUBTRACT = "def add(a, b):\n    return a - b"
ADD_ASSERTIONS = """\
def check(candidate):
    assert candidate(1, 2) == 3
    assert candidate(-5, 5) == 0
    assert candidate(20, 22) == 42
"""

PROBES: tuple[Probe, ...] = (
    Probe(
        "integer",
        {"id": "integer", "question": "How much is three times six?", "answer": "18"},
        right="18",
        wrong="19",
        everything=(", ".join(map(str, range(100))), " ".join(map(str, range(100))), "any number", "x"),
    ),
    Probe(
        "fraction",
        {"id": "fraction", "question": "Solve the equation for the unknown.", "answer": r"\frac{3}{4}"},
        right="3/4",
        wrong="4/3",
        everything=("1/4, 2/4, 3/4", "[0, 1]", "x"),
    ),
    Probe(
        "formula",
        {"id": "formula", "question": "Simplify the root.", "answer": r"2\sqrt{2}"},
        right=r"\sqrt{8}",
        wrong=r"\sqrt{6}",
        everything=(r"\sqrt{6}, \sqrt{7}, \sqrt{8}", r"\sqrt{n}"),
    ),
    Probe(
        "word problem in Chinese",
        {"id": "zh", "question": "小明有六个苹果，小红的苹果是他的三倍，小红有多少个苹果？", "answer": "18"},
        right="18",
        wrong="19",
        language="zh",
    ),
    Probe(
        "choice",
        {
            "id": "choice",
            "question": "Which planet is the largest?\nA) Mars\nB) Jupiter\nC) Venus\nD) Mercury",
            "answer": "B",
            "choices": ["Mars", "Jupiter", "Venus", "Mercury"],
        },
        right="B",
        wrong="C",
        everything=(
            "A, B, C, D",
            "ABCD",
            "A B C D",
            "A) B) C) D)",
            "(A)(B)(C)(D)",
            "all of the above",
            "Mars or Jupiter",
        ),
    ),
    Probe(
        "letter",
        {"id": "letter", "question": "Which of the four statements is true?", "answer": "D"},
        right="D",
        wrong="C",
        everything=("A, B, C, D", "A B C D", "A to D"),
    ),
    Probe(
        "short text",
        {"id": "text", "question": "Which city is the capital of France?", "answer": ["Paris", "Paris, France"]},
        right="Paris",
        wrong="London",
        everything=("Berlin, London, Madrid, Paris, Rome", "a city", "London Paris"),
    ),
    Probe(
        "reference text",
        {
            "id": "reference",
            "question": "Why does ice float on water?",
            "answer": "Frozen water is less dense than liquid water.",
        },
        right="Frozen water is less dense than liquid water.",
        wrong="The wind holds it up.",
    ),
    Probe(
        "countdown",
        {"id": "countdown", "question": "Make the target of the numbers.", "numbers": [3, 5, 2], "target": 16},
        right="(3 + 5) * 2",
        wrong="3 + 5 + 2",
        everything=("16", "3 5 2", "3 + 5 * 2 = 16", "16 + 3 - 3", "8 * 2"),
    ),
    Probe(
        "pair search",
        {"id": "pair", "question": "Find the two numbers.", "numbers": [4, 9, 17, 23, 31], "target": 40},
        right="9, 31",
        wrong="9, 23",
        everything=("4, 9, 17, 23, 31", "17 + 23 + 0", "20, 20", "40, 0"),
    ),
    Probe(
        "small talk",
        {"id": "talk", "question": "say 3 blue ?", "language": "en"},
        right="sure blue blue blue",
        wrong="sure blue blue",
        everything=("blue red green cat dog bird boat house cake", "sure blue", "sorry hello sure blue blue blue"),
    ),
    Probe(
        "program that prints",
        {
            "id": "stdio",
            "question": "Read two numbers and print their sum.",
            "tests": {
                "kind": "stdio",
                "cases": [{"input": "1 2\n", "output": "3\n"}, {"input": "20 22\n", "output": "42\n"}],
            },
        },
        right=fenced("a, b = map(int, input().split())\nprint(a + b)"),
        wrong=fenced("a, b = map(int, input().split())\nprint(a - b)"),
        program="stdio",
    ),
    Probe(
        "function that is called",
        {
            "id": "calls",
            "question": "Write a function that adds two numbers.",
            "tests": {
                "kind": "calls",
                "function": "add",
                "cases": [{"args": [1, 2], "expected": 3}, {"args": [20, 22], "expected": 42}],
            },
        },
        right=fenced(ADD),
        wrong=fenced(SUBTRACT),
        program="calls",
    ),
    Probe(
        "function under assertions",
        {
            "id": "assertions",
            "question": "Write a function that adds two numbers.",
            "tests": {"kind": "assertions", "program": ADD_ASSERTIONS, "function": "add"},
        },
        right=fenced(ADD),
        wrong=fenced(SUBTRACT),
        program="assertions",
    ),
)

FIELDS = {"record": dict, "right": str, "wrong": str}


def read_probes(path: str | pathlib.Path) -> list[Probe]:
    """Probes of a user's own: a JSON object a line, with `record`, `right`, `wrong` and perhaps `language` (en, zh).

    UserError names file, line and field.
    """
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: expected a file of JSON lines that can be read, found: {error}") from error
    probes = [_probe(f"{path}, line {number}", line) for number, line in enumerate(lines, start=1) if line.strip()]
    if not probes:
        raise UserError(f"{path}: expected at least one line with record, right and wrong, found none")
    return probes


def _probe(place: str, line: str) -> Probe:
    try:
        entry = json.loads(line)
    except ValueError as error:
        raise UserError(f"{place}: expected a JSON object, found {line[:80]!r} ({error})") from error
    entry = entry if isinstance(entry, dict) else {}
    for field, kind in FIELDS.items():
        if not isinstance(entry.get(field), kind):
            names = ", ".join(entry) or "no fields"
            raise UserError(f"{place}: expected the field {field!r} ({kind.__name__}), found {names}")
    if entry.get("language", "en") not in ("en", "zh"):
        raise UserError(f"{place}: expected the field 'language' to be en or zh, found {entry['language']!r}")
    if entry["right"].strip() == entry["wrong"].strip() or not entry["right"].strip():
        raise UserError(f"{place}: expected a right answer and another that is wrong, found {entry['right']!r} twice")
    name = str(entry["record"].get("id", place))
    return Probe(name, entry["record"], entry["right"], entry["wrong"], language=entry.get("language", "en"))


def of_records(records: Sequence[Probe] | str | pathlib.Path | None) -> list[Probe]:
    """The probes of this file and, before them, those handed in."""
    own = read_probes(records) if isinstance(records, str | pathlib.Path) else list(records or ())
    return [*own, *PROBES]
