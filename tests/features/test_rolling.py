"""Rolling columns against two passes in extended precision, and what streaming promises: no drift, no future."""

import itertools
import math
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from core.errors import BadConfig, BadInput
from features import rolling

ROOT = Path(__file__).parents[2]
WINDOWS = (10, 30, 100, 300)


def run(x: np.ndarray, v: np.ndarray, windows: tuple[int, ...], order: str = "F") -> np.ndarray:
    out = np.zeros((len(x), 5 * len(windows)), order=order)
    rolling.batch(rolling.new_state(windows), x, v, out)
    return out


def reference(x: np.ndarray, v: np.ndarray, window: int) -> np.ndarray:
    """The columns of one window, each row by itself, in 64-bit mantissas; NaN before the window is full."""
    out = np.full((len(x), 5), math.nan)
    if len(x) < window:
        return out
    rows = sliding_window_view(x.astype(np.longdouble), window)
    apart = rows - rows[:, -1:]  # a mean of values far from 0 would round away what they differ by, even here
    mean = apart.mean(axis=1)
    out[window - 1 :, 0] = mean + rows[:, -1]
    out[window - 1 :, 1] = np.sqrt(((apart - mean[:, None]) ** 2).sum(axis=1) / (window - 1))
    out[window - 1 :, 2] = rows.min(axis=1)
    out[window - 1 :, 3] = rows.max(axis=1)
    out[window - 1 :, 4] = sliding_window_view(v.astype(np.longdouble), window).sum(axis=1)
    return out


def assert_is_reference(out: np.ndarray, x: np.ndarray, v: np.ndarray, window: int) -> None:
    expected = reference(x, v, window)
    largest = np.abs(x).max()
    np.testing.assert_allclose(out[:, 0], expected[:, 0], rtol=0, atol=3e-16 * window * largest)
    np.testing.assert_allclose(out[:, 1], expected[:, 1], rtol=4e-16 * window**2, atol=0)  # so a constant window has 0
    assert np.array_equal(out[:, 2:4], expected[:, 2:4], equal_nan=True)
    np.testing.assert_allclose(out[:, 4], expected[:, 4], rtol=2e-16 * window, atol=0)


