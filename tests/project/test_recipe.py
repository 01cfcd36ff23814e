"""docs/recipe.md: its numbers can be read, its fields exist, and the presets and the code have what it says."""

import io
import pathlib

import pytest
import recipe_page
from recipe_page import NOT_STATED, PAGE, chosen_numbers, hint_at, read, value_at
from rich.console import Console

from r1jax import config as configs
from r1jax.config import Schedule
from r1jax.config.load import load_config
from r1jax.config.serialize import differences, to_json
from r1jax.dryrun.page import describe
from r1jax.models.presets import PRESETS
from r1jax.text import reflection

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "experiments" / "configs"
PAPER = sorted(CONFIGS.glob("r1_paper_*.py"))
MODERN = CONFIGS / "r1_modern_zero.py"
TEXT = PAGE.read_text()
ROWS = recipe_page.rows(TEXT)
STAGES = recipe_page.stages(TEXT)
BY_ID = {row.id: row for row in ROWS}
# What a stage is told about the machine, its data and its files, of which the paper has no number.
OF_THE_MACHINE = ("batch.", "sampler.", "validation.sampler.", "evaluation.sampler.", "checkpoint_every")


def stem(path: pathlib.Path) -> str:
    return path.stem


def test_every_id_is_unique_and_every_value_can_be_read():
    assert len(BY_ID) == len(ROWS) > 90
    for row in ROWS:
        assert row.values or row.value == NOT_STATED
        assert row.what


def test_every_row_with_five_cells_is_a_row_of_the_page():
    # A misspelt id must not drop its row unseen.
    table_lines = [line for line in TEXT.splitlines() if line.startswith("| `") and line.count("|") == 6]
    assert len(table_lines) == len(ROWS) + len(STAGES)


def test_every_row_has_its_source():
    known = ("v1 ", "v2 ", "N,", "N fig", "N ext", "RM", "DSM", "DAPO", "TIS", "derived", "not stated: ours")
    assert not [row.id for row in ROWS if not row.source.startswith(known)]


def test_every_field_exists_and_takes_the_value_of_its_row():
    fields = [(row, path) for row in ROWS for path in row.fields]
    assert len(fields) > 100
    for row, path in fields:
        read(row, hint_at(path, STAGES))


def test_a_field_that_is_not_there_is_found_out():
    for path in (
        "stages.zero.loss.clip",
        "stages.nowhere.num_steps",
        "FiltersConfig.words",
        "rewards.sets.default.name.x",
    ):
        with pytest.raises((KeyError, TypeError)):
            hint_at(path, STAGES)


@pytest.mark.parametrize(
    "cells",
    ["| `a.b` | about 3 | w | v1 | - |", "| `a.b` | 1,00 | w | v1 | - |", "| `a.b` | `x | w | v1 | - |"],
)
def test_a_value_that_is_no_number_is_an_error_that_names_its_row(cells):
    (row,) = recipe_page.rows(cells)
    with pytest.raises(ValueError, match=r"a\.b"):
        _ = row.values


def test_values_are_numbers_shares_lists_ranges_and_text():
    page = "| `a.b` | {} | w | v1 | `stages.{{x,y}}.z` |"

    def values(value):
        (row,) = recipe_page.rows(page.format(value))
        assert row.fields == ("stages.x.z", "stages.y.z")
        return row.values

    assert values("804,745") == (804745.0,)
    assert values("3e-6") == (3e-6,)
    assert values("15.6 % / 71.0 %") == (0.156, 0.71)
    assert values("2 to 3") == (2.0, 3.0)
    assert values("`0:32768,8200:65536`") == ("0:32768,8200:65536",)
    assert values("not stated") == ()


def rows_of(config) -> list[tuple[recipe_page.Row, str]]:
    """The rows of the paper (not of later work) with the fields that this run has."""
    names = [stage.name for stage in config.stages]
    sets = [one.name for one in config.rewards.sets]
    found = []
    for row in ROWS:
        for path in row.fields:
            root, name, *_ = path.split(".") if not path.startswith("rewards.sets.") else path.split(".")[1:]
            there = name in (names if root == "stages" else sets if root == "sets" else ())
            if there and not row.id.startswith("modern."):
                found.append((row, path))
    return found


