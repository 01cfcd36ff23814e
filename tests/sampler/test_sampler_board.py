"""The host's record: lane jobs, chunk by chunk, to completions."""

import numpy as np
import pytest

from r1jax.sampler.board import Board, Chunk, LaneJob, PromptError, Request, check_requests, lane_jobs


def test_a_request_wider_than_a_lane_takes_several_jobs_in_order():
    jobs = list(lane_jobs([Request(5, (1,), 5), Request(2, (3,), 1)], width=2))
    assert [(job.prompt, list(job.samples)) for job in jobs] == [
        (5, [0, 1]),
        (5, [2, 3]),
        (5, [4]),
        (2, [0]),
    ]


def chunk(tokens_CLW, counts_LW, active_LW):
    tokens = np.asarray(tokens_CLW, np.int32)
    return Chunk(
        tokens,
        -tokens.astype(np.float32),
        np.asarray(counts_LW),
        np.asarray(active_LW),
        np.int32(len(tokens)),
    )


def test_completions_are_put_together_over_chunks_and_leave_when_they_end():
    board = Board(lanes=2, width=2, stop_ids=[9])
    board.place(0, LaneJob(7, (1, 2), range(0, 2)))
    board.place(1, LaneJob(8, (1,), range(4, 5)))  # slot (1, 1) stays idle
    assert board.absorb(chunk([[[1, 2], [3, 0]]], [[1, 1], [1, 0]], [[1, 1], [1, 0]])) == []
    # Slot (0, 0) stops at its first token of the chunk; what stands behind it is not its own.
    (first,) = board.absorb(chunk([[[9, 4], [5, 0]], [[6, 9], [7, 0]]], [[1, 2], [2, 0]], [[0, 1], [1, 0]]))
    assert (first.prompt, first.sample, first.tokens.tolist(), first.stopped) == (7, 0, [1, 9], True)
    assert first.logps.tolist() == [-1.0, -9.0]
    assert board.busy
    rest = board.absorb(chunk([[[0, 8], [2, 0]]], [[0, 1], [1, 0]], [[0, 0], [0, 0]]))
    assert [(c.prompt, c.sample, c.tokens.tolist(), c.stopped) for c in rest] == [
        (7, 1, [2, 4, 9, 8], False),
        (8, 4, [3, 5, 7, 2], False),
    ]
    assert not board.busy
    board.place(0, LaneJob(3, (1,), range(2)))  # a free lane takes the next job
    assert board.busy


@pytest.mark.parametrize(
    ("requests", "message"),
    [
        ([Request(3, (), 1)], "prompt number 3: expected at least one token"),
        (
            [Request(3, (1,) * 9, 1)],
            "prompt number 3: expected at most sampler.max_prompt_tokens=8 .*found 9",
        ),
        ([Request(3, (1,), 0)], "prompt number 3: expected num_samples of at least 1, found 0"),
        ([Request(3, (1,), 1), Request(3, (2,), 1)], "prompt number 3: expected once"),
        ([Request(-1, (1,), 1)], "prompt number -1: expected a number in"),
    ],
)
def test_requests_that_cannot_be_sampled_are_refused_by_number(requests, message):
    with pytest.raises(PromptError, match=message):
        check_requests(requests, max_prompt_tokens=8)
