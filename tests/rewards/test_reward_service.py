"""The service survives whatever an answer does to its worker, and says whose fault it was."""

import pytest
from reward_faults import config, grade

from r1jax.config import ConfigError, RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.rewards.service import RewardService
from r1jax.rewards.slot import WorkerStartError
from r1jax.rewards.verdicts import Item, RewardError, Score, Status
from r1jax.rewards.worker_process import WorkerProcess


@pytest.fixture(scope="module")
def faults():
    with RewardService(config("reward_faults:FAULTS")) as service:
        yield service


def test_a_sound_worker_answers(faults):
    assert grade(faults, "nothing") == Score(1.0, Status.CORRECT, "nothing")


def test_what_the_parent_can_decide_needs_no_worker():
    with RewardService(config("reward_faults:FAULTS")) as service:
        assert grade(service, "quick") == Score(1.0, Status.CORRECT)
        assert service.health()["worker_share"] == 0.0
        assert service._pool is None


@pytest.mark.parametrize("action", ["hang", "eat memory", "die", "segfault"])
def test_an_answer_over_its_limits_is_the_policys_fault(faults, action):
    assert grade(faults, action) == Score(-1.0, Status.OVER_LIMIT)
    assert grade(faults, "nothing").status is Status.CORRECT


def test_an_answer_that_only_the_grader_trips_over_is_wrong(faults):
    assert grade(faults, "raise") == Score(-1.0, Status.WRONG)


@pytest.mark.parametrize(("action", "gold"), [("hang", "hang"), ("raise", "die"), ("die", "mask")])
def test_a_failure_that_the_gold_shares_is_masked(faults, action, gold):
    assert grade(faults, action, gold=gold) == Score(None, Status.VERIFIER_ERROR)


def test_without_a_control_no_failure_is_the_policys():
    with RewardService(config("reward_faults:WITHOUT_CONTROL")) as service:
        assert grade(service, "raise") == Score(None, Status.VERIFIER_ERROR)


def test_a_death_that_does_not_repeat_is_the_machines(faults, tmp_path):
    assert grade(faults, "die once", marker=str(tmp_path / "seen")).status is Status.CORRECT


def test_a_reward_that_prints_and_reads_does_not_disturb_the_protocol(faults):
    assert grade(faults, "print").status is Status.CORRECT


def test_a_value_of_numpys_is_no_death(faults):
    assert grade(faults, "numpy") == Score(1.0, Status.CORRECT, "numpy")


def test_a_file_without_end_is_cut_off(faults, tmp_path):
    assert grade(faults, "fill the disk", file=str(tmp_path / "file")) == Score(-1.0, Status.WRONG)


def test_a_record_that_an_isolated_reward_cannot_score_is_an_error_and_no_wrong_answer(faults):
    message = "record 'missing field': the faults reward expects the field 'gone', found id"
    with pytest.raises(RewardError, match=message):
        grade(faults, "missing field")


def test_a_score_out_of_range_is_an_error_that_names_the_reward_and_drops_its_item(faults):
    faults.submit("bad", Item({"id": "r1"}, "out of range"))
    with pytest.raises(RewardError, match=r"reward reward_faults:FAULTS, record 'r1'.*found 1.5"):
        list(faults.results(block=True))
    assert list(faults.results(block=True)) == []


@pytest.mark.parametrize(
    ("name", "memory_mib", "message"),
    [
        ("reward_faults:BROKEN", 512, "ImportError: the grader is not installed"),
        ("reward_faults:FAULTS", 16, r"rewards.worker_memory_mib: expected at least \d+ .*found 16"),
    ],
)
def test_workers_that_never_start_stop_the_run_and_say_why(monkeypatch, name, memory_mib, message):
    monkeypatch.setattr("r1jax.rewards.slot.START_PAUSE_SECONDS", 0.0)
    service = RewardService(config(name, worker_memory_mib=memory_mib))
    with service, pytest.raises(WorkerStartError, match=message):
        grade(service, "nothing")


def test_workers_that_do_not_start_again_mask_the_sample(monkeypatch):
    monkeypatch.setattr("r1jax.rewards.slot.START_PAUSE_SECONDS", 0.0)
    with RewardService(config("reward_faults:FAULTS", workers=1, recycle_after=1)) as service:
        assert grade(service, "nothing").status is Status.CORRECT  # and its worker is done
        monkeypatch.setattr("r1jax.rewards.worker_process.sys.executable", "/bin/false")
        assert grade(service, "nothing") == Score(None, Status.INFRASTRUCTURE_ERROR)
        monkeypatch.undo()
        assert grade(service, "nothing").status is Status.CORRECT


