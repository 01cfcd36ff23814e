"""Records, where they come from, and how they become packed rows of tokens.

Reading order: records, readers, sources, tasks, packing, iterators (the one that loads jax, through grain).
"""
