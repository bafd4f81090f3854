"""Our queue models against hftbacktest 2.4.4's own: the same market maker on the same events.

``tests/parity/queue_hftbacktest.py`` made the figures, in an environment that has hftbacktest; this test needs only the
recorded tapes. Fixed point against floats changes no fill. One rule does: here cancellations take no more lots from in
front of an order than stand there (``core.queue``), so a trade never fills more than traded. Under the risk-averse and
the first power model the rule cannot bite and all is equal; where it can, ``CLOSE`` bounds the difference. With the
formula as published our exchange gives the peer's figures there too: ``tests/parity/published_queue.py``.
"""

from decimal import Decimal
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from core import config, strategies, ticks
from core.instruments import Instrument
from core.records import ACTION_MASK, FILL, PPM, RECORD, Action, Kind, MarketFlag, Reason, Side
from core.settings import Account, Execution, QueueModel, Risk, Simulation, Strategy, Trading

GOLDEN = Path(__file__).resolve().parents[3] / "shared" / "golden" / "engines"
BTC = Instrument(
    symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.1", lot="0.001", maker_fee_ppm=200, taker_fee_ppm=500
)
GOOG = Instrument(symbol="GOOG", base="GOOG", quote="USDT", tick="0.01", lot="1", maker_fee_ppm=-20, taker_fee_ppm=30)
MARKETS = {"binance": (BTC, 1, 10), "lobster": (GOOG, 100, 1_000)}  # lots of an order, most lots held
KINDS = {1: Kind.LEVEL, 2: Kind.TRADE, 3: Kind.CLEAR, 4: Kind.LEVEL}
CASH = "1400000"  # with the leverage, the most whose arithmetic is proven at a unit of 1e-8
LEVERAGE_PPM = 10 * PPM
MODELS = {  # hftbacktest's logarithm counts in base units, of which a lot is a thousandth on Binance
    "risk_averse": lambda unit_lots: QueueModel(),
    "logarithm": lambda unit_lots: QueueModel(kind="logarithm", unit_lots=unit_lots),
    "power 1": lambda unit_lots: QueueModel(kind="power", power=1),
    "power 2": lambda unit_lots: QueueModel(kind="power", power=2),
    "power 3": lambda unit_lots: QueueModel(kind="power", power=3),
}
WHOLE = {  # orders, fills, position in lots, fees and profit
    ("binance", "risk_averse"): (749, 449, -3, "5.542517", "-7.662267"),
    ("binance", "logarithm"): (802, 501, -1, "6.184473", "-8.217823"),
    ("binance", "power 1"): (792, 492, 0, "6.073414", "-7.929914"),
    ("binance", "power 2"): (778, 478, -2, "5.90052", "-8.14212"),
    ("binance", "power 3"): (774, 474, -2, "5.85114", "-8.09854"),
    ("lobster", "risk_averse"): (8384, 920, -1000, "-1047.56854", "2516.56854"),
    ("lobster", "logarithm"): (8437, 968, -1000, "-1102.31126", "1495.31126"),
    ("lobster", "power 1"): (8458, 984, -1000, "-1120.54268", "1246.54268"),
    ("lobster", "power 2"): (8454, 982, -1000, "-1118.26122", "1743.26122"),
    ("lobster", "power 3"): (8454, 982, -1000, "-1118.26122", "1743.26122"),
}
PARTIAL = {  # until ns, orders filled to the end, signed lots of their last parts
    ("binance", "risk_averse"): (1723161303998000000, 89, -44),
    ("binance", "logarithm"): (1723161312598000000, 112, -64),
    ("binance", "power 1"): (1723161260698000000, 8, -8),
    ("binance", "power 2"): (1723161294598000000, 65, 2),
    ("binance", "power 3"): (1723161288998000000, 60, -7),
    ("lobster", "risk_averse"): (34223715105074, 5, 1234),
    ("lobster", "logarithm"): (34223715105074, 5, 1234),
    ("lobster", "power 1"): (34223715105074, 5, 1234),
    ("lobster", "power 2"): (34223715105074, 5, 1234),
    ("lobster", "power 3"): (34223715105074, 5, 1234),
}


CLOSE = {("lobster", "logarithm")}  # orders within 0.2 %, fills within 0.5 %; profit then differs with them


