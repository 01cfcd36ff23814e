"""Text in and out of a model; nothing here loads jax.

Reading order: `tokenizer` (text <-> ids), `templates` (question -> the text a model continues), `answers`
(completion -> final answer, and when two answers are the same), `language` (how much of a text is English or
Chinese), `reflection` (how often a trace looks back at itself).
"""
