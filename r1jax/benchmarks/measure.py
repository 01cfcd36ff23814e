"""Times the workloads, each in a process of its own, so that its peak memory is its own.

A float32 GEMM is timed before every repetition on the device: `gemm_share`, the time that GEMM would need for the
workload's multiplications over the time that it took, is what machines (and quiet and busy hours of one) can be
compared by.
"""

from __future__ import annotations

import concurrent.futures
import multiprocessing
import os
import platform
import resource
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from r1jax.benchmarks import grading
from r1jax.benchmarks.shapes import SHAPES, Shape, new_tokens, rollout_flops, update_flops
from r1jax.benchmarks.workloads import WORKLOADS, Bench

GEMM_SIZE = 2048
FLOPS: dict[str, Callable[[Shape], float]] = {
    "rollout": rollout_flops,
    "update": update_flops,
    "step": lambda shape: rollout_flops(shape) + update_flops(shape),
}


def measure(workload: str, shape: Shape, repeats: int) -> dict[str, Any]:
    """Times a workload in this process: the first call (it compiles), a warm-up, then `repeats` runs.

    Returns seconds (median) and runs, compile_seconds (what the first call took longer), peak_memory_bytes of the
    process, gemm_gflops (of the float32 GEMMs between the runs), gflop and gemm_share (see above), and
    tokens_per_second of generated tokens where some are.
    """
    jax.config.update("jax_enable_compilation_cache", False)
    once, gemm = WORKLOADS[workload](Bench(shape)), make_gemm()
    flops = FLOPS[workload](shape)
    first = timed(once)
    timed(once), timed(gemm), timed(gemm)
    pairs = [(timed(gemm), timed(once)) for _ in range(repeats)]
    seconds = statistics.median(run for _, run in pairs)
    gemm_flops = 2 * GEMM_SIZE**3 / statistics.median(gemm for gemm, _ in pairs)
    return {
        "seconds": round(seconds, 4),
        **({} if workload == "update" else {"tokens_per_second": round(new_tokens(shape) / seconds)}),
        "runs": [round(run, 4) for _, run in pairs],
        "compile_seconds": round(first - seconds, 2),
        "peak_memory_bytes": peak_memory_bytes(),
        "gflop": round(flops / 1e9, 1),
        "gemm_gflops": round(gemm_flops / 1e9, 1),
        "gemm_share": round(flops / gemm_flops / seconds, 3),
    }


# Workload -> what gives its figures, of its name, a shape and the number of runs.
MEASURES: dict[str, Callable[[str, Shape, int], dict[str, Any]]] = {
    **dict.fromkeys(WORKLOADS, measure),
    "grading": grading.measure,
}


def make_gemm() -> Callable[[], None]:
    """One float32 product of square matrices."""
    with jax.default_matmul_precision("float32"):
        left = jax.random.normal(jax.random.key(0), (GEMM_SIZE, GEMM_SIZE), jnp.float32)
        product = jax.jit(jnp.matmul).lower(left, left).compile()
    return lambda: jax.block_until_ready(product(left, left))


def timed(call: Callable[[], Any]) -> float:
    """Seconds that a call takes."""
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def peak_memory_bytes() -> int:
    """The most memory that this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes, but on macOS bytes


def environment() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    device = jax.devices()[0]
    return {
        "jax": jax.__version__,
        "python": platform.python_version(),
        "device": device.device_kind,
        "devices": jax.device_count(),
        "cores": len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count(),
        "load_average_before": round(os.getloadavg()[0], 2),
    }


def run_all(workloads: Sequence[str], size: str, repeats: int) -> dict[str, Any]:
    """Measures each workload in a fresh process, one after the other."""
    # Not forked: jax does not survive it, and peak memory would be inherited.
    fresh = multiprocessing.get_context("spawn")

    def apart(function: Callable[..., Any], *args: Any) -> Any:
        with concurrent.futures.ProcessPoolExecutor(1, mp_context=fresh) as pool:
            return pool.submit(function, *args).result()

    return {
        "environment": apart(environment),
        "size": size,
        "workloads": {name: apart(MEASURES[name], name, SHAPES[size], repeats) for name in workloads},
    }
