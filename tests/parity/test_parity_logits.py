"""Logits of every family equal those of transformers, wherever in a row a sequence stands and whatever else is there.

Float32 against float32. The largest part of what is left are rotary frequencies, which transformers computes in
float32 and we in float64: at position 600 an angle differs by some 1e-5.
"""

import jax
import numpy as np
import pytest
from hf_folders import FAMILIES, LENGTHS
from parity_pairs import (
    LOGITS_BOUND,
    MARGIN,
    first_layer_that_differs,
    our_logits,
    pair,
    rows_of,
    their_logits,
)

pytestmark = pytest.mark.slow
families = pytest.mark.parametrize("name", FAMILIES)
ROOM = max(LENGTHS)


def _check(pair, ours, expected, what):
    error = pair.difference(np.asarray(ours), expected)
    print(f"{pair.name}: {what}: {error / LOGITS_BOUND:.2f} of the bound")
    if not error <= LOGITS_BOUND:
        where = first_layer_that_differs(pair, pair.params, pair.tokens[0])
        pytest.fail(f"{what}: logits differ by {error:.1e} of their std, allowed are {LOGITS_BOUND:.0e}; {where}")


def _check_rows(pair, layout, what):
    """Ours for rows as `rows_of` lays them out, against theirs for each sequence alone."""
    tokens_BT, positions_BT, segments_BT = rows_of(layout, ROOM)
    ours = np.asarray(our_logits(pair.params, tokens_BT, positions_BT, segments_BT, config=pair.config))
    for row, parts in enumerate(layout):
        at = 0
        for part in parts:
            if isinstance(part, int):
                at += part
                continue
            number = next(i for i, tokens in enumerate(pair.tokens) if tokens is part)
            _check(pair, ours[row, at : at + len(part)], pair.logits[number], f"{what}, {len(part)} tokens at {at}")
            at += len(part)


@pytest.mark.parametrize("name", [name for name in FAMILIES if "moe" in name or "deepseek" in name])
def test_no_choice_of_experts_is_a_near_tie(name):
    assert pair(name).margin > MARGIN, f"{name}: choose another seed in hf_folders.FAMILIES"


@families
def test_one_position(name):
    case = pair(name)
    tokens_BT = np.array([[tokens[0]] for tokens in case.tokens])
    ours = our_logits(case.params, tokens_BT, np.zeros_like(tokens_BT), np.ones_like(tokens_BT), config=case.config)
    _check(case, ours, their_logits(case.theirs, tokens_BT), "one position")


@families
def test_600_positions(name):
    case = pair(name)
    _check_rows(case, [[tokens] for tokens in case.tokens], "alone in a row")


@families
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding(name, side):
    case = pair(name)
    layout = [[ROOM - len(tokens), tokens] if side == "left" else [tokens] for tokens in case.tokens]
    tokens_BT, positions_BT, segments_BT = rows_of(layout, ROOM)
    mask_BT = (segments_BT > 0).astype(np.int32)
    theirs = their_logits(case.theirs, tokens_BT, attention_mask=mask_BT, position_ids=positions_BT)
    ours = np.asarray(our_logits(case.params, tokens_BT, positions_BT, segments_BT, config=case.config))
    _check(case, ours[mask_BT > 0], theirs[mask_BT > 0], f"{side} padding")


@families
def test_packed_segments(name):
    case = pair(name)
    long, middle, short = case.tokens
    layout = [[middle, short], [short, 40, middle, 7, short], [long]]
    _check_rows(case, layout, "packed")


def test_a_failure_names_the_first_layer_that_differs():
    case = pair("deepseek_v3")  # one dense layer, then two of experts
    kernel = case.params["layers"]["attention"]["out"]["kernel"]
    altered = {**case.params["layers"], "attention": {**case.params["layers"]["attention"]}}
    altered["attention"]["out"] = {"kernel": kernel.at[0, 0, 0, 0].add(1.0)}
    tokens_T = case.tokens[2]
    assert "after layer 2 of 3" in first_layer_that_differs(case, {**case.params, "layers": altered}, tokens_T)
    assert "all 3 layers agree" in first_layer_that_differs(case, case.params, tokens_T)
    altered = jax.tree.map(lambda leaf: leaf, case.params)
    altered["embed"] = {"embedding": 1.1 * case.params["embed"]["embedding"]}
    assert "after layer 1 of 3" in first_layer_that_differs(case, altered, tokens_T)
