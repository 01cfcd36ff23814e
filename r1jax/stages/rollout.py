"""A rollout: groups of graded completions, collected once, journalled, and replayed after a kill.

With dynamic sampling, groups whose rewards are all equal teach nothing and are replaced: further prompts are
drawn, in rounds of the same shares, and accepted in prompt order (never in order of arrival), up to
`max_backfill_rounds`.
"""

from __future__ import annotations

import collections
import dataclasses
from typing import Any

import numpy as np

from r1jax.config import GrpoConfig, SamplingConfig
from r1jax.data.iterators import Epochs
from r1jax.learn.advantages import overlong_penalty
from r1jax.models.flops import sampling_work
from r1jax.rewards.health import status_shares
from r1jax.rewards.language import consistency, has_target
from r1jax.rewards.verdicts import Item, Verdict
from r1jax.sampler.engine import Completion, Sampler
from r1jax.stages.context import RunContext
from r1jax.stages.errors import TrainingError
from r1jax.stages.grading import Graded, Prompt, render, sample_and_grade
from r1jax.stages.mixed_prompts import Draws
from r1jax.stages.preference_rewards import PreferenceRewards
from r1jax.text.reflection import count_reflection_words
from r1jax.text.templates import completion_text

LANGUAGE_SAMPLES = 256


@dataclasses.dataclass
class Rollout:
    """Groups that were sampled under one policy, and the iterator state after the prompts they took."""

    prompts: list[Prompt]
    groups: list[list[Graded]]
    data_state: dict
    drawn_groups: int  # with those that dynamic sampling left out
    backfill_rounds: int
    work: dict[str, int] = dataclasses.field(default_factory=dict)  # of sampling all drawn groups, as metrics

    @property
    def completions(self) -> list[Graded]:
        """All completions, group after group."""
        return [one for group in self.groups for one in group]


def collect(
    stage: GrpoConfig,
    step: int,
    *,
    run: RunContext,
    sampler: Sampler,
    prompts: Draws | Epochs,
    preferences: PreferenceRewards | None = None,
) -> Rollout:
    """Samples and grades groups for `stage.rollout_prompts` prompts under the policy that `sampler` holds.

    `prompts` gives as many records at a time; without `preferences` only the rules of their reward sets grade.
    """
    if preferences is not None:
        preferences.take_work()  # that of validations is nobody's cost
    accepted: list[tuple[Prompt, list[Graded]]] = []
    sampled: list[tuple[int, list[int]]] = []  # tokens of each prompt, and of its completions
    drawn = rounds = 0
    limit = int(stage.max_new_tokens.at(step))
    sampling = SamplingConfig(temperature=stage.temperature.at(step), top_p=None, top_k=None, max_new_tokens=limit)
    while len(accepted) < stage.rollout_prompts and rounds <= stage.max_backfill_rounds:
        batch = render(next(prompts), stage.template, run, max_prompt_tokens=stage.sampler.max_prompt_tokens)
        groups = sample_and_grade(
            batch,
            run=run,
            sampler=sampler,
            samples=stage.group_size,
            seed=run.seed_of(f"{stage.name}/rollouts"),
            step=step,
            sampling=sampling,
            first_prompt=drawn,
        )
        if preferences is not None:
            groups = preferences.added(step, batch, groups)
        sampled += [
            (len(prompt.rendered.token_ids), [len(one.completion.tokens) for one in group])
            for prompt, group in zip(batch, groups, strict=True)
        ]
        drawn += len(batch)
        rounds += 1
        for prompt, group in zip(batch, groups, strict=True):
            if not stage.dynamic_sampling or teaches(stage, step, run, group):
                accepted.append((prompt, group))
        if not stage.dynamic_sampling:
            break
    if not accepted:
        raise TrainingError(
            f"{stage.name}: after {rounds} rounds of dynamic sampling, {drawn} prompts gave no group whose rewards "
            "differ; take easier or harder prompts, a larger group_size, or dynamic_sampling=false"
        )
    accepted = accepted[: stage.rollout_prompts]
    prefill, decode = sampling_work(sampled)
    scored = {} if preferences is None else preferences.take_work()
    return Rollout(
        prompts=[prompt for prompt, _ in accepted],
        groups=[group for _, group in accepted],
        data_state=prompts.get_state(),
        drawn_groups=drawn,
        backfill_rounds=rounds - 1,
        work=prefill.metrics("prefill") | decode.metrics("decode") | scored,
    )


def teaches(stage: GrpoConfig, step: int, run: RunContext, group: list[Graded]) -> bool:
    """Whether the group's rewards differ (two valid ones at least), so that its advantages are not zero."""
    rewards = [one for one in group_rewards(stage, step, run, group) if one is not None]
    return len(rewards) >= 2 and float(np.std(rewards)) >= stage.loss.advantage_epsilon


def group_rewards(stage: GrpoConfig, step: int, run: RunContext, group: list[Graded]) -> list[float | None]:
    """The weighted rewards of a group's completions at `step`; None where the sample is masked."""
    weights = weights_at(stage, step, run)
    limit = int(stage.max_new_tokens.at(step))
    totals = []
    for one in group:
        total = one.verdict.total(weights[one.verdict.reward_set])
        if total is not None and stage.overlong_tokens is not None:
            total += overlong_penalty(
                len(one.completion.tokens), max_new_tokens=limit, overlong_tokens=stage.overlong_tokens
            )
        totals.append(total)
    return totals