@pytest.mark.parametrize("file", PAPER, ids=stem)
def test_a_preset_of_the_paper_has_every_number_of_the_page(file):
    config = load_config(str(file))
    compared = rows_of(config)
    assert len(compared) >= 35
    for row, path in compared:
        assert value_at(config, path) == read(row, hint_at(path, STAGES)), f"{row.id}: {path}"


@pytest.mark.parametrize("file", PAPER, ids=stem)
def test_a_preset_of_the_paper_has_no_number_but_those_of_the_page(file):
    config = load_config(str(file))
    on_page = {path for _, path in rows_of(config)}
    for stage in config.stages:
        chosen = {
            f"stages.{stage.name}.{path}"
            for path, _ in chosen_numbers(stage)
            if not path.startswith(OF_THE_MACHINE) and not path.startswith("validation.sampling.")
        }
        assert chosen <= on_page


def test_the_curve_of_zero_is_drawn_as_its_evaluation():
    zero = load_config(str(CONFIGS / "r1_paper_zero.py")).stage("zero")
    assert zero.validation.sampling == zero.evaluation.sampling


def test_the_modern_preset_is_the_papers_but_for_the_rows_of_later_work():
    paper, modern = load_config(str(CONFIGS / "r1_paper_zero.py")), load_config(str(MODERN))
    changed = {row.fields[0]: row for row in ROWS if row.id.startswith("modern.")}
    assert len(changed) >= 6
    for path, row in changed.items():
        assert value_at(modern, path) == read(row, hint_at(path, STAGES)) != value_at(paper, path)
    found = differences(to_json(paper), to_json(modern))
    assert {line.split(":")[0] for line in found} == {"name", *changed}


def test_the_longer_limit_of_zero_begins_with_a_rollout():
    zero = load_config(str(CONFIGS / "r1_paper_zero.py")).stage("zero")
    assert zero.max_new_tokens == Schedule(((0, 32_768), (8_200, 65_536)))
    first = next(
        step for step in range(0, zero.num_steps, zero.steps_per_rollout) if zero.max_new_tokens.at(step) > 40_000
    )
    assert first == 8208
    assert f"{first:,}" in BY_ID["zero.max_new_tokens"].what


def test_what_is_derived_follows_from_what_is_stated():
    def number(name):
        return BY_ID[name].values[0]

    group = number("rl.group_size")
    assert number("rl.rollout_prompts") == number("rl.rollout_outputs") / group
    assert number("rl.rollout_outputs") == number("rl.questions_per_step") * group * number("rl.minibatches")
    assert number("rl.stale_updates") == number("rl.minibatches") * number("rl.inner_epochs") - 1
    whole = number("stage2.steps") // number("rl.minibatches") * number("rl.minibatches")
    assert number("stage2.num_steps") == whole
    assert sum(BY_ID["rejection.parts"].values) == pytest.approx(number("rejection.samples"), rel=0.01)


def test_learning_rates_of_students_are_those_of_the_presets():
    prefix = "distill.learning_rate."
    page = {row.id.removeprefix(prefix): row.values[0] for row in ROWS if row.id.startswith(prefix)}
    assert page == {
        name: entry.distill_learning_rate for name, entry in PRESETS.items() if entry.distill_learning_rate is not None
    }


def test_reflective_words_and_defaults_of_classes_are_those_of_the_code():
    assert BY_ID["zero.reflection_words"].values == (", ".join(reflection.ENGLISH),)
    of_classes = [(row, path) for row in ROWS for path in row.fields if path.split(".")[0].endswith("Config")]
    assert len(of_classes) >= 4
    for row, path in of_classes:
        cls, _, field = path.partition(".")
        assert value_at(getattr(configs, cls)(), field) == read(row, hint_at(path, STAGES))


@pytest.mark.parametrize("file", [*PAPER, MODERN], ids=stem)
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
def test_a_preset_is_planned_without_weights_data_or_devices(file, overrides, parameters):
    text = io.StringIO()
    describe(load_config(str(file), overrides), console=Console(file=text, width=120))
    assert f"parameters  {parameters}\n" in text.getvalue()
    assert "grpo, 10,400 steps" in text.getvalue()
