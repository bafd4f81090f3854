"""Truth from outside: work A of the peer benchmarks, 520,499 real one-minute bars, equal to the last fill and cent."""

import csv
from pathlib import Path

import numpy as np
import pytest

from core import config, engine, strategies
from core.instruments import Instrument
from core.records import BAR, FILL, PREDICTION, Kind
from core.settings import Account, Execution, Risk, Strategy, Trading

SHARED = Path(__file__).resolve().parents[3] / "shared"
CANDLES = SHARED / "market-data/candles/bitfinex-spot-1m-2018/BTCUSD.parquet"
GOLDEN = SHARED / "golden/engines/sma_fills.csv"
WIDE = 10**16  # ns: longer than any gap in the data
PNL = -6_052_446_192_000  # -60,524.46192 USD in units of 1e-8

BTCUSD = Instrument(
    symbol="BTCUSD", base="BTC", quote="USD", tick="0.01", lot="0.00000001", taker_fee_ppm=1000, venue="bitfinex"
)
TRADING = Trading(
    account=Account(quote="USD", initial_cash="1000000"),
    execution=Execution(
        feed_latency_ns=1,
        decision_latency_ns=0,
        order_latency_ns=1,
        slippage_ppm=0,
        participation_ppm=0,
        order_ttl_ns=WIDE,
    ),
    strategy=Strategy(kind="sma", fast=20, slow=100, fixed_lots=100_000_000),
    risk=Risk(
        asset_cap_ppm=1_000_000,
        total_cap_ppm=1_000_000,
        caution_drawdown_ppm=900_000,
        halt_drawdown_ppm=950_000,
        flatten_drawdown_ppm=990_000,
        daily_stop_ppm=1_000_000,
        flatten_daily_loss_ppm=1_000_000,
        prediction_ttl_ns=WIDE,
        price_band_ppm=1_000_000_000,
        max_orders_per_hour=256,
    ),
)


def bitfinex_bars() -> np.ndarray:
    """The recorded bars in cents; volumes only say that something traded."""
    polars = pytest.importorskip("polars")
    frame = polars.read_parquet(CANDLES)
    rows = np.zeros(len(frame), BAR)
    for name in ("open", "high", "low", "close"):
        rows[name] = np.rint(frame[name].to_numpy() * 100).astype(np.int64)
    prices = [rows[name].copy() for name in ("open", "high", "low", "close")]
    rows["high"], rows["low"] = np.maximum.reduce(prices), np.minimum.reduce(prices)  # 1 % of rows violate this
    rows["kind"], rows["volume"] = Kind.BAR, 10**10
    rows["ts_event"] = frame["time"].dt.epoch("ns").to_numpy() + 60_000_000_000
    rows["ts_known"] = rows["ts_event"] + 1
    return rows


@pytest.mark.skipif(
    not (CANDLES.exists() and GOLDEN.exists()), reason="needs ../shared/market-data and ../shared/golden"
)
def test_sma_on_real_bars_equals_the_reference_fill_by_fill() -> None:
    tape = bitfinex_bars()
    none = np.zeros(0, PREDICTION)
    played = engine.session(config.build(TRADING, [BTCUSD]), tape, none, np.zeros(0, np.int64), strategies.get("sma"))
    fills = played.out[played.out["kind"] == Kind.FILL].view(FILL)
    with open(GOLDEN, newline="") as file:
        truth = list(csv.DictReader(file))
    assert len(fills) == len(truth) == 7_593
    row = np.searchsorted(tape["ts_event"], fills["ts_event"], side="right")  # the bar that was open at the fill
    assert [int(item["open_cents"]) for item in truth] == fills["price"].tolist()
    assert [int(item["bar"]) for item in truth] == row.tolist()
    assert [{"buy": 1, "sell": 2}[item["side"]] for item in truth] == fills["side"].tolist()
    assert int(played.state[0]["account"]["equity"]) - 10**14 == PNL
    assert int(played.marks[-1]["equity"]) - 10**14 == PNL
