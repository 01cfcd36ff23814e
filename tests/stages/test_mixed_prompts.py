"""The prompts of a rollout come from their sources in the shares of the step, in one order, and resume exactly."""

import dataclasses
import types

import pytest
from tiny_preferences import written
from tiny_runs import BASE, ZERO, tiny_run

from r1jax.config import DataConfig, MixedDataConfig, RewardConfig, RewardSetConfig, Schedule, constant
from r1jax.data import sources
from r1jax.data.iterators import epochs
from r1jax.data.records import DataError
from r1jax.errors import UserError
from r1jax.stages.context import load_tokenizer
from r1jax.stages.mixed_prompts import open_prompts, prompt_counts, spread

DATA = DataConfig(kind="task", name="chained_sums", limit=8)
STAGE = dataclasses.replace(ZERO, rollout_prompts=10, num_steps=8)


def mixed(*shares):
    """A stage with one source for each share; the share of step 0, or a schedule."""
    schedules = [share if isinstance(share, Schedule) else constant(share) for share in shares]
    return dataclasses.replace(STAGE, mixed=tuple(MixedDataConfig(DATA, share) for share in schedules))


def questions(count: int, name: str) -> list[dict]:
    return [
        {"id": f"{name}-{number}", "question": f"compute {number} + 2 ?", "rewards": "general"}
        for number in range(count)
    ]


def run_of(*sets: str):
    """What `open_prompts` needs of a run."""
    config = tiny_run(BASE, ZERO)
    rewards = tuple(RewardSetConfig(name, (RewardConfig("format"),)) for name in sets)
    config = dataclasses.replace(config, rewards=dataclasses.replace(config.rewards, sets=rewards))
    return types.SimpleNamespace(
        config=config,
        tokenizer=load_tokenizer(config.tokenizer),
        seed_of=lambda purpose: sum(map(ord, purpose)),
        load=sources.load,
    )


def own_and_general(tmp_path, share: Schedule, **changes):
    """A stage with 6 records of its own and 4 general ones, which come from their file."""
    own = written(tmp_path / "own.jsonl", [one | {"rewards": "default"} for one in questions(6, "own")])
    general = written(tmp_path / "general.jsonl", questions(4, "general"))
    return dataclasses.replace(STAGE, data=own, mixed=(MixedDataConfig(general, share),), **changes)


def kinds(records) -> list[str]:
    return [record["id"].split("-")[0] for record in records]


def test_each_source_gives_its_rounded_share_and_the_own_data_the_rest():
    assert prompt_counts(STAGE, 0) == [10]
    assert prompt_counts(mixed(0.3, 0.14), 0) == [6, 3, 1]
    assert prompt_counts(mixed(1.0), 0) == [0, 10]
    assert prompt_counts(mixed(0.0), 0) == [10, 0]


def test_rounding_never_asks_for_more_prompts_than_a_rollout_has():
    # 3 x 0.5 = 1.5 is rounded to 2 for both: the second has what is left.
    halves = dataclasses.replace(mixed(0.5, 0.5), rollout_prompts=3)
    assert prompt_counts(halves, 0) == [0, 2, 1]


def test_the_share_follows_its_schedule():
    late = mixed(Schedule(((0, 0.0), (4, 0.5))))
    assert [prompt_counts(late, step) for step in (0, 3, 4, 7)] == [[10, 0], [10, 0], [5, 5], [5, 5]]
    growing = mixed(Schedule(((0, 0.0), (10, 1.0)), "linear"))
    assert [prompt_counts(growing, step)[1] for step in (0, 2, 10)] == [0, 2, 10]


def test_sources_stand_evenly_in_a_draw_so_that_its_first_part_has_their_shares():
    assert spread([3, 1]) == [0, 0, 1, 0]
    assert spread([0, 2]) == [1, 1]
    assert spread([2, 2]) == [0, 1, 0, 1]
    assert spread([1, 1, 1]) == [0, 1, 2]
    order = spread([12, 6, 2])
    assert [order.count(source) for source in range(3)] == [12, 6, 2]
    for end in range(1, 21):
        for source, share in enumerate((0.6, 0.3, 0.1)):
            assert abs(order[:end].count(source) - share * end) <= 1


