"""Completions from a policy: many prompts, several samples each, with the log-prob of every token drawn.

Reading order: rule (how one token is drawn), keys (with which uniform), programs (what runs on the device),
board (which slot holds which completion), engine (the loop that keeps the slots busy).
"""
