"""The rules: plain functions of the first and the latest values of a stage's metrics.

Each returns one sentence on what is seen and one on what to do, or None. There is none about the loss itself: that
of a policy is near 0 from the first step on (advantages of a group sum to 0, and the ratio begins at 1), and says
nothing about how well it learns.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Callable, Collection, Mapping

from r1jax.doctor.hacking import DEFAULT_WINDOW, hacking_alarm

WINDOW_VALUES = 10  # a rule looks at the mean of so many values, so that one odd batch says nothing
PATIENCE_VALUES = 50  # the format is always learnt first; so many rollouts later the answers should follow
NOT_FINITE = "not_finite"  # the doctor's own metric: 1 for an update that was skipped so


@dataclasses.dataclass
class Window:
    """What a rule sees: of every metric its first values in the stage, its latest, and how many there were.

    Values, not lines: what belongs to a rollout stands in the first line of its updates only. And the latest
    `hacking_window` validations that have asked reward models, each with its step; and whether prompts or rewards that
    the stage has scheduled are still to come in.
    """

    first: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    recent: dict[str, collections.deque[float]] = dataclasses.field(default_factory=dict)
    counts: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    hacking_window: int = DEFAULT_WINDOW
    validations: list[Mapping[str, float | None]] = dataclasses.field(default_factory=list)
    changing: bool = False

    def add(self, name: str, value: float) -> None:
        """Takes in the next value of a metric."""
        first = self.first.setdefault(name, [])
        if len(first) < WINDOW_VALUES:
            first.append(value)
        self.counts[name] += 1
        self.recent.setdefault(name, collections.deque(maxlen=WINDOW_VALUES)).append(value)

    def add_validation(self, line: Mapping[str, float | None]) -> None:
        """Takes in a line of metrics with the figures of a validation and its step."""
        self.validations = [*self.validations, line][-self.hacking_window :]

    def mean(self, name: str) -> float | None:
        """Mean of the latest values of a metric; None while there are too few."""
        return _mean(self.recent.get(name, ()))

    def mean_at_start(self, name: str) -> float | None:
        """The same of its first values."""
        return _mean(self.first.get(name, ()))


def truncation(window: Window) -> tuple[str, str] | None:
    """Most completions end at the length limit: their answers, and so their rewards, are never seen."""
    share = window.mean("truncated_share")
    if share is None or share < 0.5:
        return None
    return (
        f"{share:.0%} of the completions are cut at the length limit.",
        "Raise max_new_tokens, or check that the training texts end with the end-of-text token.",
    )


def no_signal(window: Window) -> tuple[str, str] | None:
    """In nearly all groups every sample has the same reward, so that all advantages are zero."""
    share = window.mean("zero_variance_share")
    if share is None or share < 0.8:
        return None
    right = window.mean("all_right_share") or 0.0
    wrong = window.mean("all_wrong_share") or 0.0
    seen = f"In {share:.0%} of the groups all rewards are equal: they teach nothing."
    if right > wrong:
        if window.changing:
            return None  # what is to come may teach
        return seen, f"{right:.0%} are all right: take harder prompts, or stop here."
    return seen, (
        f"{wrong:.0%} are all wrong: take easier prompts, larger groups or a better start; "
        "dynamic_sampling replaces such groups."
    )


def format_alone(window: Window) -> tuple[str, str] | None:
    """The format is learnt and the answers are not: what is easy in the reward is taken, what is meant is not."""
    names = [name for name in window.counts if name.startswith("reward/format")]
    for name in names:
        start, now = window.mean_at_start(name), window.mean(name)
        right_at_start, right = window.mean_at_start("correct_share"), window.mean("correct_share")
        if None in (start, now, right_at_start, right) or window.counts[name] < PATIENCE_VALUES:
            continue
        if now >= start + 0.1 and right < right_at_start + 0.02 and right < 0.8:
            return (
                f"The format reward has risen from {start:.2f} to {now:.2f}, and no more answers are right: "
                f"{right_at_start:.0%} at the start, {right:.0%} now.",
                "Give the format less weight, take easier prompts, or check in samples.jsonl that right answers are "
                "recognised.",
            )
    return None


def no_answer(window: Window) -> tuple[str, str] | None:
    """More and more completions end without an answer, though the length limit does not cut them."""
    start, now = window.mean_at_start("no_answer_share"), window.mean("no_answer_share")
    if start is None or now is None:
        return None
    cut_at_start, cut = window.mean_at_start("truncated_share") or 0.0, window.mean("truncated_share") or 0.0
    if max(0.0, now - cut) < max(0.0, start - cut_at_start) + 0.15:
        return None
    return (
        f"{now:.0%} of the completions give no answer, {start:.0%} at the start of the stage.",
        "Look at samples.jsonl: the answer's form may be unlearnt (raise the format reward, lower the learning rate), "
        "or be one that is not read.",
    )


def entropy_collapse(window: Window) -> tuple[str, str] | None:
    """The policy has become nearly deterministic before it solves its prompts: nothing new is tried."""
    entropy = window.mean("entropy")
    solved = window.mean("all_right_share")
    if entropy is None or entropy > 0.02 or (solved is not None and solved > 0.5):
        return None
    return (
        f"Entropy has fallen to {entropy:.3f} nats a token, and most prompts are not solved yet.",
        "Lower the learning rate, raise clip_high (DAPO) or the KL coefficient, or go back to a checkpoint.",
    )


def entropy_explosion(window: Window) -> tuple[str, str] | None:
    """Entropy far above where it began: the text is falling apart."""
    start, entropy = window.mean_at_start("entropy"), window.mean("entropy")
    if start is None or entropy is None or entropy < max(2 * start, 1.0):
        return None
    return (
        f"Entropy has risen from {start:.2f} to {entropy:.2f} nats a token.",
        "Lower the learning rate or the entropy bonus; look at samples.jsonl.",
    )


def length_collapse(window: Window) -> tuple[str, str] | None:
    """Completions shrink while answers stay wrong: RL on a base without the skill falls back to guessing."""
    start, length = window.mean_at_start("completion_tokens"), window.mean("completion_tokens")
    solved = window.mean("all_right_share") or 0.0
    if start is None or length is None or length > 0.4 * start or solved > 0.2:
        return None
    return (
        f"Completions have shrunk from {start:.0f} to {length:.0f} tokens, and few prompts are solved: "
        "the policy answers without thinking.",
        "Train the base longer (raise the gate), or begin from a cold start.",
    )


def mismatch(window: Window) -> tuple[str, str] | None:
    """Sampler and trainer disagree about the tokens: the gradient is taken for another policy."""
    # bfloat16 programs differ by about 0.01 nats a token, float32 ones by less than 1e-4.
    difference = window.mean("mismatch")
    if difference is None or difference < 0.05:
        return None
    return (
        f"Log-probs of sampler and trainer differ by {difference:.3f} nats a token.",
        "Check temperature and compute_dtype of both; truncated importance sampling limits the harm.",
    )


def clipping(window: Window) -> tuple[str, str] | None:
    """Most tokens are clipped: the update leaves the region in which the objective means anything."""
    low, high = window.mean("clip_low_share"), window.mean("clip_high_share")
    if low is None or high is None or (share := low + high) < 0.5:
        return None
    return (
        f"{share:.0%} of the tokens are clipped.",
        "Lower the learning rate, or take fewer minibatches and inner epochs a rollout.",
    )


def non_finite(window: Window) -> tuple[str, str] | None:
    """Updates were skipped because loss or gradient was not a finite number."""
    recent = window.recent.get(NOT_FINITE, ())
    if not any(recent):
        return None
    return (
        f"Not finite, and so skipped: {sum(recent):.0f} of the latest {len(recent)} updates.",
        "Lower the learning rate, clip gradients harder, or compute in float32.",
    )


def grading(window: Window) -> tuple[str, str] | None:
    """Samples cannot be graded, through no fault of theirs."""
    share = window.mean("masked_share")
    if share is None or share < 0.05:
        return None
    return (
        f"{share:.0%} of the samples could not be graded and are left out.",
        "Look at the statuses in samples.jsonl: golds that do not parse, reward workers that die "
        "(rewards.worker_memory_mib, rewards.deadline_seconds), or answers longer than a reward model's rows.",
    )


def hacking(window: Window) -> tuple[str, str] | None:
    """Over the last validations reward models are pleased more and more, and fewer answers are right."""
    alarm = hacking_alarm(window.validations, window.hacking_window)
    if not alarm.fires:
        return None
    return (
        alarm.message,
        "Take an earlier checkpoint; give the preferences less weight or fewer steps, or train the reward model on "
        "what fools it.",
    )


RULES: dict[str, Callable[[Window], tuple[str, str] | None]] = {
    "truncation": truncation,
    "no_signal": no_signal,
    "format_alone": format_alone,
    "no_answer": no_answer,
    "entropy_collapse": entropy_collapse,
    "entropy_explosion": entropy_explosion,
    "length_collapse": length_collapse,
    "mismatch": mismatch,
    "clipping": clipping,
    "non_finite": non_finite,
    "grading": grading,
    "hacking": hacking,
}


def _mean(values: Collection[float]) -> float | None:
    return sum(values) / len(values) if len(values) == WINDOW_VALUES else None
