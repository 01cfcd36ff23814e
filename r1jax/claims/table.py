"""The verdicts on claims as files: claims.json for the report, a page of Markdown for people."""

from __future__ import annotations

import dataclasses
import datetime
from collections.abc import Mapping, Sequence

from etils import epath

from r1jax.claims.claim import CONFIDENCE, Result
from r1jax.workdir.files import write_atomic, write_json

_ORDER = ("shown", "unchanged", "not shown", "against")


@dataclasses.dataclass(frozen=True)
class Provenance:
    """What ran, and when: the head of the table.

    Attributes:
      title: of the page.
      command: that makes it.
      commit: of the code that ran.
      date: of the end of the runs.
      seconds: wall time by part, summed over the seeds.
      machine: in words, such as "2 cores".
    """

    title: str
    command: str
    commit: str
    date: datetime.date
    seconds: Mapping[str, float]
    machine: str


def write(results: Sequence[Result], folder: epath.PathLike, provenance: Provenance) -> None:
    """Writes FOLDER/claims.json (read by the report) and FOLDER/results.md."""
    folder = epath.Path(folder)
    write_json(folder / "claims.json", [result.to_json() for result in results])
    write_atomic(folder / "results.md", markdown(results, provenance).encode())


def markdown(results: Sequence[Result], provenance: Provenance) -> str:
    """The page: where the numbers come from, the table claim by claim, each seed's pair, what does not hold."""
    seeds = sorted({seed for result in results for seed in result.pairs})
    minutes = ", ".join(f"{part} {seconds / 60:.0f} min" for part, seconds in provenance.seconds.items())
    counts = ", ".join(
        f"{count} {verdict}" for verdict in _ORDER if (count := sum(one.verdict == verdict for one in results))
    )
    lines = [
        f"# {provenance.title}",
        "",
        f"Made by `{provenance.command}` on {provenance.date.isoformat()}, commit `{provenance.commit}`, "
        f"{provenance.machine}: {minutes}. Seeds {', '.join(map(str, seeds))}, paired: treatment and control share the "
        "seed and the prompts.",
        "",
        f"{len(results)} claims: {counts}. *Shown*: the same sign in every seed, and the {CONFIDENCE:.0%} paired "
        "t-interval of the difference excludes 0; *unchanged*: the interval lies within the margin; *against*: the "
        "opposite is shown.",
        "",
        f"| claim | expected | paper | here: with against without | {CONFIDENCE:.0%} interval | verdict |",
        "| --- | --- | --- | --- | --- | --- |",
        *(_row(result) for result in results),
    ]
    if notes := [f"- {_cell(one.claim.text)}: {_cell(one.claim.note)}" for one in results if one.claim.note]:
        lines += ["", "## Notes", *notes]
    lines += ["", "## Each seed", "| claim | " + " | ".join(f"seed {seed}" for seed in seeds) + " |"]
    lines += ["| --- |" + " --- |" * len(seeds)]
    for result in results:
        pairs = [_pair(result, seed) for seed in seeds]
        lines.append(f"| {_cell(result.claim.name)} | {' | '.join(pairs)} |")
    return "\n".join(lines) + "\n"


def _row(result: Result) -> str:
    claim, (low, high) = result.claim, result.interval
    expected = claim.kind
    if claim.margin is not None:
        expected += f" within {_number(claim.margin, claim.share).lstrip('+')}{' points' if claim.share else ''}"
    interval = f"[{_number(low, claim.share)}, {_number(high, claim.share)}]"
    verdict = result.verdict if result.verdict in ("shown", "unchanged") else f"**{result.verdict}**"
    cells = [claim.text, expected, claim.paper or "-", result.ours, interval, verdict]
    return f"| {' | '.join(map(_cell, cells))} |"


def _pair(result: Result, seed: int) -> str:
    if seed not in result.pairs:
        return "-"
    treatment, control = result.pairs[seed]
    if result.claim.share:
        return f"{treatment:.1%} / {control:.1%}"
    return f"{treatment:.4g} / {control:.4g}"


def _number(value: float, share: bool) -> str:
    """A difference: of shares in points."""
    return f"{100 * value:+.1f}" if share else f"{value:+.3g}"


def _cell(text: str) -> str:
    """Text that cannot end a cell or a row."""
    return " ".join(text.replace("|", "\\|").split())
