"""What hftbacktest makes of the market maker MM-1 under each of its queue models, as JSON lines.

Not a test and never imported: it runs in an environment of its own, with nothing of this program in it::

    python -m venv VENV && VENV/bin/pip install hftbacktest==2.4.4
    VENV/bin/python tests/parity/queue_hftbacktest.py ../shared/golden/engines

Its figures are the ones that ``test_queue_hftbacktest.py`` holds our engine to. ``partial``: orders five times as
large, with partial fills and without a cap, up to where hftbacktest ends the run with an error of its own
(``ended_by`` 14): its exchange keeps an order whose last part is exactly what was left, and a later trade finds it
there. ``completed`` counts orders filled to the end, ``last_parts_lots`` sums their last parts, with their sign, which
are all that its account books of an order filled in parts.
"""

import json
import sys
from pathlib import Path
from typing import Any

import hftbacktest as hft
import numba
import numpy as np

MS = 1_000_000
# tick, lot, lots of an order, most lots held, maker and taker rate
MARKETS = {
    "binance": (0.1, 0.001, 1, 10, 0.0002, 0.0005),
    "lobster": (0.01, 1.0, 100, 1_000, -0.00002, 0.00003),
}
MODELS = {
    "risk_averse": lambda asset: asset.risk_adverse_queue_model(),
    "logarithm": lambda asset: asset.log_prob_queue_model(),
    "power 1": lambda asset: asset.power_prob_queue_model(1.0),
    "power 2": lambda asset: asset.power_prob_queue_model(2.0),
    "power 3": lambda asset: asset.power_prob_queue_model(3.0),
}


@numba.njit
def maker(backtest: Any, tick: float, lot: float, order_lots: int, cap_lots: int, log: np.ndarray) -> tuple:
    """Decide every 100 ms; returns orders sent, rows of ``log`` and the code that ended the run."""
    sent, rows, trades = 0, 0, 0
    while True:
        code = backtest.elapse(100 * MS)
        if code != 0:
            return sent, rows, code
        backtest.clear_inactive_orders(0)
        book, held = backtest.depth(0), round(backtest.position(0) / lot)
        if book.best_bid_tick > 0 and book.best_ask_tick < 2**40 and book.best_bid_tick < book.best_ask_tick:
            for is_buy in (True, False):
                best = book.best_bid_tick if is_buy else book.best_ask_tick
                allowed = (held if is_buy else -held) + order_lots <= cap_lots
                alive = False
                orders = backtest.orders(0).values()
                while orders.has_next():
                    order = orders.get()
                    if (order.side == hft.BUY) == is_buy:
                        alive = True
                        if (order.price_tick != best or not allowed) and order.cancellable:
                            backtest.cancel(0, order.order_id, False)
                if allowed and not alive:
                    sent += 1
                    if is_buy:
                        backtest.submit_buy_order(0, sent, best * tick, order_lots * lot, hft.GTX, hft.LIMIT, False)
                    else:
                        backtest.submit_sell_order(0, sent, best * tick, order_lots * lot, hft.GTX, hft.LIMIT, False)
        account = backtest.state_values(0)
        if account.num_trades != trades:
            trades = account.num_trades
            log[rows, 0], log[rows, 1] = backtest.current_timestamp, trades
            log[rows, 2] = round(account.position / lot)
            rows += 1


def run(events: np.ndarray, market: str, model: str, partial: bool) -> dict[str, Any]:
    tick, lot, order_lots, cap_lots, maker_rate, taker_rate = MARKETS[market]
    asset = hft.BacktestAsset().data(events).linear_asset(1.0).constant_order_latency(MS, MS)
    asset = MODELS[model](asset).tick_size(tick).lot_size(lot).trading_value_fee_model(maker_rate, taker_rate)
    asset = asset.partial_fill_exchange() if partial else asset.no_partial_fill_exchange()
    backtest = hft.HashMapMarketDepthBacktest([asset])
    log = np.zeros((50_000, 3), np.int64)
    lots, cap = (5 * order_lots, 10**9) if partial else (order_lots, cap_lots)
    sent, rows, code = maker(backtest, tick, lot, lots, cap, log)
    account, book = backtest.state_values(0), backtest.depth(0)
    found: dict[str, Any] = {"market": market, "model": model, "partial": partial, "orders": sent, "ended_by": code}
    if partial:
        found |= {
            "until_ns": int(log[rows - 1, 0]),
            "completed": int(log[rows - 1, 1]),
            "last_parts_lots": int(log[rows - 1, 2]),
        }
    else:
        profit = account.balance + account.position * (book.best_bid + book.best_ask) / 2 - account.fee
        found |= {
            "fills": int(account.num_trades),
            "position_lots": round(account.position / lot),
            "fee": round(account.fee, 6),
            "pnl": round(profit, 6),
        }
    backtest.close()
    return found


if __name__ == "__main__":
    for market in MARKETS:
        events = np.load(Path(sys.argv[1]) / f"tape_{market}.npz")["tape"]
        for model in MODELS:
            for partial in (False, True):
                print(json.dumps(run(events, market, model, partial)), flush=True)
