"""Scores of models with a score head equal those of transformers' classifiers of one class, at a sequence's last token.

transformers looks for that token itself: it is the last one that is not `pad_token_id`. So their rows are padded with
that token; ours with any, since segments say where a sequence ends.
"""

import functools
import tempfile
from typing import Any, NamedTuple

import hf_folders
import jax
import numpy as np
import pytest
from parity_pairs import LOGITS_BOUND, MARGIN, Params, rows_of, watched_margins

from r1jax.config import ModelConfig
from r1jax.models import decoder
from r1jax.models.huggingface import importer
from r1jax.models.huggingface.exporter import export

pytestmark = pytest.mark.slow
NAMES = ("qwen2_untied", "qwen2_tied", "llama", "deepseek_v3")
ROOM = max(hf_folders.LENGTHS)


class Scored(NamedTuple):
    """One folder's reward model, theirs and ours."""

    folder: tempfile.TemporaryDirectory  # there as long as this is
    theirs: Any
    config: ModelConfig
    params: Params
    tokens: list[np.ndarray]  # three sequences; no last one is the padding token
    scores: np.ndarray  # theirs [3], each sequence run alone
    std: float  # of their scores at all tokens
    margin: float  # the nearest choice of experts on the way to them


@functools.cache
def scored(name):
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    tokens = hf_folders.tokens_of(name)
    pad = next(token for token in range(hf_folders.VOCAB) if all(one[-1] != token for one in tokens))
    folder = tempfile.TemporaryDirectory()
    with tempfile.TemporaryDirectory() as causal:
        hf_folders.make(name, causal)
        made = transformers.AutoModelForSequenceClassification.from_pretrained(causal, num_labels=1, pad_token_id=pad)
    with torch.no_grad():
        made.score.weight.normal_(0, 0.15, generator=torch.Generator().manual_seed(1))
    made.save_pretrained(folder.name)
    theirs = load(folder.name)
    config = importer.read_model(folder.name)
    params = importer.load_params(folder.name, config, decoder.param_shapes(config))
    with watched_margins(theirs) as margins, torch.no_grad():
        alone = [their_scores(theirs, one[None])[0] for one in tokens]
        whole = [theirs.score(theirs.model(torch.from_numpy(one)[None].long())[0]).numpy() for one in tokens]
    std = float(np.concatenate(whole, axis=1).std())
    return Scored(folder, theirs, config, params, tokens, np.array(alone), std, min(margins, default=np.inf))


def load(folder):
    """As transformers loads it, with nothing missing and nothing left over."""
    import torch
    import transformers

    model, report = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder,
        dtype=torch.float32,
        attn_implementation="eager",
        experts_implementation="eager",
        output_loading_info=True,
    )
    assert not any(report.values()), report
    assert model.config.num_labels == 1
    return model.eval()


def their_scores(theirs, tokens_BT, **inputs):
    """[B]."""
    import torch

    arguments = {name: torch.from_numpy(array).long() for name, array in {"input_ids": tokens_BT, **inputs}.items()}
    with torch.no_grad():
        return theirs(**arguments, use_cache=False).logits[:, 0].numpy()


@functools.partial(jax.jit, static_argnames="config")
def our_scores(params, tokens_BT, positions_BT, segments_BT, *, config):
    """[B, T]."""
    hidden_BTD = decoder.forward(params, tokens_BT, positions_BT, segments_BT, config=config)
    return decoder.scores(params, hidden_BTD, config=config)


def _check(case, what, ours, expected):
    error = float(np.abs(np.asarray(ours) - np.asarray(expected)).max()) / case.std
    print(f"{what}: {error / LOGITS_BOUND:.2f} of the bound")
    assert error <= LOGITS_BOUND, f"{what}: scores differ by {error:.1e} of their std"


@pytest.mark.parametrize("name", NAMES)
def test_right_padded_rows(name):
    case = scored(name)
    assert case.config.head == "score"
    assert case.margin > MARGIN
    tokens_BT, positions_BT, segments_BT = rows_of([[one] for one in case.tokens], ROOM)
    ours_BT = np.asarray(our_scores(case.params, tokens_BT, positions_BT, segments_BT, config=case.config))
    ours = [row[len(one) - 1] for row, one in zip(ours_BT, case.tokens, strict=True)]
    mask_BT = (segments_BT > 0).astype(np.int32)
    padded_BT = np.where(mask_BT, tokens_BT, case.theirs.config.pad_token_id)
    _check(case, f"{name}, right padding", ours, their_scores(case.theirs, padded_BT, attention_mask=mask_BT))
    _check(case, f"{name}, alone", ours, case.scores)


@pytest.mark.parametrize("name", NAMES)
def test_packed_segments(name):
    case = scored(name)
    long, middle, short = case.tokens
    layout = [[middle, short], [short, 40, middle, 7, short], [long]]
    ours_BT = np.asarray(our_scores(case.params, *rows_of(layout, ROOM), config=case.config))
    expected = {id(one): score for one, score in zip(case.tokens, case.scores, strict=True)}
    for row, parts in zip(ours_BT, layout, strict=True):
        at = 0
        for part in parts:
            at += part if isinstance(part, int) else len(part)
            if not isinstance(part, int):
                _check(case, f"{name}, packed, {len(part)} tokens up to {at}", row[at - 1], expected[id(part)])


@pytest.mark.parametrize("name", NAMES)
def test_the_export_loads_in_transformers_and_is_the_same_model(name, tmp_path):
    case = scored(name)
    export(case.params, case.config, tmp_path / "ours", dtype="float32", source=case.folder.name)
    again = load(tmp_path / "ours")
    theirs, ours = case.theirs.state_dict(), again.state_dict()
    assert theirs.keys() == ours.keys()
    for tensor, expected in theirs.items():
        np.testing.assert_array_equal(ours[tensor].numpy(), expected.numpy(), err_msg=tensor)
    assert again.config.pad_token_id == case.theirs.config.pad_token_id
    _check(case, f"{name}, exported", [their_scores(again, one[None])[0] for one in case.tokens], case.scores)
    # And once more through us.
    assert importer.read_model(tmp_path / "ours") == case.config
    params = importer.load_params(tmp_path / "ours", case.config, decoder.param_shapes(case.config))
    jax.tree.map(np.testing.assert_array_equal, params, case.params)
