"""What config.json and generation_config.json of an exported folder say.

The model's own part follows from its ModelConfig. The rest (longest context, special tokens, how to sample) no
ModelConfig has: it is taken from the folder that the model came from, and from the tokenizer it is used with now.
"""

from __future__ import annotations

from typing import Any

from absl import logging
from etils import epath

from r1jax.config import ModelConfig
from r1jax.models.huggingface.config_json import write_config
from r1jax.models.huggingface.errors import WeightsError
from r1jax.models.huggingface.folder_texts import CONFIG, GENERATION, read_object
from r1jax.text.tokenizer import Tokenizer

_POSITIONS, _BOS, _EOS, _PAD = "max_position_embeddings", "bos_token_id", "eos_token_id", "pad_token_id"


def exported_texts(
    model: ModelConfig,
    dtype: str,
    *,
    tokenizer: Tokenizer | None,
    source: epath.PathLike | None,
    max_positions: int | None,
) -> dict[str, dict[str, Any]]:
    """Contents by the file's name; generation_config.json is absent where there is nothing to say in it.

    Logs a warning where the longest context is a guess. Arguments and errors are those of `exporter.export`.
    """
    config_before, generation_before = ({}, {}) if source is None else _read(epath.Path(source))
    if max_positions is None:
        max_positions = config_before.get(_POSITIONS)
    config = write_config(model, max_positions=max_positions)
    if max_positions is None:
        logging.warning(
            "%s: %s is %d, which is a guess: vLLM serves no longer context; set it there, or export with max_positions "
            "or with source, the folder that the model came from",
            CONFIG,
            _POSITIONS,
            config[_POSITIONS],
        )
    ids = _token_ids(config_before, generation_before, tokenizer)
    # transformers 5 calls it dtype and reads this name, too; transformers 4 and vLLM know no other.
    texts = {CONFIG: config | ids | {"torch_dtype": dtype}}
    told = generation_before or tokenizer is not None
    return texts | ({GENERATION: generation_before | ids} if told else {})


def _read(source: epath.Path) -> tuple[dict[str, Any], dict[str, Any]]:
    generation = source / GENERATION
    return read_object(source / CONFIG), read_object(generation) if generation.exists() else {}


def _token_ids(config: dict[str, Any], generation: dict[str, Any], tokenizer: Tokenizer | None) -> dict[str, Any]:
    """Every token that ended a text before still does, and so does the tokenizer's EOS.

    A tokenizer without a padding token fills rows with its EOS, which must not be written as `pad_token_id`:
    transformers' classifiers take the last token that is not padding for the end of a text.
    """
    ids = {key: config.get(key) for key in (_BOS, _PAD)}
    stops = _stop_ids(config) + _stop_ids(generation)
    if tokenizer is not None:
        stops.append(tokenizer.eos_id)
        if tokenizer.pad_id != tokenizer.eos_id:
            ids[_PAD] = tokenizer.pad_id
        elif ids[_PAD] == tokenizer.eos_id:
            ids[_PAD] = None
        if tokenizer.bos_id is not None:
            ids[_BOS] = tokenizer.bos_id
    stops = list(dict.fromkeys(stops))
    ids[_EOS] = (stops if len(stops) > 1 else stops[0]) if stops else None
    return {key: value for key, value in ids.items() if value is not None}


def _stop_ids(text: dict[str, Any]) -> list[int]:
    value = text.get(_EOS)
    stops = value if isinstance(value, list) else [] if value is None else [value]
    if not all(type(one) is int for one in stops):
        raise WeightsError(f"source: {_EOS}: expected an integer, a list of integers or null, found {value!r}")
    return stops
