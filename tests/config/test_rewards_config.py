"""Settings of rewards that no run survives, or that would pay for anything, are refused where they are made."""

import math

import pytest

from r1jax.config import ConfigError, RewardConfig, RewardsConfig
from r1jax.config.learn import Schedule, constant
from r1jax.config.rewards import CodeConfig, JudgeConfig, LanguageConfig, RepetitionConfig, SandboxConfig


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize(
    ("make", "field"),
    [
        (lambda value: RewardConfig("maths", constant(value)), "the weight of maths"),
        (lambda value: RewardConfig("maths", Schedule(((0, 1.0), (9, value)))), "the weight of maths"),
        (lambda value: CodeConfig(tolerance=value), "rewards.code.tolerance"),
        (lambda value: CodeConfig(wall_seconds=value), "rewards.code.wall_seconds"),
        (lambda value: CodeConfig(cpu_seconds=value), "rewards.code.cpu_seconds"),
        (lambda value: JudgeConfig(temperature=value), "rewards.judge.temperature"),
        (lambda value: JudgeConfig(timeout_seconds=value), "rewards.judge.timeout_seconds"),
        (lambda value: RepetitionConfig(penalty=value), "rewards.repetition.penalty"),
        (lambda value: LanguageConfig(han_per_word=value), "rewards.language.han_per_word"),
        (lambda value: RewardsConfig(deadline_seconds=value), "rewards.deadline_seconds"),
    ],
)
def test_what_is_no_finite_number_is_refused(make, field, value):
    with pytest.raises(ConfigError, match=rf"{field}: expected .*, found .*{value}"):
        make(value)


def test_a_control_group_goes_with_jails_alone():
    for settings in ({"unsafe": True}, {"backend": "piston", "url": "http://host:2000"}):
        with pytest.raises(ConfigError, match=r"rewards.sandbox.cgroup: expected None without jails"):
            SandboxConfig(cgroup="/sys/fs/cgroup/runs", **settings)


def test_a_tolerance_that_takes_any_number_for_right_is_refused():
    with pytest.raises(ConfigError, match=r"rewards.code.tolerance: expected 0 or more, and below 1, found 1.0"):
        CodeConfig(tolerance=1.0)


@pytest.mark.parametrize("name", ["workers", "worker_memory_mib", "recycle_after"])
def test_counts_of_the_service_are_positive(name):
    with pytest.raises(ConfigError, match=rf"rewards.{name}: expected 1 or more, found 0"):
        RewardsConfig(**{name: 0})
