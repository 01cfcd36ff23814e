"""Templates: what a model is asked, and where its completion begins."""

import gzip
import json
import os
import pathlib

import pytest

from r1jax.config import TemplateConfig
from r1jax.text.templates import TEMPLATES, TemplateError, completion_text, render_example, render_prompt
from r1jax.text.tokenizer import Tokenizer, train_bpe

DATA = pathlib.Path(os.environ.get("R1JAX_TEST_DATA", "R1JAX_TEST_DATA-is-not-set"))
EOS = "<|endoftext|>"
QUESTION = "What is 4 + 7?"
RESPONSE = "<think>\n4 and 7 is 11\n</think>\n\nIt is \\boxed{11}."

CHATML = (
    "{% for message in messages %}<|{{ message['role'] }}|>{{ message['content'] }}<|end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
# What DeepSeek-R1's own template does to earlier turns: all up to the end of the thinking is dropped.
DROPS_THINKING = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message['role'] == 'user' %}<|user|>{{ message['content'] }}{% else %}"
    "{% set content = message['content'] %}"
    "{% if '</think>' in content %}{% set content = content.split('</think>')[-1] %}{% endif %}"
    "<|assistant|>{{ content }}{{ eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The folder of a small BPE without a chat template."""
    folder = tmp_path_factory.mktemp("bpe")
    train_bpe([QUESTION, RESPONSE] * 4, 320, ("<think>", "</think>", "<s>")).save(str(folder))
    return folder


@pytest.fixture
def tokenizer_with(base, tmp_path):
    """Loads the BPE with changed settings."""

    def load(**settings):
        (tmp_path / "tokenizer.json").write_text((base / "tokenizer.json").read_text())
        config = json.loads((base / "tokenizer_config.json").read_text()) | settings
        (tmp_path / "tokenizer_config.json").write_text(json.dumps(config))
        return Tokenizer.load(str(tmp_path))

    return load


def test_r1_zero_is_table_1_of_the_paper(tokenizer_with):
    rendered = render_prompt(TemplateConfig("r1_zero"), QUESTION, tokenizer_with())
    assert rendered.text == (
        "A conversation between User and Assistant. The user asks a question, and the Assistant solves it. "
        "The assistant first thinks about the reasoning process in the mind and then provides the user with "
        "the answer. The reasoning process and answer are enclosed within <think> </think> and <answer> "
        "</answer> tags, respectively, i.e., <think> reasoning process here </think> <answer> answer here "
        "</answer>. "
        "User: What is 4 + 7?. Assistant:"
    )
    assert rendered.forced_prefix == ""


def test_r1_and_plain_wrap_little(tokenizer_with):
    tokenizer = tokenizer_with()
    assert render_prompt(TemplateConfig("r1"), QUESTION, tokenizer).text == f"User: {QUESTION}\n\nAssistant:"
    assert render_prompt(TemplateConfig("plain"), QUESTION, tokenizer).text == QUESTION


@pytest.mark.parametrize("name", sorted(TEMPLATES))
def test_ids_are_those_of_the_text_which_ends_with_the_forced_prefix(tokenizer_with, name):
    tokenizer = tokenizer_with(chat_template=CHATML, bos_token="<s>", add_bos_token=True)
    question = "Is {question} or {{ 5 }} right?"  # braces are text, not fields
    rendered = render_prompt(TemplateConfig(name, "<think>\n", "Think."), question, tokenizer)
    assert rendered.text.endswith("<think>\n")
    assert f"{question}\nThink." in rendered.text
    assert tokenizer.decode(rendered.token_ids) == rendered.text
    assert rendered.forced_prefix == "<think>\n"


@pytest.mark.parametrize("name", ["r1_zero", "r1", "plain"])
def test_a_bos_opens_the_text_where_the_model_expects_one(tokenizer_with, name):
    with_bos = render_prompt(TemplateConfig(name), QUESTION, tokenizer_with(bos_token="<s>", add_bos_token=True))
    without = render_prompt(TemplateConfig(name), QUESTION, tokenizer_with(bos_token="<s>", add_bos_token=False))
    assert with_bos.text == "<s>" + without.text
    assert with_bos.token_ids[1:] == without.token_ids


