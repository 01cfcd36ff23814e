"""The presets have the numbers of docs/recipe.md and no others; whatever is changed in either is found out."""

import dataclasses
import io
import pathlib
import re
import tokenize

import pytest
import recipe_page
from recipe_page import PAGE, Leaf, changed, departures, leaves, said_of, to_hold
from rich.console import Console

from r1jax.config import RunConfig
from r1jax.config.load import load_config
from r1jax.config.serialize import differences, to_json
from r1jax.dryrun.page import describe
from r1jax.suites.load import load_suite
from r1jax.text import asking, templates

CONFIGS = pathlib.Path(__file__).resolve().parents[2] / "experiments" / "configs"
PAPER = sorted(CONFIGS.glob("r1_paper_*.py"))
MODERN = sorted(CONFIGS.glob("r1_modern_*.py"))
ZEROS = [CONFIGS / "r1_paper_zero.py", CONFIGS / "r1_modern_zero.py"]
TEXT = PAGE.read_text()
ROWS = recipe_page.rows(TEXT)
STAGES = recipe_page.stages(TEXT)
BY_ID = {row.id: row for row in ROWS}


def stem(path: pathlib.Path) -> str:
    return path.stem


@dataclasses.dataclass(frozen=True)
class Held:
    """A preset, what it has by path, and what the page says of it."""

    config: RunConfig
    found: dict[str, Leaf]
    said: dict[str, tuple[str, object]]


def held(file: pathlib.Path) -> Held:
    """Later work's rows come last, and count for the modern presets alone."""
    config = load_config(str(file))
    later = [row for row in ROWS if row.id.startswith("modern.")]
    paper = [row for row in ROWS if row not in later]
    return Held(config, dict(leaves(config)), said_of(config, TEXT, paper + later if file in MODERN else paper))


HELD = {file.stem: held(file) for file in (*PAPER, *MODERN)}
# How many numbers of each preset the page has to have, at least: all of them are looked at.
LEAST_NUMBERS = {"r1_paper_zero": 25, "r1_modern_zero": 25, "r1_paper_full": 200, "r1_modern_full": 200}


@pytest.mark.parametrize("name", HELD)
def test_a_preset_has_the_numbers_of_the_page_and_no_others(name):
    found, said = HELD[name].found, HELD[name].said
    assert not departures(found, said)
    assert len(to_hold(found, said)) >= LEAST_NUMBERS.get(name, 50)


@pytest.mark.parametrize("name", HELD)
def test_any_number_of_a_preset_that_is_changed_is_found_out(name):
    found, said = HELD[name].found, HELD[name].said
    for path in to_hold(found, said):
        (line,) = departures(found | {path: Leaf(changed(found[path].value))}, said)
        assert line.startswith(f"{path}: ")


def test_every_field_of_the_page_is_one_of_a_preset():
    assert {path for one in HELD.values() for path in one.said} == {path for row in ROWS for path in row.fields}


def test_any_row_of_the_page_that_is_changed_is_found_out():
    for one in HELD.values():
        for path, (row, _) in one.said.items():
            assert departures(one.found, one.said | {path: (row, "another")})


def test_any_number_of_the_page_that_is_changed_is_found_out():
    in_rows = [row for row in ROWS if any(row.id == said for one in HELD.values() for said, _ in one.said.values())]
    numbers = [row for row in in_rows if re.fullmatch(r"[\d,.e%/ -]+|`[\d:,.]+`", row.value)]
    assert len(numbers) > 80
    for row in numbers:
        *_, last = re.finditer(r"\d", row.value)
        value = f"{row.value[: last.start()]}{(int(last[0]) + 1) % 10}{row.value[last.end() :]}"
        one = next(one for one in HELD.values() if any(row.id == said for said, _ in one.said.values()))
        said = one.said | said_of(one.config, TEXT, [dataclasses.replace(row, value=value)])
        assert departures(one.found, said), f"{row.id}: {row.value} -> {value}"


@pytest.mark.parametrize("file", [*PAPER, *MODERN], ids=stem)
def test_every_line_of_a_preset_with_a_number_says_where_it_is_from(file):
    source = re.compile(r"\b(v1|v2|N|RM|DAPO|TIS|derived|not stated|ours)\b")
    comments, numbers = {}, {}
    with file.open("rb") as lines:
        for token in tokenize.tokenize(lines.readline):
            number, text = token.start[0], token.string
            if token.type == tokenize.COMMENT:
                comments[number] = text
            is_text = token.type == tokenize.STRING and re.fullmatch(r'"(.*:)?[\d.]+(e-?\d+)?"', text)
            if is_text or (token.type == tokenize.NUMBER and text not in ("0", "0.0")):
                numbers[number] = text  # as text it may say whose figure it is
    alone = {number for number, line in enumerate(file.read_text().splitlines(), 1) if line.lstrip().startswith("#")}
    for number, text in numbers.items():
        near = comments.get(number) or (comments[number - 1] if number - 1 in alone else "")
        assert source.search(f"{near} {text}"), f"{file.name}:{number}: no source of its number"


