"""Laws every journal must obey, whatever made it. Checked on each replay, over the records alone.

- nothing is known before it happened, and market data never goes back in time;
- no effect precedes its cause: an order is judged by every rule, then sent, then reported or filled; a cancel names an
  order that was sent; a prediction is made from a bar that was seen;
- no look-ahead: an order is filled after it was decided; nothing trades on the warm-up prefix;
- no record is about another account's instruments, no quantity beyond what the arithmetic was proven for;
- no order is sent twice, filled beyond its quantity, or on another side or instrument;
- cash and holdings continue from record to record, on a spot account never below zero, and end as the core's do.

Records are judged whole arrays at a time; only fills and transfers, which move money, one by one, in unbounded
integers written apart from the core's and the ledger's.
"""

from typing import Any, Final

import numpy as np

from core.layout import ORDERS_MAX, STATE
from core.records import (
    ACTION_MASK,
    CHECK,
    FILL,
    FUNDING,
    INTENT,
    ORDER,
    PPM,
    PREDICTION,
    TRANSFER,
    Action,
    FeeAsset,
    Kind,
    PredictionFlag,
    Side,
    Verdict,
)
from core.rules import ALWAYS_SAID
from runner.plan import KERNEL_HASH, header_core
from runner.snapshot import STATE as STATE_PART
from runner.snapshot import Snapshot

_MARKET: Final = (Kind.BAR, Kind.LEVEL, Kind.TRADE, Kind.CLEAR, Kind.TOP)
_NO_INSTRUMENT: Final = (Kind.SESSION, Kind.COMMAND, Kind.TIMER)
_NOT_SENT: Final = np.iinfo(np.int64).max
_SHOWN_MAX: Final = 20  # broken laws that are named; a broken journal breaks them by the thousand

# What is known of an order, by its id.
_ORDER: Final = np.dtype(
    [(name, "<i8") for name in ("row", "side", "instrument", "qty", "known_ns", "checks", "refused", "filled")]
)


class Broken:
    """The laws that were broken, named with the record that broke them, up to a number."""

    def __init__(self) -> None:
        self.named: list[str] = []

    def add(self, record: int, law: str) -> None:
        """Record number ``record`` breaks ``law``."""
        if len(self.named) < _SHOWN_MAX:
            self.named.append(f"record {record}: {law}")

    def add_all(self, records: np.ndarray, law: str) -> None:
        """Each of the record numbers ``records`` breaks ``law``."""
        for record in records[:_SHOWN_MAX].tolist():
            self.add(record, law)


