"""One switch that makes torch repeat itself on one machine."""

import hashlib

import torch


def make_deterministic(seed: str) -> None:
    """One thread, deterministic algorithms, torch's generator seeded from the text ``seed``."""
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    torch.manual_seed(int.from_bytes(hashlib.sha256(seed.encode()).digest()[:8], "little", signed=True))
