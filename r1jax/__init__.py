"""r1jax: the DeepSeek-R1 programme in JAX. Import the module you need; this one loads nothing."""
