"""The house has floors (docs/architecture.md): a module imports its own floor and those below, never above."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
FLOORS = {
    "errors": 0,
    "config": 0,
    "text": 0,
    "workdir": 1,
    "sandbox": 1,
    "chat_client": 1,
    "rewards": 1,
    "data": 1,
    "parallel": 1,
    "models": 2,
    "learn": 3,
    "sampler": 3,
    "checkpoint": 4,
    "metrics": 4,
    "scoring": 4,
    "doctor": 4,
    "search": 4,
    "stages": 5,
    "suites": 5,
    "claims": 6,
    "pipeline": 6,
    "launch": 6,
    "aot": 6,
    "benchmarks": 6,
    "dryrun": 6,
    "report": 6,
}


def imports_of(path: pathlib.Path) -> set[str]:
    """The modules of r1jax that a file imports, by the name of their room."""
    rooms = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        if isinstance(node, ast.ImportFrom) and node.module:
            names = [node.module] if node.module != "r1jax" else [f"r1jax.{alias.name}" for alias in node.names]
        rooms |= {name.split(".")[1] for name in names if name.startswith("r1jax.")}
    return rooms


@pytest.mark.parametrize("path", sorted((ROOT / "r1jax").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_a_module_imports_no_floor_above_its_own(path):
    room = path.relative_to(ROOT / "r1jax").parts[0].removesuffix(".py")
    if room == "__init__":
        assert imports_of(path) == set()
        return
    above = {other for other in imports_of(path) if FLOORS[other] > FLOORS[room]}
    assert not above, f"{room} (floor {FLOORS[room]}) imports {sorted(above)} from above"


@pytest.mark.parametrize(
    "module",
    ["r1jax", "r1jax.config", "r1jax.rewards.service", "r1jax.sandbox", "r1jax.text.tokenizer", "r1jax.workdir"],
)
def test_the_lower_floors_do_not_load_jax(module):
    code = f"import sys, {module}; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
