"""Fees of each venue to the unit, tiers by trailing volume, and no fee at all where a row is missing."""

import json
from fractions import Fraction
from math import ceil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core import fees
from core.errors import BadConfig, BadInput
from core.instruments import Instrument
from core.records import DAY_NS, FeeAsset
from core.settings import FeeRow, Fees, FeeTable
from data import fee_tables

SHARED = Path(__file__).resolve().parents[3] / "shared" / "market-data" / "payloads" / "nautilus"
UNIT = 10**8  # quote units of one USD
NOON = 20_000 * DAY_NS + DAY_NS // 2
BTC = Instrument(symbol="BTC-USD", base="BTC", quote="USD", tick="0.1", lot="0.00001")


def schedule(venue: str, **choices: object) -> np.void:
    settings = Fees(table=fee_tables.load(venue), **choices)  # type: ignore[arg-type]
    return fees.schedule(settings, quote="USDT", quote_unit="0.00000001").reshape(1)[0]


def charge(row: np.void, rate: int, is_buy: bool, price: int, lots: int) -> tuple[int, int]:
    instrument = BTC.record().reshape(1)[0]
    amount, asset = fees.charge(row, instrument, rate, is_buy, price, lots)
    return int(amount), int(asset)


@pytest.mark.parametrize(
    ("venue", "volume_usd", "maker_ppm", "taker_ppm"),
    [
        ("kraken", 0, 2500, 4000),
        ("kraken", 9_999, 2500, 4000),
        ("kraken", 10_000, 2000, 3500),
        ("kraken", 9_999_999, 200, 1200),
        ("kraken", 10_000_000, 0, 1000),
        ("coinbase", 0, 6000, 12_000),
        ("coinbase", 1_000, 4000, 6000),
        ("coinbase", 74_000_000, 600, 1600),
        ("coinbase", 500_000_000, 0, 500),
        ("binance", 0, 1000, 1000),
        ("binance", 1_000_000, 900, 1000),
        ("binance", 99_999_999, 400, 600),
        ("binance", 4_000_000_000, 110, 230),
    ],
)
def test_published_rates(venue: str, volume_usd: int, maker_ppm: int, taker_ppm: int) -> None:
    row = schedule(venue)
    assert fees.rate_ppm(row, volume_usd * UNIT, True) == maker_ppm
    assert fees.rate_ppm(row, volume_usd * UNIT, False) == taker_ppm


# 0.12345 BTC at 61,234.5 USD = 7559.399025 USD
@pytest.mark.parametrize(
    ("venue", "choices", "is_maker", "is_buy", "amount", "asset"),
    [
        ("kraken", {}, False, True, 30_23759610, FeeAsset.QUOTE),  # 0.40 %
        ("kraken", {}, True, False, 18_89849757, FeeAsset.QUOTE),  # 0.25 %: 18.8984975625, up
        ("coinbase", {}, False, False, 90_71278830, FeeAsset.QUOTE),  # 1.20 %
        ("binance", {}, False, True, 12345, FeeAsset.BASE),  # 0.1 % of the BTC bought
        ("binance", {}, False, False, 7_55939903, FeeAsset.QUOTE),  # 7.559399025, up
        ("binance", {"pay_in_third": True}, False, True, 5_66954927, FeeAsset.QUOTE),  # 0.075 %: 5.66954926875, up
    ],
)
def test_golden_fills(venue: str, choices: dict, is_maker: bool, is_buy: bool, amount: int, asset: FeeAsset) -> None:
    """EVAL-04: to the unit, 1e-8 of the asset."""
    row = schedule(venue, **choices)
    rate = int(fees.rate_ppm(row, 0, is_maker))
    assert charge(row, rate, is_buy, 612_345, 12_345) == (amount, asset)


@given(st.integers(1, 10**7), st.integers(1, 10**7), st.integers(1, 100_000), st.booleans())
def test_a_discounted_fee_is_rounded_once(price: int, lots: int, rate: int, is_buy: bool) -> None:
    row = schedule("binance", pay_in_third=True)
    exact = Fraction(price * lots * 100) * rate * 3 / 4 / 10**6  # one lot at one tick is 100 units
    assert charge(row, rate, is_buy, price, lots)[0] == ceil(exact)


def test_a_rebate_is_rounded_down_and_never_discounted() -> None:
    row = schedule("binance", pay_in_third=True)
    assert charge(row, -20, True, 612_345, 12_345) == (-15118798, FeeAsset.QUOTE)  # 15118798.05


def test_flat_rates_are_the_instruments_own() -> None:
    row = fees.flat(-20, 30, received=True).reshape(1)[0]
    assert [fees.rate_ppm(row, 10**18, maker) for maker in (True, False)] == [-20, 30]
    assert charge(row, 30, True, 1, 10_000)[1] == FeeAsset.BASE


def new_turnover() -> np.void:
    return np.zeros(1, fees.TURNOVER)[0]


