"""One switch that makes the numerical libraries repeat themselves on one machine."""

import hashlib

import torch
from threadpoolctl import threadpool_limits


def make_deterministic(seed: str) -> None:
    """One thread, deterministic algorithms, torch's generator seeded from the text ``seed``; for the whole process.

    One thread because a sum's order, and so its last bits, depends on how many threads share it.
    """
    torch.set_num_threads(1)
    threadpool_limits(1)  # BLAS and OpenMP of NumPy, SciPy and scikit-learn; without `with` it stays
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little", signed=True))
