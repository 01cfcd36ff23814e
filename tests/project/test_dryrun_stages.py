"""A small run of every kind of stage that opens several models: on the device lies what the dry run says, no more.

What is measured is what lies there between programs: parameters, moments, copies. A program's own arrays (caches,
batches, gradients) have tests of their own.
"""

import dataclasses
import gc
import json

import jax
import numpy as np
import pytest

from r1jax import pipeline
from r1jax.config import (
    BatchConfig,
    CollectConfig,
    DataConfig,
    DistillConfig,
    EvaluationConfig,
    FiltersConfig,
    GrpoConfig,
    LoggingConfig,
    MeshConfig,
    ModelConfig,
    OptimizerConfig,
    PolicyLossConfig,
    PreferenceConfig,
    PretrainConfig,
    RefineConfig,
    RewardConfig,
    RewardModelConfig,
    RewardsConfig,
    RewardSetConfig,
    RunConfig,
    SamplerConfig,
    SamplingConfig,
    SearchConfig,
    StageConfig,
    StepLabelsConfig,
    StepsConfig,
    StudentConfig,
    TemplateConfig,
    TokenizerConfig,
    TrainingConfig,
    constant,
)
from r1jax.dryrun import arrays, memory
from r1jax.dryrun.programs import arrays_of_batch, sampler_uses
from r1jax.sampler.engine import Sampler
from r1jax.stages import distill, distill_teacher, scorer
from r1jax.stages.preference_rewards import PreferenceRewards
from r1jax.stages.scorer import Scorer
from r1jax.stages.session import Session

pytestmark = pytest.mark.slow

OF_PROGRAMS = ("batch", "gradients", "KV cache")
MOMENTS = ("copied", "opened")
PLAIN = TemplateConfig(name="plain")
MODEL = ModelConfig(
    vocab_size=48,
    hidden_size=64,
    num_layers=2,
    num_heads=2,
    num_kv_heads=2,
    ffn_size=256,
    scan_unroll=2,
    compute_dtype="bfloat16",
)
SMALL = dataclasses.replace(MODEL, hidden_size=32, num_layers=1)
SAMPLER = SamplerConfig(lanes=4, width=2, chunk_steps=8, max_prompt_tokens=40)
STEPS = StepsConfig(end=";")
EVERY = FiltersConfig(
    min_scores=(),
    finished=False,
    thinking=None,
    thinking_language_share=None,
    summary_language_share=None,
    repeated_ngram_share=None,
    repeated_line_share=None,
    near_duplicate_questions=None,
    near_duplicate_responses=None,
)


def sums(limit: int, split: str = "train") -> DataConfig:
    return DataConfig(kind="task", name="chained_sums", split=split, limit=limit)


def free(max_new_tokens: int) -> SamplingConfig:
    """Samplers of a stage are told apart by the longest completion that they are built for."""
    return SamplingConfig(temperature=1.0, top_p=None, max_new_tokens=max_new_tokens)


def looks(max_new_tokens: int, **fields) -> EvaluationConfig:
    return EvaluationConfig(
        data=sums(2, "test"),
        samples=2,
        sampling=free(max_new_tokens),
        sampler=SAMPLER,
        bootstrap_resamples=10,
        **fields,
    )


def training(**fields) -> dict:
    batch, optimizer = BatchConfig(row_tokens=64, micro_batch_rows=4), OptimizerConfig()
    return {"template": PLAIN, "batch": batch, "optimizer": optimizer, "num_steps": 2} | fields


def written(path, records: list[dict]) -> DataConfig:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return DataConfig(kind="jsonl", path=str(path))