def test_volume_counts_from_the_next_day_for_thirty_days() -> None:
    row, turnover = schedule("kraken"), new_turnover()
    assert fees.volume(row, turnover, NOON) == 0
    fees.traded(turnover, 7 * UNIT)
    assert fees.volume(row, turnover, NOON + DAY_NS // 2 - 1) == 0
    assert fees.volume(row, turnover, NOON + DAY_NS // 2) == 7 * UNIT
    assert fees.volume(row, turnover, NOON + 30 * DAY_NS) == 7 * UNIT
    assert fees.volume(row, turnover, NOON + 31 * DAY_NS) == 0


def test_volume_from_before_the_session_fades_out() -> None:
    row, turnover = schedule("kraken", volume_start="300"), new_turnover()
    seen = [int(fees.volume(row, turnover, NOON + day * DAY_NS)) // UNIT for day in (0, 1, 29, 30, 40)]
    assert seen == [300, 290, 10, 0, 0]


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10**12)), max_size=25), st.integers(0, 10**6))
def test_volume_is_the_sum_over_thirty_days(trades: list[tuple[int, int]], start: int) -> None:
    row, turnover, day = schedule("kraken", volume_start=str(start)), new_turnover(), 20_000
    each, rest = divmod(start * UNIT, 30)
    book = dict.fromkeys(range(day - 30, day), each)
    book[day - 30] += rest
    fees.volume(row, turnover, day * DAY_NS)
    for gap, amount in trades:
        day += gap
        expected = sum(book.get(d, 0) for d in range(day - 30, day))
        assert fees.volume(row, turnover, day * DAY_NS) == expected
        fees.traded(turnover, amount)
        book[day] = book.get(day, 0) + amount


@pytest.mark.parametrize("venue", fee_tables.venues())
def test_a_missing_row_fails_closed(venue: str) -> None:
    """EVAL-04: whichever row is removed, there is no schedule."""
    table = fee_tables.load(venue)
    assert table.source and table.as_of
    for k in range(len(table.rows)):
        less = msgspec.structs.replace(table, rows=table.rows[:k] + table.rows[k + 1 :])
        with pytest.raises(BadConfig, match=f"fees of {venue}"):
            fees.schedule(Fees(table=less), quote="USDT", quote_unit="0.01")


def test_unknown_venues_and_assets_fail_closed() -> None:
    with pytest.raises(BadInput, match="no fee table for venue 'ftx'; there is binance, coinbase, kraken"):
        fee_tables.load("ftx")
    with pytest.raises(BadConfig, match="the account in BTC"):
        fees.schedule(Fees(table=fee_tables.load("binance")), quote="BTC", quote_unit="0.00000001")
    with pytest.raises(BadConfig, match="no third asset"):
        schedule("kraken", pay_in_third=True)


def table(*rows: FeeRow, **changes: object) -> FeeTable:
    base = FeeTable(venue="x", source="s", as_of="d", volume_assets=("USDT",), fee_asset="quote", rows=rows)
    return msgspec.structs.replace(base, **changes)


def tier(start: str, below: str | None, maker: int = 1, taker: int = 2) -> FeeRow:
    return FeeRow(volume_from=start, volume_below=below, maker_ppm=maker, taker_ppm=taker)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (table(), "0 rows"),
        (table(tier("0", "5")), "only the last"),
        (table(tier("0", None), tier("5", None)), "only the last"),
        (table(tier("0", "0"), tier("0", None)), "from 0 ends at 0"),
        (table(tier("0", "5"), tier("6", None)), "no row covers the volume from 5 to 6"),
        (table(tier("0", None, taker=-1)), "taker_ppm from 0 is -1"),
        (table(tier("0", None), fee_asset="base"), "fee_asset is 'base'"),
        (table(tier("0", "x"), tier("x", None)), "volume_below is 'x'"),
    ],
)
def test_broken_tables_are_refused(bad: FeeTable, says: str) -> None:
    with pytest.raises(BadConfig, match=says):
        fees.schedule(Fees(table=bad), quote="USDT", quote_unit="0.01")


@pytest.mark.skipif(not SHARED.exists(), reason="recorded venue payloads are not beside this checkout")
def test_tables_agree_with_what_the_venues_answered() -> None:
    pair = json.loads((SHARED / "kraken" / "http_asset_pairs.json").read_text())["result"]["XBTUSDT"]
    rows = fee_tables.load("kraken").rows
    assert [[int(r.volume_from), r.taker_ppm / 10_000] for r in rows] == pair["fees"]
    assert [[int(r.volume_from), r.maker_ppm / 10_000] for r in rows] == pair["fees_maker"]
    answer = SHARED / "binance" / "integration" / "http_responses" / "http_wallet_trading_fee.json"
    spot = json.loads(answer.read_text())
    first = fee_tables.load("binance").rows[0]
    assert (str(Fraction(first.maker_ppm, 10**6)), first.taker_ppm) == (str(Fraction(spot["makerCommission"])), 1000)
