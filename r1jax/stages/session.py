"""The state of a training stage, and everything about it that survives a kill.

Order of resume, when a stage starts in a folder that has been worked in:
1. the newest checkpoint gives the train state and `extras` (iterator state, validation history, ...);
2. metrics and samples are cut to the checkpoint's step (without one: to none); what follows is written again, once;
3. the loop hands `extras["data"]` to its iterator;
4. journal entries from the checkpoint's step on stay: they hold rollouts with their verdicts, which are replayed
   rather than sampled again, for verdicts depend on the clock and parameters must not.
"""

from __future__ import annotations

import dataclasses
import functools
import signal
import time
from collections.abc import Callable, Mapping
from types import FrameType, TracebackType
from typing import Any

import jax
from absl import logging

from r1jax.checkpoint import Checkpointer
from r1jax.config import TrainingConfig
from r1jax.doctor import Doctor
from r1jax.learn.jit import jit_make, jit_step, place_batch
from r1jax.learn.state import StepConfig, TrainState, init_state, refresh_reference, state_shardings
from r1jax.metrics import Line, MetricsWriter
from r1jax.models.flops import Work, batch_work
from r1jax.stages.context import RunContext
from r1jax.stages.errors import Preempted, TrainingError
from r1jax.stages.evaluate import Evaluation, evaluate, sample_lines
from r1jax.stages.weights import abstract_policy, frozen_base, keeps_arrays, start_params


@dataclasses.dataclass
class Validation:
    """The history that decides the best checkpoint and the plateau."""

    best: float = -1.0
    best_step: int | None = None
    without_better: int = 0

    def add(self, step: int, score: float) -> None:
        if score > self.best:
            self.best, self.best_step, self.without_better = score, step, 0
        else:
            self.without_better += 1


