"""What README and docs name must exist: files, make targets, configs, functions and tests."""

import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
TREE = re.compile(r"^[│├└─\s]*([\w./-]+\.(?:py|md|cfg|toml)|[\w./-]+/)\s", re.MULTILINE)
PATH = re.compile(r"`((?:r1jax|experiments|tests|docs|tpu_scripts)/[\w./]*)`|\]\(((?!http)[\w./-]+)\)")


def paths_named_in(page: pathlib.Path) -> set[str]:
    """Paths in backquotes, links and commands."""
    text = page.read_text()
    named = {one or two for one, two in PATH.findall(text)}
    named |= set(re.findall(r"(?:python|--config=)\s*((?:experiments)/[\w./]+\.py)", text))
    return {path for path in named if "NAME" not in path}  # a name for the reader to fill in


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_path_that_a_page_names_exists(page):
    missing = [
        path for path in paths_named_in(page) if not (ROOT / path).exists() and not (page.parent / path).exists()
    ]
    assert not missing


@pytest.mark.parametrize("page", PAGES, ids=lambda p: p.name)
def test_every_make_target_that_a_page_names_exists(page):
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"`make ([\w-]+)`|^make ([\w-]+)", page.read_text(), re.MULTILINE))
    assert {one or two for one, two in named} <= targets


def test_the_file_tree_of_the_readme_is_the_tree():
    block = re.search(r"```text\n(r1jax/\n.*?)```", (ROOT / "README.md").read_text(), re.DOTALL).group(1)
    named, missing = [], []
    folders: list[str] = []
    for line in block.splitlines():
        match = re.match(r"( *)([\w.]+/?)", line)
        if not match:
            continue
        depth = len(match.group(1)) // 2
        folders = [*folders[:depth], match.group(2)]
        path = "".join(folders)
        named.append(path)
        if not (ROOT / path).exists():
            missing.append(path)
    assert not missing
    rooms = {f"r1jax/{one.name}" for one in (ROOT / "r1jax").glob("*.py") if one.name != "__init__.py"}
    rooms |= {f"r1jax/{one.parent.name}/" for one in (ROOT / "r1jax").glob("*/__init__.py")}
    assert rooms <= set(named), "rooms that the tree leaves out"


def test_the_tests_that_the_equations_name_exist():
    text = (ROOT / "docs" / "equations.md").read_text()
    named = set(re.findall(r"\b(test_\w+)\b", text))
    source = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    files = {path.stem for path in (ROOT / "tests").rglob("test_*.py")}
    assert named
    assert not [name for name in named if f"def {name}(" not in source and name not in files]
