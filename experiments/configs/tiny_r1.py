"""DeepSeek-R1's whole programme in miniature, on a laptop CPU, from nothing: nine checkpoints and what lies between.

What it shows
    The stages of the paper, each on the task of chained sums ("compute 4 7 + 8 - 5 + 9 ?", in English and Chinese),
    with small talk beside it (greetings, little instructions, requests that should be declined):
        base               pretrained on a generated, deliberately poor corpus
        zero               R1-Zero: GRPO with two rules (right answer, right format) and no demonstration
        cold_start         base again, fine-tuned on R1-Zero's own right answers, put into one language by a dictionary
        reasoning_rl       GRPO with the language-consistency reward added
        rejection_sft      base again, fine-tuned on right answers of reasoning_rl and on small talk
        all_scenarios_rl   GRPO on both, with the reward models helpful and safety in its last part
        student_base, student_distilled, student_rl
                           a quarter of the model: as pretrained, taught by samples of reasoning_rl, and by RL alone
    cold_start_data and rejection_data are files that you may open and edit before the next stage takes them. No sum in
    them was worked out by the generator: all are samples of the policy, kept when they pass the filters. Answers to
    small talk are the generator's, pairs and labels too.

    In the last stage the reward models' scores rise and the accuracy stays. What the exact rule says of small talk
    falls meanwhile (the benchmark's pass@1, from 0.56 to 0.48): the helpful model is right on 92 % of the pairs held
    out, and the policy finds the rest. That is why the paper keeps preference rewards to the last steps.

Command
    python experiments/run.py --config=experiments/configs/tiny_r1.py --workdir=runs/demo     (or: make demo)

Time
    About 6 minutes on 2 cores; the table at its end says what each stage took.
"""

from r1jax.config import (
    BatchConfig,
    BenchmarkConfig,
    CollectConfig,
    DataConfig,
    EvaluationConfig,
    FiltersConfig,
    GateConfig,
    GeneralDataConfig,
    GrpoConfig,
    MixedDataConfig,
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
    RopeConfig,
    RunConfig,
    SamplerConfig,
    SamplingConfig,
    Schedule,
    SftConfig,
    StudentConfig,
    TemplateConfig,
    TokenizerConfig,
    constant,
)

PLAIN = TemplateConfig(name="plain")
ANSWER_TOKENS = 104  # the longest completion
ROLLOUT = SamplerConfig(lanes=16, width=8, chunk_steps=16, max_prompt_tokens=48)
WIDE = SamplerConfig(lanes=64, width=16, chunk_steps=16, max_prompt_tokens=48)
AS_TRAINED = SamplingConfig(temperature=1.0, top_p=None, max_new_tokens=ANSWER_TOKENS)
ROWS = BatchConfig(row_tokens=160, micro_batch_rows=8)


def sums(split: str, limit: int, **fields) -> DataConfig:
    """Prompts of the task."""
    return DataConfig(kind="task", name="chained_sums", split=split, limit=limit, **fields)


def talk(name: str, split: str, limit: int, **fields) -> DataConfig:
    """Small talk: prompts, answers, pairs or labels."""
    return DataConfig(kind="task", name=name, split=split, limit=limit, **fields)


EVALUATION = EvaluationConfig(data=sums("test", 256), samples=16, sampling=AS_TRAINED, sampler=WIDE)
VALIDATION = EvaluationConfig(data=sums("validation", 64), samples=8, sampling=AS_TRAINED, sampler=ROLLOUT)
GENERAL = EvaluationConfig(
    data=talk("small_talk", "test", 64, rewards="general_truth"),
    samples=8,
    sampling=AS_TRAINED,
    sampler=ROLLOUT,
    answers_vote=False,
    scored_by=("helpful", "safety"),
)
GENERAL_VALIDATION = EvaluationConfig(
    data=talk("small_talk", "validation", 32, rewards="general"),
    samples=8,
    sampling=AS_TRAINED,
    sampler=ROLLOUT,
    answers_vote=False,
)
GATE = GateConfig(
    accuracy=0.97,
    evaluation=EvaluationConfig(
        data=DataConfig(kind="task", name="chained_sums_steps", split="validation", limit=512, rewards="step"),
        samples=1,
        sampling=SamplingConfig(temperature=0.0, top_p=None, max_new_tokens=2),
        sampler=SamplerConfig(lanes=128, width=1, chunk_steps=2, max_prompt_tokens=64),
        answers_vote=False,
    ),
)


