"""How fast a machine rolls out, updates and steps: three workloads on random weights, beside a plain GEMM."""
