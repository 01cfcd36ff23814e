"""What a student samples for its teacher: completions that nobody grades, with what both models say of each token."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from r1jax.config import DistillConfig, SamplingConfig
from r1jax.data.iterators import Epochs
from r1jax.data.packing import Arrays, training_sequence
from r1jax.models.flops import Work, sampling_work, sequences_work
from r1jax.sampler.engine import Completion, Request, Sampler
from r1jax.stages.context import RunContext
from r1jax.stages.grading import Prompt, render
from r1jax.text.reflection import count_reflection_words
from r1jax.text.templates import completion_text


@dataclasses.dataclass
class DistillRollout:
    """Completions sampled under one policy, group after group, and the iterator state after their prompts.

    `old_logps` and `teacher_logps`: float32 [tokens] for each completion, of the student at the start of the rollout
    and of the teacher, both under the trainer's numerics; None until `distill.add_scores`. The teacher's are NaN behind
    a token that it lacks.
    """

    prompts: list[Prompt]
    completions: list[Completion]
    data_state: dict
    old_logps: list[np.ndarray] | None = None
    teacher_logps: list[np.ndarray] | None = None

    def prompt_of(self, index: int) -> Prompt:
        """The prompt of a completion."""
        return self.prompts[index * len(self.prompts) // len(self.completions)]

    def sequences(self) -> list[Arrays]:
        """Prompt and completion each, with the log-probs that are there, as arrays of aligned positions."""
        found = []
        for index, one in enumerate(self.completions):
            scored = {"sampler_logps": one.logps}
            if self.old_logps is not None and self.teacher_logps is not None:
                scored |= {"old_logps": self.old_logps[index], "teacher_logps": self.teacher_logps[index]}
            prompt = self.prompt_of(index).rendered.token_ids
            found.append(training_sequence(prompt, one.tokens.tolist(), **scored))
        return found

    def reverse_kl(self, index: int) -> np.ndarray:
        """log p_old - log p_teacher of each token of a completion, nats."""
        return self.old_logps[index] - self.teacher_logps[index]


def collect(stage: DistillConfig, step: int, *, run: RunContext, sampler: Sampler, prompts: Epochs) -> DistillRollout:
    """Samples `group_size` completions of `rollout_prompts` prompts under the policy that `sampler` holds."""
    batch = render(next(prompts), stage.template, run, max_prompt_tokens=stage.sampler.max_prompt_tokens)
    requests = [
        Request(prompt=number, tokens=prompt.rendered.token_ids, num_samples=stage.group_size)
        for number, prompt in enumerate(batch)
    ]
    sampling = SamplingConfig(
        temperature=stage.temperature.at(step),
        top_p=None,
        top_k=None,
        max_new_tokens=int(stage.max_new_tokens.at(step)),
    )
    drawn = sampler.generate(requests, seed=run.seed_of(f"{stage.name}/rollouts"), step=step, sampling=sampling)
    completions = sorted(drawn, key=lambda one: (one.prompt, one.sample))  # they come in no promised order
    return DistillRollout(batch, completions, prompts.get_state())


def journal(rollout: DistillRollout, step: int, run: RunContext, stage: DistillConfig) -> None:
    """Writes a scored rollout to the stage's journal, before the first update that uses it."""
    done = rollout.completions
    run.workdir.stage(stage.name).journal.write(
        step,
        arrays={
            "tokens": np.concatenate([one.tokens for one in done]),
            "logps": np.concatenate([one.logps for one in done]),
            "old_logps": np.concatenate(rollout.old_logps),
            "teacher_logps": np.concatenate(rollout.teacher_logps),
            "lengths": np.array([len(one.tokens) for one in done], np.int32),
            "stopped": np.array([one.stopped for one in done]),
        },
        info={"records": [prompt.record for prompt in rollout.prompts], "data_state": rollout.data_state},
    )