def model(width: int) -> ModelConfig:
    """A decoder of two layers; positions stay below 160."""
    return ModelConfig(
        vocab_size=128,
        hidden_size=width,
        num_layers=2,
        num_heads=4,
        num_kv_heads=4,
        ffn_size=4 * width,
        activation="relu2",
        gated_ffn=False,
        rope=RopeConfig(theta=200.0),
        init_range=0.05,
        zero_init_outputs=True,
        scan_unroll=2,
    )


def pretrain(name: str, **fields) -> PretrainConfig:
    """Next-token training on the poor corpus."""
    return PretrainConfig(
        name=name,
        template=PLAIN,
        data=DataConfig(kind="task", name="miniature_corpus", limit=42_000),
        batch_rows=8,
        batch=BatchConfig(row_tokens=96, micro_batch_rows=8),
        optimizer=OptimizerConfig(
            name="muon",
            learning_rate=0.002,  # embeddings, output head, norms
            muon_learning_rate=0.007,  # matrices; AdamW alone learns the step skill much later
            decay="linear",
            decay_start=0.5,
            final_ratio=0.05,
            b2=0.98,
        ),
        checkpoint_every=1_000,
        evaluation=EVALUATION,
        **fields,
    )


def fine_tune(name: str, data: str, learning_rate: float = 1e-3, **fields) -> SftConfig:
    """SFT on what a stage has collected."""
    return SftConfig(
        name=name,
        template=PLAIN,
        data=DataConfig(kind="stage", name=data),
        batch_sequences=32,
        batch=ROWS,
        optimizer=OptimizerConfig(learning_rate=learning_rate, b2=0.98, warmup_steps=4, decay="cosine"),
        evaluation=EVALUATION,
        **fields,
    )


def reinforce(name: str, start: str, rewards: str, learning_rate: float = 5e-4, **fields) -> GrpoConfig:
    """GRPO, one update a rollout of 16 prompts x 8 completions."""
    return GrpoConfig(
        name=name,
        start=start,
        template=PLAIN,
        data=sums("train", 8_000, rewards=rewards),
        group_size=8,
        rollout_prompts=16,
        max_new_tokens=constant(ANSWER_TOKENS),
        loss=PolicyLossConfig(name="grpo", kl_coefficient=0.001),
        optimizer=OptimizerConfig(learning_rate=learning_rate, b1=0.9, b2=0.98),
        batch=ROWS,
        sampler=ROLLOUT,
        checkpoint_every=20,
        validation=VALIDATION,
        validate_every=20,
        evaluation=EVALUATION,
        **fields,
    )


def collect(name: str, start: str, prompts: int, skip: int, rewards: str, **fields) -> CollectConfig:
    """Four samples a prompt; the evaluation's questions are kept out."""
    return CollectConfig(
        name=name,
        start=start,
        template=PLAIN,
        data=sums("train", prompts, skip=skip, rewards=rewards),
        samples=4,
        sampling=AS_TRAINED,
        sampler=SamplerConfig(lanes=64, width=4, chunk_steps=16, max_prompt_tokens=48),
        evaluation_sets=(sums("test", 256),),
        **fields,
    )


