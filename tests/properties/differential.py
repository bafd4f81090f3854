"""Core and database judge the same orders: the differential test of the rules (requirements RISK-10).

    python -m tests.properties.differential --states 100000 --seed 1

States are those of ``random_state``. The runtime's verdict is ``core.rules.refusal`` on the core's own records. The
database's is whether the order's row of ``approval`` inserts, into the tables of ``runner.schema`` (``stored_state``);
the refusal names the rule. Verdict and reason must be equal, and the CHECK records of an approved order must lead to
the same row.
"""

import argparse
import sys
from collections import Counter

import numpy as np

from core import config as core_config
from core.instruments import Instrument
from core.layout import OUTBOX
from core.records import HOUR_NS, PPM, Action, MarketStatus, OrderState, Side
from core.settings import Account, Trading
from runner.standing import Judged
from runner.store.contract import INT64_MAX
from runner.store.rules import ALL_RULES
from tests.properties.random_state import NOW_NS, Case
from tests.properties.stored_state import Database

_GRIDS = (
    Instrument(symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001", min_qty="0.00002",
               min_notional="5", taker_fee_ppm=1000),
    Instrument(symbol="ETHUSDT", base="ETH", quote="USDT", tick="0.01", lot="0.0001", taker_fee_ppm=0),
    Instrument(symbol="XUSDT", base="X", quote="USDT", tick="0.003", lot="0.7", base_unit="0.1", min_notional="1"),
    Instrument(symbol="YUSDT", base="Y", quote="USDT", tick="25", lot="1", base_unit="1", taker_fee_ppm=-100),
)  # fmt: skip


def judged(case: Case) -> Judged:
    """What the journal would say of the case's signal, taken from the state and not from the core's rules."""
    order, position, config = case.order, case.state[0]["positions"][case.order.index], case.config[0]
    left_ns, status, until = int(position["exit_ns"]), int(position["status"]), int(position["status_until_ns"])
    return Judged(
        rules=ALL_RULES,
        price=int(position["price"]),
        age_ns=order.age_ns,
        confidence_ppm=order.confidence_ppm,
        repeated=int(order.repeated),
        cooled_ns=left_ns + int(config["cooldown_ns"]) if left_ns else 0,
        halted=int(status > MarketStatus.TRADING and not 0 < until <= NOW_NS),
        **_spent(case),
        **_paced(case),
    )


