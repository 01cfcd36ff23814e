"""Longer thinking, found by reinforcement learning alone: pair search, on a laptop CPU, from nothing.

What it shows
    "find a pair in 6 3 8 4 with sum 10 ?" is answered by trying: "first 6 plus 3 is 9 ? 10 no ; wait 6 plus 4 is
    10 ? 10 yes ;". The corpus that the base is pretrained on guesses a third of its answers and gives up after nearly
    every second "no". Nothing rewards length, nothing demonstrates patience; GRPO with two rules (right pair, right
    format) finds that going on pays. Thinking grows to three times its length, and `wait`, the one reflective word
    that the model has, from one in two completions to more than four in each:

        128 held-out prompts x 16 samples                        base            zero
        pass@1                                               0.22 (0.25)     0.88 (0.85)
        mean length, tokens                                    18 (18)         58 (62)
        reflection words a completion                         0.5 (0.5)       4.2 (4.7)
        cut at 144 tokens                                    0.00 (0.00)     0.10 (0.13)

    in brackets with --config.seed=1. What is still missing is what is cut: the search forgets which pairs it has
    tried, and comes back to some of them.

Command
    python experiments/run.py --config=experiments/configs/pairs_zero.py --workdir=runs/pairs

Time
    About 5 minutes on 2 cores. See runs/pairs/zero/curves.png for completion length and reflection words by step.
"""

from r1jax.config import (
    BatchConfig,
    DataConfig,
    EvaluationConfig,
    GrpoConfig,
    ModelConfig,
    OptimizerConfig,
    PolicyLossConfig,
    PretrainConfig,
    RewardConfig,
    RewardsConfig,
    RewardSetConfig,
    RopeConfig,
    RunConfig,
    SamplerConfig,
    SamplingConfig,
    TemplateConfig,
    TokenizerConfig,
    constant,
)

PLAIN = TemplateConfig(name="plain")
ANSWER_TOKENS = 144  # the longest completion; a search of all six pairs takes 67
AS_TRAINED = SamplingConfig(temperature=1.0, top_p=None, max_new_tokens=ANSWER_TOKENS)


def get_config() -> RunConfig:
    """The run: `base` from random weights, then `zero` from `base`."""
    evaluation = EvaluationConfig(
        data=DataConfig(kind="task", name="pair_search", split="test", limit=128),
        samples=16,
        sampling=AS_TRAINED,
        sampler=SamplerConfig(lanes=64, width=16, chunk_steps=16, max_prompt_tokens=16),
        answers_vote=False,  # a pair may be named in two orders, and two pairs may be right
    )
    return RunConfig(
        name="pairs_zero",
        tokenizer=TokenizerConfig(task="pair_search"),
        model=ModelConfig(
            vocab_size=64,
            hidden_size=128,
            num_layers=2,
            num_heads=4,
            num_kv_heads=4,
            ffn_size=512,
            activation="relu2",
            gated_ffn=False,
            # The slowest rotation turns once in 65 tokens, within the longest document (79): a thought that outgrows
            # the corpus meets no new angle. With theta 200 it fell apart there, and pass@1 stayed near 0.7.
            rope=RopeConfig(theta=12.0),
            init_range=0.05,
            zero_init_outputs=True,
            scan_unroll=2,
        ),
        rewards=RewardsConfig(
            sets=(
                RewardSetConfig(
                    "default",
                    (RewardConfig("pair_search"), RewardConfig("format", weight=constant(0.5))),
                ),
            ),
        ),
        stages=(
            PretrainConfig(
                name="base",
                template=PLAIN,
                data=DataConfig(kind="task", name="pair_search_corpus", limit=60_000),
                num_steps=2_400,
                batch_rows=8,
                batch=BatchConfig(row_tokens=96, micro_batch_rows=8),
                optimizer=OptimizerConfig(
                    name="muon",
                    learning_rate=0.002,  # embeddings, output head, norms
                    muon_learning_rate=0.007,  # matrices
                    decay="linear",
                    decay_start=0.5,
                    final_ratio=0.05,
                    b2=0.98,
                ),
                checkpoint_every=800,
                evaluation=evaluation,
            ),
            GrpoConfig(
                name="zero",
                start="base",
                template=PLAIN,
                data=DataConfig(kind="task", name="pair_search", split="train", limit=8_000),
                num_steps=120,
                group_size=8,
                rollout_prompts=16,
                max_new_tokens=constant(ANSWER_TOKENS),
                loss=PolicyLossConfig(name="grpo", kl_coefficient=0.001),
                optimizer=OptimizerConfig(learning_rate=5e-4, b1=0.9, b2=0.98),
                batch=BatchConfig(row_tokens=160, micro_batch_rows=8),
                sampler=SamplerConfig(lanes=16, width=8, chunk_steps=16, max_prompt_tokens=16),
                checkpoint_every=30,
                evaluation=evaluation,
            ),
        ),
    )
