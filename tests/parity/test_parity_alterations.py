"""The ring sees every feature: each one switched off or altered, in our model alone, moves the logits by at least a
hundred times the bound that `test_parity_logits` holds them to.
"""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest
from parity_pairs import LOGITS_BOUND, our_logits, pair, rows_of

pytestmark = pytest.mark.slow

# An alteration takes our config and parameters, and returns others.


def _config(**changes):
    return lambda config, params: (dataclasses.replace(config, **changes), params)


def _part(part, **changes):
    """Of the config's `rope` or `moe`."""

    def alter(config, params):
        return dataclasses.replace(config, **{part: dataclasses.replace(getattr(config, part), **changes)}), params

    return alter


def _weights(path, change):
    """Every array whose path ends in `path` is replaced by `change` of it, or dropped where that is None."""
    ending = tuple(path.split("."))

    def alter(config, params):
        changed = []

        def walk(tree, above=()):
            result = {}
            for name, below in tree.items():
                if isinstance(below, dict):
                    result[name] = walk(below, (*above, name))
                elif (*above, name)[-len(ending) :] != ending:
                    result[name] = below
                else:
                    changed.append(name)
                    replacement = change(below)
                    if replacement is not None:
                        result[name] = replacement
            return {name: below for name, below in result.items() if not (isinstance(below, dict) and not below)}

        altered = walk(params)
        assert changed, f"no array ends in {path}"
        return config, altered

    return alter


def _both(*alterations):
    def alter(config, params):
        for one in alterations:
            config, params = one(config, params)
        return config, params

    return alter


def _zeroed(path):
    return _weights(path, jnp.zeros_like)


def _ones(path):
    return _weights(path, jnp.ones_like)


def _dropped(path):
    return _weights(path, lambda _: None)


def _rolled(path, axis, by=1):
    return _weights(path, lambda leaf: jnp.roll(leaf, by, axis))


def _other_head(config, params):
    """A head of its own in place of the tied one."""
    kernel = 0.15 * np.random.default_rng(5).standard_normal((config.hidden_size, config.vocab_size), np.float32)
    return dataclasses.replace(config, tie_embeddings=False), {**params, "head": {"kernel": jnp.asarray(kernel)}}


def _other_groups(config, params):
    """Query head n reads key head n % K in place of n // R: the same heads, in an order that only groups tell apart."""
    order = np.arange(config.num_heads).reshape(-1, config.num_kv_heads).T.ravel()
    for name, axis in (("query.kernel", 2), ("out.kernel", 1)):
        _, params = _weights(name, lambda leaf, axis=axis: jnp.take(leaf, order, axis))(config, params)
    if config.attention_bias:
        _, params = _weights("query.bias", lambda leaf: jnp.take(leaf, order, 1))(config, params)
    return config, params


def _swapped_halves(path, first):
    """The two parts of the last dim, the first of them `first` wide, change places."""
    return _weights(path, lambda leaf: jnp.concatenate([leaf[..., first:], leaf[..., :first]], axis=-1))


def _swapped_experts(config, params):
    """Experts' gates for their ups."""
    ffn = params["layers"]["ffn"]
    experts = {**ffn["experts"], "gate": ffn["experts"]["up"], "up": ffn["experts"]["gate"]}
    return config, {**params, "layers": {**params["layers"], "ffn": {**ffn, "experts": experts}}}


def _silent_dense_layers(config, params):
    """The feed-forwards before the first experts give nothing."""
    _, silent = _zeroed("ffn.down.kernel")(config, params["dense_layers"])
    return config, {**params, "dense_layers": silent}


def _sigmoid_gate(config, params):
    """In place of the softmax, with a correction bias of 0."""
    ffn = params["layers"]["ffn"]
    kernel_LDE = ffn["router"]["kernel"]
    router = {**ffn["router"], "correction_bias": jnp.zeros((kernel_LDE.shape[0], kernel_LDE.shape[2]))}
    params = {**params, "layers": {**params["layers"], "ffn": {**ffn, "router": router}}}
    return _part("moe", gate="sigmoid")(config, params)


def _other_normalisation(config, params):
    """Of the chosen experts' weights: on where it is off, off where it is on."""
    return _part("moe", normalize_weights=not config.moe.normalize_weights)(config, params)