class Orders:
    """Every order's way from its checks to its end: in the order of cause and effect, as what was sent."""

    def __init__(self, least_checks: int, broken: Broken) -> None:
        """``least_checks``: how many CHECK records of ``core.rules.ALWAYS_SAID`` every order has."""
        self._least_checks, self._broken = least_checks, broken
        self._orders = np.zeros(0, _ORDER)  # index: order id
        self._older = 0  # orders below this id were sent before the first record seen

    def begin(self, state: np.void, instruments: int) -> None:
        """The live orders of a checkpoint."""
        self._older = int(state["account"]["next_order_id"])
        self._grow(self._older)
        for index in range(instruments):
            for slot in state["orders"][index]["slots"][:ORDERS_MAX]:
                if slot["order_id"] > 0:
                    order = self._orders[int(slot["order_id"])]
                    order["row"], order["side"], order["instrument"] = -1, slot["side"], index
                    order["qty"], order["filled"] = slot["qty"], slot["filled"]

    def add(self, records: np.ndarray, first: int) -> None:
        """The next ``records``, from number ``first`` on."""
        kinds = records["kind"]
        # The core counts orders from 1 on: an id beyond every record there was is none of its.
        possible = self._older + first + len(records)
        checks = np.flatnonzero((kinds == Kind.CHECK) & (records["a"] > 0))
        intents = np.flatnonzero(kinds == Kind.INTENT)
        sent = intents[records["flags"][intents] & ACTION_MASK != Action.CANCEL]
        wrong = sent[(records["a"][sent] < 1) | (records["a"][sent] > possible)]
        self._broken.add_all(first + wrong, "an order id out of sequence")
        sent = np.setdiff1d(sent, wrong)
        self._grow(int(records["a"][sent].max(initial=0)) + 1)
        order_ids, once = np.unique(records["a"][sent], return_index=True)
        again = np.setdiff1d(sent, sent[once])
        known = self._orders["row"][order_ids] != _NOT_SENT
        self._broken.add_all(first + np.union1d(again, sent[once][known]), "an order is sent twice")
        self._send(records, first, sent[once][~known])
        self._judge(records, first, checks, possible)
        self._ask(records, first, sent[once][~known])
        effects = np.flatnonzero(np.isin(kinds, (Kind.ORDER, Kind.FILL)))
        self._follow(records, first, np.union1d(effects, np.setdiff1d(intents, np.union1d(sent, wrong))))

    def _grow(self, size: int) -> None:
        if size > len(self._orders):
            more = np.zeros(max(size, 2 * len(self._orders)) - len(self._orders), _ORDER)
            more["row"] = _NOT_SENT
            self._orders = np.concatenate([self._orders, more])

    def _send(self, records: np.ndarray, first: int, rows: np.ndarray) -> None:
        intents, orders = records[rows].view(INTENT), self._orders
        at = intents["order_id"]
        orders["row"][at] = first + rows
        orders["known_ns"][at] = intents["ts_known"]
        for name in ("side", "instrument", "qty"):
            orders[name][at] = intents[name]

    def _judge(self, records: np.ndarray, first: int, checks: np.ndarray, possible: int) -> None:
        """What each rule said of an order, and that it said so before the order was sent."""
        made = records[checks].view(CHECK)
        over = (made["flags"] == Verdict.PASS) & (made["value"] > made["limit"])
        self._broken.add_all(first + checks[over], "a rule passed what is above its limit")
        self._grow(int(np.minimum(made["order_id"], possible).max(initial=0)) + 1)
        counted = made["order_id"] < len(self._orders)
        made, checks = made[counted], checks[counted]
        early = first + checks < self._orders["row"][made["order_id"]]
        self._broken.add_all(first + checks[~early], "an order is judged after it was sent")
        always = np.isin(made["reason"], ALWAYS_SAID)  # any other rule may have had nothing to compare
        np.add.at(self._orders["checks"], made["order_id"][early & always], 1)
        np.add.at(self._orders["refused"], made["order_id"][early & (made["flags"] == Verdict.REFUSED)], 1)

    def _ask(self, records: np.ndarray, first: int, sent: np.ndarray) -> None:
        """The rules were asked of an order before it was sent, and none refused it."""
        of = self._orders[records["a"][sent]]
        asked = of["checks"] >= self._least_checks
        self._broken.add_all(first + sent[~asked], "an order is sent that not every rule was asked about")
        self._broken.add_all(first + sent[of["refused"] > 0], "an order is sent that a rule refused")

    def _follow(self, records: np.ndarray, first: int, effects: np.ndarray) -> None:
        """Reports, fills and cancels name an order that was sent before."""
        order_ids = records[effects].view(ORDER)["order_id"]
        inside = (order_ids > 0) & (order_ids < len(self._orders))
        row = np.full(len(effects), _NOT_SENT, np.int64)
        row[inside] = self._orders["row"][order_ids[inside]]
        row[(order_ids > 0) & (order_ids < self._older)] = -1
        for effect in effects[row >= first + effects][:_SHOWN_MAX].tolist():
            name, order_id = Kind(int(records["kind"][effect])).name, int(records["a"][effect])
            self._broken.add(first + effect, f"{name} of order {order_id}, which was never sent before")

    def fill(self, fill: np.void, number: int) -> None:
        """Record ``number``, a FILL that was not said before: it is of the order that was sent, and not before it."""
        order_id = int(fill["order_id"])
        if not 0 < order_id < len(self._orders) or self._orders["row"][order_id] == _NOT_SENT:
            return  # named by ``_follow``
        order = self._orders[order_id]
        order["filled"] += fill["qty"]
        sent_as = (order["side"], order["instrument"])
        laws = (
            (fill["ts_event"] <= order["known_ns"], "filled at or before its decision"),
            ((fill["side"], fill["instrument"]) != sent_as, "filled on another side or instrument"),
            (order["filled"] > order["qty"], "filled beyond its quantity"),
        )
        for is_broken, law in laws:
            if is_broken:
                self._broken.add(number, f"order {order_id} was {law}")


