"""Solutions cut into steps and put together again: nothing is lost, by words, by bytes and by tokens."""

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from r1jax.data.tasks.chained_sums import VOCABULARY, make_document
from r1jax.search.steps import ending_ids, first_step, prefixes, split_text, step_ends, step_tokens
from r1jax.text.tokenizer import Tokenizer, train_bpe

WORDS = Tokenizer.from_texts_wordlevel(VOCABULARY)
BYTES = train_bpe(["then 4 7 plus 8 is 5 5 ;\n\nnext, 我们 得 5 5。\n\n", "a\nb\n\nc;d; e"] * 20, 400)
TEXTS = st.text(alphabet="ab 1;\n.我é🙂", max_size=40)


def test_steps_by_hand():
    assert split_text("a ; b ; c", ";") == ["a ;", " b ;", " c"]
    assert split_text("a ; b ;", ";") == ["a ;", " b ;"]
    assert split_text("a ; b ; ", ";") == ["a ;", " b ; "]  # blank text at the end is no step
    assert split_text("; a ; b", ";") == ["; a ;", " b"]
    assert split_text("a\n\n\n\nb\n\nc", "\n\n") == ["a\n\n", "\n\nb\n\n", "c"]
    assert split_text("a", ";") == ["a"]
    assert split_text("", ";") == []
    assert prefixes("a ; b", ";") == ["a ;", "a ; b"]
    assert prefixes("", ";") == [""]


def test_an_end_with_nothing_before_it_ends_no_step():
    assert split_text("\n\na\n\nb", "\n\n") == ["\n\na\n\n", "b"]
    assert split_text("\n\n", "\n\n") == ["\n\n"]


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, end=st.sampled_from([";", "\n\n", "\n", ". ", "我", "🙂"]))
@example(text="a\n\n\nb", end="\n\n")
def test_steps_joined_are_the_text_and_only_the_last_may_lack_its_end(text, end):
    steps = split_text(text, end)
    assert "".join(steps) == text
    for step in steps[:-1]:
        assert step.endswith(end)
    for step in steps[: -1 if len(steps) == 1 else None]:
        assert step.strip()
    cut = prefixes(text, end)
    assert cut[-1] == text
    assert all(longer.startswith(shorter) for shorter, longer in zip(cut, cut[1:], strict=False))


@settings(max_examples=300, deadline=None)
@given(text=TEXTS, end=st.sampled_from([";", "\n\n", ". ", "我"]))
def test_tokens_of_steps_joined_are_the_tokens_of_the_text(text, end):
    ids = BYTES.encode(text)
    assert BYTES.decode(ids) == text
    counts = step_tokens(ids, BYTES.decode, end)
    assert sum(counts) == len(ids)
    assert all(count > 0 for count in counts)
    at = 0
    for count in counts[:-1]:
        piece = ids[at : at + count]
        assert end in BYTES.decode(piece)  # a token may reach beyond the end, which then still lies in this step
        assert first_step(piece[:-1], BYTES.decode, end) is None  # and it is the first token with which it is there
        at += count


@given(index=st.integers(0, 500))
def test_by_words_the_tokens_of_a_prefix_are_those_of_its_text(index):
    text = make_document(0, index, "train")["text"]
    ids = WORDS.encode(text)
    ends = [sum(step_tokens(ids, WORDS.decode, ";")[: number + 1]) for number in range(len(split_text(text, ";")))]
    assert ends[-1] == len(ids)
    for end, prefix in zip(ends, prefixes(text, ";"), strict=True):
        assert WORDS.decode(ids[:end]) == prefix
        assert WORDS.encode(prefix) == ids[:end]


def test_an_end_of_several_tokens_is_found_among_them():
    end, single = "\n\n", train_bpe(["a"], 257)  # a token is a byte
    assert ending_ids(single, end) == ()
    ids = single.encode("4 7\n\nplus 8\n\n")
    assert len(ids) == 13
    assert first_step(ids, single.decode, end) == 5
    assert step_tokens(ids, single.decode, end) == [5, 8]
    assert first_step(single.encode("4 7\nplus"), single.decode, end) is None
    assert first_step([], single.decode, end) is None
    assert {end in BYTES.decode([token]) for token in ending_ids(BYTES, end)} == {True}  # ";\n\n" is one there


def test_a_solution_of_many_steps_is_decoded_a_few_times_and_not_once_a_step():
    ids = [ord(letter) for letter in "so it is 5 5\n\n" * 1000]
    decoded = []

    def decode(some):
        decoded.append(len(some))
        return "".join(map(chr, some))

    assert step_tokens(ids, decode, "\n\n") == [14] * 1000
    assert sum(decoded) < 10 * len(ids)


@pytest.mark.parametrize("text", ["; ;a", ";;", " ; ; ", "a;;b", "\n\n\n\n\na\n\n \n\nb\n\n"])
@pytest.mark.parametrize("end", [";", "\n\n"])
def test_a_step_has_something_before_its_end_be_it_another_end(text, end):
    places = [at + len(end) for at in range(len(text)) if text.startswith(end, at)]
    ends, start, after = [], 0, 0
    for place in places:
        if place - len(end) < after:
            continue  # lies across the one before
        after = place
        if text[start : place - len(end)].strip():
            ends.append(place)
            start = place
    if ends and not text[start:].strip():
        ends.pop()
    assert step_ends(text, end) == [*ends, len(text)]


@pytest.mark.parametrize("end", [";", "is ;", "5 5"])
def test_tokens_that_hold_an_end_by_themselves_stop_the_sampler(end):
    assert ending_ids(WORDS, end) == ((WORDS.id_of(";"),) if end == ";" else ())


def test_a_cut_within_a_character_of_several_bytes_is_no_end():
    ids = BYTES.encode("🙂;a")
    for cut in range(1, len(ids) + 1):
        found = first_step(ids[:cut], BYTES.decode, ";")
        assert found is None or BYTES.decode(ids[:found]).startswith("🙂;")
