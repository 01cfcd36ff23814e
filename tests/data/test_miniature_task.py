"""The miniature's tokenizer and mixtures: one vocabulary for every task of it, records of each task unchanged."""

import pytest

from r1jax.config import DataConfig, TokenizerConfig
from r1jax.data.sources import load
from r1jax.data.tasks import SPLITS, TASKS
from r1jax.data.tasks.miniature import VOCABULARY
from r1jax.stages.context import load_tokenizer

TEXTS = ("question", "answer", "reply", "response", "chosen", "rejected", "text")
PARTS = [name for name in TASKS if name.startswith(("chained_sums", "small_talk", "miniature"))]


@pytest.fixture(scope="module")
def tokenizer():
    return load_tokenizer(TokenizerConfig(task="miniature"))


def test_the_vocabulary_of_both_tasks_fits_into_128_ids(tokenizer):
    sums = TASKS["chained_sums"].vocabulary
    assert VOCABULARY[: len(sums)] == sums
    assert len(VOCABULARY) - len(sums) == 60
    assert set(VOCABULARY) == set(sums) | set(TASKS["small_talk"].vocabulary)
    assert tokenizer.vocab_size == len(VOCABULARY) + 2 <= 128


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("name", PARTS)
def test_every_text_of_every_record_is_encoded_and_decoded_exactly(tokenizer, name, split):
    for index in range(400):
        record = TASKS[name].make(0, index, split)
        texts = [record[field] for field in TEXTS if field in record]
        assert texts
        for text in texts:
            assert tokenizer.decode(tokenizer.encode(text)) == text
            assert len(tokenizer.encode(text)) == len(text.split())


@pytest.mark.parametrize(
    ("name", "parts"),
    [("miniature", ("chained_sums", "small_talk")), ("miniature_corpus", ("chained_sums_corpus", "small_talk_corpus"))],
)
def test_a_mixture_holds_the_records_of_its_parts_in_their_shares(name, parts):
    talk = 0
    for index in range(3000):
        record = TASKS[name].make(4, index, "train")
        sums_record, talk_record = (TASKS[part].make(4, index, "train") for part in parts)
        is_talk = record["id"] == talk_record["id"]
        talk += is_talk
        rewards = {"rewards": "general"} if is_talk and name == "miniature" else {}
        assert record == (talk_record | rewards if is_talk else sums_record)
    assert 0.13 < talk / 3000 < 0.17  # 0.15, four standard deviations about it


def test_general_prompts_ask_for_their_own_rewards_and_sums_take_those_of_the_config():
    records = load(DataConfig(kind="task", name="miniature", limit=100, rewards="sums"))
    kinds = {(record["id"].split(":")[0], record["rewards"]) for record in records}
    assert kinds == {("chained_sums", "sums"), ("small_talk", "general")}
