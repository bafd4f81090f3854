"""How an account stands when it sends an order: what it holds and is worth, what is pending, and the risk state.

Kept from the journal's records alone, in unbounded integers, apart from the compiled core: the rows made here are what
the database recomputes and judges (``runner.store.approvals``). A row that it refuses is a disagreement between core
and ledger, and the commit that carries the order fails.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from core.book import new_books
from core.canonical import canonical_json
from core.instruments import Instrument
from core.layout import RATE_SLOTS
from core.marks import follow
from core.records import (
    ACTION_MASK,
    PPM,
    Action,
    Kind,
    Metric,
    OrderState,
    Reason,
    RiskState,
    Side,
    Verdict,
)
from core.rules import ALWAYS_SAID
from runner.store.accounts import BOUNDS, GRID, LIMITS
from runner.store.contract import INT64_MAX, Row
from runner.store.rules import RULES

Record = tuple[int, ...]  # a RECORD as plain integers: the seven fields of its head, then a to e

_BIT: Final = {int(Reason[rule.name]): 1 << k for k, rule in enumerate(RULES)}
_ENDS: Final = (OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)


@dataclass(frozen=True, slots=True)
class Market:
    """One instrument of an account: its names, grid and proven bounds."""

    symbol: str
    base: str
    quote: str
    grid: dict[str, int]

    def notional(self, price: int, lots: int, *, up: bool) -> int:
        """Quote units of ``lots`` at ``price`` ticks."""
        return _divide(price * self.grid["value_num"] * lots, self.grid["value_den"], up=up)

    def value(self, mark2: int, units: int) -> int:
        """Quote units of ``units`` base units at ``mark2`` half ticks, rounded against us."""
        return mark2 * self.grid["value_num"] * units // (2 * self.grid["unit_den"])


@dataclass(slots=True)
class Pending:
    """An order that may still fill."""

    instrument: int
    side: int
    qty: int
    valued_price: int
    filled: int = 0
    lots: int = 0
    value: int = 0
    cost: int = 0


class Standing:
    """The account's open orders, marks and risk state; makes the rows that depend on them."""

    def __init__(self, limits: dict[str, int], markets: tuple[Market, ...], balance: Callable[[str], int]) -> None:
        """``limits``: by name of ``runner.store.tables.LIMITS``; ``balance(asset)``: units held now."""
        self._limits, self._markets, self._balance = limits, markets, balance
        self.orders: dict[int, Pending] = {}
        self.marks2 = [0] * len(markets)  # twice the price in ticks each position is valued at
        self.closes = [[0, 0] for _ in markets]  # the last two bars' close
        self.touches = [[0, 0] for _ in markets]  # best bid and ask of each book, as last seen whole
        self.books: np.ndarray | None = None  # (instruments,) BOOK; none while the market has sent no book
        self.risk_state, self.circuit_until_ns = int(RiskState.NORMAL), 0
        self.day_stopped = self.week_stopped = self.total_stopped = 0
        self.submitted_ns: deque[int] = deque(maxlen=RATE_SLOTS)
        self.known: set[int] = set()  # orders that were approved
        self.account_cost = 0
        self.sides: dict[tuple[int, int], list[int]] = {  # lots and value of the orders pending
            (k, side): [0, 0] for k in range(len(markets)) for side in (Side.BUY, Side.SELL)
        }
        self.live = [0] * len(markets)
        self._valued: list[tuple[int, int]] = [(0, 0)] * len(markets)  # mark and units last written
        self.values = [0] * len(markets)
        self._checks: dict[int, Record] = {}
        self._signal = -1  # the last one written: several orders may follow from one input
        self._ids = {"valuation": 0, "reservation": 0, "risk_state": 0}
        self._risk_hash = b"\0" * 32

    def on_bar(self, record: Record) -> None:
        """A BAR: its close values the position."""
        instrument, close = record[4], record[10]
        if instrument >= len(self._markets):
            return
        self.marks2[instrument] = 2 * close
        self.closes[instrument] = [self.closes[instrument][1], close]

    def on_books(self, records: np.ndarray) -> None:
        """The LEVEL, CLEAR and TRADE among ``records``, dtype RECORD: a book's mid values the position."""
        if self.books is None:
            self.books = new_books(len(self._markets))
        marks2, touches = np.array(self.marks2, np.int64), np.array(self.touches, np.int64)
        follow(self.books, records, touches, marks2)
        self.marks2, self.touches = marks2.tolist(), touches.tolist()

    def on_check(self, record: Record) -> None:
        """A CHECK: kept until the INTENT it belongs to."""
        self._checks[record[5]] = record

    def on_risk(self, seq: int, record: Record) -> Iterator[Row]:
        """A RISK record becomes a row of its own, chained to the one before."""
        at_ns, reason, (state_from, state_to, metric, value, limit) = record[1], Reason(record[5]), record[7:12]
        self.risk_state = state_to
        if reason in (Reason.DAILY_STOP, Reason.NEW_DAY):
            self.day_stopped = int(reason == Reason.DAILY_STOP)
        if reason in (Reason.WEEKLY_STOP, Reason.NEW_WEEK):
            self.week_stopped = int(reason == Reason.WEEKLY_STOP)
        if reason == Reason.TOTAL_LOSS_FLATTEN:
            self.total_stopped = 1
        if reason == Reason.CIRCUIT_OPEN:
            self.circuit_until_ns = at_ns + self._limits["circuit_open_ns"]
        body = (
            self._next("risk_state"), seq, at_ns, reason.name, state_from, state_to, Metric(metric).name, value, limit,
            self.day_stopped, self.week_stopped, self.total_stopped, self.circuit_until_ns,
        )  # fmt: skip
        self._risk_hash = hashlib.sha256(self._risk_hash + canonical_json(list(body))).digest()
        yield "risk_state", (*body, self._risk_hash)

    def on_order(self, seq: int, record: Record) -> Iterator[Row]:
        """An ORDER report: an order that ended holds nothing back any more."""
        order = self.orders.get(record[7])
        if order is None or order.instrument != record[4] or record[5] == Reason.LATE_CANCEL:
            return
        if record[8] in _ENDS:
            yield self._reserve(seq, record[7], order, is_live=False)

    def on_fill(self, seq: int, record: Record) -> Iterator[Row]:
        """A FILL that was booked: what is left of its order."""
        instrument, side, (order_id, price, qty) = record[4], record[3], record[7:10]
        bid, ask = self.touches[instrument]
        self.marks2[instrument] = bid + ask if bid > 0 and ask > 0 else 2 * price
        order = self.orders.get(order_id)
        if order is None or order.instrument != instrument or order.side != side:
            return
        order.filled += qty
        yield self._reserve(seq, order_id, order, is_live=order.filled < order.qty)

    def on_intent(self, seq: int, record: Record, signal: tuple[int, Record]) -> Iterator[Row]:
        """An INTENT that opens or reduces: its signal, the valuation of the account, its approval, its reservation.

        ``signal``: sequence number and record of the input that led to it.
        """
        checks, self._checks = self._checks, {}
        action = record[6] & ACTION_MASK
        if action == Action.CANCEL:
            return
        order_id, at, said = record[7], signal[0], signal[1]
        if at != self._signal:
            self._signal = at
            yield "signal", (at, Kind(said[2]).name, said[4], said[0], said[1])
        yield from self.valuations(seq)
        checks = {reason: check for reason, check in checks.items() if check[7] == order_id}
        row = self.approval(seq, record, at, Judged.of(checks))
        yield "approval", tuple(row.values())
        self.known.add(order_id)
        self.submitted_ns.append(record[1])
        order = Pending(record[4], record[3], record[9], row["valued_price"])
        self.orders[order_id] = order
        yield self._reserve(seq, order_id, order, is_live=True)

    def valuations(self, seq: int) -> Iterator[Row]:
        """A row for each instrument whose mark or holdings changed since its last one."""
        for k, market in enumerate(self._markets):
            now = (self.marks2[k], self._balance(market.base))
            if now != self._valued[k] and (now[1] or self._valued[k][1]):
                self._valued[k], self.values[k] = now, market.value(*now)
                yield "valuation", (self._next("valuation"), seq, k, *now, self.values[k])

    def approval(self, seq: int, record: Record, signal: int, judged: "Judged") -> dict[str, int]:
        """The row of ``approval`` for the INTENT ``record``, by column; call ``valuations`` first."""
        decision_ns, side, k, limit, qty, deadline_ns = record[1], record[3], record[4], *record[8:11]
        limits, market, action = self._limits, self._markets[k], record[6] & ACTION_MASK
        price = limit if limit > 0 else judged.price
        buying, selling = self.sides[k, Side.BUY][1], self.sides[k, Side.SELL][1]
        cash, held = self._balance(market.quote), self.values[k]
        amounts = self._amounts(market, price, qty)
        others = sum(
            max(self.values[i] + self.sides[i, Side.BUY][1], self.sides[i, Side.SELL][1] - self.values[i])
            for i in range(len(self._markets))
            if i != k
        )
        mine, against = (held + buying, selling - held) if side == Side.BUY else (selling - held, held + buying)
        asset = amounts["notional"] + mine
        return {
            "order_id": record[7],
            "n": len(self.known) + 1,
            "seq": seq,
            "signal": signal,
            "instrument": k,
            "side": side,
            "action": action,
            "qty": qty,
            "price": limit,
            "valued_price": price,
            "decision_ns": decision_ns,
            "earliest_ns": decision_ns + limits["order_latency_ns"],
            "deadline_ns": deadline_ns,
            "event_ns": decision_ns - judged.age_ns,
            "confidence_ppm": judged.confidence_ppm,
            "repeated": judged.repeated,
            "exit_ns": judged.exit_ns(limits["cooldown_ns"]),
            "band_price": limit if limit > 0 else self.closes[k][1],
            "band_reference": self.marks2[k] // 2 if limit > 0 else self.closes[k][0],
            "rate_ns": self._rate_ns(),
            "risk_state": self.risk_state,
            "day_stopped": self.day_stopped,
            "week_stopped": self.week_stopped,
            "total_stopped": self.total_stopped,
            "circuit_until_ns": self.circuit_until_ns,
            "probe_ns": judged.probe_ns,
            "halted": judged.halted,
            "fees_left": judged.fees_left,
            "depth_lots": judged.depth_lots,
            "turnover_left": judged.turnover_left,
            "signal_ns": judged.signal_ns,
            "signal_high_ns": judged.signal_high_ns,
            "equity": cash + sum(self.values),
            "cash": cash,
            "cash_reserved": self.account_cost,
            "lots_held": _towards_zero(self._balance(market.base), market.grid["lot_units"]),
            "lots_pending": self.sides[k, side][0],
            "held_value": held,
            "pending_buy": buying,
            "pending_sell": selling,
            "others": others,
            "live": self.live[k],
            **amounts,
            "exposure_asset": asset,
            "exposure_total": others + max(asset, against),
            "judged": judged.rules,
        }

    def _amounts(self, market: Market, price: int, qty: int) -> dict[str, int]:
        """What an order is worth and may cost; zeros where the filters refuse it, so that nothing overflows."""
        if not (1 <= price <= market.grid["price_max"] and 1 <= qty <= market.grid["lots_max"]):
            return dict.fromkeys(
                ("tick_value", "notional", "worst_price", "worst_value", "expected_fee", "dearest_fee"), 0
            )
        worst = price + _divide(price * self._limits["slippage_ppm"], PPM, up=True)
        worst_value = market.notional(worst, qty, up=True)
        notional, taker_ppm = market.notional(price, qty, up=True), market.grid["taker_fee_ppm"]
        return {
            "tick_value": price * market.grid["value_num"],
            "notional": notional,
            "worst_price": worst,
            "worst_value": worst_value,
            "expected_fee": _fee(worst_value, taker_ppm),
            "dearest_fee": _fee(notional, max(market.grid["maker_fee_ppm"], taker_ppm)),
        }

    def _rate_ns(self) -> int:
        """When the order was sent that must be an hour old before another may be; 0: none."""
        most = self._limits["max_orders_per_hour"]
        return self.submitted_ns[-most] if 0 < most <= len(self.submitted_ns) else 0

    def _reserve(self, seq: int, order_id: int, order: Pending, *, is_live: bool) -> Row:
        """What ``order`` holds back from now on, and the sums of its side, its instrument and the account."""
        lots, value, worst_value, cost = self._amounts_left(order, is_live=is_live)
        side = self.sides[order.instrument, order.side]
        side[0] += lots - order.lots
        side[1] += value - order.value
        self.account_cost += cost - order.cost
        was_live = order.lots > 0
        self.live[order.instrument] += int(is_live) - int(was_live)
        order.lots, order.value, order.cost = lots, value, cost
        if not is_live:
            del self.orders[order_id]
        return "reservation", (
            self._next("reservation"), seq, order_id, order.instrument, order.side, int(is_live), lots, value,
            worst_value, cost, *side, self.live[order.instrument], self.account_cost,
        )  # fmt: skip

    def _amounts_left(self, order: Pending, *, is_live: bool) -> tuple[int, int, int, int]:
        """Lots, their value at the approved price, at the slipped price, and the cash held back."""
        if not is_live:
            return 0, 0, 0, 0
        lots = order.qty - order.filled
        made = self._amounts(self._markets[order.instrument], order.valued_price, lots)
        if order.side == Side.SELL:
            return lots, made["notional"], 0, 0
        return lots, made["notional"], made["worst_value"], made["worst_value"] + made["expected_fee"]

    def _next(self, table: str) -> int:
        self._ids[table] += 1
        return self._ids[table]