@pytest.mark.parametrize("name", sorted(TEMPLATES))
@pytest.mark.parametrize("forced", ["", "<think>\n"])
def test_sft_and_rl_see_the_same_boundary(tokenizer_with, name, forced):
    tokenizer = tokenizer_with(chat_template=CHATML)
    template = TemplateConfig(name, forced)
    prompt = render_prompt(template, QUESTION, tokenizer)
    example = render_example(template, QUESTION, RESPONSE, tokenizer)
    assert example.prompt_ids == prompt.token_ids
    assert example.response_ids[-1] == tokenizer.eos_id
    assert tokenizer.decode(example.response_ids) == RESPONSE.removeprefix(forced) + EOS
    # Had the policy sampled it, rewards would read the whole turn: with the prefix, without the EOS.
    assert completion_text(prompt, example.response_ids, tokenizer) == RESPONSE
    # A truncated completion has no EOS to lose.
    assert completion_text(prompt, example.response_ids[:-1], tokenizer) == RESPONSE


def test_no_token_spans_the_boundary():
    # "ab" is one token of this vocabulary, and must not become one across prompt and response.
    tokenizer = train_bpe(["ababab"] * 9, 258)
    assert len(tokenizer.encode("ab")) == 1
    example = render_example(TemplateConfig("plain"), "a", "b", tokenizer)
    assert (example.prompt_ids, example.response_ids) == (
        tuple(tokenizer.encode("a")),
        (*tokenizer.encode("b"), tokenizer.eos_id),
    )


def test_word_level_turns_keep_their_spaces():
    tokenizer = Tokenizer.from_texts_wordlevel(("compute", "4", "7", "<think>", "</think>"))
    template = TemplateConfig("plain", forced_prefix="<think>")
    prompt = render_prompt(template, "compute 4 7", tokenizer)
    assert tokenizer.decode(prompt.token_ids) == prompt.text == "compute 4 7 <think>"
    example = render_example(template, "compute 4 7", "<think> 4 </think>", tokenizer)
    assert example.response_ids == (*tokenizer.encode("4 </think>"), tokenizer.eos_id)
    assert completion_text(prompt, example.response_ids, tokenizer) == "<think> 4 </think>"


def test_a_response_without_the_forced_prefix_is_an_error(tokenizer_with):
    with pytest.raises(TemplateError, match=r"the forced prefix '<think>\\n' first, found 'It is 11'"):
        render_example(TemplateConfig("r1", "<think>\n"), QUESTION, "It is 11", tokenizer_with())


@pytest.mark.parametrize("response", ["", "<think>\n"])
def test_an_empty_response_is_an_error(tokenizer_with, response):
    with pytest.raises(TemplateError, match="expected text after"):
        render_example(TemplateConfig("plain", response), QUESTION, response, tokenizer_with())


def test_the_eos_stands_once_at_the_end(tokenizer_with):
    tokenizer = tokenizer_with()
    written_out = render_example(TemplateConfig("plain"), QUESTION, "11" + EOS, tokenizer)
    assert written_out == render_example(TemplateConfig("plain"), QUESTION, "11", tokenizer)
    with pytest.raises(TemplateError, match="at its end only"):
        render_example(TemplateConfig("plain"), QUESTION, f"11{EOS} and more", tokenizer)


def test_a_chat_template_that_drops_the_thinking_is_an_error(tokenizer_with):
    tokenizer = tokenizer_with(chat_template=DROPS_THINKING)
    with pytest.raises(TemplateError, match="expected the assistant's text verbatim"):
        render_example(TemplateConfig("chat"), QUESTION, RESPONSE, tokenizer)
    # The same template serves prompts, and responses without thinking.
    assert render_prompt(TemplateConfig("chat"), QUESTION, tokenizer).text == f"<|user|>{QUESTION}<|assistant|>"
    example = render_example(TemplateConfig("chat"), QUESTION, "It is 11", tokenizer)
    assert tokenizer.decode(example.response_ids) == "It is 11" + EOS


def test_a_response_that_only_the_question_contains_is_not_verbatim(tokenizer_with):
    silent = "{{ messages[0]['content'] }}"
    with pytest.raises(TemplateError, match="verbatim"):
        render_example(TemplateConfig("chat"), "is it 11 ?", "11", tokenizer_with(chat_template=silent))


def test_a_chat_template_that_trims_is_an_error_where_it_matters(tokenizer_with):
    tokenizer = tokenizer_with(chat_template=CHATML.replace("message['content']", "message['content'] | trim"))
    render_example(TemplateConfig("chat"), QUESTION, "11", tokenizer)
    with pytest.raises(TemplateError, match="verbatim"):
        render_example(TemplateConfig("chat"), QUESTION, "11\n", tokenizer)


