"""How grading goes, in numbers for the metrics."""

from __future__ import annotations

import collections
import dataclasses
import math

from r1jax.rewards.verdicts import Status, Verdict

RECENT_ITEMS = 2000  # rates and percentiles are over so many latest items


@dataclasses.dataclass(frozen=True)
class _Graded:
    seconds: float
    in_worker: bool
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
        self._recent.append(_Graded(seconds, in_worker, verdict.masked, over_limit))

    def figures(self) -> dict[str, float]:
        """`items` since the start and, over the latest: `seconds_p50`, `seconds_p95` (of an item),
        `worker_share` (of items that strings and numbers did not decide), `over_limit_rate`, `error_rate` (of
        masked items).
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
        }
