"""The texts beside the weights of a Hugging Face folder: config.json, generation_config.json, the tokenizer's files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from etils import epath

from r1jax.models.huggingface.errors import WeightsError

CONFIG, GENERATION = "config.json", "generation_config.json"
_TOKENIZER = (
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "tokenizer.model",
    "chat_template.jinja",
)


def read_object(file: Any) -> dict[str, Any]:
    """The JSON object in a file (a pathlib or epath path). Raises WeightsError where there is none."""
    if not file.is_file():
        raise WeightsError(f"{file}: expected this file, found none")
    try:
        value = json.loads(file.read_text())
    except ValueError as error:  # of JSON or of UTF-8
        raise WeightsError(f"{file}: expected JSON ({error})") from error
    if not isinstance(value, dict):
        raise WeightsError(f"{file}: expected a JSON object, found a {type(value).__name__}")
    return value


def write_json(file: Any, value: Any) -> None:
    """A JSON file (a pathlib or epath path) as the hub's are: indented, in UTF-8."""
    file.write_bytes((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def copy_texts(source: epath.PathLike, target: epath.PathLike) -> None:
    """Copies all of a folder but its weights, as far as it is there."""
    _copy(source, target, (CONFIG, GENERATION, *_TOKENIZER))


def copy_tokenizer(source: epath.PathLike, target: epath.PathLike) -> None:
    """Copies what belongs to the tokenizer, as far as it is there."""
    _copy(source, target, _TOKENIZER)


def _copy(source: epath.PathLike, target: epath.PathLike, names: Sequence[str]) -> None:
    for name in names:
        file = epath.Path(source) / name
        if file.exists():
            (epath.Path(target) / name).write_bytes(file.read_bytes())