_TIES = {"a head of its own": _other_head}
_UNTIED = {"tied head": _both(_config(tie_embeddings=True), _dropped("head.kernel"))}
_ANY = {
    "rope theta": _part("rope", theta=7e3),
    "rope pairs": _part("rope", neighbours=True),
    "norm eps": _config(norm_eps=1e-6),
    "attention norm": _ones("attention_norm.scale"),
    "ffn norm": _ones("ffn_norm.scale"),
    "final norm": _ones("final_norm.scale"),
}
_DENSE = {"activation": _config(activation="gelu")}
_GROUPED = {"head groups": _other_groups}
_BIASES = {f"{part} bias": _zeroed(f"{part}.bias") for part in ("query", "key", "value")}
_HEAD_NORMS = {
    "q/k norm off": _both(_config(qk_norm=False), _dropped("query_norm.scale"), _dropped("key_norm.scale")),
    "query norm": _ones("query_norm.scale"),
    "key norm": _ones("key_norm.scale"),
}
_YARN = {
    "rope scaling off": _part("rope", scaling="none"),
    "linear scaling": _part("rope", scaling="linear"),
    "yarn factor": _part("rope", factor=7.0),
    "yarn original positions": _part("rope", original_max_positions=128),
    "yarn beta_fast": _part("rope", beta_fast=1.5),
    "yarn beta_slow": _part("rope", beta_slow=0.25),
    "yarn whole bounds": _part("rope", truncate=False),
}
_EXPERTS = {
    "experts per token": _part("moe", experts_per_token=2),
    "normalised weights": _other_normalisation,
    "weights scale": _part("moe", weights_scale=1.5),
    "expert order": _rolled("router.kernel", -1),
    "gate and up swapped": _swapped_experts,
}
_LEADING_DENSE = {"dense layer silent": _silent_dense_layers}

ALTERATIONS = {
    "qwen2_tied": {**_ANY, **_DENSE, **_GROUPED, **_BIASES, **_TIES},
    "qwen2_untied": _UNTIED,
    "qwen2_yarn": {**_YARN, "yarn growth of heads": _part("rope", attention_factor=1.0)},
    "qwen3": {**_ANY, **_DENSE, **_GROUPED, **_HEAD_NORMS, **_UNTIED},
    "qwen3_linear": {
        "rope scaling off": _part("rope", scaling="none"),
        "linear factor": _part("rope", factor=3.0),
        **_TIES,
    },
    "qwen3_moe": {
        **_ANY,
        **_DENSE,
        **_GROUPED,
        **_HEAD_NORMS,
        **_UNTIED,
        **_EXPERTS,
        **_LEADING_DENSE,
        "sigmoid gate": _sigmoid_gate,
    },
    "qwen3_moe_raw_weights": _EXPERTS,
    "llama": {
        **_ANY,
        **_DENSE,
        **_GROUPED,
        **_UNTIED,
        "rope scaling off": _part("rope", scaling="none"),
        "linear scaling": _part("rope", scaling="linear"),
        "llama3 factor": _part("rope", factor=4.0),
        "llama3 low_freq_factor": _part("rope", low_freq_factor=2.0),
        "llama3 high_freq_factor": _part("rope", high_freq_factor=8.0),
        "llama3 original positions": _part("rope", original_max_positions=128),
    },
    "llama_tied": _TIES,
    "deepseek_v3": {
        **{name: alteration for name, alteration in _ANY.items() if name not in ("rope pairs", "norm eps")},
        **_UNTIED,
        **_YARN,
        **_EXPERTS,
        **_LEADING_DENSE,
        "norm eps": _config(norm_eps=1e-2),
        "softmax gate": _both(
            _part("moe", gate="softmax", num_groups=1, top_groups=1), _dropped("router.correction_bias")
        ),
        "groups off": _part("moe", num_groups=1, top_groups=1),
        "one group": _part("moe", top_groups=1),
        "other groups": _part("moe", num_groups=2, top_groups=1),
        "correction bias": _zeroed("router.correction_bias"),
        "routed scaling off": _part("moe", weights_scale=1.0),
        "shared experts": _zeroed("shared.down.kernel"),
        "latent norm": _ones("kv_norm.scale"),
        "softmax not sharpened": _part("rope", mscale=None, mscale_all_dim=None, attention_factor=1.0),
        "positions before the rest": _swapped_halves("kv_down.kernel", 28),
        "keys and values swapped": _swapped_halves("kv_up.kernel", 12),
        "rope pairs": _part("rope", neighbours=False),
        "query latent norm": _ones("query_norm.scale"),
        "yarn mscale": _part("rope", mscale=1.0),
        "yarn mscale_all_dim": _part("rope", mscale_all_dim=0.7),
    },
    "deepseek_v3_whole_queries": {
        "rope pairs": _part("rope", neighbours=True),
        "rope scaling off": _part("rope", scaling="none"),
        "softmax not sharpened": _part("rope", mscale=None, mscale_all_dim=None, attention_factor=1.0),
        **_LEADING_DENSE,
    },
}


@pytest.mark.parametrize(
    ("family", "alteration"), [(family, name) for family, alterations in ALTERATIONS.items() for name in alterations]
)
def test_an_altered_model_is_far_from_theirs(family, alteration):
    case = pair(family)
    config, params = ALTERATIONS[family][alteration](case.config, case.params)
    ours = our_logits(params, *rows_of([case.tokens[:1]], len(case.tokens[0])), config=config)
    error = case.difference(np.asarray(ours[0]), case.logits[0])
    print(f"{family}: {alteration}: {error / LOGITS_BOUND:.0f} times the bound")
    assert error >= 100 * LOGITS_BOUND