@cache
def tape(market: str) -> np.ndarray:
    """The recorded events (flags, two times, price, quantity) as LEVEL, TRADE and CLEAR records in ticks and lots."""
    if not GOLDEN.exists():
        pytest.skip("the recorded tapes (shared/golden/engines) are not beside this checkout")
    events, instrument = np.load(GOLDEN / f"tape_{market}.npz")["tape"], MARKETS[market][0]
    rows, kinds = np.zeros(len(events), RECORD), events["ev"] & np.uint64(0xFF)
    for code, kind in KINDS.items():
        rows["kind"][kinds == code] = kind
    rows["side"] = np.where(events["ev"] & np.uint64(1 << 29) > 0, Side.BUY, Side.SELL)
    rows["ts_event"], rows["ts_known"] = events["exch_ts"], events["local_ts"]
    rows["flags"] = np.where(np.append(np.diff(rows["ts_known"]) > 0, True), MarketFlag.LAST, 0)
    rows["a"] = np.rint(np.nan_to_num(events["px"], nan=0) / float(instrument.tick))
    rows["b"] = np.rint(events["qty"] / float(instrument.lot))
    return rows


def play(market: str, model: str, *, partial: bool) -> ticks.Run:
    """MM-1 with every limit wide; ``partial``: orders five times as large, no cap."""
    instrument, order_lots, inventory_lots = MARKETS[market]
    unit_lots = int(1 / Decimal(instrument.lot))
    trading = Trading(
        account=Account(profile="margin", initial_cash=CASH, leverage_ppm=LEVERAGE_PPM),
        execution=Execution(
            order_latency_ns=1_000_000,
            response_latency_ns=1_000_000,
            order_ttl_ns=10**16,
            simulation=Simulation(queue=MODELS[model](unit_lots), partial_fills=partial),
        ),
        strategy=Strategy(
            kind="mm1",
            order_lots=5 * order_lots if partial else order_lots,
            inventory_lots=10**9 if partial else inventory_lots,
        ),
        risk=Risk(
            asset_cap_ppm=LEVERAGE_PPM,
            total_cap_ppm=LEVERAGE_PPM,
            deleverage_ppm=PPM,
            max_orders_per_hour=0,
            price_band_ppm=1_000_000_000,
            prediction_ttl_ns=10**16,
        ),
    )
    return ticks.session(config.build(trading, [instrument]), tape(market), strategies.get("mm1"))


@pytest.mark.parametrize(("market", "model"), WHOLE)
def test_whole_fills_agree_to_the_last_unit(market: str, model: str) -> None:
    orders, fills, position, fee, profit = WHOLE[market, model]
    run = play(market, model, partial=False)
    made = run.out[run.out["kind"] == Kind.FILL].view(FILL)
    sent = run.out[run.out["kind"] == Kind.INTENT]
    found = int((sent["flags"] & ACTION_MASK != Action.CANCEL).sum())
    assert int(run.state[0]["positions"][0]["view"]["lots"]) == position
    if (market, model) in CLOSE:
        assert abs(found - orders) <= 0.002 * orders
        assert abs(len(made) - fills) <= 0.005 * fills
        return
    assert (found, len(made)) == (orders, fills)
    assert abs(Decimal(int(made["fee"].sum())).scaleb(-8) - Decimal(fee)) <= Decimal("0.00001")
    gained = Decimal(int(run.state[0]["account"]["equity"])).scaleb(-8) - Decimal(CASH)
    assert abs(gained - Decimal(profit)) <= Decimal("0.00001")  # cash units are rounded, fill by fill, against us


@pytest.mark.parametrize(("market", "model"), PARTIAL)
def test_partial_fills_agree_as_far_as_the_peer_runs(market: str, model: str) -> None:
    until_ns, completed, last_parts_lots = PARTIAL[market, model]
    run = play(market, model, partial=True)
    fills = run.out[run.out["kind"] == Kind.FILL].view(FILL)
    ends = fills[(fills["reason"] == Reason.FILLED) & (fills["ts_known"] <= until_ns)]
    assert len(fills) > len(ends) and (fills["reason"] == Reason.PARTIAL).any()
    lots = int(np.where(ends["side"] == Side.BUY, ends["qty"], -ends["qty"]).sum())
    if market == "binance" and model not in ("risk_averse", "power 1"):
        assert abs(len(ends) - completed) <= 1  # the peer fills more than traded
        assert abs(lots - last_parts_lots) <= 5
    else:
        assert (len(ends), lots) == (completed, last_parts_lots)
