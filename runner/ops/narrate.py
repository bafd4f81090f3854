"""From a session's records to what is logged about them: the journal, told as events.

Everything is read from the records, in their order and with their times, so the same journal tells the same story.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from core.book import new_books
from core.marks import BOOK_KINDS, follow
from core.records import (
    ACTION_MASK,
    PPM,
    RECORD,
    Action,
    DecisionFlag,
    Kind,
    Metric,
    OrderState,
    Reason,
    RiskState,
    Side,
    Verdict,
)
from core.rules import RULES
from runner.ops.events import Cancel, Cycle, Event, Filled, OrderEnd, Refusal, RiskChange, Signal
from runner.plan import header_core, header_instruments

Record = tuple[int, ...]  # the seven fields of its head, then a to e
TS_EVENT, TS_KNOWN, KIND, SIDE, INSTRUMENT, REASON, FLAGS = range(7)
BODY: Final = 7

APPROVED: Final = "approved"
_DIGITS: Final = 12  # of prices and quantities: what lies beyond is the float's, not the market's
_REFUSALS: Final = frozenset(int(rule[0]) for rule in RULES)
# An instrument with one of these cannot be traded at that moment: it is not in the universe.
_UNAVAILABLE: Final = frozenset(
    map(int, (Reason.WARMUP, Reason.SIGMA_MISSING, Reason.STALE, Reason.NOT_WHITELISTED, Reason.MARKET_HALTED,
              Reason.BOOK_INVALID))
)  # fmt: skip
_NOTHING_WANTED: Final = _UNAVAILABLE | frozenset(
    map(int, (Reason.NO_EDGE, Reason.HOLD, Reason.ALREADY_LONG, Reason.ALREADY_FLAT, Reason.ALREADY_SHORT,
              Reason.ORDER_IN_FLIGHT))
)  # fmt: skip
_ENDS: Final = (OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED, OrderState.REJECTED)
_TOLD: Final = np.zeros(256, np.bool_)
_TOLD[[Kind.PREDICTION, Kind.ORDER, Kind.FILL, Kind.DECISION, Kind.INTENT, Kind.RISK, Kind.CHECK, Kind.TRANSFER]] = True
_OF_BOOKS: Final = np.zeros(256, np.bool_)
_OF_BOOKS[list(BOOK_KINDS)] = True


@dataclass(slots=True)
class _Cycle:
    """The decisions of one moment, so far."""

    start_ns: int
    reasons: Counter[str] = field(default_factory=Counter)
    risk: Counter[str] = field(default_factory=Counter)
    universe: set[int] = field(default_factory=set)
    candidates: set[int] = field(default_factory=set)
    orders: int = 0


class Narrator:
    """Takes records in their order; gives events. The last cycle comes with ``end``."""

    def __init__(self, header: dict[str, Any], run: str, held: Sequence[int], cycle_ns: int = 0) -> None:
        """``held``: base units of each instrument before the first record. Decisions less than ``cycle_ns`` apart are
        told as one cycle."""
        self._common: dict[str, Any] = {"mode": header["mode"], "run": run}
        self._instruments = header_instruments(header)
        self._config = header_core(header)[0][0]
        self._units = [self._config["markets"][k]["instrument"] for k in range(len(self._instruments))]
        self._lots = [units // int(self._units[k]["lot_units"]) for k, units in enumerate(held)]
        self._ticks = [float(item.tick) for item in self._instruments]
        self._cycle_ns = cycle_ns
        self._cycle: _Cycle | None = None
        self._predictions: dict[int, Record] = {}
        self._checks: dict[int, Record] = {}  # by rule, of the order that is being judged
        self._decision: Record | None = None
        self._orders: dict[int, tuple[float, int]] = {}  # entry price in ticks, when it was decided
        self._books: np.ndarray | None = None
        self._touches = np.zeros((len(self._instruments), 2), np.int64)
        self._risk_state = int(RiskState.NORMAL)

    def tell(self, first: int, records: np.ndarray) -> Iterator[Event]:
        """What ``records``, dtype RECORD and numbered from ``first`` on, say."""
        kinds = records["kind"]
        if _OF_BOOKS[kinds].any():
            self._on_books(records)
        rows = np.flatnonzero(_TOLD[kinds])
        for row, record in zip(rows.tolist(), records[rows].tolist(), strict=True):
            yield from self._one(first + row, record)

    def end(self) -> Iterator[Event]:
        """The cycle that was not told yet."""
        if self._cycle is not None:
            yield self._told(self._cycle)
            self._cycle = None

    def _on_books(self, records: np.ndarray) -> None:
        if self._books is None:
            self._books = new_books(len(self._instruments))
        follow(self._books, records.astype(RECORD, copy=False), self._touches, np.zeros(len(self._touches), np.int64))

    def _one(self, number: int, record: Record) -> Iterator[Event]:
        kind = record[KIND]
        if kind == Kind.PREDICTION:
            self._predictions[record[INSTRUMENT]] = record
        elif kind == Kind.CHECK:
            self._checks[record[REASON]] = record
        elif kind == Kind.DECISION:
            yield from self._on_decision(number, record)
        elif kind == Kind.INTENT:
            yield self._on_intent(number, record)
        elif kind == Kind.FILL:
            yield self._on_fill(number, record)
        elif kind == Kind.ORDER and record[BODY + 1] in _ENDS:
            self._orders.pop(record[BODY], None)
            if record[BODY + 1] == OrderState.FILLED:
                return  # its fills were told
            yield OrderEnd(
                **self._at(number, record), order_id=record[BODY],
                pair=self._pair(record), state=OrderState(record[BODY + 1]).name,
                reason_code=Reason(record[REASON]).name,
            )  # fmt: skip
        elif kind == Kind.RISK:
            yield self._on_risk(number, record)

    def _at(self, number: int, record: Record) -> dict[str, Any]:
        return self._common | {"record": number, "market_ns": record[TS_KNOWN]}

    def _pair(self, record: Record) -> str:
        return self._instruments[record[INSTRUMENT]].symbol

    def _on_decision(self, number: int, record: Record) -> Iterator[Event]:
        reason, index, moment_ns = record[REASON], record[INSTRUMENT], record[BODY]
        cycle = self._cycle
        if cycle is None or moment_ns - cycle.start_ns >= max(1, self._cycle_ns):
            yield from self.end()
            cycle = self._cycle = _Cycle(moment_ns)
        cycle.reasons[Reason(reason).name] += 1
        if reason not in _UNAVAILABLE:
            cycle.universe.add(index)
        if reason not in _NOTHING_WANTED:
            cycle.candidates.add(index)
        self._decision = record
        if reason in _REFUSALS:
            cycle.risk[Reason(reason).name] += 1
            check, self._checks = self._checks.get(reason), {}
            judged = check is not None and check[FLAGS] == Verdict.REFUSED
            yield Refusal(
                **self._at(number, record), pair=self._pair(record), side=Side(record[SIDE]).name,
                reason_code=Reason(reason).name, value=check[BODY + 1] if check and judged else None,
                limit=check[BODY + 2] if check and judged else None,
            )  # fmt: skip

    def _told(self, cycle: _Cycle) -> Cycle:
        why = None
        if not cycle.orders:
            why = cycle.reasons.most_common(1)[0][0] if cycle.reasons else Reason.NONE.name
        return Cycle(
            **self._common,
            market_ns=cycle.start_ns,
            universe=len(cycle.universe),
            candidates=len(cycle.candidates),
            proposals=sum(cycle.risk.values()),
            risk_decisions=dict(cycle.risk),
            no_trade_reason=why,
            reasons=dict(cycle.reasons),
        )

    def _on_intent(self, number: int, record: Record) -> Event:
        checks, self._checks = self._checks, {}
        order_id, reason = record[BODY], Reason(record[REASON]).name
        if record[FLAGS] & ACTION_MASK == Action.CANCEL:
            return Cancel(**self._at(number, record), order_id=order_id, pair=self._pair(record), reason_code=reason)
        if self._cycle is None:
            self._cycle = _Cycle(record[TS_KNOWN])
        self._cycle.orders += 1
        self._cycle.risk[APPROVED] += 1
        return self._signal(number, record, checks)

    def _signal(self, number: int, record: Record, checks: dict[int, Record]) -> Signal:
        index, side, order_id, limit, qty = record[INSTRUMENT], record[SIDE], *record[BODY : BODY + 3]
        judged_at = checks.get(Reason.FILTER_TICK)
        entry = limit or (judged_at[BODY + 1] if judged_at else 0)
        self._orders[order_id] = (float(entry), record[TS_KNOWN])
        opens = record[FLAGS] & ACTION_MASK == Action.OPEN
        tick, prediction = self._ticks[index], self._predictions.get(index)
        params = self._config["markets"][index]["params"]
        take, stop = _leaving(params, entry, prediction) if opens else (0, 0)
        sign = 1 if side == Side.BUY else -1
        age = checks.get(Reason.STALE)
        lat_ms = (age[BODY + 1] if age else 0) / 1e6
        edge, cost = self._edge_ticks(index, entry)
        conf = max(prediction[BODY : BODY + 2]) / PPM if prediction and opens else None
        lot, slip = float(self._instruments[index].lot), int(params["slippage_ppm"])
        return Signal(
            **self._at(number, record),
            order_id=order_id,
            pair=self._instruments[index].symbol,
            side=Side(side).name,
            action=Action(record[FLAGS] & ACTION_MASK).name,
            quantity=round(qty * lot, _DIGITS),
            tier=None if conf is None else _tier(self._config, conf),
            conf=conf,
            entry=round(entry * tick, _DIGITS),
            tp=round((entry + sign * take) * tick, _DIGITS) if take else None,
            sl=round((entry - sign * stop) * tick, _DIGITS) if stop else None,
            rr=take / stop if take and stop else None,
            lat_ms=lat_ms,
            spread_bps=self._spread_bps(index),
            slip_bps=0.0 if limit else slip / 100,
            reason_code=Reason(record[REASON]).name,
            edge_ticks=edge,
            cost_to_take=cost,
            context_mult=_multiplier(self._config, self._risk_state),
            inventory=round(self._lots[index] * lot, _DIGITS),
            latency_ms=lat_ms,
        )

    def _edge_ticks(self, index: int, price: int) -> tuple[float, float]:
        """Edge and cost of the decision an order follows from, in ticks; zeros if it follows from none."""
        decision = self._decision
        if decision is None or decision[INSTRUMENT] != index:
            return 0.0, 0.0
        edge, cost = decision[BODY + 3 : BODY + 5]
        scale = 1000 if decision[FLAGS] & DecisionFlag.MILLITICKS else PPM / max(1, price)
        return edge / scale, cost / scale

    def _spread_bps(self, index: int) -> float | None:
        bid, ask = self._touches[index].tolist()
        return 20_000 * (ask - bid) / (ask + bid) if bid > 0 and ask > 0 else None

    def _on_fill(self, number: int, record: Record) -> Filled:
        index, side, (order_id, price, qty) = record[INSTRUMENT], record[SIDE], record[BODY : BODY + 3]
        entry, decided_ns = self._orders.get(order_id, (0.0, 0))
        sign = 1 if side == Side.BUY else -1
        self._lots[index] += sign * qty
        return Filled(
            **self._at(number, record),
            order_id=order_id,
            exec_id=record[BODY + 4],
            pair=self._instruments[index].symbol,
            side=Side(side).name,
            price=round(price * self._ticks[index], _DIGITS),
            quantity=round(qty * float(self._instruments[index].lot), _DIGITS),
            slip_bps=sign * (price - entry) / entry * 10_000 if entry else None,
            lat_ms=(record[TS_EVENT] - decided_ns) / 1e6 if decided_ns else None,
        )

    def _on_risk(self, number: int, record: Record) -> RiskChange:
        state_from, self._risk_state, metric, value, limit = record[BODY : BODY + 5]
        return RiskChange(
            **self._at(number, record),
            state_from=RiskState(state_from).name,
            state_to=RiskState(self._risk_state).name,
            reason_code=Reason(record[REASON]).name,
            metric=Metric(metric).name,
            value=value,
            limit=limit,
        )


def _tier(config: np.void, conf: float) -> str:
    return "HIGH" if conf * PPM >= int(config["high_confidence_ppm"]) else "STANDARD"


def _multiplier(config: np.void, risk_state: int) -> float:
    """What the risk state leaves of a size."""
    if risk_state == RiskState.CAUTION:
        return int(config["caution_multiplier_ppm"]) / PPM
    return 1.0 if risk_state == RiskState.NORMAL else 0.0


def _leaving(params: np.void, entry: int, prediction: Record | None) -> tuple[int, int]:
    """Distances in ticks of take-profit and stop-loss as ``core.bracket`` reads the settings; 0: none."""
    sigma = -(-max(0, prediction[BODY + 3]) * entry // PPM) if prediction else 0

    def distance(name: str) -> int:
        return int(params[f"{name}_ticks"]) or sigma * int(params[f"{name}_sigma_ppm"]) // PPM

    take, stop = distance("take_profit"), distance("stop_loss")
    if not take and stop and params["reward_risk_ppm"]:
        take = max(1, -(-stop * int(params["reward_risk_ppm"]) // PPM))
    return take, stop
