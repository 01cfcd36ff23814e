"""The logical dims of every parameter: what `parallel.rules` places on the mesh and optimisers read."""

from __future__ import annotations

from typing import Any

from r1jax.parallel.rules import Dims

STACKING = ("layers", "experts")  # dims along which matrices are stacked

_NORM = {"scale": ("layers", "norm")}
_FEED_FORWARD = {
    "gate": {"kernel": ("layers", "embed", "ffn")},
    "up": {"kernel": ("layers", "embed", "ffn")},
    "down": {"kernel": ("layers", "ffn", "embed")},
}
_STACK = {
    "attention_norm": _NORM,
    "attention": {
        "query": {"kernel": ("layers", "embed", "heads", "head"), "bias": ("layers", "heads", "head")},
        "key": {"kernel": ("layers", "embed", "kv_heads", "head"), "bias": ("layers", "kv_heads", "head")},
        "value": {"kernel": ("layers", "embed", "kv_heads", "head"), "bias": ("layers", "kv_heads", "head")},
        "query_norm": _NORM,
        "key_norm": _NORM,
        # of latent attention
        "query_down": {"kernel": ("layers", "embed", "latent")},
        "query_up": {"kernel": ("layers", "latent", "heads", "head")},
        "kv_down": {"kernel": ("layers", "embed", "latent")},
        "kv_norm": _NORM,
        "kv_up": {"kernel": ("layers", "latent", "heads", "head")},
        "out": {"kernel": ("layers", "heads", "head", "embed")},
    },
    "ffn_norm": _NORM,
    "ffn": {
        **_FEED_FORWARD,
        # of a mixture of experts
        "router": {"kernel": ("layers", "embed", None), "correction_bias": ("layers", None)},
        "experts": {
            "gate": ("layers", "experts", "embed", "ffn"),
            "up": ("layers", "experts", "embed", "ffn"),
            "down": ("layers", "experts", "ffn", "embed"),
        },
        "shared": _FEED_FORWARD,
    },
}

# Of every parameter that a decoder of any family has.
DIMS: dict[str, Any] = {
    "embed": {"embedding": ("vocab", "embed")},
    "dense_layers": _STACK,
    "layers": _STACK,
    "final_norm": {"scale": ("norm",)},
    "head": {"kernel": ("embed", "vocab")},
    "score": {"kernel": ("embed", None)},
}


def select(shapes: Any, dims: Any = DIMS) -> Any:
    """The dims of the arrays of a tree (or of their shapes): the same nested dict, with tuples of names."""
    return {key: select(shapes[key], dims[key]) for key in shapes} if isinstance(shapes, dict) else dims


def is_matrix(dims: Dims) -> bool:
    """Whether a parameter is a weight matrix: neither a norm nor a bias.

    Every matrix of a decoder reads or writes the residual stream (`embed`), a latent, or is one of the two of an
    adapter: norms and biases name none of these.
    """
    return bool({"embed", "latent", "lora_rank"} & set(dims)) and len(set(dims) - set(STACKING)) >= 2


def in_compute_dtype(dims: Dims) -> bool:
    """Whether a parameter may be held in the compute dtype: matrices, but for routers, score heads and adapters."""
    return is_matrix(dims) and not {None, "lora_rank"} & set(dims)


def input_axes(dims: Dims) -> range:
    """The axes of a kernel that are summed over: one, or all but the last where that is the model's width or a rank."""
    first = sum(dim in STACKING for dim in dims)
    return range(first, len(dims) - 1 if dims[-1] in ("embed", "lora_rank") else first + 1)
