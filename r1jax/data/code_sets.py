"""The tests of programs as published data sets have them, in the one form that the `code` reward reads.

| data.tests_from | columns | becomes |
| --- | --- | --- |
| `humaneval` | prompt, test, entry_point | an assertion file with `check` |
| `mbpp` | test_list, and test_setup_code or test_imports | an assertion file of plain assertions |
| `apps` (TACO too) | input_output, starter_code | standard input and output, or calls of `fn_name` |
| `livecodebench` | public_test_cases, private_test_cases, metadata, starter_code | likewise |
| `open_r1` | verification_info | standard input and output |

Nothing of a data set is executed or unpickled into objects: the one column that its authors pickled holds a string.
"""

from __future__ import annotations

import ast
import base64
import binascii
import builtins
import io
import json
import pickle
import zlib
from collections.abc import Callable, Mapping
from typing import Any

from r1jax.data.records import DataError, Record

METHOD_CLASS = "Solution"  # of LeetCode's starter code
MOST_UNPACKED_BYTES = 1 << 30  # of one record's compressed tests


def with_tests(record: Record, form: str) -> Record:
    """The record with a field `tests`; and with a `question`, where it has none and the set's own column holds it.

    DataError names the record and the column that is not as the form says.
    """
    try:
        tests, question = FORMS[form](record)
    except (KeyError, TypeError, ValueError, SyntaxError, RecursionError) as error:
        words = f"no column {error}" if isinstance(error, KeyError) else f"{type(error).__name__}: {error}"
        columns = ", ".join(record)
        raise DataError(
            f"record {record['id']}: data.tests_from={form} expects that set's columns, found {columns} ({words})"
        ) from error
    return ({"question": question} if question is not None else {}) | record | {"tests": tests}


def _humaneval(record: Mapping[str, Any]) -> tuple[dict, str]:
    prompt = _text(record, "prompt")
    program, function = _text(record, "test"), _text(record, "entry_point")
    return {"kind": "assertions", "program": program, "function": function, "prelude": prompt}, prompt


def _mbpp(record: Mapping[str, Any]) -> tuple[dict, str | None]:
    assertions = record["test_list"]
    if not assertions or not all(isinstance(one, str) for one in assertions):
        raise ValueError("test_list is no list of assertions")
    setup = record.get("test_setup_code") or "\n".join(record.get("test_imports") or ())
    program = "\n".join([setup, *assertions]).strip() + "\n"
    question = record.get("text") or record.get("prompt")  # the full and the sanitized edition
    return {"kind": "assertions", "program": program, "function": _function_under_test(program)}, question


def _function_under_test(program: str) -> str:
    """The first name that the assertions call and the program does not bring along."""
    tree = ast.parse(program)
    known = set(dir(builtins))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            known |= {(alias.asname or alias.name).split(".")[0] for alias in node.names}
        elif isinstance(node, ast.FunctionDef | ast.ClassDef):
            known.add(node.name)
    for statement in tree.body:
        if isinstance(statement, ast.Assert):
            for node in ast.walk(statement):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id not in known:
                    return node.func.id
    raise ValueError("no assertion calls a function of the solution's")


def _apps(record: Mapping[str, Any]) -> tuple[dict, str | None]:
    pairs = _json(record, "input_output")
    inputs, outputs = pairs["inputs"], pairs["outputs"]
    if not inputs or len(inputs) != len(outputs):
        raise ValueError(f"{len(inputs)} inputs and {len(outputs)} outputs")
    name = pairs.get("fn_name")
    if name is None:
        cases = [{"input": _lines(i), "output": _lines(o)} for i, o in zip(inputs, outputs, strict=True)]
        return {"kind": "stdio", "cases": cases}, None
    # A result is often wrapped in a list of its own; the set's own grader takes it either way.
    unwrapped = [one[0] if isinstance(one, list) and len(one) == 1 else one for one in outputs]
    cases = [{"args": list(i), "expected": o} for i, o in zip(inputs, unwrapped, strict=True)]
    return {"kind": "calls", "function": _dotted(name, record), "cases": cases}, None


def _livecodebench(record: Mapping[str, Any]) -> tuple[dict, str | None]:
    cases = [*_json(record, "public_test_cases"), *_private_cases(record)]
    if not cases:
        raise ValueError("no test cases")
    question = record.get("question_content")
    if all(case["testtype"] == "stdin" for case in cases):
        pairs = [{"input": case["input"], "output": case["output"]} for case in cases]
        return {"kind": "stdio", "cases": pairs}, question
    name = _json(record, "metadata")["func_name"]
    calls = [
        {
            "args": [json.loads(line) for line in case["input"].split("\n")],  # an argument a line
            "expected": json.loads(case["output"]),
        }
        for case in cases
    ]
    return {"kind": "calls", "function": _dotted(name, record), "cases": calls}, question


def _private_cases(record: Mapping[str, Any]) -> list[dict]:
    """JSON, or base64 of zlib of a pickled string of it."""
    packed = record.get("private_test_cases") or "[]"
    if not isinstance(packed, str):
        return list(packed)
    try:
        return json.loads(packed)
    except ValueError:
        pass  # the packed form
    unpacker = zlib.decompressobj()
    try:
        body = unpacker.decompress(base64.b64decode(packed, validate=True), MOST_UNPACKED_BYTES)
    except (binascii.Error, zlib.error) as error:
        raise ValueError(f"private_test_cases: {error}") from error
    if not unpacker.eof:
        raise ValueError(f"private_test_cases: more than {MOST_UNPACKED_BYTES} bytes, or cut off")
    try:
        text = _StringUnpickler(io.BytesIO(body)).load()
    except (pickle.UnpicklingError, EOFError, IndexError) as error:
        raise ValueError(f"private_test_cases: {error}") from error
    return json.loads(text)


class _StringUnpickler(pickle.Unpickler):
    """Builds plain values and nothing else: no class can be named."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"expected a pickled string, found {module}.{name}")


def _open_r1(record: Mapping[str, Any]) -> tuple[dict, str | None]:
    cases = _json(record, "verification_info")["test_cases"]
    if not cases or any(case.get("type", "stdin_stdout") != "stdin_stdout" for case in cases):
        raise ValueError("expected test_cases of type stdin_stdout")
    pairs = [{"input": _lines(case["input"]), "output": _lines(case["output"])} for case in cases]
    return {"kind": "stdio", "cases": pairs}, record.get("problem")


def _dotted(name: str, record: Mapping[str, Any]) -> str:
    return f"{METHOD_CLASS}.{name}" if f"class {METHOD_CLASS}" in (record.get("starter_code") or "") else name


def _json(record: Mapping[str, Any], column: str) -> Any:
    """A column of JSON text, or of the value itself."""
    value = record[column]
    return json.loads(value) if isinstance(value, str) else value


def _text(record: Mapping[str, Any], column: str) -> str:
    if not isinstance(record[column], str):
        raise TypeError(f"{column} is no text")
    return record[column]


def _lines(value: str | list) -> str:
    """A text, or one given as the list of its lines."""
    return value if isinstance(value, str) else "\n".join(map(str, value))


FORMS: dict[str, Callable[[Mapping[str, Any]], tuple[dict, str | None]]] = {
    "humaneval": _humaneval,
    "mbpp": _mbpp,
    "apps": _apps,
    "livecodebench": _livecodebench,
    "open_r1": _open_r1,
}
