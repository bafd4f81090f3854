from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.errors import BadConfig
from core.instruments import Instrument, instrument_from_json


def btc(**changes: object) -> Instrument:
    fields = {"symbol": "BTC-USDT", "base": "BTC", "quote": "USDT", "tick": "0.01", "lot": "0.00001", **changes}
    return Instrument(**fields)


def test_grid_becomes_exact_integers() -> None:
    row = btc(min_qty="0.00002", min_notional="5", taker_fee_ppm=1000).record()
    assert (int(row["value_num"]), int(row["value_den"])) == (10, 1)  # 0.01 x 0.00001 = 1e-7 = 10 units of 1e-8
    assert int(row["lot_units"]) == 1_000
    assert int(row["min_lots"]) == 2
    assert int(row["min_notional"]) == 500_000_000


def test_minimum_off_the_grid_rounds_up() -> None:
    assert int(btc(min_qty="0.000011").record()["min_lots"]) == 2


@given(ticks=st.integers(1, 10**9), lots=st.integers(1, 10**9))
def test_value_equals_decimal_arithmetic(ticks: int, lots: int) -> None:
    row = btc(tick="0.00005", lot="0.003", quote_unit="0.0001", base_unit="0.001").record()
    exact = ticks * Fraction("0.00005") * lots * Fraction("0.003") / Fraction("0.0001")
    assert Fraction(ticks * lots * int(row["value_num"]), int(row["value_den"])) == exact


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"tick": "0"}, "tick is '0'"),
        ({"lot": "-1"}, "lot is '-1'"),
        ({"lot": "0.000000001"}, "not a whole number of base units"),
        ({"fee_asset": "bnb"}, "use 'quote' or 'received'"),
        ({"taker_fee_ppm": 200_000}, "taker_fee_ppm is 200000"),
    ],
)
def test_an_impossible_grid_is_refused_by_name(changes: dict[str, object], words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        btc(**changes)


def test_values_off_the_grid_are_refused() -> None:
    assert btc().price_ticks("40000.01") == 4_000_001
    assert btc().qty_lots(Decimal("0.5")) == 50_000
    with pytest.raises(BadConfig, match=r"price 0\.015 is not on its grid of 0\.01"):
        btc().price_ticks("0.015")


def test_json_round_trip_and_unknown_field() -> None:
    assert instrument_from_json(btc().as_json()) == btc()
    with pytest.raises(BadConfig, match="unexpected keyword argument 'tik'"):
        instrument_from_json({**btc().as_json(), "tik": "0.01"})