class Session:
    """Opens a training stage where it stopped, updates its state, and saves, validates and logs around it.

    Use as a context manager. The loop that owns it calls `update` and `log` for each step, and `settle` where the stage
    may be saved.
    """

    def __init__(self, stage: TrainingConfig, run: RunContext, step_fn: Callable, config: StepConfig):
        self.stage, self.run, self.config = stage, run, config
        self.folder = run.workdir.stage(stage.name)
        self.extras: dict[str, Any] = {}
        self.validation = Validation()
        self.num_steps = stage.num_steps
        self._has_reference = config.loss is not None and config.loss.needs_reference
        self._shardings = state_shardings(config, run.mesh, reference=self._has_reference)
        self._update = jit_step(step_fn, run.mesh, self._shardings, config)
        self._refresh = jit_make(
            functools.partial(refresh_reference, config=config), run.mesh, self._shardings, donate=True
        )
        self._doctor = Doctor.of(stage)
        self._terminated = False
        self._tokens = 0  # scored tokens since the last line of metrics
        self._work = Work()  # what the updates since then have read and predicted

    def __enter__(self) -> Session:
        self.checkpoints = Checkpointer(self.folder.checkpoints, keep=self.stage.keep_checkpoints)
        self.begins = self.checkpoints.latest() is None
        self.state = self._open_state()
        self.step = self._saved_step = int(self.state.step)
        self.folder.truncate(-1 if self.begins else self.step)
        self.metrics = MetricsWriter(
            self.folder,
            self.run.config.logging,
            num_steps=self.num_steps,
            resumed_step=None if self.begins else self.step,
        )
        for line in self.folder.metrics.read():
            self._doctor.observe(line["step"], line)
        self._previous_handler = signal.signal(signal.SIGTERM, self._on_sigterm)
        self._tic = time.monotonic()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        try:
            self.metrics.close()
            self.checkpoints.close()  # waits for a save under way
        finally:
            signal.signal(signal.SIGTERM, self._previous_handler)
        if self._terminated and kind is None:
            raise Preempted  # SIGTERM came after the last `settle`: while a gate looked, or the last save was awaited

    def _on_sigterm(self, signum: int, frame: FrameType | None) -> None:
        self._terminated = True  # answered at the next step boundary, or at the end of the stage

    def _open_state(self) -> TrainState:
        make = functools.partial(init_state, config=self.config, reference=self._has_reference)
        compiled = jit_make(make, self.run.mesh, self._shardings, donate=keeps_arrays(self.config.model))
        if self.begins:
            return compiled(start_params(self.stage, self.run))
        like = jax.tree.map(
            lambda leaf, where: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=where),
            jax.eval_shape(make, abstract_policy(self.run)),
            self._shardings,
        )
        state, self.extras = self.checkpoints.restore(like._replace(frozen=None))
        if self.config.model.lora is not None:
            state = state._replace(frozen=frozen_base(self.run))
        self.validation = Validation(**self.extras["validation"])
        self.num_steps += self.extras["extra_steps"]
        return state

    @property
    def done(self) -> bool:
        """Whether all steps are taken, or validation says so: no better for `patience` looks, or good enough."""
        patience, enough = self.stage.patience, self.stage.stop_at
        return (
            self.step >= self.num_steps
            or (patience is not None and self.validation.without_better >= patience)
            or (enough is not None and self.validation.best >= enough)
        )

    def update(self, batch: Mapping[str, Any]) -> dict[str, jax.Array]:
        """One optimiser step on a batch of [M, B, T] arrays; the metrics stay on the device."""
        self.state, metrics = self._update(self.state, place_batch(dict(batch), self.run.mesh))
        self.step += 1
        self._tokens += int(batch["mask"].sum() + batch.get("skipped_tokens", 0))
        self._work += batch_work(batch)
        return metrics

    def refresh_reference(self) -> None:
        """Makes the present policy the reference: a hard copy."""
        self.state = self._refresh(self.state)

    def log(self, metrics: Mapping[str, Any]) -> None:
        """Writes the metrics of the present step; the device is asked for them one call later.

        `tokens_per_second` counts scored tokens over the whole step: of a policy, sampling and grading included.
        """
        now = time.monotonic()
        seconds = now - self._tic
        speed = {"seconds": seconds, "tokens_per_second": self._tokens / seconds}
        self._look_at(self.metrics.write(self.step, {**metrics, **speed, **self._work.metrics("train")}))
        self._tic, self._tokens, self._work = now, 0, Work()

    def log_samples(self, lines: list[dict[str, Any]]) -> None:
        """Adds lines to samples.jsonl, under the present step."""
        self.folder.samples.append(*({"step": self.step, **line} for line in lines))

    def settle(self, extras: Mapping[str, Any]) -> None:
        """Validates and saves where that is due. `extras` is what the loop needs to go on from here.

        Raises Preempted after SIGTERM, when the state is safely on disk.
        """
        every = self.stage.validate_every
        score = self._validate() if every is not None and self.step % every == 0 else None
        due = self.step % self.stage.checkpoint_every == 0 or score is not None
        if due or self.done or self._terminated:
            self._look_at(self.metrics.flush())
            self.extras = {
                **extras,
                "validation": dataclasses.asdict(self.validation),
                "extra_steps": self.num_steps - self.stage.num_steps,
            }
            self.checkpoints.save(self.step, self.state._replace(frozen=None), extras=self.extras, score=score)
            # The checkpoint before this one is whole now, so nothing older is ever replayed.
            self.folder.journal.prune(before=self._saved_step)
            self._saved_step = self.step
        if self._terminated:
            self.checkpoints.wait()
            raise Preempted

    def result_step(self) -> int:
        """The checkpoint that later stages take: the best validated one where asked for, else the last."""
        self.checkpoints.wait()
        best = self.validation.best_step if self.stage.keep_best else None
        return self._saved_step if best is None else best

    def _validate(self) -> float:
        """Looks at the policy, and adds its pass@1 to the history."""
        score = self._look()
        self.validation.add(self.step, score)
        return score

    def _look(self) -> float:
        """Evaluates the policy on the validation prompts: a line of metrics, some samples, the pass@1."""
        result = evaluate(
            self.state.policy,
            self.stage.validation,
            run=self.run,
            template=self.stage.template,
            purpose=f"{self.stage.name}/validation",
        )
        lines = sample_lines(result.prompts, result.graded, self.run.config.logging.samples_per_step)
        self.log_samples([{"kind": "validation", **line} for line in lines])
        found = {**result.summary, **self._more_figures(result)}
        self.metrics.write(
            self.step, {f"validation/{name}": value for name, value in found.items() if isinstance(value, float)}
        )
        self._tic = time.monotonic()
        return result.summary["pass@1"]

    def _more_figures(self, result: Evaluation) -> Mapping[str, float]:
        """Further figures of a validation, for a session that knows any."""
        return {}

    def _look_at(self, line: Line | None) -> None:
        """Tells the user what the doctor finds in a line of metrics, and stops a run whose updates all fail."""
        if line is None:
            return
        for finding in self._doctor.observe(line["step"], line):
            logging.warning("%s: %s", self.stage.name, finding)
        if (line.get("bad_steps") or 0) >= self.stage.optimizer.max_bad_steps:
            raise TrainingError(
                f"{self.stage.name}: {line['bad_steps']} updates in a row had a loss or gradient that is not finite; "
                "lower optimizer.learning_rate, or look at the data of the last steps"
            )
