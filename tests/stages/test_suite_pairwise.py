"""Our answers against a reference's: whom the judge likes wins, where it is shown does not count."""

import dataclasses
import json
import pathlib

import pytest
from tiny_suites import RUN, SUITE, results_of, server, trained

from r1jax.config import ConfigError
from r1jax.config.rewards import JudgeConfig
from r1jax.data.records import DataError
from r1jax.errors import UserError
from r1jax.rewards.judge.ask import of_model
from r1jax.rewards.judge.votes import Pair, Preference, Vote
from r1jax.suites import pairwise
from r1jax.suites.pairwise import LOST, TIED, WON, Judged, figures, judge_pairs, score_of

ALONE = dataclasses.replace(SUITE, benchmarks=())


def turn(text: str) -> str:
    return f"<think>\nlong thinking\n</think>\n\n{text}"


def pair(ours: str, theirs: str) -> Pair:
    return Pair("Why?", turn(ours), turn(theirs))


def says(label: str):
    return of_model(lambda conversations: [f"[[{label}]]"] * len(conversations))


def likes(word: str):
    """A judge that likes the answer with the word in it, wherever it stands."""

    def reply(content: str) -> str:
        first, second = (content.split(f"<answer-{place}-")[1].split("</answer-")[0] for place in "AB")
        found = (word in first, word in second)
        return {(True, False): "[[A>B]]", (False, True): "[[B>>A]]"}.get(found, "[[A=B]]")

    return reply


def votes(*values: tuple[bool, str | None]) -> Preference:
    return Preference(tuple(Vote(swapped, label, None if label else "down") for swapped, label in values))


@pytest.mark.parametrize(
    ("cast", "score"),
    [
        (((False, "A>B"), (True, "B>A")), WON),  # 1 and 1
        (((False, "A>>B"), (True, "A>>B")), TIED),  # 2 and -2: the place alone
        (((False, "A=B"), (True, "A=B")), TIED),
        (((False, "A>B"), (True, "A>>B")), LOST),  # 1 and -2
        (((False, "A>>B"), (False, "A>>B"), (True, "A>>B"), (True, None)), TIED),  # 2 and -2, a vote missing
        (((False, "A>B"), (True, None)), None),  # a liking for the first place would not cancel
        (((False, None), (True, None)), None),
    ],
)
def test_a_question_is_won_by_its_votes_each_order_counting_half(cast, score):
    assert score_of(votes(*cast)) == score


@pytest.mark.parametrize("label", ["A>>B", "A>B", "A=B", "B>A", "B>>A"])
def test_a_judge_that_looks_at_the_place_alone_ties_everything(label):
    judged = judge_pairs(says(label), [pair("one", "two"), pair("x", "y")], votes=2, seed=0)
    assert [one.score for one in judged] == [TIED, TIED]


def test_a_judge_that_knows_the_better_answer_gives_it_the_question():
    ask = of_model(lambda conversations: [likes("good")(one[0]["content"]) for one in conversations])
    pairs = [pair("good", "bad"), pair("bad", "good"), pair("good", "good one")]
    for count in (2, 4):
        assert [one.score for one in judge_pairs(ask, pairs, votes=count, seed=3)] == [WON, LOST, TIED]


def test_the_judge_reads_the_summaries_alone():
    seen = []

    def note(conversations):
        seen.extend(one[0]["content"] for one in conversations)
        return ["[[A=B]]"] * len(conversations)

    judge_pairs(of_model(note), [pair("ours", "theirs")], votes=2, seed=0)
    assert len(seen) == 2
    assert all("ours" in one and "theirs" in one and "long thinking" not in one for one in seen)


def test_an_answer_without_a_summary_has_lost_and_nobody_is_asked():
    def nobody(conversations):
        raise AssertionError("asked")

    cut = Pair("Why?", "<think>\nand so on", turn("theirs"))
    other = Pair("Why?", turn("ours"), "<think>\n</think>  ")
    neither = Pair("Why?", "<think>", "<think>")
    judged = judge_pairs(of_model(nobody), [cut, other, neither], votes=2, seed=0)
    assert [one.score for one in judged] == [LOST, WON, TIED]


def test_many_pairs_are_asked_part_by_part_and_stay_in_order(monkeypatch):
    monkeypatch.setattr(pairwise, "PAIRS_AT_ONCE", 3)
    ask = of_model(lambda conversations: [likes("good")(one[0]["content"]) for one in conversations])
    pairs = [pair("good", "bad") if number % 3 else pair("bad", "good") for number in range(10)]
    assert [one.score for one in judge_pairs(ask, pairs, votes=2, seed=0)] == [
        WON if number % 3 else LOST for number in range(10)
    ]


def test_a_tie_counts_half_and_what_was_not_judged_not_at_all():
    judged = [Judged(score, None) for score in (WON, WON, TIED, LOST, None)]
    found = figures(judged, resamples=200, seed=0)
    assert found["win_rate"] == (1 + 1 + 0.5 + 0) / 4
    assert [found[key] for key in ("won", "tied", "lost", "unjudged", "num_prompts")] == [2, 1, 1, 1, 5]
    low, high = found["win_rate_interval"]
    assert 0 <= low < found["win_rate"] < high <= 1