def test_each_source_goes_through_its_own_records_whatever_the_others_give(tmp_path):
    stage = own_and_general(tmp_path, Schedule(((0, 0.0), (4, 0.4))))
    run = run_of("default", "general")
    prompts = open_prompts(stage, run)
    drawn = [next(prompts.at(step)) for step in range(8)]
    assert [kinds(one).count("general") for one in drawn] == [0, 0, 0, 0, 4, 4, 4, 4]
    assert kinds(drawn[4]) == kinds(drawn[7]) == ["general" if source else "own" for source in spread([6, 4])]
    general = [one["id"] for batch in drawn for one in batch if one["id"].startswith("general")]
    for epoch in range(4):  # four a rollout are one epoch each
        assert len(set(general[4 * epoch : 4 * epoch + 4])) == 4
    # The own prompts are those of a stage without a mixture, in the same order.
    alone = open_prompts(dataclasses.replace(stage, mixed=()), run)
    unmixed = [one["id"] for _ in range(8) for one in next(alone.at(0))]
    own = [one["id"] for batch in drawn for one in batch if one["id"].startswith("own")]
    assert own == unmixed[: len(own)]


def test_a_saved_state_goes_on_with_the_draw_that_would_have_come_next(tmp_path):
    stage = own_and_general(tmp_path, constant(0.3))
    run = run_of("default", "general")
    prompts = open_prompts(stage, run)
    for step in range(3):
        next(prompts.at(step))
    state = prompts.get_state()
    expected = [next(prompts.at(step)) for step in range(3, 6)]
    again = open_prompts(stage, run)
    again.set_state(state)
    assert [next(again.at(step)) for step in range(3, 6)] == expected
    draws = open_prompts(stage, run).at(0)
    assert next(draws) != next(draws)  # a back-fill asks further prompts
    before = draws.get_state()
    assert before != state


def test_a_state_of_other_sources_is_refused(tmp_path):
    stage = own_and_general(tmp_path, constant(0.3))
    run = run_of("default", "general")
    state = open_prompts(stage, run).get_state()
    alone = open_prompts(dataclasses.replace(stage, mixed=()), run)
    with pytest.raises(DataError, match=r"zero.mixed: expected the sources of the saved state \(2 in use.* \(1 in use"):
        alone.set_state(state)


def test_a_source_that_never_comes_is_not_loaded(tmp_path):
    run = run_of("default", "general")
    missing = DataConfig(kind="jsonl", path=str(tmp_path / "nowhere.jsonl"))
    late = Schedule(((0, 0.0), (STAGE.num_steps, 0.5)))  # begins when the stage is over
    for share in (constant(0.0), constant(0.01), late):
        stage = dataclasses.replace(STAGE, mixed=(MixedDataConfig(missing, share),))
        prompts = open_prompts(stage, run)
        assert len(next(prompts.at(0))) == 10
        prompts.set_state(prompts.get_state())
    with pytest.raises(DataError, match="nowhere"):
        open_prompts(dataclasses.replace(STAGE, mixed=(MixedDataConfig(missing, constant(0.1)),)), run)


def test_records_that_cannot_be_asked_or_graded_are_found_at_the_start(tmp_path):
    late = Schedule(((0, 0.0), (4, 0.5)))
    stage = own_and_general(tmp_path, late)
    with pytest.raises(UserError, match="record 'general-0': expected a reward set out of default .* found 'general'"):
        open_prompts(stage, run_of("default"))
    long = dataclasses.replace(stage, sampler=dataclasses.replace(stage.sampler, max_prompt_tokens=4))
    with pytest.raises(DataError, match="record own-0: expected a prompt of at most"):
        open_prompts(long, run_of("default", "general"))


def test_batches_of_one_are_drawn_like_any_others():
    ones, fours = epochs(list(range(6)), seed=3, batch_size=1), epochs(list(range(6)), seed=3, batch_size=4)
    assert [next(ones) for _ in range(12)] == [[number] for _ in range(3) for number in next(fours)]
