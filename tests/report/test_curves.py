"""Curves: what is drawn, and that it is written."""

import numpy as np
import pytest
import workdirs
from matplotlib.image import imread

from r1jax.report import bars, curves
from r1jax.report.readings import read


@pytest.fixture
def run(tmp_path):
    return workdirs.finished_run(tmp_path / "demo")


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes if axes.axison]


def test_every_stage_gets_a_png_and_the_run_one_that_compares_them(run):
    written = curves.plot(run)
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
    np.testing.assert_allclose(curves.smooth(line), line, atol=1e-9)


def test_smoothing_keeps_the_level_of_a_long_run_and_reduces_its_noise():
    noise = np.random.default_rng(0).normal(1e4, 1.0, 20_000)
    smoothed = np.array(curves.smooth(noise))
    assert smoothed.mean() == pytest.approx(1e4, abs=0.05)
    assert smoothed.std() < 0.1


def test_short_curves_are_not_smoothed():
    assert curves.smooth([1.0, 5.0, 2.0]) == [1.0, 5.0, 2.0]


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
    assert [path.name for path in curves.plot(run)] == ["curves.png", "curves.png"]
