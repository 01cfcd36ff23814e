"""The loop that keeps the slots busy: requests in, finished completions out as soon as the host sees them.

Requests are cut into lane jobs and run in waves: every lane takes a job, all decode chunk after chunk until
the wave's last slot is done. The next chunk is dispatched before the last one is read, so the device does not
wait for whoever consumes the completions (a chunk dispatched in vain finds no active slot and runs no step).

What compiles: one program a prompt bucket (32, 64, ... tokens, up to max_prompt_tokens) and a cache bucket
(chunk_steps, twice that, ... up to max_new_tokens). A slot meets each cache bucket at the same position in every
call, so a completion depends on its keys and its prompt alone, and by rounding on its wave's prompt bucket.
"""

from __future__ import annotations

import dataclasses
import itertools
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from r1jax.config import ModelConfig, SamplerConfig, SamplingConfig, check
from r1jax.models import decoding
from r1jax.sampler.board import Board, Chunk, Completion, LaneJob, Request, check_requests, lane_jobs
from r1jax.sampler.keys import rollout_key
from r1jax.sampler.programs import Admission, Rule, Slots, programs
from r1jax.sampler.rule import rule_arguments

SMALLEST_PROMPT_BUCKET = 32  # below it, padding costs less than another compilation


@dataclasses.dataclass
class SamplerStats:
    """What the latest call of `generate` did so far."""

    completions: int = 0
    truncated: int = 0  # cut at max_new_tokens
    new_tokens: int = 0
    decode_steps: int = 0  # prefill draws the first token of a completion and is no decode step
    slot_steps: int = 0  # decode steps x slots
    busy_slot_steps: int = 0
    seconds: float = 0.0  # spent in the sampler, not in whoever consumes its completions

    @property
    def idle_share(self) -> float:
        """Share of slot steps that drew nothing."""
        return 1.0 - self.busy_slot_steps / self.slot_steps if self.slot_steps else 0.0

    @property
    def truncated_share(self) -> float:
        return self.truncated / self.completions if self.completions else 0.0

    @property
    def tokens_per_second(self) -> float:
        return self.new_tokens / self.seconds if self.seconds else 0.0