def whole_run(folder) -> RunConfig:
    pairs = [
        {"id": f"{n}", "question": f"compute {n % 10} + 1 ?", "chosen": "1 2", "rejected": "2 1 3"} for n in range(16)
    ]
    labelled = [
        {"id": f"{n}", "question": f"compute {n % 10} + 1 ?", "response": "1 ;", "label": n % 2} for n in range(16)
    ]
    stages = (
        PretrainConfig(
            name="base",
            data=DataConfig(kind="task", name="chained_sums_corpus", limit=16),
            batch_rows=4,
            **training(evaluation=looks(8)),
        ),
        CollectConfig(
            name="samples",
            start="base",
            template=PLAIN,
            data=sums(2),
            samples=2,
            sampling=free(16),
            sampler=SAMPLER,
            refine=RefineConfig(by="policy", steps=(), sampling=free(20)),
            filters=EVERY,
        ),
        StepLabelsConfig(
            name="labels",
            start="base",
            template=PLAIN,
            data=sums(2),
            steps=STEPS,
            samples=3,
            rollouts=2,
            sampling=free(20),
            sampler=SAMPLER,
        ),
        RewardModelConfig(
            name="value",
            start="base",
            data=written(folder / "labelled.jsonl", labelled),
            loss="pointwise",
            reads="whole",
            steps=STEPS,
            batch_records=4,
            held_out_share=0.4,
            **training(),
        ),
        SearchConfig(
            name="search",
            start="base",
            template=PLAIN,
            data=sums(2),
            value="value",
            steps=STEPS,
            width=2,
            simulations=3,
            max_step_tokens=8,
            sampling=free(16),
            sampler=SAMPLER,
            bootstrap_resamples=10,
        ),
        RewardModelConfig(
            name="helpful",
            start="base",
            data=written(folder / "pairs.jsonl", pairs),
            batch_records=4,
            held_out_share=0.2,
            **training(),
        ),
        GrpoConfig(
            name="scenarios",
            start="base",
            data=sums(4),
            group_size=4,
            rollout_prompts=2,
            max_new_tokens=constant(20),
            sampler=SAMPLER,
            preferences=(PreferenceConfig("helpful", sets=("default",)),),
            validation=looks(16, scored_by=("helpful",)),
            validate_every=2,
            preference_validation=looks(12),
            **training(evaluation=looks(8, scored_by=("helpful", "value"))),
        ),
        DistillConfig(
            name="taught",
            student="small",
            teacher="base",
            data=sums(4),
            rollout_prompts=4,
            minibatches=2,
            max_new_tokens=constant(20),
            loss=PolicyLossConfig(name="bnpo", kl_coefficient=0.01),
            sampler=SAMPLER,
            **training(evaluation=looks(8, scored_by=("helpful",))),
        ),
    )
    return RunConfig(
        name="every_kind",
        model=MODEL,
        tokenizer=TokenizerConfig(task="chained_sums"),
        stages=stages,
        students=(StudentConfig("small", SMALL),),
        mesh=MeshConfig(data=1),
        rewards=RewardsConfig(sets=(RewardSetConfig("default", (RewardConfig("maths"),)),), workers=1),
        logging=LoggingConfig(tensorboard=False, samples_per_step=1),
    )


class Seen:
    """The most that lay on the device as the phases of a stage began, and in its brief moments.

    Attributes:
      held: (stage, phase or moment) -> bytes.
      arrays: stage -> how many numbers of each token its batches had.
    """

    def __init__(self):
        self.held: dict[tuple[str, str], int] = {}
        self.arrays: dict[str, set[int]] = {}
        self.stage: StageConfig | None = None
        self.reading: str | None = None
        self._sampled = ""
        self._before = bytes_now()

    def look(self, when: str) -> None:
        key = (self.stage.name, when)
        self.held[key] = max(bytes_now() - self._before, self.held.get(key, 0))

    def begin(self, stage: StageConfig, *_) -> None:
        self.stage = stage

    def sample(self, sampler: Sampler, *_) -> None:
        uses = {use.max_new_tokens: use.purpose for use in sampler_uses(self.stage)}
        self._sampled = uses[sampler._max_new_tokens]
        self.look(self._sampled)

    def read(self, *_) -> None:
        if isinstance(self.stage, SearchConfig):
            self.look("values")
        elif not isinstance(self.stage, RewardModelConfig):  # which reads what it holds out
            self.look(self.reading or f"{self._sampled}: scores")

    def update(self, session: Session, batch: dict) -> None:
        count = sum(np.ndim(array) == 3 for array in batch.values())
        self.arrays.setdefault(self.stage.name, set()).add(count)
        self.look("update")


