"""The claims of experiments/configs/claims.py as they are judged: what is compared with what, and the paper's figure.

The config's page has them in words, written down before they were measured; a test holds one to the other. `runs` are
the workdirs of one seed: `sums` and `pairs`.
"""

import json

from r1jax.claims.claim import Claim, Pair
from r1jax.claims.costs import stage_flops
from r1jax.claims.figure import Arm, arm_points, plot_arms
from r1jax.claims.measures import at_the_end, at_the_start, evaluated, mean_over_steps, paired
from r1jax.text.reflection import count_reflection_words

ROUNDS = 3  # of search and training, in the config


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
            "search_at_equal_tokens",
            "so it is where only the tokens that are drawn count",
            "",
            paired(left("tree_search", "search_accuracy"), left("tree_search", "majority_at_tokens_accuracy")),
            "falls",
            note="the most that caches could do for the search: all that it reads, values among it, is free",
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
