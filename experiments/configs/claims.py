"""The paper's claims, tried in miniature: what is claimed was written down here before it was measured.

What it shows
    DeepSeek-R1's statements about reinforcement learning, cold start, rejection sampling, preferences, distillation and
    its own failures, each on a task that a laptop can train: chained sums (run `sums`) and pair search (run `pairs`).
    A claim is judged by rule, over seeds that are paired by their prompts:
        shown      the difference has the claimed sign in every seed, and its 95 % paired t-interval excludes 0
        unchanged  the interval lies within the margin that is stated here
    What does not hold is said to not hold. Seed 0 was the pilot, on which learning rates and sizes were chosen: the
    claims are judged on others.

Claims
    rl_lifts_pass1          RL from rule rewards alone lifts pass@1 [rises]
    majority_lifts_further  the majority of 16 samples is right more often than one of them [rises]
    completions_grow        completions grow longer with RL (pairs) [rises]
    reflection_grows        words of reflection grow with RL (pairs) [rises]
    reflection_when_right   so they do on right, whole traces that try nothing twice (pairs) [rises]
    length_without_bias     length grows under dr_grpo too, whose loss has no length bias (pairs) [rises]
    length_shrinks          on a base without the step skill, where longer is not righter, they shrink with RL [falls]
    language_decays         without the language reward the share of the prompt's language is lower [falls]
    language_reward_cost    that reward leaves the accuracy as it is [unchanged, 4 points]
    cold_start_is_faster    from a cold start RL is at a higher accuracy over its first 40 steps [rises]
    rejection_keeps         SFT from the base on the RL policy's right samples is more accurate than the policy [rises]
    rejection_needs_rl      SFT on right samples of the base is worse than on those of the RL policy [falls]
    preference_moves        preference RL lifts the reward models' score [rises]
    preference_spares       and leaves the accuracy as it is [unchanged, 4 points]
    distilled_beats_rl      the student is better taught by samples than by RL, run to its plateau [rises]
    distilled_then_rl       RL after distillation is better than distillation [rises]
    process_best_of_n       the best of 16 by a process reward model is right less often than their majority [falls]
    process_rl_accuracy     GRPO with the process reward ends at a lower accuracy than with the rule [falls]
    process_rl_score        though its score by that model rises [rises]
    search_at_equal_flops   tree search guided by values is right less often than majority vote at equal FLOPs [falls]
    self_search_falls_short three rounds of search and training end below GRPO, which has cost fewer FLOPs [falls]

Command
    python experiments/claims.py --config=experiments/configs/claims.py --workdir=runs/claims --seeds=1,2,3
    (one run of one seed, as any config: python experiments/run.py --config=experiments/configs/claims.py --workdir=DIR)

Time
    About 25 minutes a seed on 2 cores.
"""

import dataclasses
import json
import pathlib
import runpy
import types

from r1jax.claims.claim import Claim, Pair
from r1jax.claims.costs import stage_flops
from r1jax.claims.figure import Arm, arm_points, plot_arms
from r1jax.claims.measures import at_the_end, at_the_start, evaluated, mean_over_steps, paired
from r1jax.config import (
    BatchConfig,
    DataConfig,
    EvaluateConfig,
    GrpoConfig,
    OptimizerConfig,
    PolicyLossConfig,
    PreferenceConfig,
    RewardConfig,
    RewardModelConfig,
    RewardSetConfig,
    RunConfig,
    SamplerConfig,
    SearchConfig,
    SftConfig,
    StepLabelsConfig,
    StepsConfig,
    constant,
)
from r1jax.text.reflection import count_reflection_words

HERE = pathlib.Path(__file__)
TINY = types.SimpleNamespace(**runpy.run_path(str(HERE.with_name("tiny_r1.py"))))
PAIRS = types.SimpleNamespace(**runpy.run_path(str(HERE.with_name("pairs_zero.py"))))