def bytes_now() -> int:
    gc.collect()
    return sum(array.nbytes for array in jax.live_arrays())


def watched(patch: pytest.MonkeyPatch) -> Seen:
    """Sees what follows."""
    seen = Seen()

    def around(owner, name, *, before=None, after=None):
        inner = getattr(owner, name)

        def called(*args, **kwargs):
            if before is not None:
                before(*args)
            found = inner(*args, **kwargs)
            return found if after is None else after(found, *args)

        patch.setattr(owner, name, called)

    def copied(found, *_):
        seen.look("copied")  # and the caller still has what was copied
        return found

    def cast(made, *_):
        """What casts a model's parameters is watched, too."""
        return lambda params: copied_from(made(params), params)

    def copied_from(found, params):
        seen.look("opened")
        return found

    def asked(model, *_):
        seen.reading = "reward models"

    def answered(found, *_):
        seen.reading = None
        return found

    def taught(teacher, *_):
        def logps(batch):
            seen.look("teacher")
            return teacher.logps(batch)

        return dataclasses.replace(teacher, logps=logps)

    around(pipeline, "run_stage", before=seen.begin)
    around(Sampler, "generate", before=seen.sample)
    around(Sampler, "load", after=copied)
    around(Scorer, "scores", before=seen.read)
    around(Session, "update", before=seen.update)
    around(PreferenceRewards, "_scores", before=asked, after=answered)
    around(distill, "open_teacher", after=taught)
    around(scorer, "jit_make", after=cast)
    around(distill_teacher, "jit_make", after=cast)
    return seen


@pytest.fixture(scope="module")
def watched_run(tmp_path_factory):
    """The run, what was seen of it, and the mesh that it is planned for."""
    folder = tmp_path_factory.mktemp("every_kind")
    config = whole_run(folder)
    with pytest.MonkeyPatch.context() as patch:
        seen = watched(patch)
        pipeline.run(config, str(folder / "run"), devices=jax.devices()[:1])
    return config, seen, arrays.abstract_mesh(config.mesh, 1)


def test_every_phase_that_is_planned_comes_and_no_other(watched_run):
    config, seen, _ = watched_run
    planned = {(stage.name, phase) for stage in config.stages for phase in memory.phases_of(stage)}
    assert seen.held.keys() - {(stage.name, moment) for stage in config.stages for moment in MOMENTS} == planned


def test_a_phase_begins_with_just_what_is_said_to_be_held(watched_run):
    config, seen, mesh = watched_run
    for (name, phase), found in seen.held.items():
        if phase in MOMENTS:
            continue
        holdings = memory.holdings_of(config.stage(name), config, mesh)
        lasting = [one for one in holdings if one.exact and not one.name.startswith(OF_PROGRAMS)]
        planned = memory.total(lasting, phase)
        # Counters and keys are not planned for; on a CPU, NumPy views keep some log-probs of the last program.
        assert planned <= found < 1.01 * planned, (name, phase)


@pytest.mark.parametrize("name", ["samples", "labels", "search"])
def test_parameters_are_there_while_a_stage_that_leaves_data_makes_its_copies(name, watched_run):
    config, seen, mesh = watched_run
    planned = memory.brief_peaks(config.stage(name), config, mesh)["while the sampler takes its copy"]
    assert planned <= seen.held[name, "copied"] < 1.01 * planned


@pytest.mark.parametrize("name", ["search", "scenarios", "taught"])
def test_a_model_that_reads_is_there_twice_while_it_is_opened(name, watched_run):
    config, seen, mesh = watched_run
    planned = memory.brief_peaks(config.stage(name), config, mesh)["while a model that reads is opened"]
    assert planned <= seen.held[name, "opened"] < 1.01 * planned


def test_batches_have_the_arrays_that_are_counted(watched_run):
    config, seen, _ = watched_run
    trained = [stage for stage in config.stages if isinstance(stage, TrainingConfig)]
    assert seen.arrays == {stage.name: {arrays_of_batch(stage)} for stage in trained}
