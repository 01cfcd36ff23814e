"""The rewards accept the answers that the tasks themselves give, and no other task's."""

import pytest

from r1jax.config import RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.data.tasks import TASKS
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Status


@pytest.mark.parametrize(
    ("task", "reward"),
    [
        ("chained_sums", "maths"),
        ("chained_sums_steps", "starts_with_answer"),
        ("pair_search", "pair_search"),
        ("countdown", "countdown"),
        ("countdown_large", "countdown"),
    ],
)
@pytest.mark.parametrize("split", ["train", "test"])
def test_a_tasks_own_answer_is_correct_and_another_is_not(task, reward, split):
    records = [TASKS[task].make(0, index, split) for index in range(50)]
    tagged = "<think> so </think> <answer> {} </answer>"
    layout, other = ("{}", "0 {}") if reward == "starts_with_answer" else (tagged, "{} 9")
    right = [Item(record, layout.format(record["answer"])) for record in records]
    wrong = [Item(record, layout.format(other.format(record["answer"]))) for record in records]
    config = RewardsConfig(sets=(RewardSetConfig("default", (RewardConfig(reward),)),))
    with RewardService(config) as service:
        assert {verdict.status for verdict in service.score(right)} == {Status.CORRECT}
        assert {verdict.status for verdict in service.score(wrong)} == {Status.WRONG}
        assert service.health()["worker_share"] == 0.0  # the miniature needs no worker