def test_a_worker_is_recycled_after_its_items():
    with RewardService(config("reward_faults:FAULTS", workers=1, recycle_after=2)) as service:
        processes = [grade(service, "name process").answer for _ in range(4)]
        assert processes[0] == processes[1] != processes[2] == processes[3]
        assert service.health()["respawns"] == 0


def test_a_worker_that_has_grown_is_replaced_before_the_next_item():
    with RewardService(config("reward_faults:FAULTS", workers=1)) as service:
        # 300 MiB of the 512 are kept: a second such item would fail, through no fault of its own.
        assert [grade(service, "grow").status for _ in range(3)] == [Status.CORRECT] * 3


def test_records_of_several_sets_are_scored_together():
    sets = (
        RewardSetConfig("sums", (RewardConfig("maths"), RewardConfig("format"))),
        RewardSetConfig("pairs", (RewardConfig("pair_search"), RewardConfig("format"))),
    )
    with RewardService(RewardsConfig(sets=sets)) as service:
        sums, pairs = service.score(
            [
                Item({"rewards": "sums", "answer": "9"}, "<think> a </think> <answer> 9 </answer>"),
                Item({"rewards": "pairs", "numbers": [4, 5], "target": 9}, "<answer> 4 5 </answer>"),
            ]
        )
        weights = service.weights_at(0)
    assert sums.scores == {"maths": Score(1.0, Status.CORRECT, "9"), "format": Score(1.0, Status.SCORED)}
    assert pairs.scores == {"pair_search": Score(1.0, Status.CORRECT, "4 5"), "format": Score(0.0, Status.SCORED)}
    assert sums.total(weights[sums.reward_set]) == 2.0
    assert pairs.total(weights[pairs.reward_set]) == 1.0


def test_maths_end_to_end():
    answers = {
        "72": Status.CORRECT,
        "73": Status.WRONG,
        r"36 \cdot 2": Status.CORRECT,
        r"9^{9^{9^{9}}}": Status.OVER_LIMIT,
    }
    settings = {"worker_memory_mib": 1024, "deadline_seconds": 2.0}
    with RewardService(config("maths", **settings)) as service:
        verdicts = service.score([Item({"answer": "72"}, f"<answer>{answer}</answer>") for answer in answers])
        assert [verdict.status for verdict in verdicts] == list(answers.values())
        (bad_gold,) = service.score([Item({"answer": r"\frac{7"}, "<answer> 72 </answer>")])
        assert bad_gold.status is Status.VERIFIER_ERROR
        pairs = [("2x", "x+x"), ("x+x", "2x"), ("7", "7.0"), ("7", "8"), ("9^{9^{9^{9}}}", "2"), ("2x", "3x")]
        assert service.equivalent(pairs) == [True, True, True, False, None, False]
        health = service.health()
    assert health["items"] == 5
    assert health["worker_share"] == pytest.approx(3 / 5)
    assert health["over_limit_rate"] == pytest.approx(1 / 5)
    assert health["error_rate"] == pytest.approx(1 / 5)
    assert health["respawns"] == 2
    assert health["seconds_p50"] < 2.0 <= health["seconds_p95"]  # the third and the fifth of five


@pytest.mark.parametrize("name", ["countdown", "reward_faults:FAULTS"])
def test_equivalence_warms_up_before_its_deadline_runs(monkeypatch, name):
    warmed_up = []

    class Recorded(WorkerProcess):
        def request(self, message, deadline_seconds):
            warmed_up.append((message["operation"], "maths" in self.rewards))
            return super().request(message, deadline_seconds)

    monkeypatch.setattr("r1jax.rewards.slot.WorkerProcess", Recorded)
    with RewardService(config(name, workers=1, worker_memory_mib=1024, deadline_seconds=5.0)) as service:
        if name != "countdown":
            assert grade(service, "nothing").status is Status.CORRECT
        assert service.equivalent([("2x", "x+x")]) == [True]
    assert warmed_up == [("score", False)] * (name != "countdown") + [("equivalent", True)]


@pytest.mark.parametrize("seconds", [0.0, float("nan"), float("inf"), 1e8])
def test_a_deadline_that_no_system_call_takes_is_refused(seconds):
    with pytest.raises(ConfigError, match="rewards.deadline_seconds: expected above 0 and at most 86400, found"):
        RewardsConfig(deadline_seconds=seconds)
