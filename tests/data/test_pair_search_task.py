"""Pair search: prompts that have a solution, the corpus' habits, and what is held out."""

import re
from collections import Counter
from itertools import combinations

from r1jax.data.tasks import SPLITS
from r1jax.data.tasks.pair_search import CORPUS, PROMPTS, searches
from r1jax.rewards.pair_search import is_solution

DOCUMENTS = 6000
TRIAL = re.compile(r"(first|wait) (\d) plus (\d) is (\d+) \? (\d+) (yes|no) ;")
QUESTION = re.compile(r"find a pair in (\d) (\d) (\d) (\d) with sum (\d+) \?")


def close(count: int, total: int, share: float) -> bool:
    """Within four standard deviations of a binomial draw."""
    return abs(count / total - share) < 4 * (share * (1 - share) / total) ** 0.5


def test_prompts_list_distinct_numbers_and_their_gold_satisfies_the_reward():
    for index in range(500):
        record = PROMPTS.make(0, index, "train")
        *numbers, target = map(int, QUESTION.fullmatch(record["question"]).groups())
        assert (numbers, target) == (record["numbers"], record["target"])
        assert len(set(numbers)) == 4
        assert is_solution(record["answer"], numbers, target)


def test_numbers_and_sum_are_held_out_in_every_order():
    keys = {split: {(tuple(sorted(search.numbers)), search.target) for search in searches(split)} for split in SPLITS}
    # 126 sets of 4 out of 9 numbers, each with 5 or 6 sums, and each (set, sum) in 24 orders.
    assert sum(map(len, keys.values())) == len(set.union(*keys.values()))
    assert len({numbers for numbers, _ in set.union(*keys.values())}) == 126
    assert all(len(searches(split)) == 24 * len(keys[split]) for split in SPLITS)


def test_no_prompt_comes_twice_before_all_have_come():
    count = len(searches("test"))
    first, second = (
        [PROMPTS.make(4, index, "test")["question"] for index in range(start, start + count)] for start in (0, count)
    )
    assert len(set(first)) == count
    assert first == second


def test_the_corpus_searches_gives_up_and_errs_in_its_shares():
    direct = tagged = trials = slips = noes = given_up = misjudged = 0
    for index in range(DOCUMENTS):
        text = CORPUS.make(0, index, "train")["text"]
        match = QUESTION.match(text)
        *numbers, target = map(int, match.groups())
        completion = text[match.end() + 1 :]
        answer = tuple(map(int, re.findall(r"\d", re.sub(r" </answer>$", "", completion))[-2:]))
        tagged += bool(re.fullmatch(r"<think> [^<>]+ </think> <answer> \d \d </answer>", completion))
        found = [
            (opening, (int(a), int(b)), int(total), int(asked), verdict == "yes")
            for opening, a, b, total, asked, verdict in TRIAL.findall(completion)
        ]
        assert [one[0] for one in found] == (["first"] + ["wait"] * 5)[: len(found)]
        assert len({pair for _, pair, *_ in found}) == len(found)  # no pair twice
        assert answer in set(combinations(numbers, 2))
        direct += not found
        for number, (_, pair, total, asked, yes) in enumerate(found):
            assert asked == target
            trials += 1
            slips += total != sum(pair)
            misjudged += yes != (total == target)
            last = number + 1 == len(found)
            if yes:
                assert last
                assert answer == pair
            elif number < 5:
                noes += 1
                given_up += last
    assert close(direct, DOCUMENTS, 0.35)
    assert close(DOCUMENTS - tagged, DOCUMENTS, 0.4)
    assert close(slips, trials, 0.06)
    assert close(misjudged, trials, 0.02)
    assert close(given_up, noes, 0.45)


def test_prompts_of_a_split_cover_all_places_of_the_gold():
    places = Counter()
    for index in range(300):
        record = PROMPTS.make(0, index, "train")
        places[tuple(record["numbers"].index(int(word)) for word in record["answer"].split())] += 1
    assert len(places) == 6
