"""Which program a completion commits to."""

import time

import pytest

from r1jax.rewards.code.program import MOST_PROGRAM_CHARS, extract_program

FENCE = "`" * 3


def block(code, label="python", fence=FENCE):
    return f"{fence}{label}\n{code}\n{fence}\n"


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        (block("print(1)"), "print(1)\n"),
        ("Here it is.\n\n" + block("print(1)") + "\nIt prints 1.", "print(1)\n"),
        (block("print(1)") + "or better\n" + block("print(2)"), "print(2)\n"),
        (block("a", "py"), "a\n"),
        (block("a", "python3"), "a\n"),
        (block("a", "Python"), "a\n"),
        (block("a", " python title=x"), "a\n"),
        (block("a", ""), "a\n"),
        (block("a") + block("b", ""), "a\n"),  # a label goes first: the other may be the output
        (block("a", "") + block("b", ""), "b\n"),
        (block("a", "") + block("ls", "bash"), "a\n"),
        (block("ls", "bash"), None),
        (block("int x;", "cpp") + block("x", "text"), None),
        ("print(1)", None),
        ("", None),
        (block(""), None),
        (block("  \n\n"), None),
        (block("a", fence="~~~"), "a\n"),
        (block(f"x = '''\n{FENCE}\n'''", fence="````"), f"x = '''\n{FENCE}\n'''\n"),
        (f"{FENCE}python\na\n`````\n", "a\n"),  # closed by more signs than opened it
        (f"{FENCE}python\nx = '{FENCE}'\n{FENCE}", f"x = '{FENCE}'\n"),  # no fence: it shares its line
        (f"{FENCE}python{FENCE}\na\n", None),  # code within a line
        (f"1. Code:\n   {FENCE}python\n   if x:\n       y\n  z\n   {FENCE}\n", "if x:\n    y\nz\n"),
        (f"{FENCE}python\r\na\r\n{FENCE}\r\n", "a\r\n"),
        (f"{FENCE}python\na\x0cb\u2028c\n{FENCE}", "a\x0cb\u2028c\n"),  # lines end with a newline and no other sign
    ],
)
def test_the_last_fenced_block_is_the_program(completion, program):
    assert extract_program(completion) == program


@pytest.mark.parametrize(
    ("completion", "program"),
    [
        (f"<think>\n{block('a')}</think>\n{block('b')}", "b\n"),
        (f"<think>\n{block('a')}</think>\nI have shown it above.", None),
        (f"<think>\n{block('a')}", None),
        (f"<think>x</think>\n<answer>\n{block('b')}</answer>\n{block('c')}", "b\n"),
        (f"<think>x</think>\n{block('c')}<answer>as above</answer>", None),
        (f"{block('a')}</think>\n{block('b')}", "b\n"),  # the opening tag was in the prompt
    ],
)
def test_thinking_is_not_read_and_the_answer_tag_alone_is(completion, program):
    assert extract_program(completion) == program


@pytest.mark.parametrize(
    "completion",
    [
        f"{FENCE}python\nprint(1)\npri",
        block("print(0)") + f"Better:\n{FENCE}python\nprint(1)\npri",
        block("print(0)") + f"{FENCE}",
    ],
)
def test_a_text_that_ends_inside_a_block_has_no_program(completion):
    assert extract_program(completion) is None


def test_a_prelude_stands_before_the_code():
    prelude = 'import math\n\ndef area(r):\n    """Of a circle."""\n'
    assert extract_program(block("    return math.pi * r * r"), prelude) == prelude + "    return math.pi * r * r\n"
    whole = "def area(r):\n    return 3"
    assert extract_program(block(whole), prelude) == f"{prelude}{whole}\n"
    assert extract_program(block("b"), "a") == "a\nb\n"
    assert extract_program("no code", prelude) is None


def test_imports_from_the_future_come_before_a_prelude():
    code = "# a comment\n\nfrom __future__ import annotations\nimport x\nfrom __future__ import y\n"
    program = extract_program(block(code), "p = 1\n")
    assert program == code.replace("import x\n", "p = 1\nimport x\n") + "\n"
    compile(extract_program(block("from __future__ import annotations\na: b = 1"), "p = 1\n"), "", "exec")


@pytest.mark.parametrize("docstring", ['"""One.\n\n\'Two\'."""', "r'''One.'''", "'One.'", '# c\n"One."  '])
@pytest.mark.parametrize("future", ["annotations", "(annotations)", "(\n    annotations,\n    division,\n)  # both"])
def test_a_docstring_may_stand_before_imports_from_the_future(docstring, future):
    code = f"{docstring}\n\nfrom __future__ import {future}\na: b = c\n"
    names = {}
    exec(compile(extract_program(block(code), "c = 1\n"), "", "exec"), names)
    assert names["a"] == 1


@pytest.mark.parametrize(
    "text",
    [
        f"{FENCE}python\n" * 100_000,
        f"{FENCE}\n" * 100_001,
        "`" * 1_000_000,
        " " * 1_000_000,
        f"{FENCE}" + " " * 1_000_000 + "x",
        (" " * 999 + "\n") * 1000 + f"{FENCE}\n",
        "<answer>" * 100_000,
        "</think>" * 10_000 + f"{FENCE}python\n\ud800\0\n{FENCE}",
        block("#\n" * 400_000 + "from __future__ import x"),
        block("from __future__ import (\n" * 40_000),
        block("'''" * 300_000 + "from __future__ import x"),
        block("'''" + "''' #" * 200_000 + "from __future__ import x"),
        " " * 500_000 + f"{FENCE}\n" + (" " * 300 + "a\n") * 3000 + f"{FENCE}\n",
        block("x" * MOST_PROGRAM_CHARS),
    ],
)
def test_any_text_is_read_in_little_time(text):
    start = time.process_time()
    found = extract_program(text, "prelude")
    assert time.process_time() - start < 2.0
    assert found is None or "prelude\n" in found


def test_what_is_too_long_is_no_program():
    assert extract_program(block("x" * (MOST_PROGRAM_CHARS - 1))) is not None
    assert extract_program(block("x" * MOST_PROGRAM_CHARS)) is None
