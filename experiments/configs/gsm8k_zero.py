"""R1-Zero's machinery on real questions: GSM8K, a real tokenizer, and a small model from random weights.

What it shows
    That the whole path works on data as users have it: a Hugging Face tokenizer of 128,000 entries, questions and golds
    from JSONL, answers graded by value. Nobody teaches arithmetic to 8 M parameters in minutes, so the model is first
    overfitted by SFT on 64 training questions, until a third of its samples are right (240 steps); GRPO then takes 20
    steps on the same questions. On 32 test questions the answer is the honest one: nothing learnt carries over.

Command
    python experiments/run.py --config=experiments/configs/gsm8k_zero.py --workdir=runs/gsm8k \\
        --config.tokenizer.path=TOKENIZER_FOLDER \\
        --config.stages.overfit.data.path=gsm8k_train.jsonl \\
        --config.stages.overfit.validation.data.path=gsm8k_train.jsonl \\
        --config.stages.overfit.evaluation.data.path=gsm8k_train.jsonl \\
        --config.stages.zero.data.path=gsm8k_train.jsonl \\
        --config.stages.zero.evaluation.data.path=gsm8k_test.jsonl

    The files are GSM8K's own: {"question": ..., "answer": "... #### 72"} a line.

Time
    About 40 seconds a GRPO step on 2 free cores, most of it in the head: 129,280 logits a token. On 2 cores shared with
    other work the whole run took an hour.

    The figures on this page were seen before rollouts drew from a stream of their own: a run now draws other samples.
"""

import dataclasses

from r1jax.config import (
    BatchConfig,
    DataConfig,
    EvaluationConfig,
    GrpoConfig,
    ModelConfig,
    OptimizerConfig,
    RunConfig,
    SamplerConfig,
    SamplingConfig,
    SftConfig,
    TemplateConfig,
    TokenizerConfig,
    constant,
)

QUESTIONS = 64
LONGEST = 320  # tokens of a completion

# GSM8K's answer column holds the solution and, after ####, the gold.
TRAIN = DataConfig(
    kind="jsonl",
    path="gsm8k_train.jsonl",
    columns=(("response", "answer"),),
    answer_pattern=r"#### (.+)$",
    response_pattern=r"(?s)(.*)\n####",
    response_format="<think> {response} </think> <answer> {answer} </answer>",
    limit=QUESTIONS,
)
AS_TRAINED = SamplingConfig(temperature=1.0, top_p=None, max_new_tokens=LONGEST)
SAMPLER = SamplerConfig(lanes=8, width=8, chunk_steps=32, max_prompt_tokens=384)


def get_config() -> RunConfig:
    """The run: `overfit` by SFT from random weights, until it knows some of the questions; then `zero`."""
    on_train = EvaluationConfig(data=TRAIN, samples=8, sampling=AS_TRAINED, sampler=SAMPLER)
    return RunConfig(
        name="gsm8k_zero",
        tokenizer=TokenizerConfig(path="tokenizer"),
        model=ModelConfig(
            vocab_size=129_280,
            hidden_size=64,
            num_layers=4,
            num_heads=4,
            num_kv_heads=2,
            ffn_size=256,
            tie_embeddings=True,
            scan_unroll=4,
            logits_budget_bytes=512 * 2**20,
        ),
        stages=(
            SftConfig(
                name="overfit",
                template=TemplateConfig(name="r1_zero"),
                data=TRAIN,
                num_steps=400,
                batch_sequences=8,
                batch=BatchConfig(row_tokens=512, micro_batch_rows=4),
                optimizer=OptimizerConfig(name="muon", learning_rate=5e-3, muon_learning_rate=0.01, warmup_steps=20),
                checkpoint_every=80,
                validation=on_train,
                validate_every=80,
                stop_at=0.3,  # known well enough to be right now and then, not so well that groups are all right
                evaluation=on_train,
            ),
            GrpoConfig(
                name="zero",
                start="overfit",
                template=TemplateConfig(name="r1_zero"),
                data=TRAIN,
                num_steps=20,
                group_size=8,
                rollout_prompts=8,
                max_new_tokens=constant(LONGEST),
                optimizer=OptimizerConfig(learning_rate=2e-4),
                batch=BatchConfig(row_tokens=704, micro_batch_rows=2),
                sampler=SAMPLER,
                checkpoint_every=5,
                evaluation=EvaluationConfig(
                    data=dataclasses.replace(TRAIN, path="gsm8k_test.jsonl", limit=32),
                    samples=4,
                    sampling=AS_TRAINED,
                    sampler=SAMPLER,
                ),
            ),
        ),
    )
