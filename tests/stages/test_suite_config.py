"""The suite of the paper: its protocol and figures, what the command line changes, what is missing is named."""

import dataclasses
import pathlib
import re

import pytest

from r1jax.config import ConfigError, DataConfig, RewardsConfig, TemplateConfig
from r1jax.config.load import load_config
from r1jax.config.rewards import JudgeConfig, SandboxConfig
from r1jax.rewards.service import RewardService
from r1jax.suites.load import apply, load_suite
from r1jax.suites.protocol import file_marks
from r1jax.suites.suite import Asking, PairwiseConfig, SuiteBenchmark, SuiteConfig

ROOT = pathlib.Path(__file__).resolve().parents[2]
SUITES = ROOT / "experiments" / "suites"
STAGE = TemplateConfig(name="r1")
R1 = load_suite("r1", SUITES)
RUN = load_config(str(ROOT / "experiments" / "configs" / "gsm8k_zero.py"))
EVALUATION = R1.benchmarks[0].evaluation
BY_NAME = {one.name: one for one in R1.benchmarks}


def test_the_benchmarks_are_those_of_the_issue():
    assert list(BY_NAME) == ["aime2024", "math500", "gpqa", "livecodebench", "gsm8k", "mgsm", "humaneval"]


@pytest.mark.parametrize(("name", "k"), [("aime2024", 64), ("math500", 16), ("gpqa", 64), ("livecodebench", 8)])
def test_each_is_sampled_as_often_as_in_the_paper(name, k):
    assert BY_NAME[name].evaluation.samples == k


@pytest.mark.parametrize("one", R1.benchmarks, ids=lambda one: one.name)
def test_the_protocol_is_the_papers(one):
    sampling = one.evaluation.sampling
    assert (sampling.temperature, sampling.top_p, sampling.top_k, sampling.max_new_tokens) == (0.6, 0.95, None, 32_768)
    assert one.asking.forced_prefix == "<think>\n"


def test_the_figures_are_those_of_the_recipe_page():
    page = (ROOT / "docs" / "recipe.md").read_text()
    stages = ["R1-Zero (v2)", "R1 Dev1 (v2)", "R1 Dev2 (v2)", "R1 Dev3 (v2)", "DeepSeek-R1"]
    for name, row in (("aime2024", "results.aime"), ("math500", "results.math500")):
        cells = re.search(rf"\| `{row}` \| ([^|]+) \|", page).group(1)
        shares = [float(cell.strip(" %")) / 100 for cell in cells.split("/")]
        published = dict(BY_NAME[name].published)
        assert [published[stage] for stage in stages] == pytest.approx(shares)
    majority = float(re.search(r"\| `zero.aime_majority` \| ([0-9.]+) %", page).group(1))
    assert dict(BY_NAME["aime2024"].published)["R1-Zero (v1), cons@64"] == pytest.approx(majority / 100)


def test_the_page_has_the_same_k_and_rewards():
    page = (ROOT / "docs" / "evaluation.md").read_text()
    rows = re.findall(r"^\| `(\w+)` \| (\d+) \| .* \| `(\w+)` \| .* \|$", page, re.MULTILINE)
    assert rows == [(one.name, str(one.evaluation.samples), one.evaluation.data.rewards) for one in R1.benchmarks]


def test_published_figures_are_shares_and_every_benchmark_has_some():
    for one in R1.benchmarks:
        assert one.published
        assert all(0 < share < 1 for _, share in one.published)


def test_a_path_that_is_missing_is_named_by_its_flag_and_by_what_it_should_be():
    with pytest.raises(ConfigError, match=r"--suite.gpqa.evaluation.data.path: .* gpqa_diamond.csv, .* --benchmarks"):
        BY_NAME["gpqa"].evaluation_of(STAGE)


def test_a_tfds_name_takes_the_place_of_a_path():
    suite = apply(R1, [("gsm8k.evaluation.data.kind", "tfds"), ("gsm8k.evaluation.data.name", "gsm8k")])
    (gsm8k,) = suite.only(["gsm8k"]).benchmarks
    data = gsm8k.evaluation_of(STAGE).data
    assert (data.kind, data.name, data.path, data.split) == ("tfds", "gsm8k", None, "test")


def test_one_benchmark_goes_before_each_whichever_comes_first():
    for order in (1, -1):
        flags = [("each.evaluation.samples", "2"), ("gsm8k.evaluation.samples", "3")][::order]
        samples = {one.name: one.evaluation.samples for one in apply(R1, flags).benchmarks}
        assert samples == dict.fromkeys(BY_NAME, 2) | {"gsm8k": 3}


