"""The `tests` of a record, read and checked: they are the verifier's side, so what is wrong with them is said at once.

Three kinds. `stdio`: a program reads and prints. `calls`: a function is called and returns. `assertions`: a file of
tests calls a function (HumanEval, MBPP).
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any, Literal

from r1jax.errors import UserError
from r1jax.sandbox.jobs import MOST_INPUT_BYTES

Compare = Literal["exact", "tokens", "numbers"]
COMPARES = ("exact", "tokens", "numbers")
MOST_CASE_BYTES = MOST_INPUT_BYTES // 5  # of an input, an output, a program: some of them go into a jail together


@dataclasses.dataclass(frozen=True)
class StdioCase:
    """What a program reads, and what it is to print."""

    input: str
    output: str


@dataclasses.dataclass(frozen=True)
class StdioTests:
    """A program that reads standard input and prints.

    Attributes:
      cases: one run each.
      compare: how outputs are compared; None: as the config says.
      checker: Python source of a trusted program that judges instead: it finds input.txt, output.txt (the
        candidate's) and expected.txt in its working directory and exits with 0 (right) or 1 (wrong).
      prelude: source that stands before the completion's.
    """

    cases: tuple[StdioCase, ...]
    compare: Compare | None = None
    checker: str | None = None
    prelude: str = ""


@dataclasses.dataclass(frozen=True, eq=False)
class CallCase:
    """Arguments (JSON values) and the value that the call is to return (JSON value)."""

    args: tuple[Any, ...]
    kwargs: Mapping[str, Any]
    expected: Any


@dataclasses.dataclass(frozen=True)
class CallTests:
    """A function that is called.

    Attributes:
      function: its name, or "Class.method" (of an object that is made without arguments).
      cases: one call each.
      compare: "exact" or "tokens": equal values; "numbers": with the config's tolerance; None: as the config says.
      prelude: source that stands before the completion's.
    """

    function: str
    cases: tuple[CallCase, ...]
    compare: Compare | None = None
    prelude: str = ""


@dataclasses.dataclass(frozen=True)
class AssertionTests:
    """A trusted program that calls a function of the candidate's and asserts.

    Attributes:
      program: Python source. When it defines `check`, then `check(function)` is called after it; else its own
        top-level assertions call the function by its name.
      function: the name of the candidate's function.
      prelude: source that stands before the completion's.
    """

    program: str
    function: str
    prelude: str = ""


CodeTests = StdioTests | CallTests | AssertionTests


def read_tests(record: Mapping[str, Any]) -> CodeTests:
    """The tests of a record; UserError names the record and the field that is missing or wrong."""
    return _Reader(record.get("id")).read(record.get("tests"))


def first_tests(tests: CodeTests, most: int | None) -> CodeTests:
    """The same tests with no more than `most` cases, the first ones. An assertion file is one test."""
    if most is None or isinstance(tests, AssertionTests):
        return tests
    return dataclasses.replace(tests, cases=tests.cases[:most])


def num_tests(tests: CodeTests) -> int:
    """How many times a program is judged: Graded.total."""
    return 1 if isinstance(tests, AssertionTests) else len(tests.cases)


def fingerprint(record: Mapping[str, Any]) -> str:
    """Equal for records with equal tests."""
    text = json.dumps(record.get("tests"), sort_keys=True, separators=(",", ":"))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class _Reader:
    """Reads the tests of one record, whose id the errors name."""

    def __init__(self, record_id: Any):
        self._id = record_id

    def read(self, tests: Any) -> CodeTests:
        self._require(isinstance(tests, Mapping), "tests", "an object with `kind`", tests)
        readers = {"stdio": self._stdio, "calls": self._calls, "assertions": self._assertions}
        kind = tests.get("kind")
        self._require(isinstance(kind, str) and kind in readers, "tests.kind", f"one of {', '.join(readers)}", kind)
        return readers[kind](tests)

    def _stdio(self, tests: Mapping[str, Any]) -> StdioTests:
        self._only(tests, "tests", ("kind", "cases", "compare", "checker", "prelude"))
        cases = []
        for name, case in self._cases(tests):
            self._only(case, name, ("input", "output"))
            cases.append(StdioCase(self._text(case, name, "input"), self._text(case, name, "output")))
        checker = None if tests.get("checker") is None else self._program(tests, "checker")
        return StdioTests(tuple(cases), self._compare(tests), checker, self._prelude(tests))

    def _calls(self, tests: Mapping[str, Any]) -> CallTests:
        self._only(tests, "tests", ("kind", "function", "cases", "compare", "prelude"))
        cases = []
        for name, case in self._cases(tests):
            self._only(case, name, ("args", "kwargs", "expected"))
            args, kwargs = case.get("args", ()), case.get("kwargs") or {}
            self._require(isinstance(args, list | tuple), f"{name}.args", "a list", args)
            self._require(
                isinstance(kwargs, Mapping) and all(isinstance(key, str) for key in kwargs),
                f"{name}.kwargs",
                "an object of names and values",
                kwargs,
            )
            self._require("expected" in case, f"{name}.expected", "the value of the call (null for None)", None)
            cases.append(CallCase(tuple(args), dict(kwargs), case["expected"]))
        return CallTests(self._function(tests, parts=2), tuple(cases), self._compare(tests), self._prelude(tests))

    def _assertions(self, tests: Mapping[str, Any]) -> AssertionTests:
        self._only(tests, "tests", ("kind", "program", "function", "prelude"))
        return AssertionTests(self._program(tests, "program"), self._function(tests, parts=1), self._prelude(tests))

    def _cases(self, tests: Mapping[str, Any]) -> list[tuple[str, Mapping[str, Any]]]:
        cases = tests.get("cases")
        self._require(isinstance(cases, list | tuple) and bool(cases), "tests.cases", "at least one case", cases)
        for number, case in enumerate(cases):
            self._require(isinstance(case, Mapping), f"tests.cases[{number}]", "an object", case)
        return [(f"tests.cases[{number}]", case) for number, case in enumerate(cases)]

    def _compare(self, tests: Mapping[str, Any]) -> Compare | None:
        compare = tests.get("compare")
        self._require(compare is None or compare in COMPARES, "tests.compare", f"one of {', '.join(COMPARES)}", compare)
        return compare

    def _function(self, tests: Mapping[str, Any], parts: int) -> str:
        name = self._text(tests, "tests", "function")
        names = name.split(".")
        expected = "the name of a function" + (", or Class.method" if parts > 1 else "")
        self._require(
            len(names) <= parts and all(one.isidentifier() for one in names), "tests.function", expected, name
        )
        return name

    def _prelude(self, tests: Mapping[str, Any]) -> str:
        return "" if tests.get("prelude") is None else self._text(tests, "tests", "prelude")

    def _program(self, tests: Mapping[str, Any], field: str) -> str:
        text = self._text(tests, "tests", field)
        self._require(bool(text.strip()), f"tests.{field}", "Python source", text)
        return text

    def _text(self, owner: Mapping[str, Any], name: str, field: str) -> str:
        text = owner.get(field)
        self._require(isinstance(text, str), f"{name}.{field}", "a text", text)
        size = len(text.encode("utf-8", "surrogatepass"))
        self._require(size <= MOST_CASE_BYTES, f"{name}.{field}", f"at most {MOST_CASE_BYTES} bytes", f"{size} bytes")
        return text

    def _only(self, owner: Mapping[str, Any], name: str, fields: tuple[str, ...]) -> None:
        unknown = [field for field in owner if field not in fields]
        self._require(not unknown, name, f"no fields but {', '.join(fields)}", unknown)

    def _require(self, holds: bool, field: str, expected: str, found: Any) -> None:
        if not holds:
            words = repr(found)
            words = words if len(words) <= 100 else f"{words[:100]}..."  # noqa: PLR2004 (inputs can be megabytes)
            raise UserError(f"record {self._id!r}: the code reward expects in {field} {expected}, found {words}")
