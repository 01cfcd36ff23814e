"""Which rewards a record gets, and at which weights."""

from __future__ import annotations

import difflib
import importlib
import math
from collections.abc import Callable, Mapping
from typing import Any

from r1jax.config import ConfigError, RewardsConfig
from r1jax.errors import UserError
from r1jax.rewards.choice import choice_reward
from r1jax.rewards.code.reward import code_reward
from r1jax.rewards.cosine import cosine_length_reward
from r1jax.rewards.countdown import countdown_reward
from r1jax.rewards.format import format_reward
from r1jax.rewards.format_r1 import format_cold_start_reward, format_r1_reward
from r1jax.rewards.judge.reward import judge_reward
from r1jax.rewards.language import language_reward
from r1jax.rewards.maths import MATHS_ISOLATION, maths_reward
from r1jax.rewards.pair_search import pair_search_reward
from r1jax.rewards.repetition import repetition_reward
from r1jax.rewards.short_text import short_text_reward
from r1jax.rewards.small_talk import small_talk_reward
from r1jax.rewards.starts_with_answer import starts_with_answer_reward
from r1jax.rewards.verdicts import Reward

Maker = Callable[[RewardsConfig], Reward]  # of a reward that has settings

REWARDS: dict[str, Reward | Maker] = {
    "maths": Reward(maths_reward, low=0.0, high=1.0, isolation=MATHS_ISOLATION),
    "choice": Reward(choice_reward, low=0.0, high=1.0),
    "short_text": Reward(short_text_reward, low=0.0, high=1.0),
    "format": Reward(format_reward, low=0.0, high=1.0),
    "format_r1": Reward(format_r1_reward, low=0.0, high=1.0),
    "format_cold_start": Reward(format_cold_start_reward, low=0.0, high=1.0),
    "language": language_reward,
    "repetition": repetition_reward,
    "cosine_length": cosine_length_reward,
    "code": code_reward,
    "judge": judge_reward,
    "countdown": Reward(countdown_reward, low=0.0, high=1.0),
    "small_talk": Reward(small_talk_reward, low=0.0, high=1.0),
    "pair_search": Reward(pair_search_reward, low=0.0, high=1.0),
    "starts_with_answer": Reward(starts_with_answer_reward, low=0.0, high=1.0),
}
DEFAULT_SET = "default"  # of records without a `rewards` field


def resolve(name: str, config: RewardsConfig) -> Reward:
    """The reward of a name of REWARDS, with its settings of `config`, or of `module:attribute`.

    The attribute is a function from items to scores (any finite value, run in the parent process), or a
    `Reward`, which declares its range and may ask to be isolated. ConfigError says what is wrong with a name.
    """
    if ":" not in name:
        if name in REWARDS:
            found = REWARDS[name]
            return found if isinstance(found, Reward) else found(config)
        near = difflib.get_close_matches(name, REWARDS, n=1)
        hint = f" (did you mean {near[0]}?)" if near else ""
        raise ConfigError(f"rewards: expected one of {', '.join(REWARDS)}, or module:function; found {name!r}{hint}")
    module_name, _, attribute = name.partition(":")
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise ConfigError(f"rewards: expected module:function with the module's full name, found {name!r}")
    try:
        module = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{module_name}.".startswith(f"{error.name}."):
            raise  # the module is there, what it imports is not
        raise ConfigError(f"rewards: expected a module that can be imported, found {name!r}: {error}") from error
    found = vars(module).get(attribute)
    if isinstance(found, Reward):
        return found
    if callable(found):
        return Reward(found, low=-math.inf, high=math.inf)
    raise ConfigError(
        f"rewards: expected a function or a Reward called {attribute!r} in {module_name}, found {found!r}"
    )


def resolve_sets(config: RewardsConfig) -> dict[str, dict[str, Reward]]:
    """Set name -> reward name -> reward, in the order of the config."""
    names = dict.fromkeys(reward.name for one in config.sets for reward in one.rewards)
    found = {name: resolve(name, config) for name in names}
    return {one.name: {reward.name: found[reward.name] for reward in one.rewards} for one in config.sets}


def weights_at(config: RewardsConfig, step: int) -> dict[str, dict[str, float]]:
    """Set name -> reward name -> weight in force at `step` (optimiser steps of the stage)."""
    return {one.name: {reward.name: reward.weight.at(step) for reward in one.rewards} for one in config.sets}


def set_of(record: Mapping[str, Any], sets: Mapping[str, Any]) -> str:
    """The reward set that a record names, DEFAULT_SET where the field is missing or null; UserError for no such set."""
    name = record.get("rewards")
    if name is None:
        name = DEFAULT_SET
    if not isinstance(name, str) or name not in sets:
        raise UserError(
            f"record {record.get('id')!r}: expected a reward set out of {', '.join(sets)} "
            f"(rewards.sets of the config), found {name!r}"
        )
    return name
