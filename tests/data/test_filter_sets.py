"""Near duplicates and decontamination: what is planted is found, what is not alike is kept."""

import json
import os
import pathlib
import random
import time

import hypothesis
import hypothesis.strategies as st
import pytest

from r1jax.config import FiltersConfig
from r1jax.data.filters import apply
from r1jax.data.filters.contamination import EvaluationIndex
from r1jax.data.filters.duplicates import near_duplicates
from r1jax.data.filters.ngrams import jaccard, ngram_set, word_hashes
from r1jax.data.records import DataError

DATA = pathlib.Path(os.environ.get("R1JAX_TEST_DATA", "R1JAX_TEST_DATA-is-not-set"))
FEW = hypothesis.settings(max_examples=60, deadline=None, derandomize=True)
HAN = [chr(code) for code in range(0x4E00, 0x4E00 + 3000)]


def text(rng, count, *, chinese=False):
    if chinese:
        return "".join(rng.choice(HAN) for _ in range(count))
    return " ".join(f"w{rng.randrange(100_000)}" for _ in range(count))


def edited(words, rng, changes):
    """The text with so many of its words replaced."""
    parts = words.split()
    for at in rng.sample(range(len(parts)), changes):
        parts[at] = "other"
    return " ".join(parts)


def similarity(one, other, n=5):
    return jaccard(ngram_set(word_hashes(one), n), ngram_set(word_hashes(other), n))


def test_near_duplicates_by_hand():
    texts = ["a b c d e f g h", "x y z", "A b c d, e f g h!", "a b c d e f g i", "x y z", ""]
    # 3-grams of the first and fourth: 6 each, 5 in common: 5 / 7.
    assert near_duplicates(texts, threshold=0.8, n=3) == [None, None, 0, None, 1, None]
    assert near_duplicates(texts, threshold=0.7, n=3) == [None, None, 0, 0, 1, None]
    assert near_duplicates(["a"], threshold=0.8, n=3) == [None]
    assert near_duplicates([], threshold=0.8, n=3) == []


@hypothesis.given(st.integers(0, 10**6), st.floats(0.1, 1.0))
@FEW
def test_no_pair_below_the_threshold_is_named_and_none_far_above_it_is_missed(seed, threshold):
    rng = random.Random(seed)
    originals = [text(rng, rng.randrange(5, 80)) for _ in range(8)]
    texts = [edited(rng.choice(originals), rng, rng.randrange(0, 5)) for _ in range(30)]
    found = near_duplicates(texts, threshold=threshold, n=5)
    for index, original in enumerate(found):
        if original is not None:
            assert found[original] is None  # what it stands for is kept
            assert original < index
            assert similarity(texts[original], texts[index]) >= threshold
        else:
            kept = [other for other in range(index) if found[other] is None]
            assert not any(similarity(texts[other], texts[index]) >= min(1.0, threshold + 0.1) for other in kept)


@pytest.mark.parametrize("chinese", [False, True])
def test_planted_near_duplicates_are_found(chinese):
    rng = random.Random(1)
    texts = [text(rng, 200, chinese=chinese) for _ in range(200)]
    planted = [one[:-6] + "end" for one in texts]
    assert all(similarity(one, other) >= 0.9 for one, other in zip(texts, planted, strict=True))
    found = near_duplicates(texts + planted, threshold=0.9, n=5)
    assert found[:200] == [None] * 200
    assert sum(one == at for at, one in enumerate(found[200:])) >= 199  # one in a thousand may be missed


@hypothesis.given(st.integers(0, 10**6))
@FEW
def test_spelling_makes_no_difference_to_what_is_a_near_duplicate(seed):
    rng = random.Random(seed)
    texts = [edited("one two three four five six seven eight nine ten", rng, rng.randrange(4)) for _ in range(12)]
    wide = ["".join(chr(ord(c) + 0xFEE0) if c != " " else "\u3000" for c in one.upper()) + "！" for one in texts]
    assert near_duplicates(texts, threshold=0.5, n=3) == near_duplicates(wide, threshold=0.5, n=3)


def seconds(texts):
    started = time.process_time()
    near_duplicates(texts, threshold=0.8, n=5)
    return time.process_time() - started


def test_thousands_of_texts_that_are_alike_but_no_duplicates_take_linear_time():
    rng = random.Random(2)
    stem = text(rng, 100)
    texts = [f"{stem} {text(rng, 20)}" for _ in range(3000)]  # each pair has 96 of 136 5-grams in common: 0.71
    few, many = seconds(texts[:500]), seconds(texts)
    # A square takes 36 times as long: 26 s where this takes 1 s.
    assert many < 12 * few + 1


def record(sample, question, response, prompt):
    return {"id": f"{prompt}:{sample}", "question": question, "response": response, "lineage": {"prompt_id": prompt}}


def quiet(**changes):
    return FiltersConfig(
        **{"min_scores": (), "thinking": None, "near_duplicate_questions": None, "near_duplicate_responses": None}
        | changes
    )


def kept_ids(records, config, sets=None):
    return [one["id"] for one in apply(records, config, sets)[0]]


def test_the_same_response_counts_once_for_a_question_and_apart_for_another():
    records = [
        record(0, "Q one?", "It is 6.", "a"),
        record(1, "Q one?", "it  is\n６.", "a"),
        record(2, "Q one?", "It is 6!", "a"),
        record(0, "Q two?", "It is 6.", "b"),
        record(0, "q ONE?", "It is 6.", "c"),  # the same question under another name
    ]
    assert kept_ids(records, quiet()) == ["a:0", "a:1", "a:2", "b:0"]
    assert kept_ids(records, quiet(exact_duplicates=True)) == ["a:0", "a:1", "a:2", "b:0", "c:0"]