STEPS = StepsConfig(end=";", combine="last")
BRANCHES = SamplerConfig(lanes=64, width=4, chunk_steps=16, max_prompt_tokens=160)  # a prompt and a solution so far
ROUNDS = 3


def get_config() -> RunConfig:
    """The run `sums` of one seed: all arms on chained sums, those of the student and of search among them."""
    run = TINY.get_config()
    sets = {one.name: one for one in run.rewards.sets}
    form = sets["default"].rewards[1]
    process = RewardSetConfig("process", (form, RewardConfig("maths", weight=constant(0.0))))  # the rule only looks
    return dataclasses.replace(
        run,
        name="claims",
        rewards=dataclasses.replace(run.rewards, sets=(*run.rewards.sets, process)),
        stages=(*programme(run), *students(run), *failures()),
    )


def get_runs(seed: int) -> dict[str, RunConfig]:
    """The runs of one seed."""
    return {name: dataclasses.replace(run, seed=seed) for name, run in (("sums", get_config()), ("pairs", pairs_run()))}


def programme(run: RunConfig) -> tuple:
    """R1-Zero, cold start, both RL arms from it, rejection sampling and its control, preferences, an unskilled base."""
    stage = {one.name: one for one in run.stages}
    return (
        stage["base"],
        often(stage["zero"]),
        stage["cold_start_data"],
        stage["cold_start"],
        often(TINY.reinforce("reasoning_rl", "cold_start", "reasoning", num_steps=40)),
        often(TINY.reinforce("plain_rl", "cold_start", "default", num_steps=40)),
        stage["helpful"],
        stage["safety"],
        stage["rejection_data"],
        stage["rejection_sft"],
        dataclasses.replace(stage["rejection_data"], name="base_data", start="base"),
        TINY.fine_tune("base_sft", "base_data", start="base", num_steps=100),
        stage["all_scenarios_rl"],
        TINY.pretrain("unskilled", num_steps=300),
        TINY.reinforce("unskilled_rl", "unskilled", "default", num_steps=60),
    )


def often(stage: GrpoConfig) -> GrpoConfig:
    """The stage with a look every 10 steps."""
    return dataclasses.replace(stage, validate_every=10)


def students(run: RunConfig) -> tuple:
    """The arms of the student: samples, RL until it no longer gets better, and RL after samples."""
    stage = {one.name: one for one in run.stages}
    plateau = dataclasses.replace(often(stage["student_rl"]), num_steps=200, patience=4)
    return (
        stage["student_base"],
        dataclasses.replace(stage["student_distilled"], validation=TINY.VALIDATION, validate_every=25),
        plateau,
        often(
            TINY.reinforce(
                "student_distilled_rl",
                "student_distilled",
                "default",
                learning_rate=2e-4,  # with 5e-4 the pilot's policy, nearly solved, became worse
                student="small",
                num_steps=40,
            )
        ),
    )


def failures() -> tuple:
    """What did not work in the paper: a process reward model, and search with training on what it found."""
    process_rl = often(TINY.reinforce("process_rl", "base", "process", num_steps=60))
    found = [
        StepLabelsConfig(
            name="step_labels",
            start="base",
            template=TINY.PLAIN,
            data=TINY.sums("train", 128, skip=10_000),
            steps=STEPS,
            samples=4,
            rollouts=4,
            sampling=TINY.AS_TRAINED,
            sampler=BRANCHES,
            batch_prompts=64,
        ),
        value_model("process_model", "base", DataConfig(kind="stage", name="step_labels"), num_steps=200),
        EvaluateConfig(
            name="base_by_process",
            start="base",
            template=TINY.PLAIN,
            evaluation=dataclasses.replace(TINY.EVALUATION, scored_by=("process_model",)),
        ),
        dataclasses.replace(process_rl, preferences=(PreferenceConfig("process_model", sets=("process",)),)),
        search("tree_search", "base", "process_model", TINY.sums("test", 128), compare=True),
    ]
    policy, value = "base", "process_model"
    for number in range(1, ROUNDS + 1):
        name = f"search_{number}"
        prompts = TINY.sums("train", 192, skip=12_000 + 1_000 * number)
        found.append(search(name, policy, value, prompts, compare=False))
        found.append(self_taught(f"policy_{number}", policy, name))
        values = DataConfig(kind="stage", name=name, path="values.jsonl")
        found.append(value_model(f"value_{number}", value, values, num_steps=100))
        policy, value = f"policy_{number}", f"value_{number}"
    return tuple(found)


