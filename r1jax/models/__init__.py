"""Decoders as `flax.nnx` modules inside, pure functions over nested dicts of arrays outside.

Reading order: rope, layers, attention, latent_attention, grouped_matmul, moe, decoder (training), decoding (the
sampler's side), adapters and lora, presets, pretrained; `huggingface/` for folders in and out.
"""