class Sampler:
    """Samples completions from the parameters loaded last.

    Args:
      model: the policy's shape.
      sampler: lanes, width, chunk and the longest prompt.
      mesh: lanes are spread over its batch axes, heads and vocabulary over `tensor`.
      stop_ids: tokens that end a completion (they are its last token).
      max_new_tokens: the most that any call may ask for.
      pad_id: fills prompts up to their bucket; any token will do.

    Raises:
      ConfigError: the mesh does not divide the lanes, or a stop token is not in the vocabulary.
    """

    def __init__(
        self,
        model: ModelConfig,
        sampler: SamplerConfig,
        *,
        mesh: Mesh,
        stop_ids: Collection[int],
        max_new_tokens: int,
        pad_id: int,
    ):
        self.stats = SamplerStats()
        self._model, self._config, self._mesh = model, sampler, mesh
        stops = sorted(set(stop_ids))
        check(
            all(0 <= token < model.vocab_size for token in stops),
            "stop tokens",
            f"ids below model.vocab_size={model.vocab_size}",
            stops,
        )
        # Padded with what no token is: samplers with other stop tokens share their programs.
        self._stop_ids = np.asarray(stops + [-1] * (8 - len(stops) % 8), np.int32)
        self._max_new_tokens, self._pad_id = max_new_tokens, pad_id
        self._programs = programs(model, sampler.lanes, sampler.width, sampler.chunk_steps, mesh)
        self._dparams = None

    def load(self, params: Any) -> None:
        """Takes the policy's parameters: a copy in the compute dtype, laid out for decoding."""
        self._dparams = None  # frees the previous copy before the next one is made
        with jax.set_mesh(self._mesh):
            self._dparams = self._programs.prepare(params)

    def generate(
        self, requests: Sequence[Request], *, seed: int, step: int, sampling: SamplingConfig
    ) -> Iterator[Completion]:
        """All completions of `requests`, each as soon as it is known to be finished, in no promised order.

        Sample s of prompt p draws the same whatever else is asked for, in whichever slot, however often.
        Let the iterator run to its end, or drop it.

        Raises:
          PromptError: a request that is empty, too long, without samples, or there twice.
          ConfigError: sampling.max_new_tokens is more than the sampler was built for.
        """
        assert self._dparams is not None, "load(params) comes before generate(...)"
        check_requests(requests, self._config.max_prompt_tokens)
        check(
            sampling.max_new_tokens <= self._max_new_tokens,
            "sampling.max_new_tokens",
            f"at most the {self._max_new_tokens} that the sampler was built for",
            sampling.max_new_tokens,
        )
        self.stats = SamplerStats()
        return self._timed(self._waves(list(requests), np.asarray(rollout_key(seed, step)), sampling))

    def _waves(self, requests: list[Request], rollout_2: np.ndarray, sampling: SamplingConfig) -> Iterator[Completion]:
        rule = Rule(
            *rule_arguments(sampling, self._model.vocab_size),
            self._stop_ids,
            np.int32(sampling.max_new_tokens),
        )
        jobs = lane_jobs(requests, self._config.width)
        while wave := list(itertools.islice(jobs, self._config.lanes)):
            yield from self._wave(wave, rollout_2, rule)

    def _wave(self, jobs: list[LaneJob], rollout_2: np.ndarray, rule: Rule) -> Iterator[Completion]:
        board = Board(self._config.lanes, self._config.width, self._stop_ids.tolist())
        for lane, job in enumerate(jobs):
            board.place(lane, job)
        prompt_tokens = prompt_bucket(max(len(job.tokens) for job in jobs), self._config.max_prompt_tokens)
        own_tokens = self._own_bucket(self._config.chunk_steps)
        admission = self._admission(jobs, prompt_tokens, rollout_2)
        with jax.set_mesh(self._mesh):
            slots = self._programs.empty(prompt_tokens, own_tokens)
            slots, unread = self._programs.admit(self._dparams, slots, admission, rule)
        for fed in itertools.count(0, self._config.chunk_steps):
            following = None
            if fed + 1 < rule.max_new_tokens:  # position fed + 1 is the next to draw
                slots = self._make_room(slots, fed + self._config.chunk_steps)
                with jax.set_mesh(self._mesh):
                    slots, following = self._programs.chunk(self._dparams, slots, rule)
            yield from self._read(board, unread, decoded=fed > 0)
            if not board.busy:
                return
            unread = following

    def _admission(self, jobs: list[LaneJob], prompt_tokens: int, rollout_2: np.ndarray) -> Admission:
        """Job i in lane i. As many prompts are prefilled as there are lanes, so that one program serves."""
        lanes, width = self._config.lanes, self._config.width
        tokens_PS = np.full((lanes, prompt_tokens), self._pad_id, np.int32)
        lengths_P = np.ones(lanes, np.int32)
        rows_L = np.full(lanes, -1, np.int32)
        prompts_L = np.zeros(lanes, np.uint32)
        samples_LW = np.zeros((lanes, width), np.uint32)
        used_LW = np.zeros((lanes, width), bool)
        for lane, job in enumerate(jobs):
            tokens_PS[lane, : len(job.tokens)] = job.tokens
            lengths_P[lane] = len(job.tokens)
            rows_L[lane], prompts_L[lane] = lane, job.prompt
            samples_LW[lane, : len(job.samples)] = job.samples
            used_LW[lane, : len(job.samples)] = True
        return Admission(tokens_PS, lengths_P, rows_L, prompts_L, samples_LW, used_LW, rollout_2)

    def _make_room(self, slots: Slots, own_tokens: int) -> Slots:
        bucket = self._own_bucket(own_tokens)
        if bucket == decoding.own_room(slots.cache, config=self._model):
            return slots
        with jax.set_mesh(self._mesh):
            return self._programs.grow(slots, bucket)

    def _own_bucket(self, own_tokens: int) -> int:
        return _bucket(own_tokens, self._config.chunk_steps, self._max_new_tokens)

    def _read(self, board: Board, unread: Chunk, *, decoded: bool) -> list[Completion]:
        chunk = Chunk(*jax.device_get(tuple(unread)))
        finished = board.absorb(chunk)
        drawn = int(chunk.counts_LW.sum())
        self.stats.new_tokens += drawn
        if decoded:
            self.stats.decode_steps += int(chunk.steps)
            self.stats.slot_steps += int(chunk.steps) * chunk.counts_LW.size
            self.stats.busy_slot_steps += drawn
        self.stats.completions += len(finished)
        self.stats.truncated += sum(not completion.stopped for completion in finished)
        return finished

    def _timed(self, completions: Iterator[Completion]) -> Iterator[Completion]:
        stats = self.stats
        while True:
            start = time.perf_counter()
            completion = next(completions, None)
            stats.seconds += time.perf_counter() - start
            if completion is None:
                return
            yield completion


def prompt_bucket(tokens: int, max_prompt_tokens: int) -> int:
    """The padded length of a wave's prompts, given its longest: 32, 64, ... up to `max_prompt_tokens`."""
    return _bucket(tokens, SMALLEST_PROMPT_BUCKET, max_prompt_tokens)


def _bucket(size: int, smallest: int, largest: int) -> int:
    bucket = smallest
    while bucket < size:
        bucket *= 2
    return min(bucket, largest)
