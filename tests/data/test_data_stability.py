"""The stability index: closed forms, and lanes of instruments that are alike and of one that is not."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadInput
from data import lanes
from data.stability import LIMIT, between_instruments, psi
from tests.data.test_data_catalog import run
from tests.data.test_data_lanes import tape_of
from tests.features.test_market_state import market


def test_the_closed_form() -> None:
    """Nine tenths below the first edge instead of one, and one above: bins of (0.9, 0.1) against (0.1, 0.9)."""
    expected = np.repeat([0.0, 1.0], [1, 9])
    actual = np.repeat([0.0, 1.0], [9, 1])
    assert psi(expected, actual) == pytest.approx(0.8 * math.log(9) * 2)


@given(st.integers(0, 1_000))
def test_the_same_distribution_is_stable_and_a_shifted_one_is_not(seed: int) -> None:
    rng = np.random.default_rng(seed)
    one, other = rng.normal(size=5_000), rng.normal(size=5_000)
    assert 0 <= psi(one, other) < 0.02 and psi(one, one) == 0
    assert psi(one, other + 1) > LIMIT
    assert psi(3 * one + 7, 3 * other + 7) == pytest.approx(psi(one, other))


def made(folder: Path, *, sizes: int) -> Path:
    """Lanes of two instruments of one kind of market; the second one's bids are ``sizes`` times as large."""
    one, other = market(1, 12_000, step_ns=1_000_000), market(2, 12_000, step_ns=1_000_000)
    other["instrument"] = 1
    other["b"][other["side"] == 1] *= sizes
    both = np.concatenate([one, other])
    both = both[np.argsort(both["ts_known"], kind="stable")]
    lanes.write(tape_of(folder / "market.tape", both, ("A", "B")), folder / "lanes")
    return folder / "lanes"


def test_alike_instruments_pass_and_a_shifted_feature_fails(tmp_path: Path) -> None:
    (tmp_path / "same").mkdir()
    (tmp_path / "other").mkdir()
    same, other = made(tmp_path / "same", sizes=1), made(tmp_path / "other", sizes=20)
    quantities = ("ofi_norm", "qimbalance", "trade_imbalance")
    alike = {row["field"]: row["psi"] for row in between_instruments(same) if row["of"] == "B"}
    assert all(alike[name] < LIMIT for name in quantities)
    shifted = between_instruments(other)
    assert {row["field"]: row["psi"] for row in shifted if row["of"] == "B"}["qimbalance"] > LIMIT
    assert [row["psi"] for row in shifted] == sorted((row["psi"] for row in shifted), reverse=True)
    code, printed = run("psi", "--folder", str(other), "--json")
    assert code == 10 and json.loads(printed)[0] == shifted[0]
    assert run("psi", "--folder", str(other), "--limit", "1000")[0] == 0


def test_one_instrument_cannot_be_compared(tmp_path: Path) -> None:
    lanes.write(tape_of(tmp_path / "market.tape", market(1, 50)), tmp_path / "lanes")
    with pytest.raises(BadInput, match="lanes of 1 instruments; a comparison needs two"):
        between_instruments(tmp_path / "lanes")
    with pytest.raises(BadInput, match="is any row ready"):
        psi(np.zeros(0), np.zeros(3))