@pytest.mark.parametrize("file", PAPER, ids=stem)
def test_a_curve_is_drawn_as_the_evaluation_but_for_the_number_of_samples(file):
    for stage in load_config(str(file)).stages:
        if getattr(stage, "validation", None) is not None:
            assert stage.validation == dataclasses.replace(stage.evaluation, samples=16)


def test_r1_zero_can_refine_its_longest_sample():
    stage = load_config(str(CONFIGS / "r1_paper_full.py")).stage("cold_start_data")
    longest = stage.filters.max_question_tokens + stage.sampling.max_new_tokens
    room = stage.sampler.max_prompt_tokens - longest
    assert stage.template.name == "r1_zero"
    for form in (asking.translate, asking.rewrite, asking.summarize):
        words = f"{form('', '', 'zh')} {templates.R1_ZERO}".split()
        assert 3 * len(words) < room  # no tokenizer in use makes as many of English


@pytest.mark.parametrize("file", PAPER, ids=stem)
def test_benchmarks_are_asked_and_read_as_in_the_suite(file):
    suite = {one.name: one for one in load_suite("r1", CONFIGS.parent / "suites").benchmarks}
    for stage in load_config(str(file)).stages:
        for one in stage.benchmarks:
            theirs, ours = suite[one.name.removesuffix("_diamond")], one.evaluation
            for field in ("kind", "columns", "choices_from", "tests_from", "answer_pattern"):
                assert getattr(ours.data, field) == getattr(theirs.evaluation.data, field)
            for field in ("samples", "sampling", "answers_vote"):
                assert getattr(ours, field) == getattr(theirs.evaluation, field)
            template = ours.template or stage.template
            if template.name == "r1":  # R1-Zero's thinking is not opened for it, and its maths asked as in training
                assert template == theirs.asking.of(stage.template)
            elif one.name != "math500":
                assert template.instruction == theirs.asking.instruction
        if stage.evaluation is not None:
            assert stage.evaluation.data.columns == suite["aime2024"].evaluation.data.columns


@pytest.mark.parametrize("file", MODERN, ids=stem)
def test_a_modern_preset_is_the_papers_but_for_the_rows_of_later_work(file):
    paper = load_config(str(CONFIGS / file.name.replace("modern", "paper")))
    later = {path for row in ROWS if row.id.startswith("modern.") for path in row.fields}
    found = {line.split(":")[0] for line in differences(to_json(paper), to_json(load_config(str(file))))}
    assert found - {"name"} <= later
    fields = {path.split(".", 2)[2] for path in found if path != "name"}
    assert fields >= {path.split(".", 2)[2] for path in later} - {"loss.clip_low"}


def test_the_stages_of_the_page_are_those_of_the_presets():
    named = {stage.name: type(stage) for file in PAPER for stage in load_config(str(file)).stages}
    assert named == STAGES
    full = [stage.name for stage in load_config(str(CONFIGS / "r1_paper_full.py")).stages]
    assert full == [name for name in STAGES if not name.startswith(("student", "teacher"))]


@pytest.mark.parametrize("file", ZEROS, ids=stem)
@pytest.mark.parametrize(
    ("overrides", "parameters"),
    [
        ([], "671,026,419,200"),
        (
            [("model.preset", "qwen2.5-7b"), ("mesh.fsdp", "64"), ("mesh.expert", "1"), ("mesh.tensor", "1")],
            "7,615,616,512",
        ),
    ],
    ids=["deepseek-v3", "qwen2.5-7b"],
)
def test_zero_is_planned_without_weights_data_or_devices(file, overrides, parameters):
    text = io.StringIO()
    describe(load_config(str(file), overrides), console=Console(file=text, width=120))
    assert f"parameters  {parameters}\n" in text.getvalue()
    assert "grpo, 10,400 steps" in text.getvalue()


def test_the_dry_run_of_the_7b_shows_its_arms_with_the_numbers_of_the_page():
    text = io.StringIO()
    config = load_config(str(CONFIGS / "r1_paper_qwen2.5_7b.py"))
    describe(config, stages=["teacher_data", "student_distilled"], console=Console(file=text, width=400))
    shown = text.getvalue()
    assert "parameters  7,615,616,512\n" in shown
    graph = shown[shown.index("random weights in the shape of qwen2.5-math-7b") :]
    for name, steps in (("student_distilled", 25_148), ("student_rl", 10_016), ("student_distilled_rl", 10_016)):
        assert re.search(rf"── {name}: \w+, {steps:,} steps", graph)
        assert steps in {BY_ID[row].values[0] for row in ("distill.num_steps", "control.num_steps")}
    assert re.search(r"── teacher_data: collect, 4 samples .*questions/\*\.parquet", graph)
    assert "train step" in graph
    assert "[M 4, B 16, T 32,768]" in graph  # 64 samples of 32,768 tokens, at most a row each
