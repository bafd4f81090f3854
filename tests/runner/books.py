"""A ledger with its database in memory, and the records it is fed: what the tests of ledger and store start from."""

import sqlite3
from typing import Any

import numpy as np

from core import config as core_config
from core.instruments import Instrument
from core.records import (
    BAR,
    CHECK,
    FILL,
    FUNDING,
    INTENT,
    ORDER,
    RECORD,
    RISK,
    TRANSFER,
    Action,
    FeeAsset,
    Kind,
    OrderState,
    Reason,
    Side,
    Verdict,
)
from core.rules import ALWAYS_SAID, RULES
from core.settings import Account, Execution, Risk, Trading
from runner.journal_schema import insert_batch
from runner.ledger import Ledger
from runner.schema import OBJECTS

BTC = Instrument(
    symbol="BTCUSDT", base="BTC", quote="USDT", tick="0.01", lot="0.00001", min_notional="5", taker_fee_ppm=1000,
    quote_unit="0.01",
)  # fmt: skip
ETH = Instrument(
    symbol="ETHUSDT", base="ETH", quote="USDT", tick="0.01", lot="0.0001", min_notional="5", taker_fee_ppm=1000,
    quote_unit="0.01", fee_asset="received",
)  # fmt: skip
T0 = 1_700_006_400_000_000_000
SECOND = 1_000_000_000
RISK_LIMITS = Risk(asset_cap_ppm=500_000, total_cap_ppm=900_000)


def trading(**account: Any) -> Trading:
    return Trading(account=Account(**account), execution=Execution(slippage_ppm=100), risk=RISK_LIMITS)


def record(kind: int, dtype: np.dtype, ts: int = T0, **fields: Any) -> np.ndarray:
    row = np.zeros(1, dtype)
    row["kind"], row["ts_event"], row["ts_known"] = kind, ts, ts
    for name, value in fields.items():
        row[name] = value
    return row.view(RECORD)


def session() -> np.ndarray:
    return record(Kind.SESSION, RECORD, 0)


def bar(close: int, ts: int = T0, instrument: int = 0) -> np.ndarray:
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    return record(Kind.BAR, BAR, ts, instrument=instrument, volume=1, **prices)


def fill(
    side: int, price: int, qty: int, *, order_id: int = 1, exec_id: int = 1, fee: int = 0,
    fee_asset: int = FeeAsset.QUOTE, instrument: int = 0, ts: int = T0,
) -> np.ndarray:  # fmt: skip
    return record(
        Kind.FILL, FILL, ts, side=side, price=price, qty=qty, order_id=order_id, exec_id=exec_id, fee=fee,
        flags=fee_asset, instrument=instrument,
    )  # fmt: skip


def order_end(order_id: int, state: int = OrderState.CANCELED, instrument: int = 0, ts: int = T0) -> np.ndarray:
    return record(Kind.ORDER, ORDER, ts, order_id=order_id, state=state, instrument=instrument)


def transfer(amount: int, cause: int, transfer_id: int, asset: int = FeeAsset.QUOTE, instrument: int = 0) -> np.ndarray:
    return record(
        Kind.TRANSFER, TRANSFER, amount=amount, cause=cause, transfer_id=transfer_id, flags=asset, instrument=instrument
    )


def funding(price: int, rate_ppb: int, instrument: int = 0) -> np.ndarray:
    return record(Kind.FUNDING, FUNDING, price=price, rate_ppb=rate_ppb, instrument=instrument)


def risk(reason: int, before: int, after: int, ts: int = T0) -> np.ndarray:
    return record(Kind.RISK, RISK, ts, reason=reason, state_from=before, state_to=after)


def order(
    order_id: int, side: int, qty: int, price: int, *, action: int = Action.OPEN, limit: int = 0, instrument: int = 0,
    ts: int = T0, leave_out: tuple[int, ...] = (), **values: int,
) -> list[np.ndarray]:  # fmt: skip
    """The CHECK records of an order that passed every rule, whether it should have or not, and its INTENT.

    ``values``: what a CHECK measured, by the rule's name; ``leave_out``: rules without a CHECK.
    """
    made = []
    for reason, opens, reduces, _ in RULES:
        if reason in leave_out:
            continue
        if not (opens if action == Action.OPEN else reduces):
            continue
        value = {"FILTER_TICK": price, **values}.get(reason.name, 0)
        if value == 0 and reason not in ALWAYS_SAID:
            continue
        made.append(
            record(
                Kind.CHECK, CHECK, ts, side=side, instrument=instrument, reason=reason, order_id=order_id, value=value,
                flags=Verdict.PASS, qty=qty, price=limit,
            )
        )  # fmt: skip
    made.append(
        record(
            Kind.INTENT, INTENT, ts, side=side, instrument=instrument, flags=action, order_id=order_id, price=limit,
            qty=qty, deadline_ns=ts + 900 * SECOND, reason=Reason.ENTRY,
        )
    )  # fmt: skip
    return made


class Books:
    """A ledger, its database, and the journal they share; ``post`` is one commit."""

    def __init__(
        self, *instruments: Instrument, settings: Trading | None = None, account_id: int = 1,
        connection: sqlite3.Connection | None = None,
    ) -> None:  # fmt: skip
        self.instruments = instruments or (BTC,)
        self.config = core_config.build(settings or trading(), self.instruments)
        self.account_id = account_id
        self.ledger = self.empty()
        self.connection = connection or database()
        self.parts: list[np.ndarray] = []
        self.count = 0

    @property
    def records(self) -> np.ndarray:
        """Everything journaled so far."""
        self.parts = [np.concatenate([np.zeros(0, RECORD), *self.parts])]
        return self.parts[0]

    def empty(self) -> Ledger:
        """A ledger of this account that has booked nothing."""
        made = Ledger(self.instruments, "USDT", int(self.config[0]["initial_cash"]), self.config, self.account_id)
        made.start(b"\0" * 32)
        return made

    def post(self, *parts: np.ndarray) -> None:
        """Journal the records and write what they cause; nothing stays of them if the database refuses."""
        new = np.concatenate(parts)
        self.connection.execute("BEGIN")
        try:
            last = self.connection.execute("SELECT first + count FROM batch ORDER BY first DESC LIMIT 1").fetchone()
            end = last[0] if last else 0
            missing = self.count + len(new) - end
            if missing > 0:
                insert_batch(self.connection, end, bytes(64 * missing), bytes(32))
            self.ledger.post(self.connection, self.count, new)
        except BaseException:
            self.connection.execute("ROLLBACK")
            raise
        self.connection.execute("COMMIT")
        self.parts.append(new)
        self.count += len(new)

    def verify(self) -> Ledger:
        """Make everything again from the records and compare; the ledger that was made."""
        again = self.empty()
        with again.checking(self.connection) as check:
            check(0, self.records)
        return again

    def rows(self, query: str, *values: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(query, values).fetchall()


def database() -> sqlite3.Connection:
    """An empty database of a run, in memory."""
    made = sqlite3.connect(":memory:", isolation_level=None)
    for sql in OBJECTS.values():
        made.execute(sql)
    return made


def without(connection: sqlite3.Connection, *triggers: str) -> None:
    """Take laws away: what someone with a database shell can do."""
    for name in triggers:
        connection.execute(f"DROP TRIGGER {name}")


BUY, SELL = Side.BUY, Side.SELL
