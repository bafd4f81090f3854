"""Core and database judge the same orders: the differential test of the rules (requirements RISK-10).

    python -m tests.properties.differential --states 100000 --seed 1

A state is an account at an instant: random configuration, holdings, marks, pending orders, risk state, and one order.
Most states are then moved so that one rule stands exactly at its limit, one unit inside or one beyond. The runtime's
verdict is ``core.rules.refusal`` on the core's own records. The database's is whether the order's row of ``approval``
inserts, into the tables of ``runner.schema`` filled with what the account owns, owes and waits for; the refusal names
the rule. Verdict and reason must be equal, and the CHECK records of an approved order must lead to the same row.

Two things are taken away from the schema for this: the laws that tie a reservation to one order's history (its sums are
put in as they are), and the rules themselves for orders of the past (negative ids), which only fill the rolling hour.
"""

import argparse
import sqlite3
import sys
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np

from core import config as core_config
from core import exposure, portfolio, rules
from core.instruments import Instrument
from core.layout import OUTBOX, STATE
from core.records import CHECK, HOUR_NS, PPM, Action, Kind, MarketStatus, Metric, OrderState, Reason, Side
from core.settings import Account, Trading
from runner.journal_schema import insert_batch
from runner.ledger import Ledger
from runner.schema import LEDGER, OBJECTS
from runner.standing import Judged, limits_of
from runner.store.contract import INT64_MAX
from runner.store.rules import ALL_RULES
from runner.store.sqlite import insert

