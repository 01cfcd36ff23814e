"""Tokenizers: loading, special tokens, exact round trips."""

import gzip
import json
import os
import pathlib

import pytest
import tokenizers

from r1jax.text.tokenizer import Tokenizer, TokenizerError, train_bpe

DATA = pathlib.Path(os.environ.get("R1JAX_TEST_DATA", "R1JAX_TEST_DATA-is-not-set"))
WORDS = ("<think>", "</think>", "4", "7", "plus", "是", "得", "计算")
TEXTS = ["then 47 plus 8 is 55 ; wait", "然后 47 加 8 得 55 ；等等", "<think> it is 12 </think>"] * 4


def bpe(**options):
    return train_bpe(TEXTS, 300, ("<think>", "</think>"), **options)


def edit(folder, name, change):
    """Applies `change` to the JSON file of that name."""
    file = folder / name
    content = json.loads(file.read_text())
    change(content)
    file.write_text(json.dumps(content))


def test_a_word_is_a_token_in_the_given_order():
    tokenizer = Tokenizer.from_texts_wordlevel(WORDS)
    assert (tokenizer.pad_id, tokenizer.eos_id, tokenizer.bos_id) == (0, 1, None)
    assert tokenizer.vocab_size == 2 + len(WORDS)
    assert tokenizer.encode("<think> 4 7 得 </think>") == [2, 4, 5, 8, 3]
    assert tokenizer.encode("  计算\n4 ") == [9, 4]
    assert tokenizer.encode("") == []


def test_words_come_back_exactly():
    tokenizer = Tokenizer.from_texts_wordlevel(WORDS)
    text = "计算 4 7 plus <think> 是 </think>"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_an_unknown_word_is_an_error_that_names_it():
    with pytest.raises(TokenizerError, match="lacks the word 'minus' of '4 minus 7'"):
        Tokenizer.from_texts_wordlevel(WORDS).encode("4 minus 7")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a", "b", "a"), r"each word once, found \['a'\]"),
        (("<eos>",), "each word once"),
        (("a b",), "'a b'"),
        (("",), "''"),
    ],
)
def test_a_bad_word_list_is_an_error(words, message):
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.from_texts_wordlevel(words)


def test_special_tokens_are_skipped_and_think_tags_are_not():
    for tokenizer in (Tokenizer.from_texts_wordlevel(WORDS), bpe()):
        ids = [*tokenizer.encode("<think> 4 </think>"), tokenizer.eos_id]
        assert tokenizer.decode(ids, skip_special=True) == "<think> 4 </think>"
        assert tokenizer.decode(ids).endswith(tokenizer.eos_token)


def test_added_tokens_are_recognised_in_text():
    tokenizer = bpe()
    assert tokenizer.encode("<|endoftext|>") == [tokenizer.eos_id] == [0]
    assert tokenizer.encode("<think>") == [tokenizer.id_of("<think>")]
    assert tokenizer.id_of("<nothing>") is None


@pytest.mark.parametrize("text", ["then 47 is 55", "  two  spaces\n\tand 汉字 — ünïcödé 🙂", "<think>\n5</think> ", ""])
def test_bpe_round_trips_any_text(text):
    tokenizer = bpe()
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_bpe_merges_words_and_keeps_digits_single():
    tokenizer = bpe()
    assert len(tokenizer.encode("47")) == 2
    assert len(tokenizer.encode(" plus")) < len(" plus")
    assert max(tokenizer.encode("<think> 47 </think>")) < tokenizer.vocab_size <= 300


def test_bpe_needs_room_for_the_bytes():
    with pytest.raises(TokenizerError, match="at least 257.*found 100"):
        train_bpe(TEXTS, 100)


@pytest.mark.parametrize("make", [bpe, lambda: Tokenizer.from_texts_wordlevel(WORDS)])
def test_saved_and_loaded_is_the_same(tmp_path, make):
    first = make()
    first.save(str(tmp_path / "new" / "folder"))
    for path in (tmp_path / "new" / "folder", tmp_path / "new" / "folder" / "tokenizer.json"):
        second = Tokenizer.load(str(path))
        for name in ("vocab_size", "eos_id", "pad_id", "bos_id", "adds_bos", "chat_template", "separator"):
            assert getattr(second, name) == getattr(first, name), name
        assert second.encode("<think> 4 7 plus") == first.encode("<think> 4 7 plus")


