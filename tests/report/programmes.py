"""A made-up workdir of the whole programme: thirteen stages that take policies, data and reward models."""

import json
import math
import pathlib

from r1jax.config import (
    BatchConfig,
    BenchmarkConfig,
    CollectConfig,
    DataConfig,
    EvaluationConfig,
    GrpoConfig,
    ModelConfig,
    OptimizerConfig,
    PreferenceConfig,
    PretrainConfig,
    RewardModelConfig,
    RunConfig,
    SamplerConfig,
    SftConfig,
    StudentConfig,
    TokenizerConfig,
    constant,
)
from r1jax.config.serialize import to_json

SECONDS = (96, 132, 21, 12, 88, 64, 31, 18, 14, 75, 70, 16, 44)
KEPT = {"cold_start_data": (512, 301), "rejection_data": (2048, 1434)}
HELD_OUT = {"helpful": 0.912, "safety": 0.874}
HOSTILE = "</script><img src=x onerror=alert(1)> \ud800 \x00 {{ 7 * 7 }} & <b>"


def config() -> RunConfig:
    """The stages of the miniature, with sizes that nobody will train."""
    questions = DataConfig(kind="task", name="chained_sums", limit=64)
    common = {
        "optimizer": OptimizerConfig(learning_rate=1e-3),
        "batch": BatchConfig(row_tokens=160, micro_batch_rows=8),
    }
    evaluation = {"evaluation": EvaluationConfig(data=questions)}

    def policy(cls, name, start=None, data=questions, **more):
        return cls(name=name, start=start, data=data, num_steps=60, **common, **evaluation, **more)

    def reinforced(name, start, **more):
        sampler = SamplerConfig(max_prompt_tokens=32)
        return policy(GrpoConfig, name, start, max_new_tokens=constant(104.0), sampler=sampler, **more)

    def judged(name, start, **more):
        return RewardModelConfig(name=name, start=start, data=questions, num_steps=60, **common, **more)

    aime = BenchmarkConfig("aime_2024", EvaluationConfig(data=questions), published=(("DeepSeek-R1", 0.798),))
    return RunConfig(
        name="tiny_r1",
        model=model(128),
        tokenizer=TokenizerConfig(task="chained_sums"),
        students=(StudentConfig("small", model(64)),),
        stages=(
            policy(PretrainConfig, "base"),
            reinforced("zero", "base"),
            CollectConfig(name="cold_start_data", start="zero", data=questions),
            policy(SftConfig, "cold_start", "base", taken("cold_start_data")),
            reinforced("reasoning_rl", "cold_start"),
            CollectConfig(name="rejection_data", start="reasoning_rl", data=questions),
            policy(SftConfig, "rejection_sft", "base", taken("rejection_data")),
            judged("helpful", "rejection_sft"),
            judged("safety", "rejection_sft", loss="pointwise", reads="whole"),
            reinforced(
                "all_scenarios_rl",
                "rejection_sft",
                preferences=(PreferenceConfig("helpful"), PreferenceConfig("safety")),
                benchmarks=(aime,),
            ),
            policy(PretrainConfig, "student_base", student="small"),
            policy(SftConfig, "student_distilled", "student_base", taken("rejection_data"), student="small"),
            reinforced("student_rl", "student_base", student="small"),
        ),
    )


def model(width: int) -> ModelConfig:
    """A small decoder."""
    return ModelConfig(vocab_size=64, hidden_size=width, num_layers=2, num_heads=4, num_kv_heads=4, ffn_size=4 * width)


def taken(stage: str) -> DataConfig:
    """The data of an earlier stage."""
    return DataConfig(kind="stage", name=stage)


def programme(folder: pathlib.Path, *, begun: int = 13) -> pathlib.Path:
    """The workdir after `begun` stages: all of them done."""
    run = config()
    manifest, summary = {}, {}
    for number, stage in enumerate(run.stages[:begun]):
        where = folder / stage.name
        where.mkdir(parents=True)
        figures = figures_of(stage, number)
        entry = {"status": "done", "start": stage.start, "outputs": {}, "error": None, "seconds": SECONDS[number]}
        manifest[stage.name] = {**entry, "started": f"2026-01-02T03:{number:02d}:00+00:00"}
        summary[stage.name] = {**figures, "seconds": SECONDS[number]}
        if stage.leaves == "data":
            manifest[stage.name]["outputs"] = figures
            write_data(where, *KEPT[stage.name])
        else:
            write_metrics(where, stage)
        if stage.leaves == "policy":
            write_samples(where)
    dump(folder / "manifest.json", {"stages": manifest})
    dump(folder / "summary.json", {"stages": summary})
    dump(folder / "config.json", to_json(run))
    return folder


def dump(path: pathlib.Path, value) -> None:
    """JSON in a file."""
    path.write_text(json.dumps(value))


def lines(path: pathlib.Path, values) -> None:
    """JSONL in a file."""
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


