"""Claims: intervals worked by hand, verdicts by the rule, what is refused, and the files."""

import datetime
import json

import pytest
from claim_runs import made_run

from r1jax.claims.claim import Claim, ClaimError, Pair, assess, judge, t_interval
from r1jax.claims.measures import (
    at_step,
    at_the_end,
    at_the_start,
    evaluated,
    handed_on,
    mean_over_steps,
    on_benchmark,
    paired,
)
from r1jax.claims.table import Provenance, markdown, write
from r1jax.workdir.files import write_json


def claim(kind="rises", margin=None, **fields) -> Claim:
    fields = {"name": "one", "text": "RL lifts pass@1.", "paper": "15.6 % to 71.0 % (AIME 2024)"} | fields
    return Claim(measure=lambda runs: runs["pair"], kind=kind, margin=margin, **fields)


def verdict_of(kind, differences, margin=None) -> str:
    return judge(claim(kind, margin), {seed: Pair(1 + d, 1.0) for seed, d in enumerate(differences)}).verdict


def test_the_interval_by_hand():
    # Mean 2, s = 1; t(0.975, 2) = 4.30265; 4.30265 / sqrt(3) = 2.48414.
    assert t_interval([1.0, 2.0, 3.0]) == pytest.approx((-0.48414, 4.48414), abs=1e-5)
    # Mean 0.3, s = sqrt(0.1 / 4) = 0.158114; t(0.975, 4) = 2.776445; 2.776445 x 0.158114 / sqrt(5) = 0.196324.
    assert t_interval([0.1, 0.2, 0.3, 0.4, 0.5]) == pytest.approx((0.103676, 0.496324), abs=1e-6)
    assert t_interval([0.25, 0.25, 0.25]) == (0.25, 0.25)


SPREAD = [2.0, 2.5, 3.0]  # 2.5 -+ 1.24207


@pytest.mark.parametrize(
    ("kind", "differences", "margin", "verdict"),
    [
        ("rises", SPREAD, None, "shown"),
        ("falls", SPREAD, None, "against"),
        ("falls", [-d for d in SPREAD], None, "shown"),
        ("rises", [-d for d in SPREAD], None, "against"),
        ("rises", [1.0, 2.0, 3.0], None, "not shown"),  # one sign, but the interval holds 0
        ("falls", [1.0, 2.0, 3.0], None, "not shown"),
        # 0.798 -+ 0.5609: the interval leaves 0 out, but one seed has the other sign.
        ("rises", [-0.01, 1.0, 1.0, 1.0, 1.01], None, "not shown"),
        ("rises", [0.0, 0.0, 0.0], None, "not shown"),
        ("unchanged", [0.01, 0.02, 0.03], 0.05, "unchanged"),  # 0.02 -+ 0.0248
        ("unchanged", [0.01, 0.02, 0.03], 0.04, "not shown"),
        ("unchanged", SPREAD, 1.0, "against"),
        ("unchanged", [-d for d in SPREAD], 1.0, "against"),
        ("unchanged", SPREAD, 1.3, "not shown"),
    ],
)
def test_the_verdict_follows_the_rule(kind, differences, margin, verdict):
    assert verdict_of(kind, differences, margin) == verdict


def test_fewer_than_three_seeds_show_nothing():
    with pytest.raises(ClaimError, match="3 seeds or more, found 2"):
        verdict_of("rises", [1.0, 1.0])


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_a_number_is_named_with_its_seed(value):
    with pytest.raises(ClaimError, match="claim one: expected numbers of seed 7"):
        judge(claim(), {5: Pair(1, 0), 6: Pair(1, 0), 7: Pair(value, 0)})


@pytest.mark.parametrize(("kind", "margin"), [("unchanged", None), ("rises", 0.1), ("unchanged", 0.0)])
def test_a_margin_belongs_to_unchanged_alone(kind, margin):
    with pytest.raises(ClaimError, match="margin"):
        claim(kind, margin)


def results():
    seeds = {seed: {"pair": (0.7 + 0.01 * seed, 0.1)} for seed in range(3)}
    claims = [
        claim(note="temperature 1"),
        claim("unchanged", 0.05, name="two", text="A | B stay", share=False),
        claim("falls", name="three", text="It falls.", paper=""),
    ]
    return assess(claims, seeds)


def test_claims_of_one_name_are_refused():
    with pytest.raises(ClaimError, match="a name of its own"):
        assess([claim(), claim()], {})


