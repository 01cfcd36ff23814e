"""Items on their way to a verdict, and the rewards that wait until an answer has been judged.

Such a reward is called once with all items of its set that were submitted together (it may compare those of a group),
when the first judging reward of each has spoken: in the order of the set, the first whose status is not `scored`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Hashable, Mapping, Sequence

from r1jax.config import ConfigError
from r1jax.rewards.verdicts import Item, Reward, Score, Status, Verdict


@dataclasses.dataclass(eq=False)  # hashed by identity
class Pending:
    """An item on its way: the scores so far (in the set's order), and what it has cost."""

    key: Hashable
    item: Item
    reward_set: str
    scores: dict[str, Score | None]
    batch: Batch | None = None
    seconds: float = 0.0
    in_worker: bool = False
    verdict: Verdict | None = None
    dropped: bool = False  # nobody waits for it any more


class Batch:
    """The items of one set that were submitted together, where some rewards of the set come after the judging one."""

    def __init__(self, reward_set: str, rewards: Mapping[str, Reward], members: Sequence[Pending]):
        self.members = tuple(members)
        self.late = {name: reward for name, reward in rewards.items() if reward.after_judging}
        self._early = [name for name, reward in rewards.items() if not reward.after_judging]
        self._reward_set = reward_set
        self._unjudged = set(members)

    def judged(self, pending: Pending) -> bool:
        """Whether this member was the last that was waited for, by its new score or because it was dropped."""
        if pending not in self._unjudged or not (pending.dropped or self._is_judged(pending)):
            return False
        self._unjudged.discard(pending)
        return not self._unjudged

    def judging_status(self, pending: Pending) -> Status:
        """What the judging reward has said of a member. ConfigError where none has judged."""
        statuses = (pending.scores[name].status for name in self._early)
        found = next((status for status in statuses if status is not Status.SCORED), None)
        if found is None:
            raise unjudged(self._reward_set, self.late, self._early)
        return found

    def _is_judged(self, pending: Pending) -> bool:
        for name in self._early:
            score = pending.scores[name]
            if score is None or score.status is not Status.SCORED:
                return score is not None
        return True  # by none: an error of the config


def unjudged(reward_set: str, late: Mapping[str, Reward], early: list[str]) -> ConfigError:
    """The error of a set whose rewards wait for a judgement that none of it gives."""
    return ConfigError(
        f"rewards.sets.{reward_set}: expected a reward that judges the answer (such as maths) beside "
        f"{', '.join(late)}, found {', '.join(early) or 'none'}"
    )
