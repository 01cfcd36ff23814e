"""The lint: what a reward is about is measured, and then it must not be had without it.

For each probe and style, the honest completion is compared with spoilt ones, each of which lacks one virtue beyond
doubt (`styles.SPOILT`). A virtue whose lack costs value is one that the reward is about, and every attack that
lacks it must cost value, too. So a new reward is covered without a word about what it is for; one that no probe
moves is a finding, since nothing can be said about it.
"""

from __future__ import annotations

import dataclasses
import math
import pathlib
from collections.abc import Sequence

from r1jax.config import RewardsConfig
from r1jax.errors import UserError
from r1jax.rewards import routing
from r1jax.rewards.lint import checks
from r1jax.rewards.lint.attacks import Attack
from r1jax.rewards.lint.grading import Grader, Outcome, is_refusal, item_of
from r1jax.rewards.lint.probes import Probe, of_records
from r1jax.rewards.lint.report import Finding, Report, RewardReport
from r1jax.rewards.lint.styles import EXPLAINING, SPOILT, STYLES, Style, Virtue
from r1jax.rewards.lint.wrong_answers import WRONG_ANSWERS
from r1jax.rewards.lint.wrong_shapes import WRONG_SHAPES
from r1jax.rewards.verdicts import Item, Reward, Score, Status

ATTACKS: tuple[Attack, ...] = (*WRONG_ANSWERS, *WRONG_SHAPES)
CHECKS = (
    "a probe that suits it", "an honest completion", "a spoilt completion", "a record of another kind",
    "the same batch again", "the batch in reverse order", "each completion alone", "linear time",
)  # fmt: skip
MARGIN = 0.01  # of what lies between the honest completion and the worst spoilt one: less is no difference
ASKED_AGAIN = 8  # completions, of rewards that are dear
DEAR_STYLES = 2  # of each probe, where a reward runs apart


@dataclasses.dataclass(frozen=True)
class Fit:
    """A probe in a style that a reward tells from its spoilt forms."""

    probe: Probe
    style: Style
    virtues: frozenset[Virtue]
    margin: float
    openings: tuple[str, ...] = ()  # of the places in which an explanation may follow the answer


def lint(
    names: Sequence[str] | None = None,
    config: RewardsConfig | None = None,
    records: Sequence[Probe] | str | pathlib.Path | None = None,
    attacks: Sequence[Attack] = ATTACKS,
    stress: bool = True,
) -> Report:
    """Attacks rewards, and reports what gave way.

    Args:
      names: of rewards, or `module:attribute`; None: all of r1jax.rewards.routing.REWARDS.
      config: settings of the rewards and limits of the workers; its reward sets do not matter.
      records: probes of your own, tried before those of the lint: a file (see `probes.read_probes`) or Probes.
      attacks: to run; by default all.
      stress: whether a megabyte of each of many things is scored, too (seconds for each reward).

    Raises ConfigError for a reward that does not exist, UserError for records that are no probes.
    """
    config = config or RewardsConfig()
    probes = of_records(records)
    chosen = list(routing.REWARDS) if names is None else list(names)
    rewards = {name: routing.resolve(name, config) for name in chosen}
    reports = [_lint(name, reward, config, probes, attacks, stress) for name, reward in rewards.items()]
    return Report(tuple(reports), (*CHECKS, *(attack.name for attack in attacks)))


