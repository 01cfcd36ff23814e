"""Curves: what is drawn, and that it is written."""

import numpy as np
import programmes
import pytest
import workdirs
from matplotlib.image import imread

from r1jax.report import bars, curves, panels
from r1jax.report.readings import read


@pytest.fixture
def run(tmp_path):
    return workdirs.finished_run(tmp_path / "demo")


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes if axes.axison]


def test_every_stage_gets_a_png_and_the_run_one_that_compares_them(run):
    written = curves.plot(read(run))
    assert [path.relative_to(run).as_posix() for path in written] == [
        "base/curves.png",
        "zero/curves.png",
        "stages.png",
    ]
    for path in written:
        image = imread(path)
        assert image.shape[1] > 1000
        assert image[..., :3].min() < 0.5 < image[..., :3].mean()  # ink on a light ground


def test_a_sheet_has_a_panel_for_each_group_of_metrics_that_the_stage_has(run):
    base, zero = read(run).stages
    assert titles(curves.stage_sheet(base)) == ["Loss", "Gradient norm", "Learning rate"]
    assert titles(curves.stage_sheet(zero)) == [
        "Reward",
        "Validation",
        "Completion length",
        "Entropy",
        "KL to the reference",
        "Cut or not graded",
    ]


def test_rewards_share_a_panel_and_their_last_values_are_written(run):
    axes = curves.stage_sheet(read(run).stages[1]).axes[0]
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert labels == ["total 1", "format 0.9", "maths 0.75"]  # 60 / 60, 0.9, 60 / 80


def test_validation_is_drawn_as_it_is(run):
    axes = curves.stage_sheet(read(run).stages[1]).axes[1]
    drawn = {line.get_label().split()[0]: line.get_xydata() for line in axes.get_lines()}
    np.testing.assert_allclose(drawn["pass@1"], [[20, 20 / 70], [40, 40 / 70], [60, 60 / 70]])
    np.testing.assert_allclose(drawn["cons@16"], [[20, 20 / 65], [40, 40 / 65], [60, 60 / 65]])


def test_smoothing_leaves_a_straight_line_alone_even_at_its_ends():
    line = [3.0 - 0.25 * n for n in range(200)]
    np.testing.assert_allclose(panels.smooth(line), line, atol=1e-9)


def test_smoothing_keeps_the_level_of_a_long_run_and_reduces_its_noise():
    noise = np.random.default_rng(0).normal(1e4, 1.0, 20_000)
    smoothed = np.array(panels.smooth(noise))
    assert smoothed.mean() == pytest.approx(1e4, abs=0.05)
    assert smoothed.std() < 0.1


def test_the_band_holds_most_of_the_values_and_all_of_the_level():
    noise = np.random.default_rng(0).normal(0.0, 1.0, 4000).tolist()
    curve = panels.Curve("noise", list(range(4000)), noise)
    places = panels.chosen_points(4000, 100)
    assert (places[0], places[-1], len(places)) == (0, 3999, 100)
    lows, highs = np.array(panels.band(curve, places)).T
    # Centiles 10 and 90 of a normal variable lie 1.28 from its mean.
    assert lows.mean() == pytest.approx(-1.28, abs=0.1)
    assert highs.mean() == pytest.approx(1.28, abs=0.1)
    level = np.array(curve.level)[places]
    assert ((lows <= level) & (level <= highs)).all()


def test_a_few_values_have_no_band():
    assert panels.band(panels.Curve("few", [1, 2], [0.0, 1.0]), [0, 1]) is None
    validated = panels.Curve("pass@1", list(range(400)), [0.5] * 400, noisy=False)
    assert panels.band(validated, [0]) is None


def test_what_reward_models_give_stands_apart_from_the_rules(tmp_path):
    programme = read(programmes.programme(tmp_path / "demo"))
    stage = programme.stage("all_scenarios_rl")
    shown = {
        panel.title: [curve.label for curve in found] for panel, found in panels.panels_of(stage, programme.models)
    }
    assert shown["Reward"] == ["total", "format", "maths"]
    assert shown["Preference scores"] == ["helpful", "safety", "validation: helpful", "validation: safety"]
    assert shown["Language of the prompt"] == ["rollouts"]
    assert shown["Without an answer"] == ["rollouts"]


def test_a_stage_that_leaves_data_has_a_sheet_of_its_filters(tmp_path):
    programme = read(programmes.programme(tmp_path / "demo", begun=3))
    axes = bars.filters_sheet(programme.stage("cold_start_data")).axes[0]
    assert [label.get_text() for label in axes.get_yticklabels()] == ["correct", "language", "duplicates"]
    # 512 samples: 191 dropped as wrong, then 20 for their language, then none.
    assert [patch.get_width() for patch in axes.patches] == [512, 321, 301, 321, 301, 301]
    assert (tmp_path / "demo" / "cold_start_data" / "curves.png") in curves.plot(programme)


def test_short_curves_are_not_smoothed():
    assert panels.smooth([1.0, 5.0, 2.0]) == [1.0, 5.0, 2.0]


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0])
def test_a_constant_curve_has_ticks_that_differ(tmp_path, value):
    folder = tmp_path / "demo" / "zero"
    folder.mkdir(parents=True)
    (folder / "metrics.jsonl").write_text("".join(f'{{"step": {n}, "kl": {value}}}\n' for n in range(50)))
    figure = curves.stage_sheet(read(tmp_path / "demo").stages[0])
    figure.canvas.draw()
    labels = [label.get_text() for label in figure.axes[0].get_yticklabels()]
    assert len(set(labels)) == len(labels)


def test_stages_are_compared_by_their_scores_and_a_missing_score_has_no_panel(run):
    figure = bars.comparison(read(run))
    assert titles(figure) == ["Accuracy", "Mean length", "Format kept"]  # no language anywhere
    heights = [patch.get_height() for patch in figure.axes[0].patches]
    assert heights == [0.09, 0.85, 0.74, 0.99, 0.33, 1.0]  # pass@1, pass@16, cons@16 of base and zero


def test_a_run_without_scores_is_not_compared(run):
    (run / "summary.json").unlink()
    assert [path.name for path in curves.plot(read(run))] == ["curves.png", "curves.png"]
