"""The rails of the stage graph as SVG: for each row a head of fixed height, and a stretch that grows with the text."""

from __future__ import annotations

from collections.abc import Sequence

from markupsafe import Markup

from r1jax.report.graph import Row

LANE = 20  # pixels from one lane to the next
EDGE = 12  # pixels from the rim to the first lane
HEAD = 30  # height of the part in which branches curve into the stage's mark, which stands at its foot


def width(rows: Sequence[Row]) -> int:
    """Pixels that the lanes take."""
    lanes = max((lane for row in rows for lane, _ in (*row.passing, *row.arriving, (row.lane, ""))), default=0)
    return 2 * EDGE + LANE * lanes


def head(row: Row, pixels: int) -> Markup:
    """The upper part of a row: rails that pass, and branches into the stage. `pixels` wide, HEAD high."""
    # Branches lie under the rails that they cross.
    paths = [_branch(lane, row.lane, carries) for lane, carries in row.arriving]
    paths += [_straight(lane, carries, HEAD) for lane, carries in row.passing]
    return Markup(f'<svg class="head" width="{pixels}" height="{HEAD}" aria-hidden="true">{"".join(paths)}</svg>')


def stretch(row: Row, leaves: str, pixels: int) -> Markup:
    """The lower part, drawn 100 high and stretched to what the row's text needs."""
    lanes = [*row.passing, *([(row.lane, leaves)] if row.leaving else [])]
    # A little longer than the row, so that no seam shows where its height is no whole number of pixels.
    paths = "".join(_straight(lane, carries, 103) for lane, carries in lanes)
    return Markup(
        f'<svg class="stretch" width="{pixels}" viewBox="0 0 {pixels} 100" preserveAspectRatio="none" '
        f'aria-hidden="true">{paths}</svg>'
    )


def left(lane: int) -> int:
    """Where a lane runs: pixels from the left."""
    return EDGE + LANE * lane


def _straight(lane: int, carries: str, height: int) -> str:
    return f'<path class="rail {carries}" d="M{left(lane)} 0V{height}"/>'


def _branch(source: int, target: int, carries: str) -> str:
    start, end = left(source), left(target)
    bend = f"C{start} {0.75 * HEAD:g} {end} {0.25 * HEAD:g} {end} {HEAD}" if start != end else f"V{HEAD}"
    return f'<path class="rail {carries}" d="M{start} 0{bend}"/>'