def test_settings_survive_saving(tmp_path):
    bpe().save(str(tmp_path))
    edit(
        tmp_path,
        "tokenizer_config.json",
        lambda config: config.update(chat_template="{{ 1 }}", model_max_length=7),
    )
    Tokenizer.load(str(tmp_path)).save(str(tmp_path / "copy"))
    assert Tokenizer.load(str(tmp_path / "copy")).chat_template == "{{ 1 }}"
    assert json.loads((tmp_path / "copy" / "tokenizer_config.json").read_text())["model_max_length"] == 7


def test_padding_falls_back_to_the_eos(tmp_path):
    bpe().save(str(tmp_path))
    edit(tmp_path, "tokenizer_config.json", lambda config: config.pop("pad_token"))
    tokenizer = Tokenizer.load(str(tmp_path))
    assert tokenizer.pad_id == tokenizer.eos_id


def test_special_tokens_may_be_dicts(tmp_path):
    bpe().save(str(tmp_path))
    edit(tmp_path, "tokenizer_config.json", lambda config: config.update(eos_token={"content": "</think>"}))
    tokenizer = Tokenizer.load(str(tmp_path))
    assert tokenizer.eos_id == tokenizer.id_of("</think>")


def test_the_post_processor_truncation_and_padding_of_a_file_stay_out(tmp_path):
    bpe().save(str(tmp_path))
    backend = tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    backend.post_processor = tokenizers.processors.TemplateProcessing(
        single="<think> $A", special_tokens=[("<think>", backend.token_to_id("<think>"))]
    )
    backend.enable_truncation(2)
    backend.enable_padding(length=8)
    backend.save(str(tmp_path / "tokenizer.json"))
    edit(tmp_path, "tokenizer_config.json", lambda config: config.update(bos_token="<think>"))
    tokenizer = Tokenizer.load(str(tmp_path))
    assert len(tokenizer.encode("12345")) == 5
    # But the post-processor is how Llama 3 says that its model expects a BOS.
    assert tokenizer.adds_bos
    assert tokenizer.bos_id == tokenizer.id_of("<think>")


def test_the_stated_bos_wins_over_the_post_processor(tmp_path):
    bpe().save(str(tmp_path))
    for stated in (True, False):
        edit(
            tmp_path,
            "tokenizer_config.json",
            lambda config, s=stated: config.update(bos_token="<think>", add_bos_token=s),
        )
        assert Tokenizer.load(str(tmp_path)).adds_bos is stated


def test_chat_templates_come_from_all_three_places(tmp_path):
    bpe().save(str(tmp_path))
    assert Tokenizer.load(str(tmp_path)).chat_template is None
    named = [{"name": "tool", "template": "T"}, {"name": "default", "template": "D"}]
    edit(tmp_path, "tokenizer_config.json", lambda config: config.update(chat_template=named))
    assert Tokenizer.load(str(tmp_path)).chat_template == "D"
    edit(tmp_path, "tokenizer_config.json", lambda config: config.update(chat_template=named[:1]))
    with pytest.raises(TokenizerError, match=r"named default, found \['tool'\]"):
        Tokenizer.load(str(tmp_path))
    (tmp_path / "chat_template.jinja").write_text("J")
    assert Tokenizer.load(str(tmp_path)).chat_template == "J"


def test_no_eos_is_an_error(tmp_path):
    bpe().save(str(tmp_path))
    (tmp_path / "tokenizer_config.json").unlink()
    with pytest.raises(TokenizerError, match="tokenizer.json: no end-of-sequence token; put a tokenizer_config.json"):
        Tokenizer.load(str(tmp_path))


