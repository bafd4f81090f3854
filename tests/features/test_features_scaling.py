"""Scaling is fitted on the rows it is given, in bounded memory, and survives constant columns."""

import numpy as np
import pytest

from core.errors import BadInput
from features import scaling


def test_it_standardises_the_fitted_rows() -> None:
    x = np.random.default_rng(1).normal([5, -3], [2, 0.1], (1_000, 2)).astype(np.float32)
    rows = np.arange(100, 900)
    fitted = scaling.fit(x, rows)
    np.testing.assert_allclose(fitted.mean, x[rows].astype(np.float64).mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(fitted.std, x[rows].astype(np.float64).std(axis=0), rtol=1e-6)
    assert fitted.mean.dtype == fitted.std.dtype == np.float32


def test_rows_outside_change_nothing() -> None:
    x = np.random.default_rng(1).normal(size=(1_000, 3)).astype(np.float32)
    rows = np.arange(400)
    before = scaling.fit(x, rows)
    x[400:] = 1e9
    after = scaling.fit(x, rows)
    assert before.mean.tobytes() + before.std.tobytes() == after.mean.tobytes() + after.std.tobytes()


def test_chunks_change_nothing_but_rounding(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(1).normal(size=(1_000, 3)).astype(np.float32)
    whole = scaling.fit(x, np.arange(1_000))
    monkeypatch.setattr(scaling, "_CHUNK_ROWS", 7)
    parts = scaling.fit(x, np.arange(1_000))
    np.testing.assert_allclose(parts.std, whole.std, rtol=1e-6)
    np.testing.assert_allclose(parts.mean, whole.mean, atol=1e-7)


def test_a_constant_column_is_centred_and_left_unscaled() -> None:
    x = np.full((10, 1), 0.3, np.float32)
    fitted = scaling.fit(x, np.arange(10))
    assert fitted.std[0] == 1
    assert abs(x - fitted.mean).max() < 1e-6


@pytest.mark.parametrize(("value", "rows"), [(1.0, 0), (np.nan, 3), (np.inf, 3)])
@pytest.mark.filterwarnings("ignore:invalid value")
def test_nothing_to_fit_and_values_that_are_not_finite_are_refused(value: float, rows: int) -> None:
    with pytest.raises(BadInput, match=r"0 rows|columns \[1\]"):
        scaling.fit(np.array([[1, value]] * 3, np.float32), np.arange(rows))
