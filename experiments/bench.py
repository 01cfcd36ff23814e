"""Times rollout, update and whole step on random weights, and the grading of answers; prints the figures as JSON.

python experiments/bench.py [--size=small] [--workload=rollout --workload=update] [--repeats=7]

Compare `gemm_share` and `speedup` between machines and hours, seconds only within one run. `small` has the shape of
Qwen2.5-0.5B and wants 16 GB of memory for the update.
"""

import json

from absl import app, flags

from r1jax.benchmarks.measure import MEASURES, run_all
from r1jax.benchmarks.shapes import SHAPES
from r1jax.launch import one_line_errors

SIZE = flags.DEFINE_enum("size", "tiny", list(SHAPES), "shape of the model and its workloads")
WORKLOAD = flags.DEFINE_multi_enum("workload", list(MEASURES), list(MEASURES), "what to time")
REPEATS = flags.DEFINE_integer("repeats", 5, "timed runs, after two that are not", lower_bound=1)


def main(argv: list[str]) -> None:
    if len(argv) > 1:
        raise app.UsageError(f"expected flags only, found {argv[1]!r}")
    with one_line_errors():
        print(json.dumps(run_all(WORKLOAD.value, SIZE.value, REPEATS.value), indent=2))


if __name__ == "__main__":
    app.run(main)