def judge(name: str, data: DataConfig, num_steps: int, **fields) -> RewardModelConfig:
    """A reward model."""
    return RewardModelConfig(
        name=name,
        start="base",
        template=PLAIN,
        data=data,
        num_steps=num_steps,
        batch_records=32,
        batch=ROWS,
        optimizer=OptimizerConfig(learning_rate=1e-3, b2=0.98, warmup_steps=4, decay="cosine"),
        held_out_share=0.1,
        **fields,
    )


def get_config() -> RunConfig:
    """The run. Weights of rewards and numbers of steps are ours: the paper's are in r1_paper_full.py."""
    accuracy, form = RewardConfig("maths"), RewardConfig("format", weight=constant(0.5))
    language = RewardConfig("language", weight=constant(0.5))
    return RunConfig(
        name="tiny_r1",
        tokenizer=TokenizerConfig(task="miniature"),
        model=model(128),
        students=(StudentConfig("small", model(64)),),
        rewards=RewardsConfig(
            sets=(
                RewardSetConfig("default", (accuracy, form)),
                RewardSetConfig("reasoning", (accuracy, form, language)),
                RewardSetConfig("general", (RewardConfig("format_r1", weight=constant(0.5)), language)),
                RewardSetConfig("general_truth", (RewardConfig("small_talk"), RewardConfig("format_r1"))),
                RewardSetConfig("step", (RewardConfig("starts_with_answer"),)),
            ),
        ),
        stages=(
            pretrain("base", num_steps=3_000, gate=GATE),
            reinforce("zero", "base", "default", num_steps=80),
            collect(
                "cold_start_data",
                "zero",
                prompts=96,
                skip=8_000,
                rewards="default",
                refine=RefineConfig(by="rule", rule="r1jax.data.tasks.refine_chained_sums:refine"),
                filters=FiltersConfig(min_thinking_tokens=8, samples_per_prompt=1, near_duplicate_questions=None),
            ),
            fine_tune("cold_start", "cold_start_data", start="base", num_steps=12, learning_rate=5e-4),
            reinforce("reasoning_rl", "cold_start", "reasoning", num_steps=40, learning_rate=3e-4),
            judge("helpful", talk("small_talk_pairs", "train", 4_000), num_steps=200, balance_lengths=True),
            judge("safety", talk("small_talk_safety", "train", 1_000), num_steps=40, loss="pointwise", reads="whole"),
            collect(
                "rejection_data",
                "reasoning_rl",
                prompts=512,
                skip=9_000,
                rewards="reasoning",
                filters=FiltersConfig(min_thinking_tokens=8, near_duplicate_questions=None),
                general=(GeneralDataConfig(talk("small_talk_answers", "train", 300)),),
            ),
            fine_tune(
                "rejection_sft",
                "rejection_data",
                start="base",  # again, as in the paper
                num_steps=100,
                benchmarks=(BenchmarkConfig("small_talk", GENERAL),),
            ),
            reinforce(
                "all_scenarios_rl",
                "rejection_sft",
                "reasoning",
                num_steps=60,
                learning_rate=2e-4,
                temperature=constant(0.7),
                # As in the paper, general prompts and preference rewards come in the last part alone.
                mixed=(
                    MixedDataConfig(
                        talk("small_talk", "train", 1_000, rewards="general"), Schedule(((0, 0.0), (20, 0.5)))
                    ),
                ),
                preferences=(
                    PreferenceConfig("helpful", weight=Schedule(((0, 0.0), (20, 1.0)))),
                    PreferenceConfig("safety", weight=Schedule(((0, 0.0), (20, 0.2)))),  # its scores are far apart
                ),
                preference_validation=GENERAL_VALIDATION,
                benchmarks=(BenchmarkConfig("small_talk", GENERAL),),
            ),
            pretrain("student_base", student="small", num_steps=3_000),
            fine_tune("student_distilled", "rejection_data", student="small", start="student_base", num_steps=150),
            reinforce("student_rl", "student_base", "default", student="small", num_steps=40),
        ),
    )