NOW_NS = 1_700_000_000_000_000_000
SEQ = 5
_INSERT = {table.name: insert(table) for table in LEDGER}
_UNTIED = ("reservation_continuous", "reservation_of_approval")
_GRIDS = (
    Instrument(symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001", min_qty="0.00002",
               min_notional="5", taker_fee_ppm=1000),
    Instrument(symbol="ETHUSDT", base="ETH", quote="USDT", tick="0.01", lot="0.0001", taker_fee_ppm=0),
    Instrument(symbol="XUSDT", base="X", quote="USDT", tick="0.003", lot="0.7", base_unit="0.1", min_notional="1"),
    Instrument(symbol="YUSDT", base="Y", quote="USDT", tick="25", lot="1", base_unit="1", taker_fee_ppm=-100),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked of the rules."""

    index: int
    action: int
    side: int
    qty: int
    limit: int
    age_ns: int
    confidence_ppm: int
    repeated: bool


class Case:
    """One random state, as the core holds it."""

    def __init__(self, rng: np.random.Generator, base: np.ndarray, box: np.ndarray) -> None:
        self.rng, self.config, self.box = rng, base.copy(), box
        self.n = int(base["n_instruments"][0])
        self.state = np.zeros(1, STATE)
        self._limits()
        self._positions()
        self._risk()
        self.order = self._order()
        if rng.random() < 0.8:
            self._to_the_limit()

    def _pick(self, *values: int) -> int:
        return int(self.rng.choice(values))

    def _mostly(self, usual: int, *values: int) -> int:
        """``usual`` nine times out of ten: a state that an early rule refuses says nothing about the later ones."""
        return usual if self.rng.random() < 0.9 else self._pick(*values)

    def _between(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def _limits(self) -> None:
        row, most = self.config[0], 3 * PPM if self.config[0]["is_margin"] else PPM
        for name in ("asset_cap_ppm", "total_cap_ppm"):
            row[name] = self._pick(1, self._between(1, most), self._between(1, most), most)
        row["min_confidence_ppm"] = self._mostly(0, self._between(0, PPM))
        row["prediction_ttl_ns"] = self._mostly(60_000_000_000, 0)
        row["price_band_ppm"] = self._mostly(PPM, 1, self._between(1, PPM))
        row["max_orders_per_hour"] = self._pick(0, 1, 3, 60, 256)
        row["cooldown_ns"] = self._pick(0, 60_000_000_000)
        row["slippage_ppm"] = self._pick(0, 100, 12_345)
        row["deleverage_ppm"] = self._mostly(PPM, self._between(1, PPM))
        row["n_groups"] = self._pick(0, 1, 2, 3)
        for group in row["groups"][: int(row["n_groups"])]:
            group["is_cluster"], group["members"] = self._pick(0, 1), self._between(1, 2**self.n - 1)
            group["cap_ppm"] = self._pick(self._between(1, most), most, most)
        row["fee_guard_ppm"] = self._mostly(0, 999, 1000, 1001)
        row["fee_budget_day_ppm"] = self._mostly(0, self._between(1, PPM))
        row["depth_share_ppm"] = self._mostly(0, self._between(1, PPM))
        row["turnover_minute_ppm"] = self._mostly(0, self._between(1, 3 * PPM))
        row["max_signals_per_hour"] = self._pick(0, 0, 1, 2)
        row["max_signals_per_hour_high"] = self._pick(0, 0, 1, 2)
        for k in range(self.n):
            row["markets"][k]["allowed"] = int(self.rng.random() < 0.98)
            row["markets"][k]["capacity_lots"] = self._mostly(0, self._between(1, 2000))

    def _positions(self) -> None:
        account = self.state[0]["account"]
        account["now_ns"], account["next_order_id"] = NOW_NS, 7
        account["cash"] = self._pick(0, self._between(1, 10**6), self._between(1, 10**12), 10**13)
        is_margin = self.config[0]["is_margin"] == 1
        for k in range(self.n):
            market, position = self.config[0]["markets"][k], self.state[0]["positions"][k]
            position["price"] = self._pick(1, self._between(1, 1000), self._between(1, 100_000))
            position["mark2"] = 2 * position["price"] + self._pick(0, 1)
            tick_value = int(position["price"]) * int(market["instrument"]["value_num"])
            most = 10**13 * int(market["unit_den"]) // tick_value  # base units of a position of 100,000 quote
            units = self._pick(0, 0, self._between(0, 1000), self._between(0, most))
            position["base_units"] = -units if is_margin and self.rng.random() < 0.4 else units
            position["previous_close"] = self._mostly(int(position["price"]), 0, self._between(1, 100_000))
            position["view"]["bar"]["close"] = position["price"]
            position["exit_ns"] = self._mostly(0, NOW_NS - self._between(0, 10**11))
            position["status"] = self._mostly(0, MarketStatus.TRADING, MarketStatus.HALT)
            position["status_until_ns"] = self._pick(0, NOW_NS - 1, NOW_NS, NOW_NS + 1)
            for name in ("bid", "ask", "bid_qty", "ask_qty"):
                position["view"][name] = self._pick(0, self._between(1, 5000))
            self._pending(k)
        self._value()

    def _pending(self, k: int) -> None:
        orders = self.state[0]["orders"][k]
        orders["live"] = self._pick(0, 0, 1, 2, 7, self._mostly(3, 8))
        for slot in orders["slots"][: orders["live"]]:
            slot["order_id"], slot["state"] = self._between(1, 6), OrderState.NEW
            slot["side"] = self._pick(Side.BUY, Side.SELL)
            slot["qty"] = self._between(2, 2000)
            slot["filled"] = self._pick(0, 1)
            slot["price"] = self._between(1, 2000)

    def _value(self) -> None:
        """Bring up to date what follows from holdings, marks and cash."""
        account = self.state[0]["account"]
        account["holdings"] = 0
        for k in range(self.n):
            position, market = self.state[0]["positions"][k], self.config[0]["markets"][k]
            position["value"] = portfolio.units_value(market, int(position["mark2"]), int(position["base_units"]))
            portfolio.hold(self.config[0], self.state[0], k)
            account["holdings"] += position["value"]
        account["equity"] = account["cash"] + account["holdings"]

    def _risk(self) -> None:
        risk = self.state[0]["risk"]
        risk["state"] = self._mostly(0, 1, 2, 3)
        risk["circuit_until_ns"] = self._mostly(0, NOW_NS - 1, NOW_NS, NOW_NS + 1)
        for name in ("day_stopped", "week_stopped", "total_stopped"):
            risk[name] = int(self.rng.random() < 0.03)
        if self.rng.random() < 0.2:
            risk["failures"], risk["probe_id"] = self.config[0]["circuit_failures"], 999
            slot = self.state[0]["orders"][0]["slots"][0]
            slot["order_id"], slot["state"] = 999, self._pick(OrderState.PENDING_NEW, OrderState.NEW)
        for name, times in (("signals", "signal_ns"), ("signals_high", "signal_high_ns")):
            risk[name] = self._pick(0, 1, 2, 5)
            risk[times][:5] = np.sort(NOW_NS - HOUR_NS + self.rng.integers(-2, 3, 5))
        risk["day_equity"], risk["day_fees"] = 10**13, self._pick(0, self._between(0, 10**12))
        risk["seconds"]["number"][0] = NOW_NS // 10**9 - self._pick(0, 60, 61)
        risk["seconds"]["amount"][0] = self._pick(0, self._between(1, 10**13))
        risk["submitted"] = self._pick(0, 1, 2, 3, 59, 60, 61, 300)
        ages = np.sort(self.rng.integers(0, 2 * HOUR_NS, size=int(risk["submitted"])))[::-1]
        for number, age in enumerate(ages):
            risk["submit_ns"][number % 256] = NOW_NS - age

    def _order(self) -> Order:
        k = self._between(0, self.n - 1)
        lots, market = abs(int(self.state[0]["positions"][k]["view"]["lots"])), self.config[0]["markets"][k]
        reduces = self.rng.random() < 0.3
        side = Side.SELL if (reduces or self.config[0]["is_margin"]) and self.rng.random() < 0.7 else Side.BUY
        price = int(self.state[0]["positions"][k]["price"])
        limit = self._mostly(self._pick(0, price), price + 1, self._between(1, 10**5), int(market["price_max"]) + 1)
        tick_value = max(price, min(limit, 100_000)) * int(market["instrument"]["value_num"])
        fits = max(1, 10**15 * int(market["instrument"]["value_den"]) // tick_value)  # lots worth ten million quote
        qty = self._pick(max(lots, 1), self._between(1, 2000), self._between(1, fits))
        qty = self._mostly(qty, 0, 1, int(market["lots_max"]) + 1)
        return Order(
            index=k,
            action=Action.REDUCE if reduces else Action.OPEN,
            side=side,
            qty=qty if qty > int(market["lots_max"]) else min(qty, fits),
            limit=limit,
            age_ns=self._mostly(0, 59_999_999_999, 60_000_000_000, 60_000_000_001),
            confidence_ppm=self._mostly(PPM, self._between(0, PPM)),
            repeated=bool(self.rng.random() < 0.03),
        )

    def _to_the_limit(self) -> None:
        """Move the state so that one rule is at its limit, a unit inside or a unit beyond."""
        config, state, off = self.config[0], self.state[0], self._pick(-1, 0, 1)
        order, k = self.order, self.order.index
        position, risk, market = state["positions"][k], state["risk"], config["markets"][k]
        name = str(
            self.rng.choice(
                [
                    "cash",
                    "cash",
                    "asset",
                    "total",
                    "group",
                    "group",
                    "margin",
                    "long",
                    "notional",
                    "band",
                    "rate",
                    "cool",
                    "lots",
                    "fees",
                    "depth",
                    "turnover",
                ]
            )
        )
        price = order.limit if order.limit > 0 else int(position["price"])
        usable = 1 <= order.qty <= market["lots_max"] and 1 <= price <= market["price_max"]
        if name == "long":
            side = self._pick(Side.SELL, order.side)
            held = int(position["view"]["lots"]) * (1 if side == Side.SELL else -1)
            free = held - exposure.pending_lots(state, k, side)
            self.order = Order(k, order.action, side, max(0, free + off), *_rest(order))
        elif name == "depth":
            market["capacity_lots"] = max(1, order.qty + off) if order.qty < 10**15 else 0
        elif name == "lots":
            market["instrument"]["min_lots"] = max(0, order.qty + off) if order.qty <= 10**6 else 0
        elif name == "band":
            move, band = abs(price - int(position["previous_close"])), int(config["price_band_ppm"])
            position["previous_close"] = max(1, move * PPM // band + off)
        elif name == "rate" and config["max_orders_per_hour"] > 0:
            risk["submitted"] = int(config["max_orders_per_hour"])
            risk["submit_ns"][0] = NOW_NS - HOUR_NS + off
        elif name == "cool":
            config["cooldown_ns"] = 60_000_000_000
            position["exit_ns"] = NOW_NS - int(config["cooldown_ns"]) + off
        elif usable:
            self._amount_to_the_limit(name, price, off)

    def _amount_to_the_limit(self, name: str, price: int, off: int) -> None:
        config, state, order, k = self.config[0], self.state[0], self.order, self.order.index
        market, account = config["markets"][k], self.state[0]["account"]
        value = rules.units.notional(market["instrument"], price, order.qty, rules.UP)
        if name == "notional":
            market["instrument"]["min_notional"] = max(0, value + off)
            return
        if name in ("fees", "turnover"):
            self._spent_to_the_limit(name, int(value), off)
            return
        if name == "cash":
            short = exposure.buy_cost(config, k, price, order.qty) - exposure.free_cash(config, state)
            account["cash"] += short + off
            config["asset_cap_ppm"] = config["total_cap_ppm"] = 3 * PPM if config["is_margin"] else PPM
        else:
            mine = int(exposure.side_exposure(config, state, k, order.side)) + int(value)
            cap = int(config["asset_cap_ppm"])
            if name == "total":
                mine = max(mine, int(exposure.side_exposure(config, state, k, 3 - order.side)))
                mine, cap = mine + int(exposure.others_exposure(config, state, k)), int(config["total_cap_ppm"])
            elif name in ("group", "margin"):
                mine = max(mine, int(exposure.side_exposure(config, state, k, 3 - order.side)))
                cap = self._far_cap(name)
                members = int(config["groups"][0]["members"]) if name == "group" else 2**self.n - 1
                mine += int(exposure.members_exposure(config, state, k, members))
            wanted = -(-max(0, mine) * PPM // cap) + off  # the equity at which the cap is what is asked for
            if wanted < 10**17:
                account["cash"] += wanted - int(account["equity"])
        self._value()

    def _far_cap(self, name: str) -> int:
        """The cap that "group" or "margin" is to stand at; the caps before it are as wide as they can be."""
        config, most = self.config[0], 3 * PPM if self.config[0]["is_margin"] else PPM
        config["asset_cap_ppm"] = config["total_cap_ppm"] = most
        if name == "margin":
            config["n_groups"], config["leverage_ppm"] = 0, PPM
            return int(config["deleverage_ppm"])
        config["n_groups"] = 1
        config["groups"][0]["members"] |= 1 << self.order.index
        config["groups"][0]["cap_ppm"] = max(1, int(config["groups"][0]["cap_ppm"]))
        return int(config["groups"][0]["cap_ppm"])

    def _spent_to_the_limit(self, name: str, value: int, off: int) -> None:
        config, state, risk = self.config[0], self.state[0], self.state[0]["risk"]
        if name == "fees":
            config["fee_budget_day_ppm"] = 1000
            fee = exposure.expected_fee(config, self.order.index, value) + exposure.pending_fees(config, state)
            risk["day_fees"] = max(0, 10**10 - int(fee) + off)
            return
        config["turnover_minute_ppm"] = 2 * PPM
        most = max(0, int(state["account"]["equity"])) * 2
        risk["seconds"]["number"][0] = NOW_NS // 10**9 - 60
        risk["seconds"]["amount"][0] = max(0, most - int(exposure.all_pending(config, state)) - value + off)

    def runtime(self) -> str:
        """The core's verdict: the refusing rule's name, or an empty text."""
        order = self.order
        self.box[0]["count"] = 0
        found = rules.refusal(
            self.config[0], self.state[0], self.box[0], order.index, order.action, order.side, order.qty, order.limit,
            order.age_ns, order.confidence_ppm, order.repeated,
        )  # fmt: skip
        return "" if found == 0 else Reason(int(found)).name

    def checks(self) -> dict[int, tuple[int, ...]]:
        """The CHECK records of the last verdict, by reason."""
        records = self.box[0]["records"][: self.box[0]["count"]].view(CHECK)
        return {record[5]: record for record in records.tolist()}


def _rest(order: Order) -> tuple[Any, ...]:
    return order.limit, order.age_ns, order.confidence_ppm, order.repeated


class Database:
    """The schema, holding nothing but the journal's end; each case is inserted and taken back."""

    def __init__(self, instruments: tuple[Instrument, ...]) -> None:
        self.instruments = instruments
        self.connection = sqlite3.connect(":memory:", isolation_level=None)
        for name, sql in OBJECTS.items():
            if name not in _UNTIED:
                past = "BEFORE INSERT ON approval WHEN NEW.order_id > 0\nBEGIN"
                self.connection.execute(sql.replace("BEFORE INSERT ON approval\nBEGIN", past))
        insert_batch(self.connection, 0, bytes(640), bytes(32))

    def verdict(self, case: Case, said: Judged) -> tuple[str, dict[str, int]]:
        """What the database says to the case's order, and the row it was asked for."""
        self.connection.execute("BEGIN")
        try:
            row = self._fill(case, said)
            self.insert("approval", tuple(row.values()))
        except sqlite3.IntegrityError as error:
            return str(error), row
        finally:
            self.connection.execute("ROLLBACK")
        return "", row

    def insert(self, table: str, values: tuple[Any, ...]) -> None:
        self.connection.execute(_INSERT[table], (1, *values))

    def _fill(self, case: Case, said: Judged) -> dict[str, int]:
        """Insert what the account owns, owes and waits for; the row of its order."""
        state, order = case.state[0], case.order
        ledger = Ledger(self.instruments, "USDT", 0, case.config)
        standing = ledger.standing
        held = [("USDT", int(state["account"]["cash"]))]
        held += [(item.base, int(state["positions"][k]["base_units"])) for k, item in enumerate(self.instruments)]
        ledger._opening = [
            (account, asset, sign * units)
            for asset, units in held
            for account, sign in (("holdings", 1), ("equity", -1))
        ]
        session = (0, 0, int(Kind.SESSION), *[0] * 9)
        for table, values in ledger._take(0, session) if any(units for _, units in held) else ledger._setup():
            ledger.counts[table] += 1
            self.insert(table, values)
        for k in range(len(self.instruments)):
            position = state["positions"][k]
            standing.marks2[k] = int(position["mark2"])
            standing.closes[k] = [int(position["previous_close"]), int(position["view"]["bar"]["close"])]
            self._pending(case, ledger, k)
        self._risk(case, ledger)
        for table, values in standing.valuations(SEQ):
            self.insert(table, values)
        self.insert("signal", (SEQ, "PREDICTION", order.index, NOW_NS, NOW_NS))
        return standing.approval(SEQ, _intent(order), SEQ, said)

    def _pending(self, case: Case, ledger: Ledger, k: int) -> None:
        standing = ledger.standing
        live = int(case.state[0]["orders"][k]["live"])
        standing.live[k] = live
        for side in (Side.BUY, Side.SELL):
            lots = value = cost = 0
            for slot in case.state[0]["orders"][k]["slots"][:live].tolist():
                if slot[1] == side:
                    left = slot[4] - slot[5]
                    made = standing._amounts(ledger.markets[k], slot[7], left)
                    lots, value = lots + left, value + made["notional"]
                    cost += made["worst_value"] + made["expected_fee"]
            standing.sides[k, side] = [lots, value]
            standing.account_cost += cost if side == Side.BUY else 0
            sums = (lots, value, live, standing.account_cost)
            self.insert("reservation", (2 * k + side, SEQ, 1, k, side, 1, 1, 0, 0, 0, *sums))

    def _risk(self, case: Case, ledger: Ledger) -> None:
        """The risk state, the daily stop and the circuit by the records that lead to them; the orders of the past."""
        risk, standing = case.state[0]["risk"], ledger.standing
        until = int(risk["circuit_until_ns"])
        opened = until - limits_of(case.config)["circuit_open_ns"]
        records = [(NOW_NS, Reason.OPERATOR_HALT, 0, int(risk["state"]))]
        records += [(opened, Reason.CIRCUIT_OPEN, int(risk["state"]), int(risk["state"]))] * (until > 0)
        for reason, name in (
            (Reason.DAILY_STOP, "day_stopped"),
            (Reason.WEEKLY_STOP, "week_stopped"),
            (Reason.TOTAL_LOSS_FLATTEN, "total_stopped"),
        ):
            records += [(NOW_NS, reason, int(risk["state"]), int(risk["state"]))] * int(risk[name])
        for number, (at_ns, reason, before, after) in enumerate(records):
            record = (at_ns, at_ns, int(Kind.RISK), 0, 0, int(reason), 0, before, after, int(Metric.NONE), 0, 0)
            for table, values in standing.on_risk(number, record):
                self.insert(table, values)
        submitted, most = int(risk["submitted"]), int(case.config[0]["max_orders_per_hour"])
        for number in range(max(0, submitted - 256), submitted):
            standing.submitted_ns.append(int(risk["submit_ns"][number % 256]))
        standing.known = set(range(submitted))
        for number in {submitted, submitted + 1 - most} if most else {submitted}:
            if 1 <= number <= submitted:
                self._past(number, int(risk["submit_ns"][(number - 1) % 256]))

    def _past(self, number: int, decision_ns: int) -> None:
        table = next(item for item in LEDGER if item.name == "approval")
        row = dict.fromkeys(table.names[1:], 0)
        row |= {
            "order_id": -number,
            "n": number,
            "seq": 10**6 + number,
            "signal": SEQ,
            "side": 1,
            "action": 1,
            "qty": 1,
        }
        row |= {"valued_price": 1, "decision_ns": decision_ns, "earliest_ns": decision_ns + 1}
        if not self.connection.execute("SELECT 1 FROM signal").fetchone():
            self.insert("signal", (SEQ + 1, "TIMER", 0, 0, 0))
        self.insert("approval", tuple((row | {"signal": SEQ + 1}).values()))


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


def _intent(order: Order) -> tuple[int, ...]:
    head = (NOW_NS, NOW_NS, int(Kind.INTENT), int(order.side), order.index, 0, int(order.action))
    return (*head, 7, order.limit, order.qty, NOW_NS + 1, 0)


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
