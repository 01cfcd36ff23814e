"""Made-up workdirs for the tests of the report."""

import json
import math
import pathlib

SCORES = {
    "base": {"pass@1": 0.09, "pass@16": 0.74, "cons@16": 0.33, "mean_length_tokens": 31.2, "seconds": 96.3},
    "zero": {"pass@1": 0.85, "pass@16": 0.99, "cons@16": 1.0, "mean_length_tokens": 43.1, "seconds": 131.8},
}


def finished_run(folder: pathlib.Path) -> pathlib.Path:
    """A run of two stages: `base` with a loss, `zero` with rewards, validation and cut completions."""
    lines = {
        "base": [
            {"step": n, "loss": 0.6 + 3 * math.exp(-n / 20), "grad_norm": 1.0 / n, "learning_rate": 7e-3}
            for n in range(1, 61)
        ],
        "zero": [
            {
                "step": n,
                "reward": n / 60,
                "reward/maths": n / 80,
                "reward/format": 0.9,
                "entropy": 0.4,
                "kl": n / 500,
                "completion_tokens": 31 + n / 5,
                "truncated_share": 0.75,
                **({"validation/pass@1": n / 70, "validation/cons@16": n / 65} if n % 20 == 0 else {}),
            }
            for n in range(1, 61)
        ],
    }
    for name, stage in lines.items():
        (folder / name).mkdir(parents=True)
        (folder / name / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in stage))
    (folder / "summary.json").write_text(json.dumps({"stages": {name: scored(name) for name in SCORES}}))
    (folder / "manifest.json").write_text(json.dumps({"stages": {name: {"status": "done"} for name in SCORES}}))
    return folder


def scored(name: str) -> dict:
    """The summary of a stage, with intervals and the protocol."""
    figures = SCORES[name]
    intervals = {
        f"{key}_interval": [max(0.0, value - 0.03), min(1.0, value + 0.03)]
        for key, value in figures.items()
        if "@" in key
    }
    protocol = {"k": 16, "num_prompts": 256, "temperature": 1.0, "top_p": 1.0, "max_tokens": 104}
    rates = {"format_rate": 0.58, "language_consistency": None, "truncation_rate": 0.02}
    return figures | intervals | protocol | rates