def test_the_comparison_is_changed_by_its_name():
    suite = apply(R1, [("pairwise.votes", "4"), ("pairwise.columns", "question:prompt,response:output")])
    assert suite.pairwise.votes == 4
    assert suite.pairwise.columns == (("question", "prompt"), ("response", "output"))


@pytest.mark.parametrize(
    ("flag", "words"),
    [
        (("gsm9k.evaluation.samples", "2"), r"--suite.gsm9k: .* did you mean 'gsm8k'\?"),
        (("gsm8k.evaluation.sample", "2"), r"--suite.gsm8k.evaluation.sample: .* did you mean 'samples'\?"),
        (("each.evaluation.samples", "two"), "--suite.aime2024.evaluation.samples: expected an integer"),
        (("pairwise.vote", "2"), "--suite.pairwise.vote: "),
        (("pairwise.votes", "3"), "an even number"),
        (("gsm8k.evaluation.data.rewards", "math"), "one of maths, choice, code"),
    ],
)
def test_a_wrong_flag_is_called_as_it_was_given(flag, words):
    with pytest.raises(ConfigError, match=words):
        apply(R1, [flag])


def test_only_those_that_are_asked_for_stay_in_the_suites_order():
    assert [one.name for one in R1.only(["gsm8k", "aime2024"]).benchmarks] == ["aime2024", "gsm8k"]
    assert R1.only(None) == R1
    assert not R1.only([]).benchmarks
    with pytest.raises(ConfigError, match="--benchmarks: .*aime2024.*found 'aime'"):
        R1.only(["aime"])


def test_the_suite_brings_the_rewards_that_its_benchmarks_need_and_the_run_its_settings():
    theirs = RewardsConfig(
        judge=JudgeConfig(url="http://judge:8000/v1"), sandbox=SandboxConfig(cgroup="/a"), workers=7, deadline_seconds=3
    )
    run = dataclasses.replace(RUN, rewards=theirs)
    found = R1.only(["aime2024", "gpqa", "mgsm"]).of(run).rewards
    assert [one.name for one in found.sets] == ["maths", "choice"]  # no sandbox is needed without programs
    assert dataclasses.replace(found, sets=theirs.sets) == theirs
    RewardService(found).close()
    assert SuiteConfig("pairwise").of(run) is run


def test_the_template_is_the_stages_with_the_suites_question_and_opening():
    found = Asking(instruction="Think.").of(TemplateConfig(name="r1_zero", instruction="theirs"))
    assert found == TemplateConfig(name="r1_zero", forced_prefix="<think>\n", instruction="Think.")
    assert Asking(template="chat", forced_prefix="").of(STAGE) == TemplateConfig(name="chat")


@pytest.mark.parametrize("name", ["each", "pairwise", "two words"])
def test_some_names_are_taken(name):
    with pytest.raises(ConfigError, match="name"):
        SuiteBenchmark(name, EVALUATION)


def test_a_template_beside_the_asking_is_refused():
    with pytest.raises(ConfigError, match=r"suite.sums.evaluation.template: .* suite.sums.asking has the prompt"):
        SuiteBenchmark("sums", dataclasses.replace(EVALUATION, template=STAGE))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", r"expected a function get_suite\(\)"),
        ("def get_suite(): return 7", "to return a SuiteConfig, found int"),
        ("def get_suite():\n    from r1jax.suites.suite import SuiteConfig\n    return SuiteConfig('mine')", None),
    ],
)
def test_a_suite_of_ones_own_is_a_file(tmp_path, text, words):
    file = tmp_path / "mine.py"
    file.write_text(text)
    if words is None:
        assert load_suite(str(file), SUITES).name == "mine"
        return
    with pytest.raises(ConfigError, match=words):
        load_suite(str(file), SUITES)


def test_a_suite_that_is_not_there_is_answered_with_those_that_are():
    with pytest.raises(ConfigError, match=r"--suite=r2: .* one of r1"):
        load_suite("r2", SUITES)


def test_votes_come_in_pairs():
    assert PairwiseConfig(votes=4).votes == 4
    with pytest.raises(ConfigError, match="even"):
        PairwiseConfig(votes=1)


def test_files_of_one_name_in_several_folders_are_all_part_of_the_protocol(tmp_path):
    for folder in ("de", "fr"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "test.jsonl").write_text(f'{{"question": "{folder}"}}\n')
    data = DataConfig(kind="jsonl", path=str(tmp_path / "*" / "test.jsonl"))
    before = file_marks(data)
    for folder in ("de", "fr"):
        (tmp_path / folder / "test.jsonl").write_text('{"question": "another"}\n')
        assert file_marks(data) != before
        before = file_marks(data)
