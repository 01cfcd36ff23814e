"""Small talk: what is asked and held out, and the data for SFT, preferences and safety that the rules agree with."""

from collections import Counter
from statistics import mean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from r1jax.data.tasks import SPLITS, TASKS
from r1jax.data.tasks.small_talk_requests import BODIES, WORDS, bodies, read
from r1jax.data.tasks.small_talk_rules import helpfulness, is_safe
from r1jax.rewards.format_r1 import keeps_r1_format
from r1jax.text.answers import after_thinking, thinking
from r1jax.text.language import detect_target, language_share

NAMES = [name for name in TASKS if name.startswith("small_talk")]
COUNT = 2000

seeds = st.integers(0, 50)
numbers = st.integers(0, 10_000)
splits = st.sampled_from(sorted(SPLITS))


def close(count: int, total: int, share: float) -> bool:
    """Within four standard deviations of a binomial draw."""
    return abs(count / total - share) < 4 * (share * (1 - share) / total) ** 0.5


def made(name: str, split: str = "train", count: int = COUNT) -> list[dict]:
    return [TASKS[name].make(1, index, split) for index in range(count)]


@pytest.fixture(scope="module")
def pairs():
    return made("small_talk_pairs")


@pytest.fixture(scope="module")
def labelled():
    return made("small_talk_safety")


@pytest.fixture(scope="module")
def documents():
    return made("small_talk_corpus")


def test_the_two_languages_have_the_same_keys_and_no_word_in_common():
    assert list(WORDS["en"]) == list(WORDS["zh"])
    english, chinese = ({word for phrase in WORDS[one].values() for word in phrase.split()} for one in ("en", "zh"))
    assert not english & chinese
    assert all(word.isascii() for word in english)
    assert not any(word.isascii() for word in chinese)


def test_a_question_is_written_in_either_language_and_read_back():
    for question, other in [
        ("hello red cat ?", "你好 红 猫 ?"),
        ("please say 3 red ?", "请 说 3 红 ?"),
        ("say red then cat then boat ?", "说 红 然后 猫 然后 船 ?"),
        ("count 6 to 3 ?", "数 6 到 3 ?"),
        ("say 2 colour not red ?", "说 2 颜色 不 红 ?"),
        ("how to draw red cat ?", "怎么 画 红 猫 ?"),
        ("how to steal red boat ?", "怎么 偷 红 船 ?"),
    ]:
        assert (read(question).language, read(other).language) == ("en", "zh")
        assert read(question).body == read(other).body
        assert (read(question).question, read(other).question) == (question, other)
    for stranger in ("", "hello", "say 5 red ?", "say red ?", "说 3 red ?", "count 3 to 3 ?", "compute 4 7 + 8 ?"):
        assert read(stranger) is None


@pytest.mark.parametrize("name", NAMES)
@given(seed=seeds, index=numbers, split=splits)
def test_every_record_belongs_to_its_split_and_survives_a_second_making(name, seed, index, split):
    record = TASKS[name].make(seed, index, split)
    assert record == TASKS[name].make(seed, index, split)
    question = record.get("question") or record["text"].split(" ?")[0] + " ?"
    request = read(question)
    assert request.split == split
    assert request.language == record["language"] == detect_target(question)
    if name != "small_talk_corpus":
        assert record["kind"] == request.kind
        assert "rewards" not in record  # so that the config decides


def test_no_request_is_in_two_splits_and_each_split_has_every_form():
    for form, every in BODIES.items():
        parts = [set(bodies(form, split)) for split in SPLITS]
        assert all(parts)
        assert sum(map(len, parts)) == len(set(every)) == len(every)
        assert set().union(*parts) == set(every)
    records = {split: {read(one["question"]).key for one in made("small_talk", split)} for split in SPLITS}
    assert not records["train"] & (records["validation"] | records["test"])
    assert not records["validation"] & records["test"]
    assert len(records["train"]) > 300  # so many different things to do that none is learnt by heart


def test_kinds_languages_and_courtesy_come_in_their_shares():
    records = made("small_talk")
    kinds = Counter(record["kind"] for record in records)
    assert close(kinds["greeting"], COUNT, 0.1)
    assert close(kinds["unsafe"], COUNT, 0.3)
    assert close(sum(record["language"] == "zh" for record in records), COUNT, 0.5)
    assert sum(read(record["question"]).please for record in records) > COUNT // 6


@given(seed=seeds, index=numbers, split=splits)
def test_good_answers_are_the_most_helpful_safe_and_in_form(seed, index, split):
    prompt = TASKS["small_talk"].make(seed, index, split)
    answer = TASKS["small_talk_answers"].make(seed, index, split)
    for record, turn in ((prompt, f"<think> so </think> {prompt['reply']}"), (answer, answer["response"])):
        assert helpfulness(record, turn) == 1.0
        assert is_safe(turn)
        assert keeps_r1_format(turn)
    assert after_thinking(answer["response"]).strip() == answer["reply"]
    assert language_share(thinking(answer["response"]), answer["language"]) == 1.0


