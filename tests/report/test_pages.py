"""The table and the HTML page."""

import html.parser
import io
import json
import re
import subprocess
import sys

import pytest
import workdirs
from rich.console import Console

from r1jax.report import grids, page, table


class Links(html.parser.HTMLParser):
    """What a page refers to, and which ids it has."""

    def __init__(self):
        super().__init__()
        self.targets, self.ids = [], []

    def handle_starttag(self, tag, attributes):
        self.targets += [value for name, value in attributes if name in ("src", "href")]
        self.ids += [value for name, value in attributes if name == "id"]


@pytest.fixture
def run(tmp_path):
    return workdirs.finished_run(tmp_path / "demo")


def shown(summary, width=80):
    text = io.StringIO()
    table.render(summary, Console(file=text, width=width))
    return text.getvalue()


def test_the_table_has_a_row_a_stage_and_fits_eighty_columns():
    text = shown({"stages": {name: workdirs.scored(name) for name in workdirs.SCORES}})
    heading, base, _, zero, _, *_ = text.splitlines()
    assert heading.split() == ["stage", "pass@1", "pass@16", "cons@16", "tokens", "format", "time"]
    assert base.split("  ")[0] == "base"
    assert re.findall(r"[\d.]+ %", base) == ["9.0 %", "74.0 %", "33.0 %", "58.0 %"]
    assert "1m 36s" in base
    assert "85.0 %" in zero
    assert "82.0-88.0" in text
    assert "…" not in text


def test_the_table_says_how_the_scores_were_taken():
    text = " ".join(shown({"stages": {"zero": workdirs.scored("zero")}}).split())
    assert "256 questions x 16 samples, temperature 1, top-p 1, at most 104 tokens" in text


def test_stages_with_other_protocols_are_told_apart():
    greedy = workdirs.scored("base") | {"temperature": 0.0, "k": 1}
    lines = grids.protocol({"stages": {"base": greedy, "zero": workdirs.scored("zero")}}).splitlines()
    assert lines[0].startswith("base: 256 questions x 1 samples, temperature 0")
    assert lines[1].startswith("zero: 256 questions x 16 samples, temperature 1")


def test_a_stage_without_a_score_has_a_dash():
    text = shown({"stages": {"base": {"seconds": 5.0}, "zero": workdirs.scored("zero")}})
    row = next(line for line in text.splitlines() if line.startswith("base"))
    assert row.split() == ["base", "-", "-", "-", "-", "-", "5s"]


@pytest.mark.parametrize(("seconds", "text"), [(0.4, "0s"), (59.6, "1m 00s"), (96.3, "1m 36s"), (7500, "2h 05m")])
def test_durations_read_well(seconds, text):
    assert grids.duration(seconds) == text


def test_the_page_needs_no_other_file(run):
    links = Links()
    links.feed(page.write(run).read_text())
    assert links.targets
    for target in links.targets:
        assert target.startswith("#")
        assert target.removeprefix("#") in links.ids


def test_the_page_shows_scores_findings_and_status(run):
    text = page.write(run).read_text()
    assert "85.0 %" in text
    assert "82.0-88.0" in text
    assert "75% of the completions are cut at the length limit." in text  # the doctor, on stage zero
    assert 'class="chip done"' in text


def test_a_page_can_be_written_before_anything_is_scored(run):
    for name in ("summary.json", "manifest.json"):
        (run / name).unlink()
    text = page.write(run).read_text()
    assert 'id="scores"' not in text
    assert text.count("<svg viewBox") == 9  # the panels of both stages


def test_a_failed_stage_says_why(run):
    failed = {"status": "failed", "error": "TrainingError: the gate needs a pass@1 of 0.97"}
    (run / "manifest.json").write_text(json.dumps({"stages": {"base": failed}}))
    text = page.write(run).read_text()
    assert 'class="chip failed"' in text
    assert "the gate needs a pass@1 of 0.97" in text


def test_names_cannot_break_the_page(tmp_path):
    run = workdirs.finished_run(tmp_path / "<b>&")
    text = page.write(run).read_text()
    assert "<h1>&lt;b&gt;&amp;</h1>" in text


def test_the_report_needs_no_jax():
    code = "import sys, r1jax.report.page; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
