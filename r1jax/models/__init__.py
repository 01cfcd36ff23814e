"""Decoders as `flax.nnx` modules inside, pure functions over nested dicts of arrays outside.

Reading order: rope, layers, attention, decoder (training), decoding (the sampler's side).
"""
