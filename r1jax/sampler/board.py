"""The host's record of the slots: which completion each holds, and what it has drawn so far. NumPy only."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

import numpy as np

from r1jax.errors import UserError


class PromptError(UserError):
    """A request that cannot be sampled."""


@dataclasses.dataclass(frozen=True)
class Request:
    """A prompt to complete. `prompt` is its number in the run's data, on which the draws depend."""

    prompt: int
    tokens: tuple[int, ...]
    num_samples: int


@dataclasses.dataclass(frozen=True, eq=False)
class Completion:
    """One finished completion.

    Attributes:
      prompt, sample: whose it is; samples of a request count from 0.
      tokens: int32 [n], n >= 1, the stop token included where one was drawn.
      logps: float32 [n], in nats, of the tokens under softmax(logits / temperature).
      stopped: whether a stop token ended it; otherwise it was cut at max_new_tokens.
    """

    prompt: int
    sample: int
    tokens: np.ndarray
    logps: np.ndarray
    stopped: bool


@dataclasses.dataclass(frozen=True)
class LaneJob:
    """What one lane does: the samples of one prompt, at most as many as the lane has slots."""

    prompt: int
    tokens: tuple[int, ...]
    samples: range


class Chunk(NamedTuple):
    """What the slots drew between two looks of the host. C steps, L lanes, W slots a lane.

    A slot draws in the first `counts_LW` steps of a chunk; what the arrays hold beyond is meaningless.
    Programs return it with jax arrays, the board reads it with NumPy's.
    """

    tokens_CLW: np.ndarray  # int32
    logps_CLW: np.ndarray  # float32
    counts_LW: np.ndarray  # int32
    active_LW: np.ndarray  # bool: goes on drawing in the next chunk
    steps: np.ndarray  # int32 scalar: steps run, at most C


def lane_jobs(requests: Sequence[Request], width: int) -> Iterator[LaneJob]:
    """Cuts requests into lane jobs, in order: a request of more than `width` samples takes several."""
    for request in requests:
        for first in range(0, request.num_samples, width):
            samples = range(first, min(first + width, request.num_samples))
            yield LaneJob(request.prompt, request.tokens, samples)


def check_requests(requests: Sequence[Request], max_prompt_tokens: int) -> None:
    """Raises PromptError for a request that is empty, too long, without samples, or there twice."""
    seen: set[int] = set()
    for request in requests:
        name = f"prompt number {request.prompt}"
        if not 0 <= request.prompt < 2**32:
            raise PromptError(f"{name}: expected a number in [0, 2**32)")
        if request.prompt in seen:
            raise PromptError(f"{name}: expected once in a call, found twice (its samples would repeat)")
        if not request.tokens:
            raise PromptError(f"{name}: expected at least one token, found none")
        if len(request.tokens) > max_prompt_tokens:
            raise PromptError(
                f"{name}: expected at most sampler.max_prompt_tokens={max_prompt_tokens} tokens, "
                f"found {len(request.tokens)}; raise it or leave the prompt out"
            )
        if request.num_samples < 1:
            raise PromptError(f"{name}: expected num_samples of at least 1, found {request.num_samples}")
        seen.add(request.prompt)


class Board:
    """Follows the slots of all lanes chunk by chunk and hands out what is finished."""

    def __init__(self, lanes: int, width: int, stop_ids: Collection[int]):
        self._stop_ids = frozenset(stop_ids)
        self._jobs: list[LaneJob | None] = [None] * lanes
        self._pieces: dict[tuple[int, int], list[tuple[np.ndarray, np.ndarray]]] = {}
        self._width = width

    def place(self, lane: int, job: LaneJob) -> None:
        """Gives a lane, whose slots are all free, its next job."""
        assert not any((lane, slot) in self._pieces for slot in range(self._width)), f"lane {lane} is busy"
        self._jobs[lane] = job
        for slot in range(len(job.samples)):
            self._pieces[lane, slot] = []

    @property
    def busy(self) -> bool:
        """Whether any slot holds an unfinished completion."""
        return bool(self._pieces)

    def absorb(self, chunk: Chunk) -> list[Completion]:
        """Adds what a chunk drew; returns the completions it finished, by lane and slot."""
        finished = []
        for lane, slot in sorted(self._pieces):
            count = chunk.counts_LW[lane, slot]
            piece = (chunk.tokens_CLW[:count, lane, slot], chunk.logps_CLW[:count, lane, slot])
            self._pieces[lane, slot].append(piece)
            if not chunk.active_LW[lane, slot]:
                finished.append(self._finish(lane, slot))
        return finished

    def _finish(self, lane: int, slot: int) -> Completion:
        pieces = self._pieces.pop((lane, slot))
        tokens = np.concatenate([tokens for tokens, _ in pieces])
        logps = np.concatenate([logps for _, logps in pieces])
        job = self._jobs[lane]
        return Completion(job.prompt, job.samples[slot], tokens, logps, int(tokens[-1]) in self._stop_ids)