def replay(step: int, run: RunContext, stage: DistillConfig) -> DistillRollout | None:
    """The rollout that the journal holds for `step`, exactly as it was collected and scored; None if there is none."""
    entry = run.workdir.stage(stage.name).journal.read(step)
    if entry is None:
        return None
    arrays, info = entry
    ends = np.cumsum(arrays["lengths"])[:-1]
    tokens, logps, old, teacher = (
        np.split(arrays[name], ends) for name in ("tokens", "logps", "old_logps", "teacher_logps")
    )
    completions = [
        Completion(
            prompt=row // stage.group_size,
            sample=row % stage.group_size,
            tokens=tokens[row],
            logps=logps[row],
            stopped=bool(stopped),
        )
        for row, stopped in enumerate(arrays["stopped"])
    ]
    prompts = render(info["records"], stage.template, run, max_prompt_tokens=stage.sampler.max_prompt_tokens)
    return DistillRollout(prompts, completions, info["data_state"], old, teacher)


def figures(rollout: DistillRollout, run: RunContext) -> dict[str, Any]:
    """The metrics of a scored rollout: divergence, log-probs, lengths, and what the models had to do for it."""
    done = rollout.completions
    lengths = np.array([len(one.tokens) for one in done])
    teacher = np.concatenate(rollout.teacher_logps)
    gaps = np.concatenate([rollout.reverse_kl(index) for index in range(len(done))])
    prefill, decode = sampling_work(group_tokens(rollout))
    forced = scoring_work(rollout)
    return {
        "reverse_kl": mean(gaps),  # nats a token
        "teacher_logp": mean(teacher),
        "student_logp": mean(np.concatenate(rollout.old_logps)[np.isfinite(teacher)]),
        "completion_tokens": float(lengths.mean()),
        "completion_tokens_max": int(lengths.max()),
        "truncated_share": float(np.mean([not one.stopped for one in done])),
        "reflection_words": float(np.mean([count_reflection_words(text) for text in texts(rollout, run)])),
        **prefill.metrics("prefill"),
        **decode.metrics("decode"),
        **forced.metrics("score/old"),
        **forced.metrics("score/teacher"),
    }


def group_tokens(rollout: DistillRollout) -> list[tuple[int, list[int]]]:
    """The tokens of each prompt, and of its completions."""
    found: list[tuple[int, list[int]]] = [(len(prompt.rendered.token_ids), []) for prompt in rollout.prompts]
    for index, one in enumerate(rollout.completions):
        found[index * len(found) // len(rollout.completions)][1].append(len(one.tokens))
    return found


def scoring_work(rollout: DistillRollout) -> Work:
    """What a model reads that scores the rollout."""
    return sequences_work((prompt, tokens) for prompt, group in group_tokens(rollout) for tokens in group)


def mean(values: np.ndarray) -> float:
    """The mean of what is a number, as all are but those behind a token that the teacher lacks."""
    return float(np.nanmean(values, dtype=np.float64))  # the first token always has one


def texts(rollout: DistillRollout, run: RunContext) -> list[str]:
    """The text of every completion."""
    return [
        completion_text(rollout.prompt_of(index).rendered, one.tokens, run.tokenizer)
        for index, one in enumerate(rollout.completions)
    ]


def sample_lines(rollout: DistillRollout, run: RunContext, limit: int) -> list[dict[str, Any]]:
    """The first completion of each of the first `limit` prompts, as lines for samples.jsonl."""
    group_size = len(rollout.completions) // len(rollout.prompts)
    every = texts(rollout, run)
    lines = []
    for index in range(0, len(rollout.completions), group_size)[:limit]:
        one, record = rollout.completions[index], rollout.prompt_of(index).record
        lines.append(
            {
                "prompt": record["id"],
                "sample": one.sample,
                "question": record["question"],
                "gold": record.get("answer"),
                "completion": every[index],
                "reverse_kl": mean(rollout.reverse_kl(index)),
                "tokens": len(one.tokens),
                "stopped": one.stopped,
            }
        )
    return lines