def test_equal_scores_leave_no_interval():
    assert figures([Judged(WON, None)] * 9, resamples=50, seed=0)["win_rate_interval"] == [1.0, 1.0]


def test_the_interval_narrows_with_the_questions():
    def width(count: int) -> float:
        low, high = figures([Judged(WON, None), Judged(LOST, None)] * count, resamples=400, seed=1)["win_rate_interval"]
        return high - low

    assert width(100) < width(10) / 2


def test_a_judge_that_never_answers_is_an_error_with_its_reason():
    judged = [Judged(None, votes((False, None), (True, None)))]
    with pytest.raises(UserError, match=r"none of the 1 questions could be judged \(down\)"):
        figures(judged, resamples=10, seed=0)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return trained(tmp_path_factory.mktemp("pairwise") / "run")


@pytest.fixture
def reference(tmp_path):
    path = tmp_path / "reference.jsonl"
    rows = [{"question": f"compute {number} + 2 ?", "response": turn("theirs")} for number in range(1, 5)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def with_judge(url: str | None):
    judge = JudgeConfig(url=url, tries=1, timeout_seconds=10, concurrency=4)
    return dataclasses.replace(RUN, rewards=dataclasses.replace(RUN.rewards, judge=judge))


def answers(workdir: str) -> list[dict]:
    path = pathlib.Path(workdir, "base", "benchmarks-2-pairwise.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_checkpoint_is_compared_over_http(workdir, reference, monkeypatch):
    monkeypatch.setattr(pairwise, "completion_text", lambda *_: turn("ours is good"))
    with server.JudgeServer(server.says("ready"), server.answers(likes("good"))) as judge:
        results = results_of(ALONE, workdir, config=with_judge(judge.url), judge_against=reference)
        asked = len(judge.requests)
        again = results_of(ALONE, workdir, config=with_judge(judge.url), judge_against=reference)
        assert len(judge.requests) == asked == 1 + 4 * 2  # one greeting, then both orders of each question
    assert again == results
    found = results["pairwise"]
    assert (found["win_rate"], found["won"], found["num_prompts"], found["votes"]) == (1.0, 4, 4, 2)
    assert (found["reference"], found["k"], found["template"]) == ("reference.jsonl", 1, "plain")
    assert found["mean_summary_chars"] == len("ours is good")
    lines = answers(workdir)
    assert [line["score"] for line in lines] == [WON] * 4
    assert {line["reference"] for line in lines} == {turn("theirs")}
    assert all(sorted(vote["swapped"] for vote in line["votes"]) == [False, True] for line in lines)


def test_the_answers_are_what_the_checkpoint_writes_and_are_the_same_again(workdir, reference):
    def ours() -> list[str]:
        with server.JudgeServer(server.says("ready"), server.says("[[A=B]]")) as judge:
            found = results_of(ALONE, workdir, config=with_judge(judge.url), judge_against=reference, again=True)
        assert found["pairwise"]["win_rate"] == 0.5
        return [line["response"] for line in answers(workdir)]

    first = ours()
    assert first == ours()
    assert len(set(first)) > 1


def test_other_answers_of_the_reference_are_judged_again(workdir, reference):
    with server.JudgeServer(server.says("ready"), server.says("[[A=B]]")) as judge:
        config = with_judge(judge.url)
        results_of(ALONE, workdir, config=config, judge_against=reference, again=True)
        asked = len(judge.requests)
        reference.write_text(reference.read_text().replace("theirs", "others"))
        results_of(ALONE, workdir, config=config, judge_against=reference)
        assert len(judge.requests) == 2 * asked


def test_a_judge_that_is_not_there_is_said_before_anything_is_sampled(workdir, reference, monkeypatch):
    def sampled(*_):
        raise AssertionError("something was sampled")

    monkeypatch.setattr(pairwise, "_answers", sampled)
    with pytest.raises(ConfigError, match="rewards.judge.url"):
        results_of(ALONE, workdir, config=with_judge(None), judge_against=reference, again=True)
    with pytest.raises(UserError, match="expected an endpoint that answers"):
        results_of(ALONE, workdir, config=with_judge("http://127.0.0.1:9/v1"), judge_against=reference, again=True)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"question": "a"}', "expected the field 'response'"),
        ('{"response": "a"}', "expected the field 'question'"),
        ("{", "reference.jsonl:1: not JSON"),
    ],
)
def test_a_reference_with_a_gap_is_named_by_its_record(workdir, reference, text, words):
    reference.write_text(text + "\n")
    with pytest.raises(DataError, match=words):
        results_of(ALONE, workdir, config=with_judge("http://127.0.0.1:9/v1"), judge_against=reference)


def test_a_reference_that_is_not_there_is_named_by_its_flag(workdir, tmp_path):
    for path, found in ((tmp_path / "none.jsonl", "none"), (tmp_path, "a folder")):
        with pytest.raises(UserError, match=rf"--judge_against=.*: expected a JSONL file, found {found}"):
            results_of(ALONE, workdir, config=with_judge("http://127.0.0.1:9/v1"), judge_against=path)
