"""How grading goes, in numbers for the metrics."""

from __future__ import annotations

import collections
import dataclasses
import math
from collections.abc import Iterable

from r1jax.rewards.verdicts import Status, Verdict

RECENT_ITEMS = 2000  # rates, shares and percentiles are over so many latest items
JUDGEMENTS = tuple(status for status in Status if status is not Status.SCORED)


@dataclasses.dataclass(frozen=True)
class _Graded:
    seconds: float
    in_worker: bool
    status: Status
    masked: bool
    over_limit: bool


class Health:
    """A window over the latest verdicts."""

    def __init__(self):
        self._items = 0
        self._recent: collections.deque[_Graded] = collections.deque(maxlen=RECENT_ITEMS)

    def record(self, verdict: Verdict, seconds: float, in_worker: bool) -> None:
        """Takes one verdict and what it has cost."""
        over_limit = any(score.status is Status.OVER_LIMIT for score in verdict.scores.values())
        self._items += 1
        self._recent.append(_Graded(seconds, in_worker, verdict.status, verdict.masked, over_limit))

    def figures(self) -> dict[str, float]:
        """`items` since the start and, over the latest: `seconds_p50`, `seconds_p95` (of an item), `worker_share` (of
        items that strings and numbers did not decide), `over_limit_rate` (by any reward), `error_rate` (of masked
        items), and `status_shares`.
        """
        seconds = sorted(one.seconds for one in self._recent) or [0.0]
        count = max(1, len(self._recent))
        nearest_rank = {share: seconds[math.ceil(share * len(seconds)) - 1] for share in (0.5, 0.95)}
        return {
            "items": self._items,
            "seconds_p50": nearest_rank[0.5],
            "seconds_p95": nearest_rank[0.95],
            "worker_share": sum(one.in_worker for one in self._recent) / count,
            "over_limit_rate": sum(one.over_limit for one in self._recent) / count,
            "error_rate": sum(one.masked for one in self._recent) / count,
            **status_shares(one.status for one in self._recent),
        }


def status_shares(statuses: Iterable[Status]) -> dict[str, float]:
    """The share of each status but `scored` among the verdicts that have one: `correct_share`, `wrong_share`, ..."""
    counts = collections.Counter(statuses)
    judged = max(1, sum(counts[status] for status in JUDGEMENTS))
    return {f"{status.value}_share": counts[status] / judged for status in JUDGEMENTS}