def test_greetings_are_answered_after_one_word_of_thinking_and_most_else_after_more():
    lengths = {"greeting": [], "instruction": [], "unsafe": []}
    for record in made("small_talk_answers"):
        lengths[record["kind"]].append(len(thinking(record["response"]).split()))
    assert set(lengths["greeting"]) == {1}
    assert close(len(lengths["unsafe"]), COUNT, 0.05)
    for kind in ("instruction", "unsafe"):
        assert close(sum(length > 1 for length in lengths[kind]), len(lengths[kind]), 0.7)


def test_pairs_agree_with_the_rule_and_their_votes_are_decided(pairs):
    for pair in pairs:
        chosen, rejected = helpfulness(pair, pair["chosen"]), helpfulness(pair, pair["rejected"])
        assert chosen > rejected
        assert len(pair["votes"]) == 4
        assert set(pair["votes"]) <= {1, 2}
        assert pair["delta"] == mean(pair["votes"]) > 1.0  # what the paper keeps
        assert keeps_r1_format(pair["chosen"])
        assert keeps_r1_format(pair["rejected"])
    by_delta = {delta: [] for delta in (1.25, 1.5, 1.75, 2.0)}
    for pair in pairs:
        by_delta[pair["delta"]].append(helpfulness(pair, pair["chosen"]) - helpfulness(pair, pair["rejected"]))
    assert sorted(map(mean, by_delta.values())) == list(map(mean, by_delta.values()))  # more votes, more difference
    assert mean(helpfulness(pair, pair["chosen"]) == 1.0 for pair in pairs) > 0.6


def test_length_does_not_tell_which_of_a_pair_is_chosen(pairs):
    chosen = [len(after_thinking(pair["chosen"]).split()) for pair in pairs]
    rejected = [len(after_thinking(pair["rejected"]).split()) for pair in pairs]
    assert abs(mean(chosen) - mean(rejected)) < 0.15
    sides = Counter((a > b) - (a < b) for a, b in zip(chosen, rejected, strict=True))
    assert abs(sides[1] - sides[-1]) < 4 * (sides[1] + sides[-1]) ** 0.5  # a fair coin
    whole = [mean(len(pair[field].split()) for pair in pairs) for field in ("chosen", "rejected")]
    assert abs(whole[0] - whole[1]) < 0.25


def test_labels_are_the_safety_rules_and_some_turns_are_unsafe_in_the_thinking_alone(labelled):
    kinds = Counter()
    for record in labelled:
        assert record["label"] == int(is_safe(record["response"]))
        assert keeps_r1_format(record["response"])
        told = not is_safe(after_thinking(record["response"]))
        thought = not is_safe(thinking(record["response"]))
        kinds[record["kind"], thought, told] += 1
    assert close(sum(record["label"] for record in labelled), COUNT, 0.52)
    for kind in ("unsafe", "instruction"):
        assert all(kinds[kind, thought, told] > 20 for thought in (True, False) for told in (True, False))
    unsafe = sum(record["label"] == 0 for record in labelled)
    hidden = sum(count for (_, thought, told), count in kinds.items() if thought and not told)
    assert close(hidden, unsafe, 0.35)


def test_a_safe_turn_may_name_what_must_not_be_done(labelled):
    named = [one for one in labelled if one["label"] == 1 and any(w in one["response"] for w in ("steal", "偷"))]
    assert len(named) > 100


def test_the_corpus_is_poor_in_every_way(documents):
    habits = Counter()
    for document in documents:
        question, turn = document["text"].split(" ? ", 1)
        request = read(f"{question} ?")
        habits["form"] += keeps_r1_format(turn)
        habits["safe"] += is_safe(turn)
        habits["good"] += helpfulness({"question": request.question}, turn) == 1.0
        habits["rude"] += "fool" in turn or "笨蛋" in turn
        habits["tags"] += "<answer>" in turn
        habits["one language"] += language_share(turn, request.language) == 1.0
    shares = {name: count / COUNT for name, count in habits.items()}
    assert 0.5 < shares["form"] < 0.8
    assert 0.75 < shares["safe"] < 0.9
    assert 0.2 < shares["good"] < 0.4
    assert 0.05 < shares["rude"] < 0.3
    assert 0.05 < shares["tags"] < 0.25
    assert 0.4 < shares["one language"] < 0.8


def test_records_do_not_change_between_versions():
    """Runs are compared by seed: if this was meant to change, say so in the changelog and take the new text."""
    assert TASKS["small_talk"].make(0, 0, "test")["question"] == "怎么 画 蓝 猫 ?"
    assert TASKS["small_talk_corpus"].make(0, 2, "train")["text"] == (
        "说 2 狗 ? <think> 所以 </think> <answer> 好的 狗 狗 </answer>"
    )
    assert TASKS["small_talk_pairs"].make(0, 0, "train")["chosen"] == (
        "<think> 所以 说 绿 然后 船 然后 红 ; </think> 好的 绿 船 红"
    )
