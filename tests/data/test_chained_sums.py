"""Chained sums: the prompts' grammar, the corpus' habits in their shares, and what is held out."""

import re
from collections import Counter

import pytest

from r1jax.data.tasks import SPLITS, TASKS
from r1jax.data.tasks.chained_sums import CORPUS, PROMPTS, STEPS, VOCABULARY, Chain
from r1jax.text.language import detect_target
from r1jax.text.tokenizer import Tokenizer

OPENINGS = {"compute": "en", "Tom has": "en", "计算": "zh", "小明有": "zh"}
SIGNS = {"+": 1, "buys": 1, "买": 1, "plus": 1, "加": 1, "-": -1, "eats": -1, "吃": -1, "minus": -1, "减": -1}
QUESTION = re.compile(r"(compute|Tom has|计算|小明有) (\d) (\d)((?: (?:\+|-|buys|eats|买|吃) \d)+) \?")
STEP = re.compile(r"(then|然后|wait|等等|check|检查) (\d) (\d)((?: (?:plus|minus|加|减) \d)+) (?:is|得) (\d) (\d) ;")
DOCUMENTS = 6000


def changes_of(words: str) -> tuple[int, ...]:
    words = words.split()
    return tuple(SIGNS[sign] * int(size) for sign, size in zip(words[::2], words[1::2], strict=True))


def parse(question: str) -> tuple[int, tuple[int, ...], str]:
    """Start, changes and language of a question; the test's own reading of the grammar."""
    opening, tens, ones, changes = QUESTION.fullmatch(question).groups()
    return int(tens + ones), changes_of(changes), OPENINGS[opening]


@pytest.fixture(scope="module")
def corpus():
    return [CORPUS.make(0, index, "train") for index in range(DOCUMENTS)]


def close(count: int, total: int, share: float) -> bool:
    """Within four standard deviations of a binomial draw."""
    return abs(count / total - share) < 4 * (share * (1 - share) / total) ** 0.5


def test_questions_are_written_as_an_expression_or_a_story_in_either_language():
    chain = {"start": 47, "changes": (8, -5, 9)}
    assert Chain(**chain, language="en", story=False).question == "compute 4 7 + 8 - 5 + 9 ?"
    assert Chain(**chain, language="zh", story=False).question == "计算 4 7 + 8 - 5 + 9 ?"
    assert Chain(**chain, language="en", story=True).question == "Tom has 4 7 buys 8 eats 5 buys 9 ?"
    assert Chain(**chain, language="zh", story=True).question == "小明有 4 7 买 8 吃 5 买 9 ?"


def test_the_gold_is_the_sum_and_every_running_total_has_two_digits():
    stories, languages, operations = 0, Counter(), Counter()
    for index in range(2000):
        record = PROMPTS.make(3, index, "train")
        start, changes, language = parse(record["question"])
        totals = [start + sum(changes[:count]) for count in range(len(changes) + 1)]
        assert all(10 <= total <= 99 for total in totals)
        assert all(2 <= abs(change) <= 9 for change in changes)
        assert record["answer"] == " ".join(str(totals[-1]))
        assert record["language"] == language == detect_target(record["question"])
        assert record["operations"] == len(changes)
        stories += record["question"].startswith(("Tom", "小明有"))
        languages[language] += 1
        operations[len(changes)] += 1
    assert close(stories, 2000, 0.4)
    assert close(languages["zh"], 2000, 0.5)
    assert set(operations) == {3, 4, 5}
    assert all(close(count, 2000, 1 / 3) for count in operations.values())


@pytest.mark.parametrize("name", [name for name in TASKS if TASKS[name].vocabulary])
def test_texts_use_every_word_of_the_vocabulary_and_survive_the_tokenizer(name):
    task = TASKS[name]
    tokenizer = Tokenizer.from_texts_wordlevel(task.vocabulary)
    assert len(set(task.vocabulary)) == len(task.vocabulary)
    seen = set()
    for index in range(600):
        record = task.make(0, index, "train")
        for text in [record[field] for field in ("question", "answer", "text") if field in record]:
            seen |= set(text.split())
            assert tokenizer.decode(tokenizer.encode(text)) == text
    assert seen <= set(task.vocabulary)
    if name.endswith("_corpus"):
        assert seen == set(task.vocabulary)


@pytest.mark.parametrize("name", TASKS)
def test_a_record_is_a_function_of_seed_number_and_split(name):
    make = TASKS[name].make
    assert make(5, 7, "test") == make(5, 7, "test")
    assert make(5, 7, "test") != make(6, 7, "test") != make(6, 8, "test")
    ids = {make(seed, index, split)["id"] for seed in (0, 1) for index in (0, 1) for split in SPLITS}
    assert len(ids) == 2 * 2 * len(SPLITS)


def test_records_do_not_change_between_versions():
    """Runs are compared by seed: if this was meant to change, say so in the changelog and take the new text."""
    assert PROMPTS.make(0, 0, "test")["question"] == "小明有 5 2 买 9 吃 4 买 8 吃 3 ?"
    assert CORPUS.make(0, 2, "test")["text"] == (
        "Tom has 8 4 buys 5 buys 9 eats 7 buys 7 eats 7 ? <think> then 8 4 plus 5 is 8 9 ; "
        "然后 8 9 加 9 得 9 6 ; 等等 8 9 加 9 得 9 8 ; then 9 8 minus 7 is 9 1 ; 然后 9 1 加 7 得 9 8 ; "
        "then 9 8 minus 7 is 9 1 ; </think> <answer> 9 1 </answer>"
    )


