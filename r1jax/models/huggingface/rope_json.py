"""Rotary embeddings in `config.json`, both ways.

Up to transformers 4 they are `rope_theta` and `rope_scaling`, from 5 on one object, `rope_parameters`. Both are read;
the first is written, for both generations (and vLLM on either) read it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from r1jax.config import RopeConfig
from r1jax.config.checks import ConfigError, check
from r1jax.models.huggingface.json_keys import Keys

_DEFAULT_THETA = 10_000.0  # transformers': what a file without the key means


def read_rope(keys: Keys, *, neighbours: bool) -> RopeConfig:
    """The rotary embedding of a whole `config.json`; its own keys and `max_position_embeddings` are then read.

    Raises:
      ConfigError: a kind of scaling or a field that is not supported, or two places that do not agree.
    """
    theta = keys.number_or_none("rope_theta")
    keys.only("partial_rotary_factor", 1.0, None)
    max_positions = keys.integer_or_none("max_position_embeddings") if "max_position_embeddings" in keys else None
    found = {}
    for name in ("rope_scaling", "rope_parameters"):
        inner = keys.object(name)
        if inner is not None:
            found[name] = _read_scaling(inner, name, theta, max_positions, neighbours)
    if not found:
        return RopeConfig(theta=_DEFAULT_THETA if theta is None else theta, neighbours=neighbours)
    if len(set(found.values())) > 1:
        raise ConfigError("rope_parameters: expected what rope_scaling says, found something else; remove one of them")
    return next(iter(found.values()))


def _read_scaling(
    keys: Keys, name: str, outer_theta: float | None, max_positions: int | None, neighbours: bool
) -> RopeConfig:
    """One object of the two. Where the number of positions of pre-training is absent, it is `max_positions`."""
    kind = keys.text("rope_type" if "rope_type" in keys else "type")
    keys.only("type", kind)  # the older name; files may have both
    check(kind in _READERS, f"{name}.rope_type", " or ".join(_READERS), kind)
    keys.only("partial_rotary_factor", 1.0, None)
    theta = keys.number_or_none("rope_theta")
    if theta is not None and outer_theta is not None:
        check(theta == outer_theta, f"{name}.rope_theta", f"rope_theta={outer_theta}", theta)
    theta = outer_theta if theta is None else theta
    fields = _READERS[kind](keys, max_positions)
    keys.finish()
    return RopeConfig(theta=_DEFAULT_THETA if theta is None else theta, neighbours=neighbours, **fields)


def _read_none(keys: Keys, max_positions: int | None) -> dict[str, Any]:
    return {}


def _read_linear(keys: Keys, max_positions: int | None) -> dict[str, Any]:
    return {"scaling": "linear", "factor": keys.number("factor")}


def _read_llama3(keys: Keys, max_positions: int | None) -> dict[str, Any]:
    low = keys.number("low_freq_factor")
    check(low > 0, "low_freq_factor", "a positive number", low)
    return {
        "scaling": "llama3",
        "factor": keys.number("factor"),
        "low_freq_factor": low,
        "high_freq_factor": keys.number("high_freq_factor"),
        "original_max_positions": _original_positions(keys, max_positions),
    }


def _original_positions(keys: Keys, max_positions: int | None) -> int:
    count = keys.integer("original_max_position_embeddings", max_positions)
    check(count >= 1, "original_max_position_embeddings", "at least 1", count)
    return count


def _read_yarn(keys: Keys, max_positions: int | None) -> dict[str, Any]:
    return {
        "scaling": "yarn",
        "factor": keys.number("factor"),
        "original_max_positions": _original_positions(keys, max_positions),
        "beta_fast": keys.number("beta_fast", 32.0),
        "beta_slow": keys.number("beta_slow", 1.0),
        # transformers and DeepSeek's own code take 0 for absent.
        "mscale": keys.number_or_none("mscale") or None,
        "mscale_all_dim": keys.number_or_none("mscale_all_dim") or None,
        "attention_factor": keys.number_or_none("attention_factor"),
        "truncate": keys.flag("truncate", True),
    }


_READERS: dict[str, Callable[[Keys, int | None], dict[str, Any]]] = {
    "default": _read_none,
    "linear": _read_linear,
    "llama3": _read_llama3,
    "yarn": _read_yarn,
}


def write_rope(rope: RopeConfig) -> dict[str, Any]:
    """`rope_theta` and `rope_scaling`."""
    scaling: dict[str, Any] | None = None
    if rope.scaling != "none":
        scaling = {"rope_type": rope.scaling, "factor": rope.factor}
    if rope.scaling in ("llama3", "yarn"):
        scaling["original_max_position_embeddings"] = rope.original_max_positions
    if rope.scaling == "llama3":
        scaling |= {"low_freq_factor": rope.low_freq_factor, "high_freq_factor": rope.high_freq_factor}
    if rope.scaling == "yarn":
        scaling |= {"beta_fast": rope.beta_fast, "beta_slow": rope.beta_slow, "truncate": rope.truncate}
        optional = {
            "mscale": rope.mscale,
            "mscale_all_dim": rope.mscale_all_dim,
            "attention_factor": rope.attention_factor,
        }
        scaling |= {name: value for name, value in optional.items() if value is not None}
    return {"rope_theta": rope.theta, "rope_scaling": scaling}
