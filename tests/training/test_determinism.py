"""The switch turns every library to one thread and torch's generator to a text."""

import numpy as np
import torch
from threadpoolctl import threadpool_info

from training.determinism import make_deterministic


def test_one_thread_everywhere() -> None:
    np.ones((2, 2)) @ np.ones((2, 2))
    make_deterministic("a")
    assert torch.get_num_threads() == 1
    assert torch.are_deterministic_algorithms_enabled()
    assert {pool["num_threads"] for pool in threadpool_info()} == {1}


def test_the_seed_is_the_text() -> None:
    drawn = []
    for text in ("7 0", "7 0", "7 1", "70"):
        make_deterministic(text)
        drawn.append(torch.rand(3).tolist())
    assert drawn[0] == drawn[1]
    assert len({tuple(values) for values in drawn}) == 3