def test_no_sum_is_in_two_splits_whatever_its_wording(corpus):
    sums = {split: set() for split in SPLITS}
    for split in SPLITS:
        for index in range(1500):
            question = PROMPTS.make(1, index, split)["question"]
            sums[split].add(parse(question)[:2])
            sums[split].add(parse(STEPS.make(1, index, split)["question"].split(" <think>")[0])[:2])
    sums["train"] |= {parse(document["text"].split(" ?")[0] + " ?")[:2] for document in corpus}
    assert not sums["train"] & sums["validation"]
    assert not sums["train"] & sums["test"]
    assert not sums["validation"] & sums["test"]


class Habits:
    """What the test reads off a corpus document, apart from the generator's code."""

    def __init__(self, text: str):
        question, self.completion = text.split(" ? ", 1)
        self.start, self.changes, self.language = parse(question + " ?")
        steps = [
            (opening, int(a + b), changes_of(changes), int(c + d))
            for opening, a, b, changes, c, d in STEP.findall(self.completion)
        ]
        self.check = steps.pop() if steps and steps[-1][0] in ("check", "检查") else None
        self.steps = steps
        self.languages = ["en" if step[0].isascii() else "zh" for step in steps]
        self.answer = int("".join(re.findall(r"\d", self.completion)[-2:]))
        self.well_tagged = bool(re.fullmatch(r"<think> [^<>]+ </think> <answer> \d \d </answer>", self.completion))
        self.size = max((len(changes) for _, _, changes, _ in steps), default=0)


@pytest.fixture(scope="module")
def habits(corpus):
    return [Habits(document["text"]) for document in corpus]


def test_the_corpus_mixes_direct_answers_and_steps_of_one_and_two_operations(habits):
    sizes = Counter(one.size for one in habits)
    assert close(sizes[0], DOCUMENTS, 0.3)
    assert close(sizes[1], DOCUMENTS, 0.4)
    assert close(sizes[2], DOCUMENTS, 0.3)
    for one in habits:
        done = [step for step in one.steps if step[0] in ("then", "然后")]
        assert sum((step[2] for step in done), ()) == (one.changes if one.size else ())


def test_the_corpus_makes_and_mends_errors_in_their_shares(habits):
    steps = wrong = redone = wrong_answers = worked = checks = 0
    for one in habits:
        total = one.start
        for number, (opening, start, changes, result) in enumerate(one.steps):
            if opening in ("wait", "等等"):
                continue
            assert start == total  # steps go on from what was stated, right or wrong
            follower = one.steps[number + 1] if number + 1 < len(one.steps) else ("",)
            mended = follower[0] in ("wait", "等等")
            steps += 1
            wrong += result != start + sum(changes)
            redone += mended
            if mended:
                assert result != start + sum(changes)
                assert follower[1:] == (start, changes, start + sum(changes))
            total = follower[3] if mended else result
            assert 10 <= total <= 99
        if one.check is not None:
            checks += 1
            assert one.check[1:] == (one.start, one.changes, total)
        worked += bool(one.steps)
        wrong_answers += one.answer != (total if one.steps else one.start + sum(one.changes))
    assert close(wrong, steps, 0.15)
    assert close(redone, wrong, 0.4)
    assert close(wrong_answers, DOCUMENTS, 0.1)
    assert close(checks, worked, 0.1)


def test_the_corpus_breaks_tags_and_mixes_languages_in_their_shares(habits):
    assert close(sum(not one.well_tagged for one in habits), DOCUMENTS, 0.4)
    kinds = Counter()
    worked = 0
    for one in habits:
        # A redo keeps the language of its step.
        languages = [
            language
            for (opening, *_), language in zip(one.steps, one.languages, strict=True)
            if opening in ("then", "然后")
        ]
        if len(languages) < 2:
            continue
        worked += 1
        switches = [before != after for before, after in zip(languages, languages[1:], strict=False)]
        assert all(switches) or not any(switches)
        kinds["switching" if all(switches) else "own" if languages[0] == one.language else "other"] += 1
    assert close(kinds["own"], worked, 0.45)
    assert close(kinds["other"], worked, 0.15)
    assert close(kinds["switching"], worked, 0.4)


def test_a_gate_question_stops_before_the_result_of_an_errorless_step():
    for index in range(500):
        record = STEPS.make(0, index, "validation")
        question, trace = record["question"].split(" <think> ")
        start, changes, _ = parse(question)
        steps = STEP.findall(f"{trace} {record['answer']} ;")
        assert STEP.sub("", f"{trace} {record['answer']} ;").strip() == ""
        total = start
        for (opening, a, b, change, c, d), expected in zip(steps, changes, strict=False):
            assert opening in ("then", "然后")
            assert (int(a + b), changes_of(change)) == (total, (expected,))
            total += expected
            assert int(c + d) == total


def test_the_vocabulary_is_small():
    assert len(VOCABULARY) == 41  # 10 digits, 4 signs, 4 tags, 23 words
