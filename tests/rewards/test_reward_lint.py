"""The lint finds nothing in our rewards, and finds each hole that was put into others."""

import json

import pytest

from r1jax.config import RewardsConfig
from r1jax.errors import UserError
from r1jax.rewards import routing
from r1jax.rewards.lint import lint, read_probes
from r1jax.rewards.lint.__main__ import main
from r1jax.rewards.lint.linting import ATTACKS, CHECKS
from r1jax.rewards.lint.probes import PROBES
from r1jax.rewards.lint.styles import STYLES, THINKING

CONFIG = RewardsConfig(workers=2, deadline_seconds=5.0)
APART = [name for name in routing.REWARDS if routing.resolve(name, CONFIG).isolation is not None]
LONG = [*APART, "repetition", "short_text"]  # they take many seconds each


def named(name):
    return pytest.param(name, marks=[pytest.mark.slow] if name in LONG else [])


@pytest.mark.parametrize("name", [named(name) for name in routing.REWARDS])
def test_nothing_is_found_in_a_reward_of_ours(name):
    report = lint([name], CONFIG, stress=False)
    (found,) = report.rewards
    if found.not_run is not None:
        pytest.skip(f"{name} is not run: {found.not_run}")
    assert not report.findings, report.text()
    assert sum(found.tried.values()) > 20


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in routing.REWARDS if name not in APART])
def test_a_megabyte_takes_a_reward_of_ours_no_more_than_linear_time(name):
    report = lint([name], CONFIG, attacks=(), stress=True)
    if report.rewards[0].not_run is not None:
        pytest.skip(f"{name} is not run: {report.rewards[0].not_run}")
    assert not report.findings, report.text()


@pytest.mark.parametrize(
    ("name", "check"),
    [
        ("reads_the_thinking", "the answer in the thinking only"),
        ("reads_a_box_anywhere", "the answer in the thinking only"),
        ("reads_a_box_anywhere", "two answers, the last is wrong"),
        ("substring", "the right answer or a wrong one"),
        ("substring", "the right answer out of sight"),
        ("first_answer_block", "two answer blocks, the last is wrong"),
        ("accepts_two_answers", "the right answer or a wrong one"),
        ("accepts_two_answers", "all answers there are"),
        ("prefix", "prefix or superset of the answer"),
        ("answer_starts_with_gold_letters", "prefix or superset of the answer"),
        ("ignores_the_gold", "a probe that suits it"),
        ("constant", "a probe that suits it"),
        ("nan_for_empty", "nothing at all"),
        ("raises_on_surrogates", "control characters, halves of characters"),
        ("masks_what_it_cannot_read", "control characters, halves of characters"),
        ("depends_on_the_order", "the batch in reverse order"),
        ("depends_on_the_call", "the same batch again"),
        pytest.param("quadratic", "linear time", marks=pytest.mark.slow),
        pytest.param("exponential", "linear time", marks=pytest.mark.slow),
        ("raises_key_error", "a record of another kind"),
        ("think_tags_somewhere", "thinking that is never closed"),
        ("loose_format", "text before the thinking"),
        ("loose_format", "two answer blocks, the last is right"),
        ("english_anywhere", "words of the language where they do not count"),
        ("naive_judge", "a verdict for the judge"),
    ],
)
def test_a_hole_is_found(name, check):
    attacks = [attack for attack in ATTACKS if attack.name == check]
    report = lint([f"broken_rewards:{name}"], CONFIG, attacks=attacks or ATTACKS[:4], stress=check == "linear time")
    assert check in {finding.check for finding in report.findings}
    assert report.rewards[0].cell(check).endswith("!")


@pytest.mark.slow
def test_nothing_is_found_in_sound_rewards_of_a_users_own():
    for name in ("sound", "IN_THREADS", "above_its_group"):
        report = lint([f"broken_rewards:{name}"], CONFIG, stress=False)
        assert not report.findings, report.text()


def test_a_reward_that_cannot_run_is_said_not_to_have_run():
    report = lint(["broken_rewards:NOT_THERE"], CONFIG)
    assert report.rewards[0].not_run == "the judge has no url"
    assert "not run: the judge has no url" in report.text()
    assert not report.findings


def test_the_probes_do_not_give_the_answer_away():
    for probe in PROBES:
        for text in (*THINKING.values(), str(probe.record.get("question")) if probe.program is None else ""):
            assert probe.right not in text.split(), probe.name
        honest = {style.honest(probe) for style in STYLES}
        assert len(honest) == len(STYLES)
        assert probe.right != probe.wrong


def test_every_attack_builds_something_and_has_a_name_of_its_own():
    names = [attack.name for attack in ATTACKS]
    assert len(set(names) | set(CHECKS)) == len(names) + len(CHECKS)
    for attack in ATTACKS:
        texts = [text for probe in PROBES for style in STYLES for text in attack.build(probe, style)]
        assert texts, attack.name
        for probe in PROBES:
            for style in STYLES:
                assert style.honest(probe) not in attack.build(probe, style), (attack.name, probe.name)


@pytest.mark.slow
def test_own_records_are_probes(tmp_path, capsys, monkeypatch):
    file = tmp_path / "probes.jsonl"
    file.write_text(json.dumps({"record": {"id": "own", "colour": "red"}, "right": "red", "wrong": "blue"}) + "\n")
    (probe,) = read_probes(file)
    assert (probe.name, probe.right, probe.language) == ("own", "red", "en")
    (tmp_path / "colours_of_mine.py").write_text(
        "from r1jax.rewards.verdicts import Score, Status\n"
        "from r1jax.text.answers import final_answer\n"
        "def colour(items):\n"
        "    right = [final_answer(item.completion) == item.record.get('colour', '-') for item in items]\n"
        "    return [Score(float(one), Status.CORRECT if one else Status.WRONG) for one in right]\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    assert main(["colours_of_mine:colour"]) == 1
    assert "no probe suits reward colours_of_mine:colour" in capsys.readouterr().out
    assert main(["colours_of_mine:colour", f"--records={file}"]) == 0
    out = capsys.readouterr().out
    assert "1 colours_of_mine:colour: nothing found; about answer; probes: own" in out


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 1: expected a JSON object, found '\{'"),
        ("[]", "line 1: expected the field 'record' .*, found no fields"),
        ('{"record": {}, "right": "a"}', "line 1: expected the field 'wrong' .*, found record, right"),
        ('{"record": {}, "right": "a", "wrong": "a"}', "expected a right answer and another that is wrong"),
        ('{"record": {}, "right": "a", "wrong": "b", "language": "fr"}', "'language' to be en or zh, found 'fr'"),
        ("", "expected at least one line"),
    ],
)
def test_a_record_that_is_no_probe_is_named(tmp_path, line, message):
    file = tmp_path / "probes.jsonl"
    file.write_text(line + "\n")
    with pytest.raises(UserError, match=message):
        read_probes(file)


def test_the_command_says_what_is_wrong_with_a_name(capsys):
    assert main(["fromat"]) == 2
    assert "did you mean format" in capsys.readouterr().err
