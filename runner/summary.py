"""What a session amounted to, as plain data: for people through ``runner.show``, for programs through ``--json``."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

import numpy as np

from core.instruments import Instrument
from core.records import (
    DECISION,
    FILL,
    ORDER,
    RECORD,
    DecisionFlag,
    Kind,
    OrderState,
    Reason,
    RiskState,
    Side,
)
from runner.ledger import Ledger
from runner.plan import header_instruments

_LAST_DECISIONS: Final = 5
_OF_BOOKS: Final = (Kind.LEVEL, Kind.TRADE, Kind.CLEAR, Kind.STATUS, Kind.TIMER)
_ENDS: Final = (OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)


@dataclass(slots=True)
class Tally:
    """Counts over a record stream, fed batch by batch."""

    kinds: dict[str, int] = field(default_factory=dict)
    decisions: dict[str, int] = field(default_factory=dict)
    order_ends: dict[str, int] = field(default_factory=dict)
    sides: dict[str, int] = field(default_factory=dict)  # of fills
    last_decisions: np.ndarray = field(default_factory=lambda: np.zeros(0, DECISION))
    last_ts: int = 0

    def add(self, records: np.ndarray) -> None:
        """Count ``records``, dtype RECORD."""
        _count(self.kinds, records["kind"], Kind)
        decisions = records[records["kind"] == Kind.DECISION].view(DECISION)
        _count(self.decisions, decisions["reason"], Reason)
        orders = records[records["kind"] == Kind.ORDER].view(ORDER)
        _count(self.order_ends, orders["state"][np.isin(orders["state"], _ENDS)], OrderState)
        _count(self.sides, records[records["kind"] == Kind.FILL].view(FILL)["side"], Side)
        self.last_decisions = np.concatenate([self.last_decisions, decisions])[-_LAST_DECISIONS:]
        if len(records):
            self.last_ts = int(records["ts_known"].max())


def _count(into: dict[str, int], values: np.ndarray, names: type) -> None:
    for value, count in zip(*np.unique(values, return_counts=True), strict=True):
        name = names(int(value)).name
        into[name] = into.get(name, 0) + int(count)


def tally(batches: Iterable[np.ndarray]) -> Tally:
    """Count the records in ``batches``."""
    made = Tally()
    for records in batches:
        made.add(records.astype(RECORD, copy=False))
    return made


def money(units: int, unit: str) -> str:
    """``units`` of size ``unit`` as a decimal, exactly: money(150, "0.01") is "1.50"."""
    return format(units * Decimal(unit), "f")


def summary(
    header: dict[str, Any], counts: Tally, state: np.ndarray, drawdown_ppm: int, ledger: Ledger
) -> dict[str, Any]:
    """The session with ``header`` after ``counts``; ``state`` is the core's, ``drawdown_ppm`` the largest it saw."""
    instruments = header_instruments(header)
    quote, unit = header["trading"]["account"]["quote"], instruments[0].quote_unit
    equity = int(state["account"]["equity"][0])
    opening = -ledger.balances.get(("equity", quote), 0)
    return {
        "run_id": header["run_id"],
        "mode": header["mode"],
        "bundle_id": header["bundle_id"],
        "feed": header["source"],
        "parity": not header["changed"],
        "changed": header["changed"],
        "strategy": "+".join(strategies(header["trading"])),
        "bars": counts.kinds.get("BAR", 0),
        "books": {kind.name: counts.kinds[kind.name] for kind in _OF_BOOKS if kind.name in counts.kinds},
        "predictions": counts.kinds.get("PREDICTION", 0),
        "decisions": dict(sorted(counts.decisions.items(), key=lambda item: -item[1])),
        "intents": counts.kinds.get("INTENT", 0),
        "order_ends": counts.order_ends,
        "fills": counts.kinds.get("FILL", 0),
        "fills_by_side": counts.sides,
        "fees": {
            asset: money(units, _asset_unit(instruments, asset))
            for (account, asset), units in sorted(ledger.balances.items())
            if account == "fees"
        },
        "quote": quote,
        "opening": money(opening, unit),
        "equity": money(equity, unit),
        "net_result": money(equity - opening, unit),
        "drawdown_max_ppm": drawdown_ppm,
        "risk_state": RiskState(int(state["risk"]["state"][0])).name,
        "day_stopped": bool(state["risk"]["day_stopped"][0]),
        "holdings": {
            asset: money(units, _asset_unit(instruments, asset))
            for (account, asset), units in sorted(ledger.balances.items())
            if account == "holdings"
        },
        "positions": _positions(instruments, state, unit),
        "open_orders": _open_orders(instruments, state),
        "last_decisions": [_decision(instruments, item) for item in counts.last_decisions],
        "last_ts_ns": counts.last_ts,
    }


def _asset_unit(instruments: tuple[Instrument, ...], asset: str) -> str:
    return next(
        item.quote_unit if asset == item.quote else item.base_unit
        for item in instruments
        if asset in (item.base, item.quote)
    )


def _positions(instruments: tuple[Instrument, ...], state: np.ndarray, unit: str) -> list[dict[str, str]]:
    rows = []
    for item, position in zip(instruments, state["positions"][0], strict=False):
        if position["base_units"]:
            rows.append(
                {
                    "symbol": item.symbol,
                    "quantity": money(int(position["base_units"]), item.base_unit),
                    "price": money(int(position["price"]), item.tick),
                    "value": money(int(position["value"]), unit),
                }
            )
    return rows


def _open_orders(instruments: tuple[Instrument, ...], state: np.ndarray) -> list[dict[str, Any]]:
    rows = []
    for item, orders in zip(instruments, state["orders"][0], strict=False):
        for order in orders["slots"][: int(orders["live"])]:
            rows.append(
                {
                    "order_id": int(order["order_id"]),
                    "symbol": item.symbol,
                    "side": Side(int(order["side"])).name,
                    "state": OrderState(int(order["state"])).name,
                    "quantity": money(int(order["qty"]), item.lot),
                    "filled": money(int(order["filled"]), item.lot),
                }
            )
    return rows


def strategies(trading: dict[str, Any]) -> tuple[str, ...]:
    """The kinds of the strategies that trade, each once."""
    several = trading.get("strategies") or [trading["strategy"]]
    return tuple(dict.fromkeys(str(item["kind"]) for item in several))


def _decision(instruments: tuple[Instrument, ...], decision: np.void) -> dict[str, Any]:
    return {
        "ts_ns": int(decision["ts_known"]),
        "symbol": instruments[int(decision["instrument"])].symbol,
        "reason": Reason(int(decision["reason"])).name,
        "edge": int(decision["edge"]),
        "cost": int(decision["cost"]),
        "unit": "milliticks" if int(decision["flags"]) & DecisionFlag.MILLITICKS else "ppm",  # of edge and cost
        "size_lots": int(decision["size_lots"]),
    }
