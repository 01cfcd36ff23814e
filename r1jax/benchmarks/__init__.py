"""How fast a machine rolls out, updates and steps on random weights, beside a plain GEMM, and how fast it grades."""
