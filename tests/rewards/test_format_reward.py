"""The format reward pays for one thinking block and one answer block, and for nothing that only looks so."""

import time

import pytest

from r1jax.rewards.format import format_reward, keeps_format
from r1jax.rewards.verdicts import Item, Score, Status

WELL_FORMED = [
    "<think> 4 plus 5 is 9 </think> <answer> 9 </answer>",
    "<think>\na\n</think>\n\n<answer>b</answer>\n",
    "  <think>a</think><answer>b</answer>",
    "<think> 1 < 2 and 3 > 2, so a<b>c </think> <answer> $\\boxed{2}$ </answer>",
    "<think> a vector<int> will do </think> <answer>\n```cpp\nvector<int> v;\n```\n</answer>",
    "<think> a page </think> <answer>\n```html\n<b>hello</b>\n```\n</answer>",
]
BROKEN = {
    "nothing": "",
    "no tags": "the answer is 9",
    "no answer": "<think> a </think> 9",
    "no thinking": "<answer> 9 </answer>",
    "empty thinking": "<think></think><answer>9</answer>",
    "thinking of whitespace": "<think> \n\t </think><answer>9</answer>",
    "empty answer": "<think> a </think><answer> </answer>",
    "unclosed thinking": "<think> a <answer> 9 </answer>",
    "unclosed answer": "<think> a </think> <answer> 9",
    "text before": "Sure! <think> a </think> <answer> 9 </answer>",
    "text between": "<think> a </think> so <answer> 9 </answer>",
    "text after": "<think> a </think> <answer> 9 </answer> User: next",
    "two answers": "<think> a </think> <answer> 9 </answer> <answer> 8 </answer>",
    "two thinking blocks": "<think> a </think> <think> b </think> <answer> 9 </answer>",
    "answer in the thinking": "<think> a <answer> 9 </answer> </think>",
    "answer tag in the thinking, too": "<think> <answer>1</answer> </think> <answer> 9 </answer>",
    "nested thinking": "<think> <think> a </think> </think> <answer> 9 </answer>",
    "wrong order": "<answer> 9 </answer> <think> a </think>",
    "crossed": "<think> a <answer> </think> 9 </answer>",
    "a stray closing tag": "<think> a </think> </think> <answer> 9 </answer>",
    "capitals": "<Think> a </Think> <answer> 9 </answer>",
    "a second block in disguise": "<think> a < / THINK > b </think> <answer> 9 </answer>",
    "a self-closing tag": "<think> a <think/> </think> <answer> 9 </answer>",
    "a second block with attributes": "<think> a <think x> b </think> <answer> 9 </answer>",
    "a closing tag with attributes": "<think> a </think now> b </think> <answer> 9 </answer>",
    "a self-closing tag with attributes": '<think> a <answer id="2" /> </think> <answer> 9 </answer>',
    "our own tags in fenced code": "<think> a </think> <answer>\n```\n<answer>\n```\n</answer>",
    "unknown tags in the answer": "<think> a </think> <answer> <final>9</final> </answer>",
    "unknown tags in the thinking": "<think> <step> a </step> </think> <answer> 9 </answer>",
}


@pytest.mark.parametrize("completion", WELL_FORMED)
def test_well_formed_completions_pass(completion):
    assert keeps_format(completion)


@pytest.mark.parametrize("completion", BROKEN.values(), ids=BROKEN.keys())
def test_broken_completions_fail(completion):
    assert not keeps_format(completion)


def test_the_reward_is_one_or_zero_and_judges_no_answer():
    items = [Item({}, WELL_FORMED[0]), Item({}, BROKEN["text after"], truncated=True)]
    assert format_reward(items) == [Score(1.0, Status.SCORED), Score(0.0, Status.SCORED)]


@pytest.mark.parametrize("piece", ["<think>", "< " * 8, "<a", "```", "<answer", "<answer" + " " * 90, "<b></b>", "</"])
def test_degenerate_completions_cost_little(piece):
    start = time.process_time()
    keeps_format("<think> x " + piece * 50_000 + " </think> <answer> 1 </answer>")
    assert time.process_time() - start < 1.0
