"""The stages of a run, one readable loop each: pretrain, sft, grpo, evaluate."""