@dataclass(frozen=True, slots=True)
class Judged:
    """What the journaled CHECK records of one order say that nothing else does."""

    rules: int  # bit k: rule k passed, or does not apply
    price: int  # ticks the order was valued at
    age_ns: int
    confidence_ppm: int
    repeated: int
    cooled_ns: int  # end of the cool-down, 0: none
    halted: int = 0
    probe_ns: int = 0  # when the circuit lets an entry through
    fees_left: int = INT64_MAX
    depth_lots: int = INT64_MAX
    turnover_left: int = 0
    signal_ns: int = 0
    signal_high_ns: int = 0

    @classmethod
    def of(cls, checks: dict[int, Record]) -> "Judged":
        """From CHECK records by reason. A rule without one compared 0 with 0, or does not apply to the order."""
        bits = 0
        for reason, bit in _BIT.items():
            check = checks.get(reason)
            if check[6] == Verdict.PASS if check is not None else reason not in ALWAYS_SAID:
                bits |= bit

        def value(reason: Reason, default: int) -> int:
            check = checks.get(reason)
            return default if check is None else check[8]

        def most(reason: Reason) -> int:
            """The limit of a CHECK; without one there is none."""
            check = checks.get(reason)
            return INT64_MAX if check is None else check[9]

        turnover = checks.get(Reason.TURNOVER)
        return cls(
            halted=value(Reason.MARKET_HALTED, 0),
            probe_ns=value(Reason.CIRCUIT_OPEN, 0),
            fees_left=most(Reason.FEE_GUARD),
            depth_lots=most(Reason.DEPTH),
            turnover_left=0 if turnover is None else turnover[9] - turnover[8],
            signal_ns=value(Reason.SIGNAL_RATE, 0),
            signal_high_ns=value(Reason.SIGNAL_RATE_HIGH, 0),
            rules=bits,
            price=value(Reason.FILTER_TICK, 0),
            age_ns=value(Reason.STALE, 0),
            confidence_ppm=PPM - value(Reason.LOW_CONFIDENCE, 0),
            repeated=value(Reason.DUPLICATE, 0),
            cooled_ns=value(Reason.COOLDOWN, 0),
        )

    def exit_ns(self, cooldown_ns: int) -> int:
        """When the position was last left; 0: never."""
        return max(0, self.cooled_ns - cooldown_ns)