def weights_at(stage: GrpoConfig, step: int, run: RunContext) -> dict[str, dict[str, float]]:
    """Set name -> name of a rule or reward model -> its weight at `step`."""
    return {
        name: rules | {one.model: one.weight.at(step) for one in stage.preferences if name in one.sets}
        for name, rules in run.rewards.weights_at(step).items()
    }


def journal(rollout: Rollout, step: int, run: RunContext, stage: GrpoConfig) -> None:
    """Writes the rollout to the stage's journal, before the first update that uses it."""
    done = [one.completion for one in rollout.completions]
    run.workdir.stage(stage.name).journal.write(
        step,
        arrays={
            "tokens": np.concatenate([one.tokens for one in done]),
            "logps": np.concatenate([one.logps for one in done]),
            "lengths": np.array([len(one.tokens) for one in done], np.int32),
            "stopped": np.array([one.stopped for one in done]),
            "prompts": np.array([one.prompt for one in done], np.int32),
        },
        info={
            "records": [prompt.record for prompt in rollout.prompts],
            "verdicts": [one.verdict.to_json() for one in rollout.completions],
            "data_state": rollout.data_state,
            "drawn_groups": rollout.drawn_groups,
            "backfill_rounds": rollout.backfill_rounds,
            "work": rollout.work,
        },
    )


def replay(step: int, run: RunContext, stage: GrpoConfig) -> Rollout | None:
    """The rollout that the journal holds for `step`, exactly as it was collected; None if there is none."""
    entry = run.workdir.stage(stage.name).journal.read(step)
    if entry is None:
        return None
    arrays, info = entry
    prompts = render(info["records"], stage.template, run, max_prompt_tokens=stage.sampler.max_prompt_tokens)
    ends = np.cumsum(arrays["lengths"])
    tokens, logps = np.split(arrays["tokens"], ends[:-1]), np.split(arrays["logps"], ends[:-1])
    size = stage.group_size
    groups = []
    for index, prompt in enumerate(prompts):
        group = []
        for sample in range(size):
            row = index * size + sample
            completion = Completion(
                prompt=int(arrays["prompts"][row]),
                sample=sample,
                tokens=tokens[row],
                logps=logps[row],
                stopped=bool(arrays["stopped"][row]),
            )
            verdict = Verdict.from_json(info["verdicts"][row])
            group.append(
                Graded(completion, completion_text(prompt.rendered, completion.tokens, run.tokenizer), verdict)
            )
        groups.append(group)
    return Rollout(prompts, groups, info["data_state"], info["drawn_groups"], info["backfill_rounds"], info["work"])


def language_share(rollout: Rollout, run: RunContext) -> dict[str, float]:
    """The mean share of words in the prompt's language, whether it is rewarded or not; {} where no prompt has one.

    Of the first LANGUAGE_SAMPLES completions alone: words of very long ones take time.
    """
    language = run.config.rewards.language
    items = [
        Item(prompt.record, group[sample].text)
        for sample in range(max(map(len, rollout.groups)))
        for prompt, group in zip(rollout.prompts, rollout.groups, strict=True)
        if sample < len(group)
    ]
    shares = [consistency(one, language) for one in items[:LANGUAGE_SAMPLES] if has_target(one, language)]
    known = [share for share in shares if share is not None]
    return {"language_share": float(np.mean(known))} if known else {}


def figures(rollout: Rollout, run: RunContext) -> dict[str, Any]:
    """The metrics of a rollout that need neither weights nor device: single rewards, lengths, shares.

    Where its prompts have several reward sets: how many groups each set has.
    """
    done = rollout.completions
    lengths = np.array([len(one.completion.tokens) for one in done])
    names = sorted({name for one in done for name in one.verdict.scores})
    sets = collections.Counter(group[0].verdict.reward_set for group in rollout.groups)
    parts = {
        f"reward/{name}": [
            one.verdict.scores[name].value
            for one in done
            if name in one.verdict.scores and one.verdict.scores[name].value is not None
        ]
        for name in names
    }
    return {
        **{name: float(np.mean(values)) for name, values in parts.items() if values},
        "completion_tokens": float(lengths.mean()),
        "completion_tokens_max": int(lengths.max()),
        "truncated_share": float(np.mean([not one.completion.stopped for one in done])),
        **status_shares(one.verdict.status for one in done),
        "masked_share": float(np.mean([one.verdict.masked for one in done])),
        "reflection_words": float(np.mean([count_reflection_words(one.text) for one in done])),
        **language_share(rollout, run),
        "drawn_groups": rollout.drawn_groups,
        "backfill_rounds": rollout.backfill_rounds,
        **rollout.work,
        **({f"groups/{name}": count for name, count in sorted(sets.items())} if len(sets) > 1 else {}),
        **{f"grading/{name}": value for name, value in run.rewards.health().items()},
    }
