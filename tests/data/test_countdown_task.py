"""Countdown, small and large: golds that the reward accepts, and what is held out."""

import re

from r1jax.data.tasks import SPLITS
from r1jax.data.tasks.countdown import CORPUS, LARGE, PROMPTS, puzzles
from r1jax.rewards.countdown import evaluate, solves, tokenize

DOCUMENTS = 3000
QUESTION = re.compile(r"make (\d+) from (\d) (\d) (\d) \?")
TRIAL = re.compile(
    r"(first|wait) (\d) ([-+*]) (\d) is (\d+) ([-+*]) (\d) is (\d+) \? (\d+) (yes|no) ;",
)


def test_golds_of_both_forms_satisfy_the_reward():
    for task in (PROMPTS, LARGE):
        for index in range(400):
            record = task.make(0, index, "train")
            assert solves(record["answer"], record["numbers"], record["target"])
            assert str(record["target"]) in record["question"]


def test_the_large_form_asks_for_what_replications_ask():
    records = [LARGE.make(0, index, "test") for index in range(300)]
    assert {len(record["numbers"]) for record in records} == {3, 4}
    assert all(1 <= number <= 99 for record in records for number in record["numbers"])
    assert all(10 <= record["target"] <= 99 for record in records)
    assert any("/" in record["answer"] for record in records)


def test_numbers_and_target_are_held_out_in_every_order():
    small = {split: {(tuple(sorted(one.numbers)), one.target) for one in puzzles(split)} for split in SPLITS}
    large = {split: set() for split in SPLITS}
    for split in SPLITS:
        for index in range(300):
            record = LARGE.make(0, index, split)
            large[split].add((tuple(sorted(record["numbers"])), record["target"]))
    for keys in (small, large):
        assert sum(map(len, keys.values())) == len(set.union(*keys.values()))
        assert all(keys.values())


def test_the_corpus_states_right_values_but_for_its_slips():
    trials = slips = 0
    for index in range(DOCUMENTS):
        text = CORPUS.make(0, index, "train")["text"]
        target, *numbers = map(int, QUESTION.match(text).groups())
        for _, a, first, b, between, second, c, result, asked, verdict in TRIAL.findall(text):
            assert sorted(map(int, (a, b, c))) == sorted(numbers)
            assert int(between) == evaluate(tokenize(f"{a} {first} {b}"))
            assert (int(asked), verdict == "yes") == (target, int(result) == target)
            trials += 1
            slips += int(result) != evaluate(tokenize(f"{between} {second} {c}"))
    assert trials > DOCUMENTS / 2
    assert abs(slips / trials - 0.04) < 4 * (0.04 * 0.96 / trials) ** 0.5


def test_some_corpus_answers_are_right_and_most_are_not():
    right = 0
    for index in range(DOCUMENTS):
        document = CORPUS.make(0, index, "train")["text"]
        target, *numbers = map(int, QUESTION.match(document).groups())
        right += solves(re.findall(r"\( \d [-+*] \d \) [-+*] \d", document)[-1], numbers, target)
    assert 0.2 < right / DOCUMENTS < 0.6
