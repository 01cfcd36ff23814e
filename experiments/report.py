"""Draws the report of a run, finished or not: curves as PNG, DIR/report.html, and the table of its scores.

python experiments/report.py --workdir=runs/demo
"""

from absl import app, flags

from r1jax.launch import one_line_errors
from r1jax.report import page, table
from r1jax.report.readings import read

WORKDIR = flags.DEFINE_string("workdir", None, "The folder of the run.", required=True)


def main(argv: list[str]) -> None:
    """Writes the report and says where it is."""
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, found {argv[1]!r}")
    with one_line_errors():
        written = page.write(WORKDIR.value)
        run = read(WORKDIR.value)
        if run.summary["stages"]:
            table.render(run.summary, students=run.students)
        print(f"\nreport: {written}")


if __name__ == "__main__":
    app.run(main)
