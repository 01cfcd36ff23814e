"""Gradients of a loss with respect to all parameters equal those of transformers, tensor by tensor.

Compared under the folder's names, through the table that the import and the export use. A difference counts as a
fraction of the largest number in the tensor of theirs.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hf_folders import FAMILIES, by_folder_names
from parity_pairs import pair, rows_of

from r1jax.models import decoder
from r1jax.models.huggingface import importer, tables

pytestmark = pytest.mark.slow
BOUND = 1e-3
CUT = 120  # tokens of a sequence


def _batch(case):
    """Two rows, the second right-padded."""
    return rows_of([[tokens[:CUT]] for tokens in case.tokens[1:]], CUT)


def _their_loss(logits_BTV, tokens_BT, real_BT):
    """Mean cross entropy of the next token, and something of every logit that is not linear in it."""
    counted = real_BT[:, 1:]
    chosen = logits_BTV[:, :-1].log_softmax(-1).gather(-1, tokens_BT[:, 1:, None])[..., 0]
    return -chosen[counted].mean() + 0.1 * (3 * logits_BTV[real_BT]).sin().mean()


def _our_loss(params, tokens_BT, positions_BT, segments_BT, *, config):
    hidden_BTD = decoder.forward(params, tokens_BT, positions_BT, segments_BT, config=config)
    logits_BTV = decoder.logits(params, hidden_BTD, config=config)
    real_BT = segments_BT > 0
    counted = real_BT[:, 1:]
    chosen = jnp.take_along_axis(jax.nn.log_softmax(logits_BTV[:, :-1]), tokens_BT[:, 1:, None], axis=-1)[..., 0]
    likelihood = jnp.where(counted, chosen, 0.0).sum() / counted.sum()
    waves = jnp.where(real_BT[..., None], jnp.sin(3 * logits_BTV), 0.0).sum() / (real_BT.sum() * logits_BTV.shape[-1])
    return -likelihood + 0.1 * waves


def _theirs(case, tokens_BT, positions_BT, segments_BT):
    """Loss, and gradients by the folder's names."""
    import torch

    tokens, positions = (torch.from_numpy(array).long() for array in (tokens_BT, positions_BT))
    real = torch.from_numpy(segments_BT > 0)
    case.theirs.zero_grad(set_to_none=True)
    run = case.theirs(input_ids=tokens, position_ids=positions, attention_mask=real.long(), use_cache=False)
    loss = _their_loss(run.logits, tokens, real)
    loss.backward()
    gradients = {name: parameter.grad for name, parameter in case.theirs.named_parameters()}
    case.theirs.zero_grad(set_to_none=True)
    return float(loss.detach()), by_folder_names(gradients)


@pytest.mark.parametrize("name", FAMILIES)
def test_gradients(name):
    case = pair(name)
    rows = _batch(case)
    loss, expected = _theirs(case, *rows)
    ours = jax.jit(jax.value_and_grad(functools.partial(_our_loss, config=case.config)))(case.params, *rows)
    assert float(ours[0]) == pytest.approx(loss, rel=1e-5)
    errors, unused = {}, []
    for entry in tables.entries(case.config):
        array = np.asarray(functools.reduce(lambda tree, key: tree[key], entry.path, ours[1]))
        if entry.path[-1] == "correction_bias":  # it decides which experts are chosen: a step, of no slope
            assert not array.any(), entry.path
            continue
        for index in np.ndindex(entry.names.shape):
            tensor = entry.names[index]
            theirs = expected.pop(tensor)
            found = importer.as_stored(array[index], entry.layout)
            assert found.shape == theirs.shape, tensor
            if theirs.any():
                errors[tensor] = float(np.abs(found - theirs).max() / np.abs(theirs).max())
            else:
                unused.append(tensor)
                assert not found.any(), f"{tensor}: only ours has a gradient"
    assert all(".experts." in tensor for tensor in unused), unused  # those that no token chose
    assert len(unused) < 0.05 * len(errors)
    assert not expected, f"gradients that nothing was compared with: {sorted(expected)}"
    worst = sorted(errors, key=errors.get, reverse=True)
    print(f"{name}: gradients: {errors[worst[0]] / BOUND:.3f} of the bound ({worst[0]})")
    wrong = [f"{tensor} by {errors[tensor]:.1e}" for tensor in worst if not errors[tensor] <= BOUND]
    assert not wrong, f"{name}: gradients of {len(wrong)} of {len(errors)} tensors differ: {', '.join(wrong[:8])}"