class Account:
    """Cash and holdings in whole units, moved one record after the other."""

    def __init__(self, config: np.void) -> None:
        """``config``: shape (), dtype CONFIG."""
        self._markets = config["markets"]
        self._executions: set[tuple[int, int]] = set()
        self.units = [0] * int(config["n_instruments"])  # base units of each instrument
        self.cash = int(config["initial_cash"])

    def begin(self, state: np.void) -> None:
        """The balances of a checkpoint."""
        self.cash = int(state["account"]["cash"])
        for index in range(len(self.units)):
            self.units[index] = int(state["positions"][index]["base_units"])
            executions = state["executions"][index]
            self._executions |= set(zip(executions["order_ids"].tolist(), executions["exec_ids"].tolist(), strict=True))

    def fill(self, fill: np.void, index: int) -> bool:
        """Book a FILL; False if it was said before: then it moves nothing."""
        execution = int(fill["order_id"]), int(fill["exec_id"])
        if execution in self._executions:
            return False
        self._executions.add(execution)
        grid = self._markets[index]["instrument"]
        qty, fee = int(fill["qty"]), int(fill["fee"])
        amount, den = int(fill["price"]) * qty * int(grid["value_num"]), int(grid["value_den"])
        units, buy = qty * int(grid["lot_units"]), fill["side"] == Side.BUY
        self.cash += -amount // den if buy else amount // den  # a cost is rounded up, proceeds down
        self.units[index] += units if buy else -units
        if fill["flags"] == FeeAsset.BASE:
            self.units[index] -= fee
        else:
            self.cash -= fee
        return True

    def transfer(self, transfer: np.void, index: int) -> None:
        """Book a TRANSFER."""
        if transfer["flags"] == FeeAsset.BASE:
            self.units[index] += int(transfer["amount"])
        else:
            self.cash += int(transfer["amount"])

    def funding(self, funding: np.void, index: int) -> None:
        """Book a FUNDING, rounded against us: up if we pay, down if we receive."""
        market, units, rate = self._markets[index], self.units[index], int(funding["rate_ppb"])
        sign = 1 if (units > 0) == (rate > 0) else -1
        value = sign * int(funding["price"]) * int(market["instrument"]["value_num"]) * abs(units)
        self.cash -= -(-(-(-value // int(market["unit_den"])) * abs(rate)) // (1000 * PPM))


class Invariants:
    """Takes a session's records in order and collects what breaks a law."""

    def __init__(self, header: dict[str, Any], start: Snapshot | None = None) -> None:
        """From the first record, or from ``start`` where the records before it are gone."""
        config, _ = header_core(header)
        self._config = config[0]
        self._n = int(self._config["n_instruments"])
        self._trade_from_ns = int(header.get("trade_from_ns", 0))
        self._count = start.records if start else 0
        self._known = 0  # ts_known of the last market record
        self._bar_ts = np.full(self._n, np.iinfo(np.int64).min, np.int64)  # of each instrument's last bar
        self._broken = Broken()
        self._orders = Orders(len(ALWAYS_SAID) if header.get("kernel_hash") == KERNEL_HASH else 1, self._broken)
        self._account = Account(self._config)
        if start is not None:
            state = start.array(STATE_PART, STATE)[0]
            self._orders.begin(state, self._n)
            self._account.begin(state)
            self._bar_ts[:] = np.iinfo(np.int64).max  # what it was is not kept: no law of predictions before a bar

    @property
    def broken(self) -> list[str]:
        """The laws broken so far, for people."""
        return self._broken.named

    def add(self, records: np.ndarray) -> None:
        """Take the next ``records``, dtype RECORD."""
        kinds = records["kind"]
        self._check_times(records, kinds)
        self._check_bounds(records, kinds)
        self._check_predictions(records, kinds)
        self._orders.add(records, self._count)
        for row in np.flatnonzero(np.isin(kinds, (Kind.FILL, Kind.TRANSFER, Kind.FUNDING))).tolist():
            self._move(records[row : row + 1], self._count + row)
        self._count += len(records)

    def _break(self, rows: np.ndarray, law: str) -> None:
        """``rows`` of the current records break ``law``."""
        self._broken.add_all(self._count + rows, law)

    def _check_times(self, records: np.ndarray, kinds: np.ndarray) -> None:
        self._break(np.flatnonzero(records["ts_known"] < records["ts_event"]), "known before it happened")
        rows = np.flatnonzero(np.isin(kinds, _MARKET))
        if len(rows):
            known = records["ts_known"][rows]
            back = np.flatnonzero(np.diff(known, prepend=self._known) < 0)
            self._break(rows[back], "market data goes back in time")
            self._known = int(known.max())

    def _check_bounds(self, records: np.ndarray, kinds: np.ndarray) -> None:
        """Instruments are this account's; prices and quantities are what the arithmetic was proven for."""
        about = ~np.isin(kinds, _NO_INSTRUMENT)
        self._break(np.flatnonzero(about & (records["instrument"] >= self._n)), "an instrument of another account")
        markets = self._config["markets"][: self._n]
        rows = np.flatnonzero(np.isin(kinds, (Kind.INTENT, Kind.FILL)) & (records["instrument"] < self._n))
        if len(rows):
            moved = records[rows].view(FILL)  # an INTENT has its price and quantity in the same places
            of = moved["instrument"]
            beyond = (np.abs(moved["qty"]) > markets["lots_max"][of]) | (moved["price"] > markets["price_max"][of])
            self._break(rows[beyond], "price or quantity beyond what the account's arithmetic was proven for")

    def _check_predictions(self, records: np.ndarray, kinds: np.ndarray) -> None:
        """A prediction is made from a bar that was seen; none of the warm-up prefix may be traded on."""
        rows = np.flatnonzero((kinds == Kind.PREDICTION) & (records["instrument"] < self._n))
        bars = np.flatnonzero((kinds == Kind.BAR) & (records["instrument"] < self._n))
        made = records[rows].view(PREDICTION)
        for index in np.unique(records["instrument"][np.concatenate([rows, bars])]).tolist():
            of_bars = bars[records["instrument"][bars] == index]
            latest = np.concatenate([self._bar_ts[index : index + 1], records["ts_event"][of_bars]])
            mine = made["instrument"] == index
            seen = latest[np.searchsorted(of_bars, rows[mine])]
            self._break(rows[mine][made["bar_ts"][mine] > seen], "a prediction from a bar that is still to come")
            self._bar_ts[index] = latest[-1]
        early = (made["bar_ts"] <= self._trade_from_ns) & (made["flags"] & PredictionFlag.WARMUP == 0)
        self._break(rows[early], "a prediction of the warm-up prefix that may be traded on")

    def _move(self, record: np.ndarray, number: int) -> None:
        """Book what one record moves."""
        kind, index = record["kind"][0], int(record["instrument"][0])
        if index >= self._n:
            return
        if kind == Kind.TRANSFER:
            self._account.transfer(record.view(TRANSFER)[0], index)
        elif kind == Kind.FUNDING:
            self._account.funding(record.view(FUNDING)[0], index)
        elif self._account.fill(record.view(FILL)[0], index):
            self._orders.fill(record.view(FILL)[0], number)
        if self._config["is_margin"] == 0:
            for held, what in ((self._account.cash, "cash"), (self._account.units[index], f"instrument {index}")):
                if held < 0:
                    self._broken.add(number, f"holdings of {what} are {held}, below zero")

    def check_state(self, state: np.ndarray) -> None:
        """The core's cash and positions are those of the records, to the unit. ``state``: shape (1,), dtype STATE."""
        pairs = [("cash", int(state["account"]["cash"][0]), self._account.cash)] + [
            (f"instrument {index}", int(state["positions"][0][index]["base_units"]), self._account.units[index])
            for index in range(self._n)
        ]
        for what, held, booked in pairs:
            if held != booked:
                self.broken.append(f"{what}: the core holds {held} units, the records give {booked}")
