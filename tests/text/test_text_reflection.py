"""Reflective words are counted in the thinking, of either language."""

import time

import pytest

from r1jax.text.reflection import count_reflection_words


@pytest.mark.parametrize(
    ("completion", "count"),
    [
        ("<think> Wait, that is wrong; but let me CHECK. </think> I verify nothing, however.", 4),
        ("<think> 等等，不对，检查一下。 </think> 但是", 3),
        ("<think> waiting for the butter, checked and errors </think>", 0),  # whole words only
        ("wait, no tags at all", 1),
        ("<think> wait, never closed", 1),
        ("wait </think> wait", 1),  # opened by the prompt
        ("<think></think> wait", 0),
        ("", 0),
        ("<think>\x00\ud800 wait</think>", 1),
    ],
)
def test_words_by_hand(completion, count):
    assert count_reflection_words(completion) == count


@pytest.mark.parametrize("piece", ["wait ", "wai", "等", "<think>", "b", "<think>wait</think>"])
def test_megabytes_cost_little(piece):
    started = time.process_time()
    count_reflection_words(piece * (1_000_000 // len(piece)))
    assert time.process_time() - started < 5.0  # about 0.2 s
