"""Suites of benchmarks: a checkpoint on published sets, each by its own protocol, beside the figures of others.

Reading order: `suite` (what a suite is), `load` (from its file, with what the command line changes), `protocol` (when
figures may be used again), `running`, `pairwise` (a judge between our answers and a reference's), `results`, `table`.
`experiments/suites/r1.py` is the paper's; docs/evaluation.md has the use.
"""
