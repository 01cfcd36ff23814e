"""After a LoRA step: the merged export in transformers, and the adapter in peft, are the adapted model."""

import dataclasses
import functools

import jax
import numpy as np
import pytest
from hf_folders import FAMILIES, VOCAB
from parity_pairs import LOGITS_BOUND, our_logits, pair, rows_of, their_logits

from r1jax.config import LoraConfig, MeshConfig, OptimizerConfig
from r1jax.data.packing import micro_batches, pack, training_sequence
from r1jax.learn.state import StepConfig, init_state
from r1jax.learn.steps import next_token_step
from r1jax.models import lora
from r1jax.models.adapters import combined, merged
from r1jax.models.huggingface.exporter import export
from r1jax.models.huggingface.peft_adapter import export_adapter
from r1jax.parallel.mesh import make_mesh

pytestmark = pytest.mark.slow
LORA = LoraConfig(rank=3, alpha=6.0)


@functools.cache
def _adapted(name, targets=("*",)):
    """The config with adapters, and all parameters after two steps on them (B is zero at first)."""
    case = pair(name)
    model = dataclasses.replace(case.config, lora=dataclasses.replace(LORA, targets=targets))
    config = StepConfig(model, OptimizerConfig(learning_rate=3e-2), num_steps=2)
    state = init_state(combined(case.params, lora.init(model, jax.random.key(0))), config=config)
    draw = np.random.default_rng(5)
    sequences = [training_sequence(*draw.integers(0, VOCAB, (2, 12)).tolist()) for _ in range(4)]
    batch = micro_batches(pack(sequences, row_tokens=32, packed=True)[0], micro_batch_rows=4, capacity=1)
    with jax.set_mesh(make_mesh(MeshConfig(data=1), jax.devices()[:1])):
        step = jax.jit(functools.partial(next_token_step, config=config))
        for _ in range(2):
            state, metrics = step(state, batch)
    assert metrics["grad_norm"] > 0
    return model, state.policy


def _ours(name, targets=("*",)):
    model, params = _adapted(name, targets)
    tokens = pair(name).tokens[1]
    return np.asarray(our_logits(params, *rows_of([[tokens]], len(tokens)), config=model))[0], tokens


@pytest.mark.parametrize("name", FAMILIES)
def test_the_merged_export_is_the_adapted_model(name, tmp_path):
    transformers = pytest.importorskip("transformers")
    model, params = _adapted(name)
    plain = dataclasses.replace(model, lora=None)
    export(merged(params, config=model), plain, tmp_path / "merged", dtype="float32")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "merged", attn_implementation="eager").eval()
    ours, tokens = _ours(name)
    difference = pair(name).difference(ours, their_logits(theirs, tokens[None])[0])
    assert difference < LOGITS_BOUND, difference
    assert pair(name).difference(ours, pair(name).logits[1]) > 100 * LOGITS_BOUND  # the steps changed something


@pytest.mark.parametrize(
    ("name", "targets"),
    [
        ("qwen2_tied", ("*",)),
        ("qwen3", ("*.query", "ffn.*")),
        ("llama", ("*",)),
        ("qwen3_moe", ("attention.*",)),  # peft takes adapters of feed-forwards for the experts' own
        ("deepseek_v3", ("attention.*",)),
    ],
)
def test_the_adapter_loads_in_peft(name, targets, tmp_path):
    peft = pytest.importorskip("peft")
    transformers = pytest.importorskip("transformers")
    model, params = _adapted(name, targets)
    export(pair(name).params, pair(name).config, tmp_path / "base", dtype="float32")
    export_adapter(params, model, tmp_path / "adapter", base=str(tmp_path / "base"))
    base = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "base", attn_implementation="eager").eval()
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
    ours, tokens = _ours(name, targets)
    difference = pair(name).difference(ours, their_logits(theirs, tokens[None])[0])
    assert difference < LOGITS_BOUND, difference
