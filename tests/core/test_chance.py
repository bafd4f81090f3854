"""Draws are Philox-4x32-10 to the bit, uniform, independent across seeds, streams and counters, and stateless."""

import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import chance
from core.jit import entry

int64s = st.integers(-(2**63), 2**63 - 1)


@entry
def draws(seed: int, stream: int, start: int, out: np.ndarray) -> None:
    for i in range(len(out)):
        out[i] = chance.draw_ppm(seed, stream, start + i)


def series(n: int, seed: int = 7, stream: int = 3, start: int = 0) -> np.ndarray:
    out = np.zeros(n, np.int64)
    draws(seed, stream, start, out)
    return out


# Known answers published with the algorithm (Random123, kat_vectors, philox4x32 10).
@pytest.mark.parametrize(
    ("counter", "stream", "seed", "words"),
    [
        (0, 0, 0, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (-1, -1, -1, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
        (
            0x85A308D3_243F6A88 - 2**64,
            0x03707344_13198A2E,
            0x299F31D0_A4093822,
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_known_answers(counter: int, stream: int, seed: int, words: tuple[int, ...]) -> None:
    assert chance.block(seed, stream, counter) == words


@given(int64s, int64s, int64s)
def test_a_draw_lies_in_its_range(seed: int, stream: int, counter: int) -> None:
    assert 0 <= chance.draw_ppm(seed, stream, counter) < 1_000_000
    assert 0 <= chance.draw_bits(seed, stream, counter) < 2**43


@given(st.integers(0, 2**40), st.integers(1, 40))
def test_batches_and_order_change_nothing(start: int, cut: int) -> None:
    whole = series(40, start=start)
    pieces = np.concatenate([series(40 - cut, start=start + cut), series(cut, start=start)])
    assert np.array_equal(np.concatenate([pieces[40 - cut :], pieces[: 40 - cut]]), whole)


def test_draws_are_uniform() -> None:
    """Chi-squared over 100 cells of 200,000 draws: within 5 deviations of its mean; so are mean and tails."""
    values = series(200_000)
    observed = np.bincount(values // 10_000, minlength=100)
    statistic = float(((observed - 2_000.0) ** 2 / 2_000.0).sum())
    assert abs(statistic - 99) < 5 * np.sqrt(2 * 99)
    assert abs(values.mean() - 499_999.5) < 5 * 288_675 / np.sqrt(len(values))
    assert values.min() < 100 and values.max() > 999_900


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ({}, {"start": 1}),  # neighbours
        ({"seed": 7}, {"seed": 8}),
        ({"stream": chance.stream(3, 0)}, {"stream": chance.stream(3, 1)}),
        ({"stream": chance.stream(3, 0)}, {"stream": chance.stream(4, 0)}),
    ],
)
def test_draws_are_independent(left: dict, right: dict) -> None:
    """Correlations of 50,000 pairs stay within 5 standard errors of zero, and hardly any pair is equal."""
    a, b = series(50_000, **left), series(50_000, **right)
    assert abs(np.corrcoef(a, b)[0, 1]) < 5 / np.sqrt(50_000)
    assert (a == b).sum() < 5


def test_purposes_and_instruments_never_share_a_stream() -> None:
    streams = {chance.stream(purpose, index) for purpose in chance.Purpose for index in (0, 1, 15, 65535)}
    assert len(streams) == len(chance.Purpose) * 4


def test_the_same_draws_without_a_compiler() -> None:
    code = "from core import chance; print([chance.draw_ppm(2**62 + 5, k << 33, -k) for k in range(20)])"
    plain = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | {"NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert plain.stdout.strip() == str([int(chance.draw_ppm(2**62 + 5, k << 33, -k)) for k in range(20)])