def groups_of(config: Any) -> list[tuple[int, str, int, int]]:
    """(number, kind, instrument, cap in ppm) of every member of a group in ``config``, shape (1,), dtype CONFIG."""
    row = config[0]
    return [
        (number, "cluster" if group["is_cluster"] else "theme", k, int(group["cap_ppm"]))
        for number, group in enumerate(row["groups"][: int(row["n_groups"])])
        for k in range(int(row["n_instruments"]))
        if int(group["members"]) >> k & 1
    ]


def limits_of(config: Any) -> dict[str, int]:
    """The limits in ``config``, shape (1,), dtype CONFIG."""
    return {name: int(config[name][0]) for name in LIMITS}


def no_limits(cash: int) -> dict[str, int]:
    """The limits of an account that may approve nothing."""
    return dict.fromkeys(LIMITS, 0) | {"initial_cash": cash, "order_latency_ns": 1}


def grid_of(instrument: Instrument, market: Any | None) -> dict[str, int]:
    """Grid and bounds of ``instrument``: those of its element of CONFIG.markets, if there is one."""
    if market is not None:
        return {name: int(market["instrument"][name]) for name in GRID} | {name: int(market[name]) for name in BOUNDS}
    record = instrument.record()
    grid = {name: int(record[name]) for name in GRID} | dict.fromkeys(BOUNDS, 0)
    return grid | {"unit_den": grid["value_den"] * grid["lot_units"]}


def _fee(value: int, rate_ppm: int) -> int:
    return _divide(value * max(0, rate_ppm), PPM, up=True)


def _divide(a: int, b: int, *, up: bool) -> int:
    return -(-a // b) if up else a // b


def _towards_zero(a: int, b: int) -> int:
    return abs(a) // b if a >= 0 else -(abs(a) // b)
