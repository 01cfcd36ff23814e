"""One process alone, and what is asked of the environment before several start."""

import socket
import subprocess
import sys

import jax.numpy as jnp
import numpy as np
import pytest

from r1jax.parallel import hosts


def test_a_process_alone_is_the_main_one_and_gathers_itself():
    assert hosts.initialize({}) is False
    assert hosts.is_main()
    gathered = hosts.all_gather_small({"tokens": jnp.array([3, 4]), "seconds": 2.5})
    np.testing.assert_array_equal(gathered["tokens"], [[3, 4]])
    np.testing.assert_array_equal(gathered["seconds"], [2.5])
    hosts.barrier("alone")


def test_half_a_description_of_the_cluster_is_an_error_that_names_the_rest():
    with pytest.raises(ValueError, match="set JAX_NUM_PROCESSES, JAX_PROCESS_ID too"):
        hosts.initialize({"JAX_COORDINATOR_ADDRESS": "localhost:1234"})


TWO_PROCESSES = """
import os
import sys

os.environ.update(
    JAX_PLATFORMS="cpu",
    JAX_COORDINATOR_ADDRESS=sys.argv[1],
    JAX_NUM_PROCESSES="2",
    JAX_PROCESS_ID=sys.argv[2],
)
os.environ["XLA_FLAGS"] = ""
import numpy as np
from r1jax.parallel import hosts

assert hosts.initialize()
hosts.barrier("start")
number = int(sys.argv[2])
gathered = hosts.all_gather_small({"count": np.array([number, 10])})
print(hosts.is_main(), gathered["count"].tolist(), flush=True)
"""


@pytest.mark.slow
def test_two_processes_gather_in_order_and_one_of_them_is_main():
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = [
        subprocess.Popen([sys.executable, "-c", TWO_PROCESSES, address, str(number)], stdout=subprocess.PIPE, text=True)
        for number in range(2)
    ]
    try:
        outputs = [process.communicate(timeout=120)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
    said = [output.splitlines()[-1] for output in outputs]  # the transport may greet first
    assert said == ["True [[0, 10], [1, 10]]", "False [[0, 10], [1, 10]]"]
