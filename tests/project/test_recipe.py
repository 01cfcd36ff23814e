"""docs/recipe.md: its numbers can be read, its fields exist, and the presets and the code have what it says."""

import pathlib

import pytest
import recipe_page
from recipe_page import (
    NOT_STATED,
    PAGE,
    hint_at,
    read,
)

from r1jax.config import Schedule
from r1jax.config.load import load_config
from r1jax.models.presets import PRESETS
from r1jax.text import reflection

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "experiments" / "configs"
TEXT = PAGE.read_text()
ROWS = recipe_page.rows(TEXT)
STAGES = recipe_page.stages(TEXT)
BY_ID = {row.id: row for row in ROWS}
KNOWN_SOURCES = ("v1 ", "v2 ", "N,", "N fig", "N ext", "RM", "DSM", "DAPO", "TIS", "derived", "not stated: ours")


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
    assert not [row.id for row in ROWS if not row.source.startswith(KNOWN_SOURCES)]


def test_every_field_exists_and_takes_the_value_of_its_row():
    fields = [(row, path) for row in ROWS for path in row.fields]
    assert len(fields) > 300
    for row in ROWS:
        for place, path in enumerate(row.fields):
            read(row, hint_at(path, STAGES), place)


def test_a_field_that_is_not_there_is_found_out():
    for path in (
        "stages.zero.loss.clip",
        "stages.nowhere.num_steps",
        "rewards.language.words",
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
    assert values("``one ```python block``") == ("one ```python block",)


def test_as_many_values_as_fields_belong_together_one_by_one():
    page = "| `a.b` | {} | w | v1 | `stages.{{zero,reasoning_rl}}.num_steps` |"
    (apart,), (same,) = (recipe_page.rows(page.format(value)) for value in ("3 / 5", "4"))
    assert [read(apart, int, place) for place in (0, 1)] == [3, 5]
    assert [read(same, int, place) for place in (0, 1)] == [4, 4]


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
    a_rollout = number("rl.minibatches")
    assert number("stage2.num_steps") == number("stage2.steps") // a_rollout * a_rollout
    assert number("control.num_steps") == (number("control.steps") // a_rollout + 1) * a_rollout
    zero_hours, r1_hours = BY_ID["cost.hours"].values
    both_stages = r1_hours / zero_hours * number("zero.num_steps")
    assert number("stage1.num_steps") == (both_stages - number("stage2.num_steps")) // a_rollout * a_rollout
    passes = number("rejection.passes") * number("rejection.samples")
    assert number("rejection.num_steps") == passes // number("sft.batch")
    assert number("distill.num_steps") == passes // number("distill.batch")
    assert number("cold_start.num_steps") == number("rejection.passes") * 5000 // number("sft.batch")
    trained = 1 - number("helpful.held_out")
    assert number("helpful.num_steps") == round(trained * number("helpful.pairs") / number("helpful.batch"))
    assert number("safety.num_steps") == round(trained * number("safety.prompts") / number("helpful.batch"))
    assert number("helpful.row_tokens") == 2 * number("helpful.max_tokens")
    assert number("zero.row_tokens") == number("rl.prompt_tokens") + 65_536
    assert number("stage1.row_tokens") == number("rl.prompt_tokens") + number("stage1.max_new_tokens")
    assert number("helpful.score_tokens") == number("rl.prompt_tokens") + number("stage1.max_new_tokens")
    assert number("sft.asked_tokens") == number("sft.prompt_tokens") + number("sft.sampled_tokens") + 1024
    for name in ("sft.sampled_tokens", "sft.kept_tokens", "cold_start.refined_tokens"):
        assert number(name) == number("sft.context") - number("sft.prompt_tokens")
    assert sum(BY_ID["rejection.domains"].values) == number("rejection.samples")
    assert sum(BY_ID["rejection.parts"].values) == pytest.approx(number("rejection.samples"), rel=0.01)


def test_shares_of_general_prompts_are_those_of_the_papers_prompts_and_begin_with_the_last_steps():
    helpful, harmless = BY_ID["rl_data.general_prompts"].values
    prompts = sum(BY_ID["rl_data.prompts"].values) + helpful + harmless
    last = BY_ID["stage2.num_steps"].values[0] - BY_ID["stage2.preference_steps"].values[0]
    stage = load_config(str(CONFIGS / "r1_paper_full.py")).stage("all_scenarios_rl")
    shares = [(0, 0.0), (last, round(helpful / prompts, 2))], [(0, 0.0), (last, round(harmless / prompts, 2))]
    assert [list(one.share.points) for one in stage.mixed] == [*shares]
    assert {one.weight.points[1] for one in stage.preferences} == {(last, 1.0)}
    assert [one.sets for one in stage.preferences] == [(one.data.rewards,) for one in stage.mixed]


def test_learning_rates_of_students_are_those_of_the_presets():
    prefix = "distill.learning_rate."
    page = {row.id.removeprefix(prefix): row.values[0] for row in ROWS if row.id.startswith(prefix)}
    assert page == {
        name: entry.distill_learning_rate for name, entry in PRESETS.items() if entry.distill_learning_rate is not None
    }


def test_reflective_words_are_those_of_the_code():
    assert BY_ID["zero.reflection_words"].values == (", ".join(reflection.ENGLISH),)