def walk(rows: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return 10_000 + np.cumsum(rng.standard_normal(rows)) * 0.1, rng.exponential(size=rows)


@st.composite
def tapes(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Stretches, each constant or noisy, of one size and offset or of several."""
    parts = []
    for _ in range(draw(st.integers(1, 5))):
        rows = draw(st.integers(1, 90))
        offset = draw(st.sampled_from([0.0, 1.0, -250.0, 1e9, -1e12]))
        noise = draw(st.sampled_from([0.0, 1e-3, 1.0, 1e6]))
        rng = np.random.default_rng(draw(st.integers(0, 2**32)))
        parts.append(offset + noise * rng.standard_normal(rows))
    x = np.concatenate(parts)
    return x, np.random.default_rng(len(x)).exponential(size=len(x))


some_windows = st.lists(st.integers(2, 60), min_size=1, max_size=4).map(tuple)


@settings(deadline=None, max_examples=200)
@given(tape=tapes(), windows=some_windows)
def test_every_column_equals_the_reference(tape: tuple[np.ndarray, np.ndarray], windows: tuple[int, ...]) -> None:
    out = run(*tape, windows)
    for index, window in enumerate(windows):
        assert_is_reference(out[:, 5 * index : 5 * index + 5], *tape, window)


@settings(deadline=None, max_examples=100)
@given(tape=tapes(), windows=some_windows, data=st.data())
def test_stream_batch_and_any_chunks_have_the_same_bits(
    tape: tuple[np.ndarray, np.ndarray], windows: tuple[int, ...], data: st.DataObject
) -> None:
    x, v = tape
    whole = run(x, v, windows)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(x)), max_size=8)) | {0, len(x)})
    state, chunked = rolling.new_state(windows), np.zeros_like(whole)
    for start, stop in itertools.pairwise(cuts):
        rolling.batch(state, x[start:stop], v[start:stop], chunked[start:stop])
    assert chunked.tobytes() == whole.tobytes()
    stream, one = rolling.new_state(windows), np.zeros((1, whole.shape[1]))
    for row in range(len(x)):
        rolling.update(stream, x[row], v[row], one)
        assert one.tobytes() == whole[row].tobytes()
    assert stream.tobytes() == state.tobytes()


def test_batch_longer_than_what_it_takes_at_a_time_equals_the_reference() -> None:
    x, v = walk(9_000, 1)
    out = run(x, v, WINDOWS)
    assert rolling.columns(WINDOWS)[4:7] == ["sum10", "mean30", "std30"]
    for index, window in enumerate(WINDOWS):
        assert_is_reference(out[:, 5 * index : 5 * index + 5], x, v, window)


def test_memory_order_of_the_output_changes_nothing() -> None:
    x, v = walk(1_000, 2)
    assert np.array_equal(run(x, v, WINDOWS, "F"), run(x, v, WINDOWS, "C"), equal_nan=True)


def test_nothing_drifts_after_a_million_rows_of_large_values() -> None:
    """A running sum would keep what 10^15 rounded away, 0.1 a row; here the last rows do not know of it."""
    rng = np.random.default_rng(3)
    x = np.concatenate([1e15 * rng.standard_normal(1_000_000), rng.standard_normal(1_000)])
    v = np.abs(x)
    out = run(x, v, WINDOWS)[-500:]
    for index, window in enumerate(WINDOWS):
        expected = reference(x[-1_000:], v[-1_000:], window)[-500:]
        rtol = 4e-16 * window**2
        np.testing.assert_allclose(out[:, 5 * index : 5 * index + 5], expected, rtol=rtol, atol=1e-13)


def test_a_constant_stretch_has_exactly_no_deviation() -> None:
    x, v = walk(900, 4)
    x[200:700] = 1e9 + 0.1
    out = run(x, v, WINDOWS)
    for index, window in enumerate(WINDOWS):
        still = out[200 + window - 1 : 700, 5 * index : 5 * index + 4]
        assert np.array_equal(still, np.tile([x[200], 0.0, x[200], x[200]], (len(still), 1)))


def test_differences_whose_squares_vanish_count_as_none() -> None:
    x = 1.5e-162 * (np.arange(40) % 2)
    assert (run(x, x, (7, 20))[19:, 1::5] == 0.0).all()


@pytest.mark.parametrize("now", [1, 10, 299, 300, 301, 777])
def test_the_future_changes_nothing(now: int) -> None:
    x, v = walk(1_000, 5)
    other_x, other_v = x.copy(), v.copy()
    other_x[now:], other_v[now:] = -x[now:][::-1], 3.0 * v[now:][::-1]
    assert run(x, v, WINDOWS)[:now].tobytes() == run(other_x, other_v, WINDOWS)[:now].tobytes()
    assert not np.array_equal(run(x, v, WINDOWS)[now:], run(other_x, other_v, WINDOWS)[now:], equal_nan=True)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1.1e100])
@pytest.mark.parametrize("name", ["x", "v"])
def test_what_is_no_number_is_refused_before_anything_changes(name: str, value: float) -> None:
    x, v = walk(50, 6)
    state, out = rolling.new_state((5, 20)), np.zeros((25, 10))
    rolling.batch(state, x[:25], v[:25], out)
    before, columns = state.tobytes(), out.tobytes()
    {"x": x, "v": v}[name][25 + 7] = value
    with pytest.raises(BadInput, match=rf"{name} of row 7 is {value:g}".replace("+", r"\+")):
        rolling.batch(state, x[25:], v[25:], out)
    assert (state.tobytes(), out.tobytes()) == (before, columns)
    x[25 + 7], v[25 + 7] = 1e100, -1e100
    rolling.batch(state, x[25:], v[25:], out)
    assert np.isfinite(out).all()


def test_arrays_that_do_not_fit_are_refused() -> None:
    x, v = walk(50, 7)
    state, out = rolling.new_state((5, 20)), np.zeros((50, 10))
    for arguments in (
        (x, v[:49], out),
        (x, v, out[:49]),
        (x, v, out[:, :9]),
        (x[::2], v[::2], out[:25]),
        (x.astype(np.float32), v, out),
    ):
        with pytest.raises(BadInput, match="rolling: "):
            rolling.batch(state, *arguments)
    assert state.tobytes() == rolling.new_state((5, 20)).tobytes()


@pytest.mark.parametrize("windows", [(), (1,), (10, 0), (2,) * 17, (8_000, 193)])
def test_windows_without_room_or_meaning_are_refused(windows: tuple[int, ...]) -> None:
    with pytest.raises(BadConfig, match="rolling window"):
        rolling.new_state(windows)


def test_the_largest_state_is_whole() -> None:
    windows = (8_192 - 15 * 2,) + (2,) * 15
    x, v = walk(20_000, 8)
    out = run(x, v, windows)
    assert np.array_equal(out[:, 5:10], out[:, 75:80], equal_nan=True)
    last = x[-windows[0] :]
    assert out[-1, 2:4].tolist() == [last.min(), last.max()]
    np.testing.assert_allclose(out[-1, :2], [last.mean(), last.std(ddof=1)], rtol=1e-9)


def test_without_the_compiler_the_bits_are_the_same() -> None:
    script = (
        "import sys; from tests.features.test_rolling import run, walk;"
        "sys.stdout.buffer.write(run(*walk(700, 9), (2, 7, 300)).tobytes())"
    )
    environment = os.environ | {"NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert done.stdout == run(*walk(700, 9), (2, 7, 300)).tobytes()
