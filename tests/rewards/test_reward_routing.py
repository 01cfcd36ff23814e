"""Records name their reward set; sets name rewards of ours or the user's."""

import pytest

from r1jax.config import ConfigError, RewardConfig, RewardsConfig, RewardSetConfig, Schedule
from r1jax.errors import UserError
from r1jax.rewards import routing
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Reward, Status


def test_every_reward_of_the_table_resolves_to_itself_or_is_made_with_the_settings():
    for name, found in routing.REWARDS.items():
        reward = routing.resolve(name, RewardsConfig())
        assert reward is found if isinstance(found, Reward) else isinstance(reward, Reward)


def test_an_unknown_name_suggests_the_nearest():
    with pytest.raises(ConfigError, match=r"found 'math' \(did you mean maths\?\)"):
        routing.resolve("math", RewardsConfig())


def test_a_function_of_the_users_has_no_bounds_and_runs_in_the_parent():
    reward = routing.resolve("reward_faults:rank_in_group", RewardsConfig())
    assert (reward.low, reward.high, reward.isolation) == (float("-inf"), float("inf"), None)


def test_a_reward_of_the_users_declares_its_own_range():
    assert routing.resolve("reward_faults:FAULTS", RewardsConfig()).low == -1.0


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_module:f", "expected a module that can be imported, found 'no_such_module:f'"),
        ("reward_faults:missing", "called 'missing' in reward_faults, found None"),
        (":f", "expected module:function with the module's full name, found ':f'"),
        ("..m:f", "full name, found '..m:f'"),
        ("reward_faults:NOT_A_REWARD", "found 'a string'"),
    ],
)
def test_a_name_that_leads_nowhere_is_a_config_error(name, message):
    with pytest.raises(ConfigError, match=message):
        routing.resolve(name, RewardsConfig())


def test_the_service_refuses_an_unknown_reward_at_once():
    with pytest.raises(ConfigError, match="did you mean format"):
        RewardService(RewardsConfig(sets=(RewardSetConfig("default", (RewardConfig("fromat"),)),)))


def test_weights_follow_their_schedules():
    fading = RewardConfig("format", Schedule(((0, 1.0), (100, 0.25))))
    config = RewardsConfig(sets=(RewardSetConfig("default", (RewardConfig("maths"), fading)),))
    assert routing.weights_at(config, 99) == {"default": {"maths": 1.0, "format": 1.0}}
    assert routing.weights_at(config, 100) == {"default": {"maths": 1.0, "format": 0.25}}


def test_a_record_goes_to_the_set_it_names():
    sets = {"default": {}, "code": {}}
    assert routing.set_of({"rewards": "code"}, sets) == "code"
    assert routing.set_of({}, sets) == "default"
    assert routing.set_of({"rewards": None}, sets) == "default"  # as columns of tables have it
    with pytest.raises(ValueError, match="record 'r1': expected a reward set out of default, code .* found 'prose'"):
        routing.set_of({"id": "r1", "rewards": "prose"}, sets)
    with pytest.raises(UserError, match=r"record 'r1': expected a reward set .* found \['maths'\]"):
        routing.set_of({"id": "r1", "rewards": ["maths"]}, sets)


def test_one_batch_mixes_records_of_all_kinds():
    form = RewardConfig("format", Schedule(((0, 0.5),)))
    kinds = {
        "maths": "maths",  # by strings, numbers or a worker
        "code": "reward_faults:FAULTS",  # by a worker, with a deadline of its own
        "choice": "choice",  # in this process
        "general": "reward_faults:WAITING",  # in a thread
    }
    sets = tuple(RewardSetConfig(name, (RewardConfig(reward), form)) for name, reward in kinds.items())
    cases = {
        "maths": ({"answer": r"\frac{1}{2}"}, r"<think>a</think><answer>\frac{2}{4}</answer>", Status.CORRECT, 1.5),
        "code": ({"seconds": 9.0, "sleep": 0.1}, "sleep", Status.CORRECT, 1.0),
        "choice": ({"answer": "C"}, "<think>a</think><answer>B</answer>", Status.WRONG, 0.5),
        "general": ({"sleep": 0.1}, "sleep", Status.CORRECT, 1.0),
    }
    items = [
        Item({"id": f"{kind} {copy}", "rewards": kind, **record}, completion)
        for copy in range(8)
        for kind, (record, completion, *_) in cases.items()
    ]
    with RewardService(RewardsConfig(sets=sets, worker_memory_mib=1024)) as service:
        weights = service.weights_at(0)
        for item, verdict in zip(items, service.score(items), strict=True):
            kind = item.record["rewards"]
            assert verdict.reward_set == kind
            assert list(verdict.scores) == [kinds[kind], "format"]
            assert (verdict.status, verdict.total(weights[kind])) == cases[kind][2:]
        service.submit_batch((item.record["id"], item) for item in items)
        found = dict(service.results(block=True))
    assert {name: verdict.reward_set for name, verdict in found.items()} == {
        item.record["id"]: item.record["rewards"] for item in items
    }
