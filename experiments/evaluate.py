"""Evaluates a checkpoint as its stage is evaluated: prints the table, writes eval-<step>.json beside the stage's files.

python experiments/evaluate.py --config=experiments/configs/NAME.py --workdir=DIR --stage=NAME [--step=N]
python experiments/evaluate.py --config=experiments/configs/NAME.py --checkpoint=FOLDER --stage=NAME [--step=N]

Without --step: the stage's result, or its newest checkpoint while it runs. The evaluation is changed with
--config.stages.NAME.evaluation.samples=64 and the like.
"""

import sys

from absl import flags

from r1jax.checkpoint import find_checkpoint
from r1jax.config import check
from r1jax.config import flags as config_flags
from r1jax.config.load import load_config
from r1jax.launch import one_line_errors, prepare_jax
from r1jax.report import table
from r1jax.stages.context import open_context
from r1jax.stages.evaluate import evaluate, evaluation_file
from r1jax.stages.weights import load_params, stage_checkpoint
from r1jax.workdir import Workdir
from r1jax.workdir.files import write_json

CONFIG = flags.DEFINE_string("config", None, "config file: Python with a function get_config()", required=True)
WORKDIR = flags.DEFINE_string("workdir", None, "folder of the run")
CHECKPOINT = flags.DEFINE_string("checkpoint", None, "folder of a stage, of its checkpoints, or of one of them")
STAGE = flags.DEFINE_string("stage", None, "stage whose evaluation is made", required=True)
STEP = flags.DEFINE_integer("step", None, "step of the checkpoint")
flags.mark_flags_as_mutual_exclusive(["workdir", "checkpoint"], required=True)


def main() -> None:
    with one_line_errors():
        overrides, rest = config_flags.parse(sys.argv)
        flags.FLAGS(rest)
        config = load_config(CONFIG.value, overrides)
        stage = config.stage(STAGE.value)
        check(stage.evaluation is not None, f"stages.{stage.name}.evaluation", "an evaluation", None)
        prepare_jax()
        with open_context(config, Workdir(WORKDIR.value or CHECKPOINT.value)) as run:
            if CHECKPOINT.value is None:
                checkpoint = stage_checkpoint(stage, run, STEP.value)
            else:
                checkpoint = find_checkpoint(CHECKPOINT.value, STEP.value)
            params = load_params(str(checkpoint), None, run)
            result = evaluate(params, stage.evaluation, run=run, template=stage.template, purpose="evaluation")
        step = int(checkpoint.name)
        write_json(evaluation_file(checkpoint), result.summary | {"step": step})
        table.render({"stages": {f"{stage.name} {step}": result.summary}})
        print(f"\n{evaluation_file(checkpoint)}")


if __name__ == "__main__":
    main()