def _spent(case: Case) -> dict[str, int]:
    """What is left of fees, depth and turnover, in unbounded integers."""
    order, config, state = case.order, case.config[0], case.state[0]
    market, position, risk = config["markets"][order.index], state["positions"][order.index], state["risk"]
    price = order.limit or int(position["price"])
    value = _notional(config, order.index, price, order.qty)
    pending = [
        (k, sum(_notional(config, k, slot[7], slot[4] - slot[5]) for slot in _live(state, k) if slot[1] == side))
        for k in range(case.n)
        for side in (Side.BUY, Side.SELL)
    ]
    fees = depth = INT64_MAX
    if config["fee_guard_ppm"] > 0:
        fees = value * int(config["fee_guard_ppm"]) // PPM
    if config["fee_budget_day_ppm"] > 0:
        budget = int(risk["day_equity"]) * int(config["fee_budget_day_ppm"]) // PPM
        held_back = sum(-(-amount * _dearest_ppm(config, k) // PPM) for k, amount in pending)
        fees = min(fees, budget - int(risk["day_fees"]) - held_back)
    if fees == 0 and value * _dearest_ppm(config, order.index) == 0:
        fees = INT64_MAX  # a CHECK of nothing against nothing says no more than that
    if market["capacity_lots"] > 0:
        depth = int(market["capacity_lots"])
    view = position["view"]
    if config["depth_share_ppm"] > 0 and (view["bid"] > 0 or view["ask"] > 0):
        shown = int(view["ask_qty"] if order.side == Side.BUY else view["bid_qty"])
        depth = min(depth, shown * int(config["depth_share_ppm"]) // PPM)
    left, rate_ppm = 0, int(config["turnover_minute_ppm"])
    if rate_ppm > 0:
        recent = risk["seconds"]["number"][0] >= NOW_NS // 10**9 - 60
        used = value + sum(amount for _, amount in pending) + (int(risk["seconds"]["amount"][0]) if recent else 0)
        left = max(-(2**62), max(0, int(state["account"]["equity"])) * rate_ppm // PPM - used)
    return {"fees_left": min(fees, INT64_MAX), "depth_lots": depth, "turnover_left": left}


def _paced(case: Case) -> dict[str, int]:
    """When the circuit and the limits on signals let the next entry through."""
    config, risk, orders = case.config[0], case.state[0]["risk"], case.state[0]["orders"][0]
    probe, slot = int(risk["circuit_until_ns"]), orders["slots"][0]
    waits = orders["live"] > 0 and slot["order_id"] == 999 and slot["state"] == OrderState.PENDING_NEW
    if waits and probe <= NOW_NS and risk["failures"] >= config["circuit_failures"]:
        probe = NOW_NS + 1
    is_high = case.order.confidence_ppm >= config["high_confidence_ppm"]
    due = [0, 0]
    for k, name in enumerate(("", "_high")):
        most, count = int(config[f"max_signals_per_hour{name}"]), int(risk[f"signals{name}"])
        if 0 < most <= count and (k == 0 or is_high):
            due[k] = int(risk[f"signal{name}_ns"][count - most]) + HOUR_NS
    return {"probe_ns": probe, "signal_ns": due[0], "signal_high_ns": due[1]}


def _live(state: np.void, k: int) -> list[tuple[int, ...]]:
    orders = state["orders"][k]
    return list(orders["slots"][: orders["live"]].tolist())


def _notional(config: np.void, k: int, price: int, lots: int) -> int:
    instrument = config["markets"][k]["instrument"]
    return -(-price * int(instrument["value_num"]) * lots // int(instrument["value_den"]))


def _dearest_ppm(config: np.void, k: int) -> int:
    instrument = config["markets"][k]["instrument"]
    return max(0, int(instrument["maker_fee_ppm"]), int(instrument["taker_fee_ppm"]))


def worlds() -> list[tuple[np.ndarray, Database]]:
    """Configurations to start from, each with its database: one to four instruments, spot and margin."""
    made = []
    for count in (1, 2, 4):
        for profile in ("spot", "margin"):
            leverage = 3 * PPM if profile == "margin" else PPM
            account = Account(profile=profile, initial_cash="1000000", leverage_ppm=leverage)
            trading = Trading(account=account)
            made.append((core_config.build(trading, _GRIDS[:count]), Database(_GRIDS[:count])))
    return made


def compare(states: int, seed: int) -> Counter[str]:
    """Judge ``states`` random states both ways; how often each verdict came. Raises AssertionError at a difference."""
    rng, box, places, seen = np.random.default_rng(seed), np.zeros(1, OUTBOX), worlds(), Counter[str]()
    for number in range(states):
        config, database = places[number % len(places)]
        case = Case(rng, config, box)
        expected = judged(case)  # before the core counts what it approves
        runtime = case.runtime()
        stored, row = database.verdict(case, expected)
        if runtime != stored:
            raise AssertionError(
                f"state {number} of seed {seed}: the core says {runtime or 'APPROVED'}, the database "
                f"{stored or 'APPROVED'}: {case.order} {row}"
            )
        if not runtime:
            again = Judged.of(case.checks())
            names = ("rules", "price") if case.order.action == Action.REDUCE else Judged.__slots__
            wrong = [name for name in names if name != "price" and getattr(again, name) != getattr(expected, name)]
            if wrong or again.price != (case.order.limit or expected.price):
                raise AssertionError(f"state {number} of seed {seed}: the CHECK records say {again}, not {expected}")
        seen[runtime or "APPROVED"] += 1
    return seen


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description="Compare the core's verdicts with the database's on random states.")
    parser.add_argument("--states", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    seen = compare(options.states, options.seed)
    for name, count in seen.most_common():
        sys.stdout.write(f"{count:>8} {name}\n")
    sys.stdout.write(f"{options.states} states of seed {options.seed}: every verdict is equal\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