def value_model(name: str, start: str, data: DataConfig, num_steps: int) -> RewardModelConfig:
    """How likely a solution comes out right from where it stands."""
    return RewardModelConfig(
        name=name,
        start=start,
        template=TINY.PLAIN,
        data=data,
        loss="pointwise",
        reads="whole",
        steps=STEPS,
        num_steps=num_steps,
        batch_records=64,
        batch=BatchConfig(row_tokens=160, micro_batch_rows=16),
        optimizer=OptimizerConfig(learning_rate=5e-4, b2=0.98, warmup_steps=4),
    )


def search(name: str, start: str, value: str, prompts: DataConfig, *, compare: bool) -> SearchConfig:
    """Tree search over steps, guided by a value model."""
    return SearchConfig(
        name=name,
        start=start,
        value=value,
        template=TINY.PLAIN,
        data=prompts,
        steps=STEPS,
        width=4,
        simulations=12,
        max_step_tokens=24,
        sampling=TINY.AS_TRAINED,
        sampler=BRANCHES,
        compare=compare,
    )


def self_taught(name: str, start: str, data: str) -> SftConfig:
    """The policy fine-tuned on the solutions that a search has found."""
    return TINY.fine_tune(name, data, start=start, num_steps=24, learning_rate=5e-4)


def pairs_run() -> RunConfig:
    """The run `pairs`: thinking that grows, with the loss of the paper and with one without a length bias."""
    run = PAIRS.get_config()
    base, zero = run.stages
    unbiased = dataclasses.replace(zero, name="unbiased", loss=PolicyLossConfig(name="dr_grpo", kl_coefficient=0.001))
    return dataclasses.replace(run, stages=(base, zero, unbiased))


def right_reflections(stage: str):
    """Words of reflection in the right and whole completions of a stage's evaluation that try no pair twice."""

    def figure(runs) -> float:
        path = runs["pairs"].stage(stage).path / "eval_samples.jsonl"
        samples = [json.loads(line) for line in path.read_text().splitlines()]
        counted = [
            count_reflection_words(one["completion"])
            for one in samples
            if one["status"] == "correct" and one["stopped"] and not repeats(one["completion"])
        ]
        return sum(counted) / len(counted)

    return figure


def repeats(completion: str) -> bool:
    """Whether a trial (`first 6 plus 3 is 9 ? 10 no ;`) stands in it twice, in either order of its numbers."""
    tried = [
        tuple(sorted(word for word in trial.split("is")[0].split() if word.isdigit()))
        for trial in completion.split(";")
        if " plus " in trial
    ]
    return len(set(tried)) < len(tried)


def left(stage: str, figure: str):
    """A figure among what a stage that leaves data has handed on."""
    return lambda runs: float(runs["sums"].outputs(stage)[figure])


def scores(stage: str):
    """The sum of both reward models' mean scores on the general prompts of the test split."""

    def figure(runs) -> float:
        found = runs["sums"].summary()["stages"][stage]["benchmarks"]["small_talk"]
        return found["reward_model/helpful"] + found["reward_model/safety"]

    return figure


def self_search(runs) -> Pair:
    """The policy of the last round, and GRPO's at the last look that had cost no more than the rounds."""
    run = runs["sums"]
    spent = 0.0
    for number in range(1, ROUNDS + 1):
        searched = run.stage(f"search_{number}").read_evaluation()
        spent += searched["flops"] * searched["num_prompts"]
        spent += sum(stage_flops(run, f"{what}_{number}").total for what in ("policy", "value"))
    looks = [(cost, accuracy) for cost, accuracy in arm_points(run, Arm("GRPO", ("zero",))) if cost <= spent]
    return Pair(runs["sums"].summary()["stages"][f"policy_{ROUNDS}"]["pass@1"], looks[-1][1])