def test_loading_errors_are_one_line_with_the_file(tmp_path):
    with pytest.raises(TokenizerError, match="tokenizer.json: no such tokenizer"):
        Tokenizer.load(str(tmp_path))
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(TokenizerError, match="tokenizer.json: not a Hugging Face tokenizer.json"):
        Tokenizer.load(str(tmp_path))
    bpe().save(str(tmp_path))
    edit(tmp_path, "tokenizer_config.json", lambda config: config.update(eos_token="<gone>"))
    with pytest.raises(TokenizerError, match="eos_token is '<gone>', which the vocabulary lacks"):
        Tokenizer.load(str(tmp_path))
    (tmp_path / "tokenizer_config.json").write_text("{")
    with pytest.raises(TokenizerError, match="tokenizer_config.json: not JSON"):
        Tokenizer.load(str(tmp_path))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[1]", "tokenizer_config.json: expected a JSON object, found list"),
        (b"\xff", "tokenizer_config.json: not JSON"),
        (b'{"eos_token": {"x": 1}}', "eos_token: expected a string, or an object with one .* found {'x': 1}"),
        (b'{"eos_token": 5}', "eos_token: expected a string, .* found 5"),
        (b'{"eos_token": "<think>", "chat_template": 5}', "expected a chat template that is a string, found 5"),
        (b'{"eos_token": "<think>", "chat_template": ["a", {"name": 1}]}', r"named default, found \[\]"),
    ],
)
def test_settings_of_a_wrong_shape_are_an_error_of_one_line(tmp_path, content, message):
    bpe().save(str(tmp_path))
    (tmp_path / "tokenizer_config.json").write_bytes(content)
    with pytest.raises(TokenizerError, match=message):
        Tokenizer.load(str(tmp_path))


def test_the_real_deepseek_tokenizer(tmp_path):
    file = DATA / "deepseek_r1_tokenizer.json.gz"
    if not file.exists():
        pytest.skip(f"{file} is not on this machine")
    (tmp_path / "tokenizer.json").write_bytes(gzip.decompress(file.read_bytes()))
    (tmp_path / "tokenizer_config.json").write_text((DATA / "deepseek_r1_tokenizer_config.json").read_text())
    tokenizer = Tokenizer.load(str(tmp_path))
    assert (tokenizer.bos_id, tokenizer.eos_id, tokenizer.pad_id) == (0, 1, 1)
    assert tokenizer.adds_bos
    assert tokenizer.vocab_size == 128_815
    assert len(tokenizer.encode("<think>")) == 1
    text = "<think>\nJanet’s ducks lay 16 eggs.\n</think>\n\n鸭子每天下 16 颗蛋 \\boxed{18}"
    assert tokenizer.decode(tokenizer.encode(text)) == text


PAGE = """<｜begin▁of▁sentence｜><｜User｜>证明 √2 是无理数。 Show each step!<｜Assistant｜><think>
Suppose √2 = p/q，其中 p 和 q 互质…  然后 p² = 2q²，so p is even.
\tdef gcd(a: int, b: int) -> int:
\t    while b:  # Euclid\u2019s 算法
\t        a, b = b, a % b
\t    return a  # "größter gemeinsamer Teiler" 🧮

</think>

**答案**：$\\sqrt{2} \\notin \\mathbb{Q}$。  \\boxed{\\text{无理数}}<｜end▁of▁sentence｜><｜▁pad▁｜>"""


def test_the_real_tokenizer_loses_nothing_of_a_mixed_page(tmp_path):
    file = DATA / "deepseek_r1_tokenizer.json.gz"
    if not file.exists():
        pytest.skip(f"{file} is not on this machine")
    (tmp_path / "tokenizer.json").write_bytes(gzip.decompress(file.read_bytes()))
    (tmp_path / "tokenizer_config.json").write_text((DATA / "deepseek_r1_tokenizer_config.json").read_text())
    tokenizer, library = Tokenizer.load(str(tmp_path)), tokenizers.Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    ids = tokenizer.encode(PAGE)
    assert ids == library.encode(PAGE, add_special_tokens=False).ids
    assert tokenizer.decode(ids) == PAGE == library.decode(ids, skip_special_tokens=False)
    assert tokenizer.bos_id == ids[0]
    assert tokenizer.eos_id in ids
