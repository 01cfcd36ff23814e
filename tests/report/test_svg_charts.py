"""Panels as SVG: what is drawn lies where its values are."""

import re

import pytest

from r1jax.report.charts import BOTTOM, HEIGHT, LEFT, RIGHT, TOP, WIDTH, chart
from r1jax.report.panels import Curve, Panel


def points(svg, kind="curve"):
    """The points of the first path of a kind: M x y, then steps."""
    path = re.search(rf'class="{kind} c0" d="([^"]*)"', str(svg))[1].removesuffix("Z")
    start, _, rest = path.removeprefix("M").partition("l")
    found = [tuple(map(float, start.split()))]
    numbers = list(map(float, rest.split()))
    for dx, dy in zip(numbers[::2], numbers[1::2], strict=True):
        found.append((found[-1][0] + dx, found[-1][1] + dy))
    return found


def test_a_share_runs_from_the_foot_to_the_top():
    found = chart(
        Panel("Cut", "share", (), scale="share"), [Curve("cut", [0, 50, 100], [0.0, 0.5, 1.0], noisy=False)], 100
    )
    foot, top = HEIGHT - BOTTOM, TOP
    expected = [(LEFT, foot), ((LEFT + WIDTH - RIGHT) / 2, (foot + top) / 2), (WIDTH - RIGHT, top)]
    for point, wanted in zip(points(found.svg), expected, strict=True):
        assert point == pytest.approx(wanted, abs=0.11)
    assert str(found.svg).count("<circle") == 3
    assert ">50%</text>" in found.svg


def test_equal_decades_are_equally_far_apart():
    panel = Panel("Norm", "", (), scale="log")
    y = [at for _, at in points(chart(panel, [Curve("norm", [1, 2, 3], [0.01, 0.1, 1.0])], 3).svg)]
    assert y[0] - y[1] == pytest.approx(y[1] - y[2], abs=0.2)


def test_a_log_scale_with_a_zero_is_linear():
    panel = Panel("Norm", "", (), scale="log")
    y = [at for _, at in points(chart(panel, [Curve("norm", [1, 2, 3], [0.0, 0.5, 1.0])], 3).svg)]
    assert y[0] - y[1] == pytest.approx(y[1] - y[2], abs=0.2)


@pytest.mark.parametrize("value", [0.0, 0.1, -3.0, 1e9])
def test_a_constant_lies_in_the_middle_with_labels_that_differ(value):
    found = chart(Panel("KL", "", ()), [Curve("kl", list(range(9)), [value] * 9)], 9)
    for _, at in points(found.svg):
        assert at == pytest.approx((HEIGHT - BOTTOM + TOP) / 2, abs=0.2)
    labels = re.findall(r'text-anchor="end">([^<]*)<', str(found.svg))
    assert len(set(labels)) == len(labels) >= 2


def test_a_long_curve_is_short_text_within_its_frame():
    values = [((7919 * n) % 1000) / 1000 for n in range(100_000)]
    found = chart(Panel("Noise", "", ()), [Curve("noise", list(range(100_000)), values)], 100_000)
    assert len(found.svg) < 6000
    for kind in ("curve", "band"):
        for x, y in points(found.svg, kind):
            assert LEFT - 1 <= x <= WIDTH - RIGHT + 1
            assert TOP - 1 <= y <= HEIGHT - BOTTOM + 1


def test_a_single_value_is_a_dot():
    found = chart(Panel("KL", "", ()), [Curve("kl", [5], [0.25])], 5)
    assert str(found.svg).count("<circle") == 1
    assert found.description == "KL. kl: 0.25 at step 5, 0.25 at step 5"


def test_the_legend_has_the_latest_values():
    curves = [Curve("right", [1, 2], [0.2, 0.4]), Curve("wrong", [1, 2], [0.8, 0.05])]
    found = chart(Panel("Groups", "", (), scale="share"), curves, 2)
    assert [(one.label, one.latest, one.colour) for one in found.legend] == [("right", "40%", 0), ("wrong", "5.0%", 1)]
