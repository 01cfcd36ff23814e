"""From collected samples to a data set for SFT: what is dropped, by which filter, and why.

`apply(records, config, evaluation_sets)` runs the filters that the config asks for, in the order of
`RECORD_FILTERS` (each looks at one record) and then `SET_FILTERS` (each at all that are left).
"""

from r1jax.data.filters.chain import RECORD_FILTERS, SET_FILTERS, Count, Report, apply
from r1jax.data.filters.prompts import in_range, pass_rates

__all__ = ["RECORD_FILTERS", "SET_FILTERS", "Count", "Report", "apply", "in_range", "pass_rates"]
