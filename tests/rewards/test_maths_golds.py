"""Every gold of GSM8K and AIME 2024 in the forms in which models write answers: right is right, one more is wrong."""

import json
import os
import pathlib

import pytest

from r1jax.config import RewardConfig, RewardsConfig, RewardSetConfig
from r1jax.rewards import maths
from r1jax.rewards.maths import maths_reward
from r1jax.rewards.service import RewardService
from r1jax.rewards.verdicts import Item, Status

DATA = pathlib.Path(os.environ.get("R1JAX_TEST_DATA", "R1JAX_TEST_DATA-is-not-set"))
GOLDS = {"gsm8k_train": 7473, "gsm8k_test": 1319, "aime24": 30}

SLOW = pytest.mark.slow  # half a million items
NAMES = [pytest.param("gsm8k_train", marks=SLOW), pytest.param("gsm8k_test", marks=SLOW), "aime24"]

THINK = "<think> The number 4321 is only a thought. </think>"
FULL_WIDTH = {ord("0") + digit: chr(ord("０") + digit) for digit in range(10)} | {ord(","): "，", ord("."): "．"}

# {} is the number, plain; {c} with thousands separators; {w} in full-width digits.
FORMS = {
    "tag": "<answer>{}</answer>",
    "box": r"The total is $\boxed{{{}}}$.",
    "box in the tag": r"<answer>So it is $\boxed{{{}}}$.</answer>",
    "full stop": "<answer> {}. </answer>",
    "one decimal": r"\boxed{{{}.0}}",
    "commas": r"\boxed{{{c}}}",
    "LaTeX commas": r"\boxed{{{l}}}",
    "dollars about it": "<answer>${}$</answer>",
    "display": r"<answer>\[ {} \]</answer>",
    "currency": "<answer>${c}</answer>",
    "currency, cents": r"\boxed{{\${c}.00}}",
    "euros": r"\boxed{{€{c}}}",
    "dollars": "<answer>{} dollars</answer>",
    "commas, dollars": "<answer>{c} dollars</answer>",
    "apples": "<answer>{} apples</answer>",
    "text cm": r"\boxed{{{}\text{{ cm}}}}",
    "square metres": r"\boxed{{{}\ \mathrm{{m}}^2}}",
    "km/h": "<answer>{} km/h</answer>",
    "eggs per day": "<answer>{c} eggs per day</answer>",
    "degrees": r"\boxed{{{}^\circ}}",
    "percent": r"\boxed{{{}\%}}",
    "percent in words": "<answer>{} percent</answer>",
    "equation": r"\boxed{{x = {}}}",
    "bold": "<answer>**{}**</answer>",
    "code": "<answer>`{}`</answer>",
    "Chinese full stop": "<answer>{}。</answer>",
    "full width": "<answer>{w}</answer>",
    "yuan": "<answer>{}元</answer>",
    "Chinese unit": "<answer>{w} 个苹果。</answer>",
    "over one": r"\boxed{{\frac{{{}}}{{1}}}}",
}


@pytest.fixture(scope="module", autouse=True)
def _quiet_grader():
    maths.warm_up()


def golds(name):
    """(as it stands, plain digits), in the order of the file."""
    file = DATA / f"{name}.jsonl"
    if not file.exists():
        pytest.skip(f"{file} is not on this machine: name its folder in R1JAX_TEST_DATA")
    texts = [json.loads(line)["answer"].split("#### ")[-1].strip() for line in file.read_text().splitlines()]
    return [(text, text.replace(",", "")) for text in texts]


def one_more(number):
    return str(int(number) + 1)


def write(form, number):
    value = int(number)
    with_commas = f"{value:,}"
    spelt = {"c": with_commas, "l": with_commas.replace(",", "{,}"), "w": with_commas.translate(FULL_WIDTH)}
    return THINK + FORMS[form].format(number, **spelt)


def items(texts, form):
    right = [Item({"answer": gold}, write(form, number)) for gold, number in texts]
    wrong = [Item({"answer": gold}, write(form, one_more(number))) for gold, number in texts]
    return right, wrong


def counts(scores):
    """Status -> how many."""
    return {status: n for status in Status if (n := sum(score.status is status for score in scores))}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("form", FORMS)
def test_every_gold_in_this_form_is_correct_and_one_more_is_wrong(name, form):
    texts = golds(name)
    assert len(texts) == GOLDS[name]
    right, wrong = (maths_reward(some) for some in items(texts, form))
    print(f"\n{name}, {form}: gold {counts(right)}, gold + 1 {counts(wrong)}")
    assert counts(right) == {Status.CORRECT: len(texts)}
    assert counts(wrong) == {Status.WRONG: len(texts)}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "form", ["{0} or {1}", "{1} or {0}", "{0}, {1}", "{0} {1}", r"{0}\text{{ or }}{1}\text{{ cm}}"]
)
def test_a_second_number_beside_the_gold_is_wrong(name, form):
    texts = [(gold, number) for gold, number in golds(name) if len(number) > 1 and not one_more(number).endswith("000")]
    some = texts[:: max(1, len(texts) // 300)]
    scores = maths_reward(
        [Item({"answer": gold}, THINK + r"\boxed{" + form.format(n, one_more(n)) + "}") for gold, n in some]
    )
    assert counts(scores) == {Status.WRONG: len(some)}


def test_the_service_says_the_same():
    texts = golds("gsm8k_test")[::40]
    config = RewardsConfig(sets=(RewardSetConfig("default", (RewardConfig("maths"),)),), workers=1)
    with RewardService(config) as service:
        for form in ("tag", "box", "commas", "currency", "apples", "text cm", "percent", "equation", "full width"):
            right, wrong = items(texts, form)
            statuses = [verdict.status for verdict in service.score(right + wrong)]
            assert statuses == [Status.CORRECT] * len(texts) + [Status.WRONG] * len(texts), form
