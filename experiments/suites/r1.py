r"""DeepSeek-R1's benchmarks, asked as in its paper, with three smaller ones that it does not report.

What it shows
    How a checkpoint of ours does where R1, R1-Zero and the distilled models were measured: AIME 2024, MATH-500,
    GPQA-Diamond and LiveCodeBench; and on GSM8K, MGSM and HumanEval. Temperature 0.6, top-p 0.95, at most 32,768
    tokens, k samples a question, no system prompt, the turn opened with `<think>\n`.

Command
    python experiments/evaluate.py --config=experiments/configs/NAME.py --workdir=DIR --stage=NAME --suite=r1 \
        --benchmarks=aime2024,gsm8k \
        --suite.aime2024.evaluation.data.path=aime_2024.jsonl --suite.gsm8k.evaluation.data.path=gsm8k_test.jsonl

    Columns are those of the sets' public files (docs/evaluation.md says which, and how to name others).

Time
    AIME 2024 alone is 1,920 completions, GPQA-Diamond 12,672; fewer with --suite.each.evaluation.samples=4.

k: 64 for AIME and GPQA, 16 for MATH-500, 8 for LiveCodeBench [arXiv 2501.12948v2, D.1]; the other three are ours.
Published figures: R1, R1-Zero and others, arXiv 2501.12948v1, tables 2, 4 and 5, and the README of the released models;
Dev1 to Dev3 and R1-Zero's later figures, v2, table 3; V3-Base, the README of DeepSeek-V3, whose 0 or 8 shots and greedy
decoding are another protocol than ours.
"""

from r1jax.config import EvaluationConfig, RewardConfig, RewardSetConfig, SamplerConfig
from r1jax.suites.suite import Asking, SuiteBenchmark, SuiteConfig, file_data

# RM: the README of the released models, usage recommendations.
BOXED = Asking(instruction=r"Please reason step by step, and put your final answer within \boxed{}.")
# The answer's form is the paper's (v2, tables of prompts), the rest of the wording ours.
LETTER = Asking(
    instruction="Please reason step by step. Exactly one of the choices is right. End with a line of the form "
    "'ANSWER: $LETTER' (without quotes), where LETTER is its letter."
)
FUNCTION = Asking(
    instruction="Please reason step by step, then write the complete function, with its imports, into one ```python "
    "block."
)
PROGRAM = Asking(
    instruction="Please reason step by step, then write the complete program into one ```python block. Where no "
    "function is given, it reads standard input and writes the answer, and nothing else, to standard output."
)

SAMPLER = SamplerConfig(max_prompt_tokens=4096)

# Model -> AIME 2024 pass@1, cons@64, MATH-500, GPQA-Diamond, LiveCodeBench, in per cent.
PAPER = {
    "DeepSeek-R1": (79.8, None, 97.3, 71.5, 65.9),
    "R1-Zero (v1)": (71.0, 86.7, 95.9, 73.3, 50.0),
    "R1-Zero (v2)": (77.9, None, 95.9, 75.8, 50.0),
    "R1 Dev1 (v2)": (59.0, None, 94.2, 66.1, 57.5),
    "R1 Dev2 (v2)": (74.0, None, 95.9, 70.7, 63.5),
    "R1 Dev3 (v2)": (78.1, None, 95.4, 71.2, 64.6),
    "R1-Distill-Qwen-1.5B": (28.9, 52.7, 83.9, 33.8, 16.9),
    "R1-Distill-Qwen-7B": (55.5, 83.3, 92.8, 49.1, 37.6),
    "R1-Distill-Llama-8B": (50.4, 80.0, 89.1, 49.0, 39.6),
    "R1-Distill-Qwen-14B": (69.7, 80.0, 93.9, 59.1, 53.1),
    "R1-Distill-Qwen-32B": (72.6, 83.3, 94.3, 62.1, 57.2),
    "R1-Distill-Llama-70B": (70.0, 86.7, 94.5, 65.2, 57.5),
    "OpenAI o1-1217": (79.2, None, 96.4, 75.7, 63.4),
}
AIME, MAJORITY, MATH, GPQA, LIVECODEBENCH = range(5)


def published(column: int) -> tuple[tuple[str, float], ...]:
    """A column of the paper's figures, as shares."""
    return tuple((model, round(row[column] / 100, 3)) for model, row in PAPER.items() if row[column] is not None)


def get_suite() -> SuiteConfig:
    """The suite; every path is the user's to give."""
    return SuiteConfig(
        name="r1",
        sets=tuple(RewardSetConfig(name, (RewardConfig(name),)) for name in ("maths", "choice", "code")),
        benchmarks=(
            SuiteBenchmark(
                name="aime2024",
                source="AIME 2024 as JSONL (problem, answer)",
                asking=BOXED,
                evaluation=EvaluationConfig(
                    data=file_data("maths", columns=(("question", "problem"),)), samples=64, sampler=SAMPLER
                ),
                published=published(AIME) + tuple((f"{who}, cons@64", share) for who, share in published(MAJORITY)),
            ),
            SuiteBenchmark(
                name="math500",
                source="MATH-500 as JSONL (problem, answer, unique_id)",
                asking=BOXED,
                evaluation=EvaluationConfig(
                    data=file_data("maths", columns=(("question", "problem"), ("id", "unique_id"))),
                    samples=16,
                    sampler=SAMPLER,
                ),
                published=published(MATH),
            ),
            SuiteBenchmark(
                name="gpqa",
                source="gpqa_diamond.csv",
                asking=LETTER,
                evaluation=EvaluationConfig(
                    data=file_data("choice", kind="csv", choices_from="gpqa", columns=(("id", "Record ID"),)),
                    samples=64,
                    sampler=SAMPLER,
                ),
                published=published(GPQA),
            ),
            SuiteBenchmark(
                name="livecodebench",
                source="LiveCodeBench's JSONL, of contests from August 2024 to January 2025",
                asking=PROGRAM,
                evaluation=EvaluationConfig(
                    data=file_data("code", tests_from="livecodebench", columns=(("id", "question_id"),)),
                    samples=8,
                    sampler=SAMPLER,
                    answers_vote=False,
                ),
                published=published(LIVECODEBENCH),
            ),
            SuiteBenchmark(
                name="gsm8k",
                source="GSM8K's test.jsonl (question, answer)",
                asking=BOXED,
                evaluation=EvaluationConfig(
                    data=file_data("maths", answer_pattern=r"#### (.+)$"), samples=4, sampler=SAMPLER
                ),
                published=(("V3-Base, 8 shots", 0.893),),
            ),
            SuiteBenchmark(
                name="mgsm",
                source="MGSM's mgsm_*.tsv (question, tab, answer)",
                asking=BOXED,
                evaluation=EvaluationConfig(
                    data=file_data("maths", kind="csv", columns=(("question", "0"), ("answer", "1"))),
                    samples=4,
                    sampler=SAMPLER,
                ),
                published=(("V3-Base, 8 shots", 0.798),),
            ),
            SuiteBenchmark(
                name="humaneval",
                source="HumanEval.jsonl.gz",
                asking=FUNCTION,
                evaluation=EvaluationConfig(
                    data=file_data("code", tests_from="humaneval", columns=(("id", "task_id"),)),
                    samples=8,
                    sampler=SAMPLER,
                    answers_vote=False,
                ),
                published=(("V3-Base, 0 shots", 0.652),),
            ),
        ),
    )
