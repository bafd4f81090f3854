"""A random state of an account and one order to judge in it, mostly with one rule exactly at its limit.

A state is an account at an instant: random configuration, holdings, marks, pending orders, risk state, and one order.
Most states are then moved so that one rule stands exactly at its limit, one unit inside or one beyond.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from core import exposure, portfolio, rules
from core.layout import STATE
from core.records import CHECK, HOUR_NS, PPM, Action, MarketStatus, OrderState, Reason, Side

NOW_NS = 1_700_000_000_000_000_000


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