def figures_of(stage, number: int) -> dict:
    """What the summary says of a stage."""
    if stage.leaves == "data":
        seen, kept = KEPT[stage.name]
        return {"records": kept, "seen": seen, "prompts": seen // 4, "filters": {"correct": seen - kept - 20}}
    if stage.leaves == "reward_model":
        value = HELD_OUT[stage.name]
        interval = [value - 0.03, value + 0.025]
        return {"held_out_accuracy": value, "held_out_accuracy_interval": interval, "held_out_loss": 0.31}
    right = 0.09 + 0.07 * number
    protocol = {"k": 16, "num_prompts": 256, "temperature": 1.0, "max_tokens": 104, "mean_length_tokens": 31 + number}
    rates = {"format_rate": 0.99, "language_consistency": 0.6 + 0.03 * number, "no_answer_rate": 0.01}
    scores = {"pass@1": right, "pass@16": min(1.0, right + 0.3), "cons@16": min(1.0, right + 0.12)}
    intervals = {f"{key}_interval": [max(0, value - 0.03), min(1, value + 0.03)] for key, value in scores.items()}
    found = {**scores, **intervals, **protocol, **rates}
    if stage.name == "all_scenarios_rl":
        aime = {"pass@1": 0.61, "pass@1_interval": [0.5, 0.7], "k": 16, "num_prompts": 30}
        found["benchmarks"] = {"aime_2024": {**aime, "published": {"DeepSeek-R1": 0.798}}}
        found |= {"reward_model/helpful": 1.37, "best@16/helpful": 0.88}
    return found


def write_metrics(folder: pathlib.Path, stage) -> None:
    """240 lines of metrics such as the stage's kind has, noisy by a fixed rule."""

    def noise(n: int) -> float:
        return math.sin(12.9898 * n) * math.cos(4.1 * n)

    found = []
    for n in range(1, 241):
        line = {"step": n, "loss": 0.6 + 3 * math.exp(-n / 40) + 0.1 * noise(n), "grad_norm": 1 / n + 0.05}
        line |= {"learning_rate": 1e-3 * (1 - n / 300), "seconds": 0.2 + 0.02 * noise(n)}
        if stage.leaves == "reward_model":
            line["accuracy"] = min(1.0, 0.5 + n / 500 + 0.1 * noise(n))
        if isinstance(stage, GrpoConfig):
            rise = 1 - math.exp(-n / 60)
            line |= {"reward": 1.4 * rise + 0.1 * noise(n), "reward/maths": 0.9 * rise + 0.1 * noise(n)}
            line |= {"reward/format": 0.5 + 0.45 * rise, "entropy": 0.5 - 0.3 * rise + 0.03 * noise(n), "kl": n / 900}
            line |= {"completion_tokens": 31 + 12 * rise + 2 * noise(n), "truncated_share": 0.02}
            line |= {"no_answer_share": 0.3 * (1 - rise), "language_share": 0.74 + 0.2 * rise}
            line |= {f"reward/{one.model}": 2 * rise + 0.3 * noise(n) for one in stage.preferences}
            if n % 20 == 0:
                line |= {"validation/pass@1": 0.2 + 0.6 * rise, "validation/cons@16": 0.3 + 0.65 * rise}
                line |= {f"validation/reward_model/{one.model}": 2.1 * rise for one in stage.preferences}
        found.append(line)
    lines(folder / "metrics.jsonl", found)


def sample(number: int, **more) -> dict:
    """A line of samples.jsonl or eval_samples.jsonl."""
    right = number % 4 != 3
    turn = f"<think> then 4 7 plus 8 is 5 5 ; check {number} </think> <answer> {55 if right else 54} </answer>"
    fields = {"question": "compute 4 7 + 8 ?", "gold": "5 5", "completion": turn, "answer": "5 5" if right else "5 4"}
    found = {"prompt": f"p:{number}", "sample": 0, **fields, "status": "correct" if right else "wrong"}
    return found | {"rewards": {"maths": float(right), "format": 1.0}, "tokens": 43, "stopped": True} | more


def write_samples(folder: pathlib.Path) -> None:
    """400 samples of training and 300 of the evaluation; one is hostile, one cut, one endless."""
    training = [sample(number, step=1 + number // 4) for number in range(400)]
    training[0] |= {"completion": f"<think>{HOSTILE}</think>{HOSTILE}", "question": HOSTILE, "status": "no_answer"}
    lines(folder / "samples.jsonl", training)
    evaluation = [sample(number) for number in range(300)]
    evaluation[3] |= {"completion": "<think>" + "wait " * 40_000, "stopped": False, "answer": None}
    lines(folder / "eval_samples.jsonl", evaluation)


def write_data(folder: pathlib.Path, seen: int, kept: int) -> None:
    """data.jsonl and filters.json."""
    wrong = seen - kept - 20
    counts = [
        {"filter": "correct", "seen": seen, "dropped": wrong, "examples": [["p:3:0", "maths is 0, not 1"]]},
        {"filter": "language", "seen": seen - wrong, "dropped": 20, "examples": [["p:8:1", "0.6 of the <words>"]]},
        {"filter": "duplicates", "seen": kept, "dropped": 0, "examples": []},
    ]
    dump(folder / "filters.json", {"counts": counts})
    lineage = {"stage": "zero", "step": 240, "sample": 1, "num_tokens": 43, "truncated": False, "scores": {"maths": 1}}
    record = {
        "question": "小明有 5 2 买 9 ?",
        "response": "<think> 然后 5 2 加 9 得 6 1 ; </think> 6 1",
        "answer": "6 1",
    }
    lines(folder / "data.jsonl", [{**record, "id": f"r{n}", "language": "zh", "lineage": lineage} for n in range(kept)])


CLAIMS = [
    {
        "claim": "Reinforcement learning alone lifts pass@1.",
        "paper": "15.6 % -> 71.0 % (AIME 2024)",
        "ours": "+71.2 points",
        "interval": [68.1, 74.3],
        "verdict": "shown",
        "seeds": 5,
        "note": "",
    },
    {
        "claim": "Completions grow longer <with> RL.",
        "paper": "yes",
        "ours": 0.25,
        "interval": [-0.1, 0.6],
        "verdict": "not shown",
        "seeds": [0, 1, 2],
        "note": "The control grows as much.",
    },
    {"claim": "Search beats RL.", "paper": "no", "ours": "yes", "interval": None, "verdict": "against", "seeds": 3},
]