def test_claims_are_written_for_the_report_and_for_people(tmp_path):
    head = Provenance(
        title="Results",
        command="python claims.py",
        commit="abc1234",
        date=datetime.date(2025, 1, 2),
        seconds={"task A": 3600.0, "task B": 600.0},
        machine="2 cores",
    )
    write(results(), tmp_path, head)
    first, second, third = json.loads((tmp_path / "claims.json").read_text())
    assert {"claim", "paper", "ours", "interval", "verdict", "seeds", "values", "note"} <= first.keys()
    assert first["ours"] == "71.0% against 10.0% (+61.0 points)"
    assert first["seeds"] == [0, 1, 2]
    assert first["values"] == [[0.7, 0.1], [0.71, 0.1], [0.72, 0.1]]
    # 0.61 -+ 4.30265 x 0.01 / sqrt(3)
    assert first["interval"] == pytest.approx([0.58516, 0.63484], abs=1e-5)
    assert [one["verdict"] for one in (first, second, third)] == ["shown", "against", "against"]

    text = (tmp_path / "results.md").read_text()
    assert text == markdown(results(), head)
    assert "commit `abc1234`" in text
    assert "2025-01-02" in text
    assert "task A 60 min, task B 10 min" in text
    assert "3 claims: 1 shown, 2 against." in text
    rows = [line for line in text.splitlines() if line.startswith("| RL lifts") or line.startswith("| A")]
    assert rows == [
        "| RL lifts pass@1. | rises | 15.6 % to 71.0 % (AIME 2024) | 71.0% against 10.0% (+61.0 points) "
        "| [+58.5, +63.5] | shown |",
        "| A \\| B stay | unchanged within 0.05 | 15.6 % to 71.0 % (AIME 2024) | 0.71 against 0.1 (+0.61) "
        "| [+0.585, +0.635] | **against** |",
    ]
    assert "- RL lifts pass@1.: temperature 1" in text
    assert "| one | 70.0% / 10.0% | 71.0% / 10.0% | 72.0% / 10.0% |" in text


def test_figures_are_read_out_of_the_folders_of_the_runs(tmp_path):
    lines = [{"step": step, "validation/pass@1": value} for step, value in [(10, 0.2), (20, 0.5), (30, 0.6)]]
    workdir = made_run(
        tmp_path,
        lines={"rl": [*lines, {"step": 31, "loss": 0.1, "validation/pass@1": None}]},
        summary={"base": {"pass@1": 0.25}, "rl": {"pass@1": 0.75, "benchmarks": {"talk": {"pass@1": 0.5}}}},
    )
    runs = {"a": workdir}
    assert paired(evaluated("a", "rl", "pass@1"), evaluated("a", "base", "pass@1"))(runs) == (0.75, 0.25)
    metric = ("a", "rl", "validation/pass@1")
    assert at_the_end(*metric)(runs) == 0.6
    assert at_the_end(*metric, last=2)(runs) == pytest.approx(0.55)
    assert at_the_start(*metric)(runs) == 0.2
    assert mean_over_steps(*metric)(runs) == pytest.approx(1.3 / 3)
    assert mean_over_steps(*metric, until=20)(runs) == pytest.approx(0.35)
    assert at_step(*metric, 20)(runs) == 0.5
    assert on_benchmark("a", "rl", "talk", "pass@1")(runs) == 0.5
    write_json(
        workdir.path / "manifest.json",
        {"stages": {"search": {"status": "done", "outputs": {"search_accuracy": 0.125}}}},
    )
    assert handed_on("a", "search", "search_accuracy")(runs) == 0.125
    with pytest.raises(ClaimError, match="outputs of search: expected a number 'vote_accuracy', found None"):
        handed_on("a", "search", "vote_accuracy")(runs)


@pytest.mark.parametrize(
    ("figure", "message"),
    [
        (evaluated("b", "rl", "pass@1"), "expected a run 'b' of every seed, found a"),
        (evaluated("a", "zero", "pass@1"), "expected the stage 'zero', found rl"),
        (evaluated("a", "rl", "cons@16"), "summary.json, rl: expected a number 'cons@16', found None"),
        (on_benchmark("a", "rl", "talk", "pass@1"), "expected the benchmark 'talk' of rl, found none"),
        (at_step("a", "rl", "loss", 60), "expected 'loss' at step 60, found steps 1"),
        (mean_over_steps("a", "rl", "loss", until=0), "expected 'loss' up to step 0, found step 1 as the first"),
        (at_the_end("a", "rl", "reward"), "expected values of 'reward'"),
    ],
)
def test_a_figure_that_is_not_there_is_a_one_line_error(figure, message, tmp_path):
    workdir = made_run(tmp_path, lines={"rl": [{"step": 1, "loss": 0.5}]}, summary={"rl": {"pass@1": 0.75}})
    with pytest.raises(ClaimError, match=message) as error:
        figure({"a": workdir})
    assert "\n" not in str(error.value)