ARMS = (
    Arm("distilled", ("student_distilled",)),
    Arm("RL", ("student_rl",)),
    Arm("distilled, then RL", ("student_distilled", "student_distilled_rl")),
)


def get_figure(seeds, path) -> None:
    """Draws the student's arms over its FLOPs; what the teacher's samples have cost stands apart."""
    runs = {seed: runs["sums"] for seed, runs in seeds.items()}
    first = next(iter(runs.values()))
    plot_arms(
        runs,
        ARMS,
        path,
        title="The same student, three ways",
        start=first.summary()["stages"]["student_base"]["pass@1"],
        apart={"the teacher's samples": stage_flops(first, "rejection_data")},
    )


def get_claims() -> tuple[Claim, ...]:
    """What is claimed, as the page above has it."""
    pass1 = {
        name: evaluated("sums", name, "pass@1")
        for name in (
            *("base", "zero", "reasoning_rl", "plain_rl", "rejection_sft", "base_sft", "all_scenarios_rl"),
            *("student_distilled", "student_rl", "student_distilled_rl", "process_rl"),
        )
    }
    length = {name: evaluated("pairs", name, "mean_length_tokens") for name in ("base", "zero", "unbiased")}
    early = {name: mean_over_steps("sums", name, "validation/pass@1") for name in ("plain_rl",)}
    score = "validation/reward_model_score"
    return (
        Claim(
            "rl_lifts_pass1",
            "RL from rule rewards alone lifts pass@1",
            "15.6 % to 77.9 % (R1-Zero, AIME 2024)",
            paired(pass1["zero"], pass1["base"]),
            "rises",
        ),
        Claim(
            "majority_lifts_further",
            "the majority of 16 samples is right more often than one of them",
            "77.9 % to 86.7 % (R1-Zero, AIME 2024, 64 samples)",
            paired(evaluated("sums", "zero", "cons@16"), pass1["zero"]),
            "rises",
        ),
        Claim(
            "completions_grow",
            "completions grow longer with RL",
            "from hundreds of tokens to about ten thousand",
            paired(length["zero"], length["base"]),
            "rises",
            share=False,
        ),
        Claim(
            "reflection_grows",
            "words of reflection grow with RL",
            "five to seven times as many",
            paired(evaluated("pairs", "zero", "reflection_words"), evaluated("pairs", "base", "reflection_words")),
            "rises",
            share=False,
        ),
        Claim(
            "reflection_when_right",
            "they grow on right, whole completions that try nothing twice",
            "",
            paired(right_reflections("zero"), right_reflections("base")),
            "rises",
            share=False,
        ),
        Claim(
            "length_without_bias",
            "completions grow under dr_grpo too",
            "",
            paired(length["unbiased"], length["base"]),
            "rises",
            share=False,
        ),
        Claim(
            "length_shrinks",
            "on a base without the step skill completions shrink with RL",
            "",
            paired(
                evaluated("sums", "unskilled_rl", "mean_length_tokens"),
                evaluated("sums", "unskilled", "mean_length_tokens"),
            ),
            "falls",
            share=False,
            note="the negative control: longer answers are not more often right there",
        ),
        Claim(
            "language_decays",
            "without the language reward fewer words are in the prompt's language",
            "consistency decays without it, and stays with it",
            paired(
                evaluated("sums", "plain_rl", "language_consistency"),
                evaluated("sums", "reasoning_rl", "language_consistency"),
            ),
            "falls",
        ),
        Claim(
            "language_reward_cost",
            "the language reward leaves the accuracy as it is",
            "maths about equal, code slightly worse",
            paired(pass1["reasoning_rl"], pass1["plain_rl"]),
            "unchanged",
            margin=0.04,
        ),
        Claim(
            "cold_start_is_faster",
            "from a cold start RL is at a higher accuracy over its first 40 steps",
            "faster convergence, without figures",
            paired(early["plain_rl"], first_steps("zero", 40)),
            "rises",
        ),
        Claim(
            "rejection_keeps",
            "SFT from the base on the RL policy's right samples is more accurate than the policy",
            "74.0 % to 78.1 % (Dev2 to Dev3, AIME 2024)",
            paired(pass1["rejection_sft"], pass1["reasoning_rl"]),
            "rises",
        ),
        Claim(
            "rejection_needs_rl",
            "SFT on right samples of the base is worse than on those of the RL policy",
            "",
            paired(pass1["base_sft"], pass1["rejection_sft"]),
            "falls",
            note="the same prompts, samples and filters, straight from the base",
        ),
        Claim(
            "preference_moves",
            "preference RL lifts the reward models' score",
            "ArenaHard 75.6 to 92.3 (Dev3 to R1)",
            paired(scores("all_scenarios_rl"), scores("rejection_sft")),
            "rises",
            share=False,
        ),
        Claim(
            "preference_spares",
            "preference RL leaves the accuracy as it is",
            "78.1 % to 79.8 % (Dev3 to R1, AIME 2024)",
            paired(pass1["all_scenarios_rl"], pass1["rejection_sft"]),
            "unchanged",
            margin=0.04,
        ),
        Claim(
            "distilled_beats_rl",
            "the student is better taught by samples than by RL",
            "72.6 % against 47.0 % (Qwen2.5-32B, AIME 2024)",
            paired(pass1["student_distilled"], pass1["student_rl"]),
            "rises",
            note="RL ran until four looks in a row were no better, or 200 steps; the samples are filtered",
        ),
        Claim(
            "distilled_then_rl",
            "RL after distillation is better than distillation",
            "left open, and expected",
            paired(pass1["student_distilled_rl"], pass1["student_distilled"]),
            "rises",
        ),
        Claim(
            "process_best_of_n",
            "the best of 16 by a process reward model is right less often than their majority",
            "",
            paired(
                evaluated("sums", "base_by_process", "best@16/process_model"),
                evaluated("sums", "base_by_process", "cons@16"),
            ),
            "falls",
        ),
        Claim(
            "process_rl_accuracy",
            "GRPO with the process reward ends at a lower accuracy than with the rule",
            "reward hacking, without figures",
            paired(pass1["process_rl"], at_step("zero", 60)),
            "falls",
            note="the rule's at the same step",
        ),
        Claim(
            "process_rl_score",
            "and its score by the process reward model rises",
            "",
            paired(at_the_end("sums", "process_rl", score), at_the_start("sums", "process_rl", score)),
            "rises",
        ),
        Claim(
            "search_at_equal_flops",
            "tree search guided by values is right less often than majority vote at equal FLOPs",
            "",
            paired(left("tree_search", "search_accuracy"), left("tree_search", "majority_accuracy")),
            "falls",
        ),
        Claim(
            "self_search_falls_short",
            "three rounds of search and training end below GRPO at equal FLOPs",
            "iterated self-search did not improve, without figures",
            self_search,
            "falls",
            note="labels and training of the first value model are not counted among the rounds' FLOPs",
        ),
    )


def first_steps(stage: str, steps: int):
    """The mean of a stage's looks up to that step."""

    def figure(runs) -> float:
        lines = runs["sums"].stage(stage).metrics.read()
        values = [line["validation/pass@1"] for line in lines if line["step"] <= steps and "validation/pass@1" in line]
        return sum(values) / len(values)

    return figure


def at_step(stage: str, step: int):
    """A stage's look at that step."""

    def figure(runs) -> float:
        lines = runs["sums"].stage(stage).metrics.read()
        return next(line["validation/pass@1"] for line in lines if line["step"] == step)

    return figure