def test_a_thinking_that_the_chat_template_opens_is_a_forced_prefix(tokenizer_with):
    tokenizer = tokenizer_with(chat_template=CHATML.replace("<|assistant|>", "<|assistant|><think>\n"))
    for forced in ("", "<think>\n"):
        rendered = render_prompt(TemplateConfig("chat", forced), QUESTION, tokenizer)
        assert rendered.forced_prefix == "<think>\n"
        assert rendered.text.count("<think>") == 1
        assert completion_text(rendered, tokenizer.encode("so\n</think>"), tokenizer) == "<think>\nso\n</think>"
    with pytest.raises(TemplateError, match=r"already ends with '<think>\\n'; expected that or nothing"):
        render_prompt(TemplateConfig("chat", "<think>"), QUESTION, tokenizer)


def test_chat_templates_have_the_functions_they_expect(tokenizer_with):
    source = (
        "{{ strftime_now('%d %b %Y') }}|{{ messages[0] | tojson }}|{{ bos_token }}|{{ eos_token }}"
        "{% for message in messages %}{% break %}{% endfor %}{% if tools is none %}|no tools{% endif %}"
        "{% generation %}|marked{% endgeneration %}"
    )
    tokenizer = tokenizer_with(chat_template=source, bos_token="<s>")
    # The date never moves, so that a resumed run sees the prompts that it saw before.
    assert render_prompt(TemplateConfig("chat"), "<4 & 7 是>", tokenizer).text == (
        '26 Jul 2024|{"role": "user", "content": "<4 & 7 是>"}|<s>|<|endoftext|>|no tools|marked'
    )


def test_tojson_takes_what_transformers_gives_it(tokenizer_with):
    source = "{{ messages[0] | tojson(ensure_ascii=True, separators=(',', ':'), sort_keys=True) }}"
    rendered = render_prompt(TemplateConfig("chat"), "<是>", tokenizer_with(chat_template=source))
    assert rendered.text == '{"content":"<\\u662f>","role":"user"}'


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ raise_exception('roles must alternate') }}", "chat template: roles must alternate"),
        ("{{ messages", "chat template: "),
        ("{{ 1 + 'a' }}", "chat template: TypeError: unsupported operand"),
        ("{{ 1 // 0 }}", "chat template: ZeroDivisionError"),
        ("{{ missing.field }}", "chat template: 'missing' is undefined"),
        ("{{ messages.append(1) }}", "chat template: .*unsafe"),
        ("{{ ''.__class__.__mro__ }}", "chat template: .*unsafe"),
        (None, "the tokenizer has no chat_template"),
    ],
)
def test_a_bad_chat_template_is_an_error_of_one_line(tokenizer_with, source, message):
    with pytest.raises(TemplateError, match=message):
        render_prompt(TemplateConfig("chat"), QUESTION, tokenizer_with(chat_template=source))


def test_the_real_r1_template_drops_the_thinking_and_is_refused(tmp_path):
    file = DATA / "deepseek_r1_tokenizer.json.gz"
    if not file.exists():
        pytest.skip(f"{file} is not on this machine")
    (tmp_path / "tokenizer.json").write_bytes(gzip.decompress(file.read_bytes()))
    (tmp_path / "tokenizer_config.json").write_text((DATA / "deepseek_r1_tokenizer_config.json").read_text())
    tokenizer = Tokenizer.load(str(tmp_path))
    chat = TemplateConfig("chat", "<think>\n")
    prompt = render_prompt(chat, QUESTION, tokenizer)
    assert prompt.text == f"<｜begin▁of▁sentence｜><｜User｜>{QUESTION}<｜Assistant｜><think>\n"
    assert prompt.token_ids[0] == tokenizer.bos_id
    assert tokenizer.bos_id not in prompt.token_ids[1:]
    with pytest.raises(TemplateError, match="verbatim"):
        render_example(chat, QUESTION, RESPONSE, tokenizer)
    example = render_example(TemplateConfig("r1", "<think>\n"), QUESTION, RESPONSE, tokenizer)
    assert tokenizer.decode(example.response_ids) == RESPONSE.removeprefix("<think>\n") + "<｜end▁of▁sentence｜>"
    zero = render_prompt(TemplateConfig("r1_zero"), QUESTION, tokenizer)
    assert zero.text.startswith("<｜begin▁of▁sentence｜>A conversation")