def test_near_responses_are_looked_for_within_a_prompt_and_near_questions_between_prompts():
    rng = random.Random(3)
    long, question = text(rng, 60), text(rng, 30)
    records = [
        record(0, question, long, "a"),
        record(1, question, long + " so", "a"),
        record(0, text(rng, 30), long + " so", "b"),
        record(0, question + "!", text(rng, 60), "c"),
        record(1, question + "!", text(rng, 60), "c"),
    ]
    assert kept_ids(records, quiet(near_duplicate_responses=0.8)) == ["a:0", "b:0", "c:0", "c:1"]
    assert kept_ids(records, quiet(near_duplicate_questions=0.8)) == ["a:0", "a:1", "b:0"]


# Decontamination.


@pytest.mark.parametrize("chinese", [False, True])
def test_thirteen_words_in_a_row_are_found_and_twelve_are_not(chinese):
    rng = random.Random(4)
    space = "" if chinese else " "
    exam = [text(rng, 40, chinese=chinese) for _ in range(5)]
    parts = list(exam[3]) if chinese else exam[3].split()
    index = EvaluationIndex({"other": ["What is it?"], "exam": exam}, 13)

    def around(middle):
        return space.join([text(rng, 9, chinese=chinese), *middle, text(rng, 9, chinese=chinese)])

    assert index.find(around(parts[20:33])) == ("exam", 3)
    assert index.find(around(parts[20:32])) is None
    assert EvaluationIndex({"exam": exam}, 12).find(around(parts[20:32])) == ("exam", 3)


@hypothesis.given(st.integers(0, 10**6), st.integers(1, 20), st.booleans())
@FEW
def test_a_planted_question_is_found_however_it_is_spelt_and_wrapped(seed, n, chinese):
    rng = random.Random(seed)
    exam = [text(rng, max(n, 8) + rng.randrange(20), chinese=chinese) for _ in range(4)]
    index = EvaluationIndex({"exam": exam}, n)
    planted = rng.choice(exam).upper().replace(" ", rng.choice([" ", "\n", ", ", "\u3000"]))
    if rng.random() < 0.5:
        planted = "".join(chr(ord(c) + 0xFEE0) if "!" <= c <= "~" else c for c in planted)
    assert index.find(f"{text(rng, 5)} ; {planted} ! {text(rng, 5)}") is not None
    assert index.find(text(rng, 30)) is None


@hypothesis.given(st.integers(0, 10**6))
@FEW
def test_the_order_of_the_evaluation_questions_does_not_change_what_is_contaminated(seed):
    rng = random.Random(seed)
    words = [f"w{at}" for at in range(6)]
    questions = [" ".join(rng.choices(words, k=rng.randrange(1, 12))) for _ in range(40)]
    exam, asked = questions[:10], questions[10:]
    forward, backward = EvaluationIndex({"a": exam}, 5), EvaluationIndex({"a": exam[::-1]}, 5)
    assert [forward.find(one) is None for one in asked] == [backward.find(one) is None for one in asked]


def test_short_questions_compare_whole():
    exam = ["What is 4 + 7?", "Find the sum of all primes below one hundred", "Name it."]
    index = EvaluationIndex({"exam": exam}, 13)
    assert index.find("what is 4+7") == ("exam", 0)
    assert index.find("What is 4 - 7?") is None  # a sign is a word
    assert index.find("I wonder: what is 4 + 7?") is None  # fewer than 8 words are in everything
    assert index.find("Please find the sum of all primes below one hundred, slowly.") == ("exam", 1)
    assert index.find("Find the sum of all primes") is None


def test_questions_without_words_are_no_evaluation_questions():
    index = EvaluationIndex({"exam": ["", "?", "\ud800"]}, 13)
    assert index.find("") is None
    assert index.find("!") is None


def test_contaminated_questions_are_dropped_with_the_place_where_they_stand():
    exam = "A train leaves at nine and goes sixty miles an hour for two hours, how far?"
    records = [record(0, exam, "x", "a"), record(1, exam, "y", "a"), record(0, "How far is it?", "z", "b")]
    kept, report = apply(records, quiet(), {"exam": ["Why?", exam]})
    assert [one["id"] for one in kept] == ["b:0"]
    (count,) = [one for one in report.counts if one.dropped]
    assert (count.filter, count.dropped, count.examples[0]) == ("contamination", 2, ("a:0", "in exam, question 1"))
    with pytest.raises(DataError, match=r"dropped by contamination 2 \(e.g. a:0: in exam, question 1\)"):
        apply(records[:2], quiet(), {"exam": ["Why?", exam]})


def questions(name):
    file = DATA / f"{name}.jsonl"
    if not file.exists():
        pytest.skip(f"{file} is not on this machine")
    rows = [json.loads(line) for line in file.read_text(encoding="utf-8").split("\n") if line]
    return [row["question"] if "question" in row else row["messages"][0]["content"] for row in rows]


def test_few_questions_of_gsm8k_share_thirteen_words_with_its_test_set():
    test = questions("gsm8k_test")
    index = EvaluationIndex({"test": test}, 13)
    train = questions("gsm8k_train")
    hits = [(one, index.find(one)) for one in train if index.find(one)]
    assert 0 < len(hits) < 0.02 * len(train)
    for question, (_, number) in hits:
        shared = set(ngram_set(word_hashes(question), 13)) & set(ngram_set(word_hashes(test[number]), 13))
        assert shared
    assert all(index.find(one) == ("test", number) for number, one in enumerate(test))


def test_a_translation_is_another_text():
    index = EvaluationIndex({"mgsm": questions("mgsm_zh")}, 13)
    assert not any(index.find(one) for one in questions("gsm8k_train"))
    assert not any(index.find(one) for one in questions("gsm8k_test"))
