"""The stages of a run, one readable loop each: pretrain, sft, reward_model, grpo, evaluate."""
