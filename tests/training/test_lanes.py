"""Lanes hold every row once, in order, with the state fresh exactly where a stream starts."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from features.scaling import Scaling
from tests.training.worlds import dataset
from training import lanes
from training.dataset import runs
from training.lanes import LaneLoader
from training.networks.lstm import Lstm

LENGTHS = st.lists(st.integers(1, 40), min_size=1, max_size=6)


def split(lengths: list[int]) -> list[np.ndarray]:
    return np.split(np.arange(sum(lengths)), np.cumsum(lengths)[:-1])


@given(LENGTHS, st.integers(1, 5), st.integers(1, 9))
def test_every_row_counts_once_and_stays_in_order(lengths: list[int], n_lanes: int, chunk: int) -> None:
    rows = np.arange(sum(lengths))
    layout = lanes.build(split(lengths), rows, lanes=n_lanes, chunk=chunk, burn_in=0)
    assert layout.rows.shape == layout.counts.shape == (*layout.fresh.shape, chunk)
    assert layout.fresh.shape[0] == n_lanes
    np.testing.assert_array_equal(layout.rows[layout.counts], rows)


@given(LENGTHS, st.integers(1, 5), st.integers(1, 9), st.integers(0, 20))
def test_burn_in_follows_every_fresh_state(lengths: list[int], n_lanes: int, chunk: int, burn_in: int) -> None:
    all_runs = split(lengths)
    starts = {int(run[0]) for run in all_runs}
    layout = lanes.build(all_runs, np.arange(sum(lengths)), lanes=n_lanes, chunk=chunk, burn_in=burn_in)
    for lane in range(n_lanes):
        age = 0
        for k in range(layout.fresh.shape[1]):
            first = int(layout.rows[lane, k, 0])
            assert layout.fresh[lane, k] or first not in starts - {0}, "a run starts with another one's state"
            age = 0 if layout.fresh[lane, k] else age
            for _, counts in zip(layout.rows[lane, k], layout.counts[lane, k], strict=True):
                assert not (counts and age < burn_in)
                age += 1


def test_only_loss_rows_count() -> None:
    layout = lanes.build(split([30, 20]), np.array([3, 31]), lanes=2, chunk=8, burn_in=0)
    assert sorted(layout.rows[layout.counts]) == [3, 31]


def test_padding_never_points_beyond_the_runs() -> None:
    layout = lanes.build([np.arange(5, 16)], np.arange(5, 16), lanes=3, chunk=4, burn_in=0)
    assert layout.rows.min() == 5
    assert layout.rows.max() == 15


def test_a_run_ends_where_a_row_is_not_ready_and_keeps_to_its_instrument() -> None:
    instrument = np.array([0, 1] * 6)
    ready = np.ones(12, bool)
    ready[[4, 5, 7]] = False
    found = [run.tolist() for run in runs(instrument, ready, np.arange(2, 12))]
    assert found == [[2], [6, 8, 10], [3], [9, 11]]


def test_carried_state_equals_one_long_pass() -> None:
    data = dataset(400, instruments=1)
    scaling = Scaling(np.zeros(4, np.float32), np.ones(4, np.float32))
    layout = lanes.build([np.arange(250), np.arange(250, 400)], np.arange(400), lanes=1, chunk=32, burn_in=0)
    torch.manual_seed(1)
    network = Lstm(4, 8, 2)
    chunked = {}
    with torch.no_grad():
        state = network.initial_state(1)
        for k, batch in enumerate(LaneLoader(layout, data, scaling)):
            outputs, state = network(batch.x, network.reset_state(state, batch.fresh))
            keep = layout.counts[0, k]
            chunked |= dict(zip(layout.rows[0, k][keep].tolist(), outputs.move[0].numpy()[keep], strict=True))
        for run in (np.arange(250), np.arange(250, 400)):
            whole, _ = network(torch.from_numpy(data.features[run])[None], network.initial_state(1))
            np.testing.assert_allclose([chunked[row] for row in run], whole.move[0].numpy(), atol=1e-6)
