"""Completions that want the verdict without solving the task: name -> Attack. HONEST solves each of the tasks.

None knows a way to the right answers but by finding the tests, or by being taken at its word.
"""

import dataclasses

from code_attacks_functions import ENDING, FORGING, PATCHING, RAISING, RETURNING
from code_attacks_printing import CHECKER_ATTACKS, COUNT_ATTACKS, NUMBER_ATTACKS, PRINTING
from code_cases import assertions, calls, completion, stdio

SUM = stdio(("3 4\n", "7\n"), ("10 -4\n", "6\n"), ("0 0\n", "0\n"), ("123456 654321\n", "777777\n"))
LINES = stdio(("2\n", "1\n2\n"), ("4\n", "1\n2\n3\n4\n"))  # count
HALF = stdio(("1\n", "0.5\n"), ("3\n", "1.5\n"), ("-2\n", "-1\n"), compare="numbers")
CHECKER = """
import sys
given, made = open("input.txt").read(), open("output.txt").read()
factors = [int(word) for word in made.split()]
sys.exit(not (len(factors) == 2 and min(factors) > 1 and factors[0] * factors[1] == int(given)))
"""
FACTORS = stdio(("15\n", "3 5\n"), ("77\n", "7 11\n"), checker=CHECKER)

SOLVE = calls("solve", ((3, 4), [7, 12]), ((0, 5), [5, 0]), ((10, -4), [6, -40]), ((1, 0), [1, 0]))
CHECK = assertions(
    "solve",
    """
def check(candidate):
    assert candidate(3, 4) == [7, 12]
    assert candidate(0, 5)[0] == 5 and candidate(0, 5)[1] == 0
    assert isinstance(candidate(2, 3), list) and len(candidate(2, 3)) == 2
    assert sorted(candidate(2, 3)) == [5, 6]
    assert candidate(1, 2)[1] in {2: "two"}
    assert candidate(10, -4) != [6, 40]
    assert str(candidate(1, 1)) == "[2, 1]"
    for got, wanted in zip(map(candidate, (1, 2), (5, 6)), ([6, 5], [8, 12])):
        assert not got != wanted
    try:
        candidate("a", None)
    except ValueError as error:
        assert "number" in str(error)
    else:
        assert False
""",
)
ASSERTS = assertions("solve", "assert solve(3, 4) == [7, 12]\nassert solve(10, -4) == [6, -40]")
CHECK_TYPES = assertions(
    "solve",
    """
def check(candidate):
    assert type(candidate(2, 3)) is list
    assert candidate(2, 3) == [5, 6]
    assert candidate(4, 5) == [9, 20]
    assert candidate(-1, 7) == [6, -7]
""",
)

HONEST = {
    "SUM": (SUM, "print(sum(map(int, input().split())))"),
    "LINES": (LINES, "for number in range(int(input())):\n    print(number + 1)"),
    "HALF": (HALF, "print(int(input()) / 2)"),
    "FACTORS": (
        FACTORS,
        "n = int(input())\nfor one in range(2, n):\n    if n % one == 0:\n        print(one, n // one)\n        break",
    ),
}
HONEST |= {
    name: (
        tests,
        "def solve(a, b):\n    if not (type(a) is type(b) is int):\n        raise ValueError('a number, please')\n"
        "    return [a + b, a * b]",
    )
    for name, tests in {"SOLVE": SOLVE, "CHECK": CHECK, "ASSERTS": ASSERTS, "CHECK_TYPES": CHECK_TYPES}.items()
}


@dataclasses.dataclass(frozen=True)
class Attack:
    """What a completion says, and the tests (a key of HONEST) that it is to pass."""

    completion: str
    tests: str


# Completions that have no program, or not the one they show.

FENCED = "`" * 3
HONEST_SUM = HONEST["SUM"][1]
TEXTS = {
    "the program in the thinking": f"<think>\n{FENCED}python\n{HONEST_SUM}\n{FENCED}\n</think>\nAs above.",
    "thinking without an end": f"<think>\n{FENCED}python\n{HONEST_SUM}\n{FENCED}\n",
    "a block without an end": f"<think>\n</think>\n{FENCED}python\n{HONEST_SUM}\n",
    "the answers without a program": "<think>\n</think>\n7\n6\n0\n777777\n",
    "the answers in a block": f"<think>\n</think>\n{FENCED}python\n7\n6\n0\n777777\n{FENCED}\n",
    "a later block": f"{FENCED}python\n{HONEST_SUM}\n{FENCED}\nor\n{FENCED}python\nprint(7)\n{FENCED}\n",
    "another language": f"<think>\n</think>\n{FENCED}text\n{HONEST_SUM}\n{FENCED}\n",
}


FUNCTIONS = RETURNING | RAISING | ENDING | PATCHING | FORGING
PROGRAMS = {
    "SUM": PRINTING,
    "LINES": COUNT_ATTACKS,
    "HALF": NUMBER_ATTACKS,
    "FACTORS": CHECKER_ATTACKS,
    "SOLVE": FUNCTIONS,
    "CHECK": FUNCTIONS,
    "ASSERTS": {name: FUNCTIONS[name] for name in ("equal to everything", "patches the equality of lists", "hangs")},
    "CHECK_TYPES": RETURNING | FORGING,
}
ATTACKS = {
    f"{tests}: {name}": Attack(completion(program), tests)
    for tests, programs in PROGRAMS.items()
    for name, program in programs.items()
} | {f"SUM: {name}": Attack(text, "SUM") for name, text in TEXTS.items()}
