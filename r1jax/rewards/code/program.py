"""The program that a completion commits to: the last fenced block of its answer."""

from __future__ import annotations

import re

from r1jax.text.answers import after_thinking, answer_tag

LABELS = frozenset({"python", "py", "python3", "py3"})
MOST_PROGRAM_CHARS = 2**20  # a longer one is a degenerate loop
FENCE = re.compile(r"^([ \t]*)(`{3,}|~{3,})(.*)$", re.MULTILINE)
IDLE_LINES = r"(?:[ \t]*(?:#[^\n]*|from __future__ import (?:\([^)]{0,500}\)[^\n]*|[^\n]*))?\n)*"
DOCSTRING = r"""[rRuU]?(?:"{3}.*?"{3}|'{3}.*?'{3}|"[^"\n]*"|'[^'\n]*')[ \t]*\n"""
FUTURE_IMPORTS = re.compile(f"{IDLE_LINES}(?:{DOCSTRING}{IDLE_LINES})?", re.DOTALL)


def extract_program(completion: str, prelude: str = "") -> str | None:
    """Python source: `prelude` and the code of the completion; or None where it has no code.

    The last block labelled python (py, python3) after the thinking, within the answer tag when there is one; the
    last one without a label when none is labelled. A text that ends inside a block has no program: what it was
    writing last is not there. (CommonMark's fences: a block is closed by a line of as many signs as opened it.)
    """
    tagged = answer_tag(completion)
    code = _last_block(after_thinking(completion) if tagged is None else tagged)
    if code is None or not code.strip() or len(code) > MOST_PROGRAM_CHARS:
        return None
    return _behind(prelude, code)


def _last_block(text: str) -> str | None:
    labelled: tuple[int, int, int] | None = None  # the block's start, end and indentation
    unlabelled: tuple[int, int, int] | None = None
    opened: re.Match[str] | None = None
    for fence in FENCE.finditer(text):
        indentation, signs, rest = fence.groups()
        info = rest.strip()
        if opened is None:
            if "`" not in info:  # else it is code within a line
                opened = fence
        elif not info and signs.startswith(opened.group(2)):
            block = (opened.end() + 1, fence.start(), len(opened.group(1)))
            label = opened.group(3).split(maxsplit=1)
            if not label:
                unlabelled = block
            elif label[0].lower() in LABELS:
                labelled = block
            opened = None
    chosen = unlabelled if labelled is None else labelled
    if opened is not None or chosen is None:
        return None
    start, end, indentation = chosen
    code = text[start:end]
    return re.sub(rf"^[ \t]{{1,{indentation}}}", "", code, flags=re.MULTILINE) if indentation else code


def _behind(prelude: str, code: str) -> str:
    """The two as one source. Imports from __future__, which have to come first, do."""
    if not prelude:
        return code
    end = FUTURE_IMPORTS.match(code).end() if "from __future__" in code else 0
    return code[:end] + prelude + ("" if prelude.endswith("\n") else "\n") + code[end:]