def _lint(
    name: str,
    reward: Reward,
    config: RewardsConfig,
    probes: Sequence[Probe],
    attacks: Sequence[Attack],
    stress: bool,
) -> RewardReport:
    report = RewardReport(name)
    if reward.prepare is not None:
        try:
            reward.prepare()
        except UserError as error:
            report.not_run = str(error)
            return report
    with Grader(name, reward, config) as grader:
        fits = _fits(grader, reward, probes, report)
        if not fits:
            words = (
                f"no probe suits reward {name}: none of its scores is the better for an honest completion; add one to "
                f"r1jax/rewards/lint/probes.py, or hand records in with --records=FILE.jsonl"
            )
            report.findings.append(Finding("a probe that suits it", words))
            return report
        asked: dict[tuple[str, str], Item] = {}
        for fit in fits:
            for attack in attacks:
                if fit is fits[0] or not attack.once:
                    asked |= _attack(grader, fit, attack, report)
        first = fits[0]
        some = list(asked.values()) if grader.here else list(asked.values())[:: max(1, len(asked) // ASKED_AGAIN)]
        report.findings += checks.says_the_same_again(grader, [one for one in some if len(one.completion) < 2**16])
        if grader.here:
            known = {fit.probe.name: fit.probe for fit in fits}
            report.findings += checks.refuses_strangers(grader, list(known.values()), first.style)
        if grader.here and stress:
            report.findings += checks.takes_linear_time(grader, first.probe, first.style)
    return report


def _fits(grader: Grader, reward: Reward, probes: Sequence[Probe], report: RewardReport) -> list[Fit]:
    """Where the reward can be told to be about something; findings where it fails on an honest or a spoilt text."""
    fits = []
    for probe in probes:
        of_probe = []
        for style in STYLES:
            fit = _fit(grader, probe, style, report)
            if fit is not None and (grader.here or len(of_probe) < DEAR_STYLES):
                of_probe.append(fit)
                report.fits[probe.name, style.name] = tuple(sorted(fit.virtues))
            if fit is None and _is_refused(grader, probe, style):
                break  # a record of another kind, in whatever style
        if any(Virtue.ANSWER in fit.virtues for fit in of_probe):
            explaining = [(style, _fit(grader, probe, style, report)) for style in EXPLAINING]
            openings = tuple(style.opening for style, fit in explaining if fit is not None)
            of_probe = [dataclasses.replace(fit, openings=openings) for fit in of_probe]
        fits += of_probe
    alike: dict[tuple, Fit] = {}
    for fit in fits:  # a reward that does not read the answer is the same for all probes of a language
        probe_name = fit.probe.name if Virtue.ANSWER in fit.virtues and not reward.after_judging else ""
        alike.setdefault((fit.style, fit.virtues, fit.probe.language, probe_name), fit)
    return list(alike.values())


def _is_refused(grader: Grader, probe: Probe, style: Style) -> bool:
    return is_refusal(grader.ask([item_of(probe, style.honest(probe), right=True)])[0])


def _fit(grader: Grader, probe: Probe, style: Style, report: RewardReport) -> Fit | None:
    spoilt = [(virtue, text) for virtue, spoil in SPOILT.items() for text in spoil(probe, style)]
    pairs = [_pair(probe, style, text, virtue is Virtue.ANSWER) for virtue, text in spoilt]
    outcomes = _ask_pairs(grader, pairs)
    for (honest, poor), (_, text) in zip(outcomes, spoilt, strict=True):
        failed = [("an honest completion", honest, style.honest(probe)), ("a spoilt completion", poor, text)]
        for check, outcome, completion in failed:
            if isinstance(outcome, Exception) and not is_refusal(outcome):
                report.findings.append(Finding(check, checks.raised(outcome), probe.name, style.name, completion))
    losses: dict[Virtue, float] = {}
    for (virtue, _), (honest, poor) in zip(spoilt, outcomes, strict=True):
        if not _is_full(honest) or not isinstance(poor, Score):
            return None
        losses[virtue] = min(losses.get(virtue, math.inf), honest.value - _value(poor))
    margin = MARGIN * max(losses.values())
    if margin <= 0 or min(losses.values()) < -margin:  # spoilt is as good, or better: it says nothing of this style
        return None
    return Fit(probe, style, frozenset(virtue for virtue, loss in losses.items() if loss > margin), margin)


def _is_full(outcome: Outcome) -> bool:
    return isinstance(outcome, Score) and outcome.status in (Status.CORRECT, Status.SCORED)


def _value(score: Score) -> float:
    """A masked score counts as the best there is: to be excused is what a policy would like."""
    return math.inf if score.value is None else score.value


def _pair(probe: Probe, style: Style, text: str, wrong: bool, truncated: bool = False) -> tuple[Item, Item]:
    return item_of(probe, style.honest(probe), right=True), item_of(probe, text, right=not wrong, truncated=truncated)


def _ask_pairs(grader: Grader, pairs: Sequence[tuple[Item, Item]]) -> list[tuple[Outcome, Outcome]]:
    """Each honest completion and another one as a group of their own: rewards that compare have what they need."""
    items = [dataclasses.replace(item, group=group) for group, pair in enumerate(pairs) for item in pair]
    outcomes = grader.ask(items)
    return list(zip(outcomes[::2], outcomes[1::2], strict=True))


def _attack(grader: Grader, fit: Fit, attack: Attack, report: RewardReport) -> dict[tuple[str, str], Item]:
    """Runs one attack; the items that were asked, by probe and text."""
    texts = list(dict.fromkeys(attack.build(fit.probe, fit.style)))
    wrong = Virtue.ANSWER in attack.lacks
    pairs = [_pair(fit.probe, fit.style, text, wrong, attack.truncated) for text in texts]
    for text, (honest, outcome) in zip(texts, _ask_pairs(grader, pairs), strict=True):
        at_stake = attack.lacks & fit.virtues
        if _leads_with_the_answer(text, fit):
            at_stake -= {Virtue.ANSWER}  # to a reward that reads the first words of its place, this is honest
        problem = _problem(honest, outcome, bool(at_stake), Virtue.ANSWER in at_stake, fit.margin)
        report.tried[attack.name] += bool(at_stake)
        if problem is not None:
            report.findings.append(Finding(attack.name, problem, fit.probe.name, fit.style.name, text))
    return {(fit.probe.name, item.completion): item for pair in pairs for item in pair}


def _leads_with_the_answer(text: str, fit: Fit) -> bool:
    """Whether the right answer comes first where the reward, as was measured, takes what follows for explanation."""
    right = fit.probe.right
    for opening in fit.openings:
        place = text.rfind(opening) if opening else 0
        section = text[place + len(opening) :].lstrip()
        if place >= 0 and section.startswith(right) and not section[len(right) : len(right) + 1].isalnum():
            return True
    return False


def _problem(honest: Outcome, outcome: Outcome, at_stake: bool, answer: bool, margin: float) -> str | None:
    if isinstance(outcome, Exception):
        return checks.raised(outcome)
    if not isinstance(honest, Score) or honest.value is None:
        return f"beside it the honest completion got {honest}: expected its full value"
    if outcome.value is None:
        return f"it is excused ({outcome.status.value}): expected a value"
    if not at_stake:
        return None
    if answer and outcome.status is Status.CORRECT:
        return "it counts as correct"
    if outcome.value > honest.value - margin:
        return f"it gets {outcome.value:g}, where the honest completion gets {honest.value:g}"
    return None
