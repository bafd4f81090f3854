"""The ledger: double entry per asset, derived from the journal's records, in whole units of each asset.

Accounts: ``holdings`` (what we own), ``venue`` (the counterparty), ``fees`` (what it charged), ``funding`` (what
positions paid), ``equity`` (what was paid in or withdrawn), ``adjustment`` (corrections, each with its cause). Every
transaction sums to zero in every asset. A buy of q lots at p ticks::

    quote   holdings -cost    venue +cost         cost = ceil(p q value_num / value_den)
    base    holdings +units   venue -units        units = q lot_units
    fee     holdings -fee     fees  +fee          in the asset the fill names

and a sale the other way round with its proceeds rounded down. The arithmetic is Python's unbounded integers, written
apart from the compiled core's on purpose: the two must agree to the unit. Transactions are hash-chained from the
journal's header on. Lots and trades (``runner.lots``), approvals, reservations and risk states (``runner.standing``)
follow from the same records. All of it is a projection: ``check`` makes it again and compares each row.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from core.canonical import canonical_json
from core.errors import PortcullisError
from core.instruments import Instrument
from core.marks import BOOK_KINDS
from core.records import PPM, FeeAsset, Kind, Side, TransferCause
from runner import schema
from runner.lots import Lots
from runner.standing import Market, Record, Standing, grid_of, groups_of, limits_of, no_limits
from runner.store.contract import Row, Table
from runner.store.sqlite import in_order, insert

PPB: Final = 1000 * PPM
_TAKEN: Final = np.zeros(256, np.bool_)  # by kind: what the ledger is made of
_TAKEN[
    [Kind.SESSION, Kind.FILL, Kind.ORDER, Kind.INTENT, Kind.RISK, Kind.CHECK, Kind.TRANSFER, Kind.FUNDING, Kind.BAR]
] = True
_OF_BOOKS: Final = np.zeros(256, np.bool_)
_OF_BOOKS[list(BOOK_KINDS)] = True
_VALUED: Final = (Kind.FILL, Kind.INTENT, Kind.TRANSFER)  # what needs the marks of its moment
_TABLES: Final[dict[str, Table]] = {table.name: table for table in schema.LEDGER}
_INSERT: Final = {name: insert(table) for name, table in _TABLES.items()}
_NO_INPUT: Final = (-1, (0,) * 12)

Check = Callable[[int, np.ndarray], None]
Delta = tuple[str, str, int]  # account, asset, units


class LedgerBroken(PortcullisError):
    """The stored ledger is not the one the journal gives."""

    exit_code = 51


@dataclass(frozen=True, slots=True)
class Entry:
    """One line: ``delta`` units of ``asset`` on ``account``."""

    id: int
    txn: int
    account: str
    asset: str
    delta: int
    balance_before: int
    balance_after: int


@dataclass(frozen=True, slots=True)
class Transaction:
    """The entries one journal record causes, and the hash chain after them."""

    id: int
    seq: int  # the record's sequence number
    cause: str
    entries: tuple[Entry, ...]
    sha256: bytes


def fill_deltas(fill: Record, market: Market) -> list[Delta]:
    """(account, asset, delta in units) of one FILL of ``market``'s instrument."""
    side, flags, (price, qty, fee) = fill[3], fill[6], fill[8:11]
    units, base, quote = qty * market.grid["lot_units"], market.base, market.quote
    if side == Side.BUY:
        paid, received = (quote, market.notional(price, qty, up=True)), (base, units)
    else:
        paid, received = (base, units), (quote, market.notional(price, qty, up=False))
    fee_asset = base if flags == FeeAsset.BASE else quote
    return [
        ("holdings", paid[0], -paid[1]),
        ("venue", paid[0], paid[1]),
        ("holdings", received[0], received[1]),
        ("venue", received[0], -received[1]),
        ("holdings", fee_asset, -fee),
        ("fees", fee_asset, fee),
    ]


def funding_amount(market: Market, price: int, rate_ppb: int, units: int) -> int:
    """Quote units that a holder of ``units`` base units pays at ``price`` ticks; below 0: receives.

    The notional and then the payment are rounded up if we pay and down if we receive; we pay when holding and rate
    have one sign.
    """
    pays = (units > 0) == (rate_ppb > 0)
    value = _divide(price * market.grid["value_num"] * abs(units), market.grid["unit_den"], up=pays)
    amount = _divide(value * abs(rate_ppb), PPB, up=pays)
    return amount if pays else -amount


class StoredRows:
    """The rows an account has in the ledger's tables, each read once, in order, to be compared with those it should."""

    def __init__(self, connection: sqlite3.Connection, account_id: int, skip: dict[str, int]) -> None:
        """``skip``: how many rows of each table are passed over, as those of a ledger that began at a snapshot."""
        self._cursors = {
            name: connection.execute(in_order(table), (account_id, skip[name])) for name, table in _TABLES.items()
        }

    def compare(self, name: str, want: tuple[Any, ...]) -> None:
        """The next row of the table ``name`` is ``want``. Raises LedgerBroken naming the row and what differs."""
        table, have = _TABLES[name], self._cursors[name].fetchone()
        if have == want:
            return
        row = " ".join(str(want[table.names.index(column)]) for column in (table.order or table.key)[1:])
        if have is None:
            raise LedgerBroken(f"ledger: {name} {row} is missing")
        for column, stored, given in zip(table.names, have, want, strict=True):
            if stored != given:
                shown = (stored.hex()[:16], given.hex()[:16]) if isinstance(given, bytes) else (stored, given)
                raise LedgerBroken(f"ledger: {name} {row}: {column} is {shown[0]}, the journal gives {shown[1]}")

    def end(self, counts: dict[str, int]) -> None:
        """No table holds more than its number of rows in ``counts``. Raises LedgerBroken naming the first that does."""
        for name, cursor in self._cursors.items():
            if (more := len(cursor.fetchall())) > 0:
                raise LedgerBroken(
                    f"ledger: {counts[name] + more} rows of {name} stored, the journal gives {counts[name]}"
                )

    def close(self) -> None:
        """An open cursor would keep the database locked."""
        for cursor in self._cursors.values():
            cursor.close()


class Ledger:
    """Balances after the last transaction; makes, writes and checks the next ones."""

    def __init__(
        self,
        instruments: Sequence[Instrument],
        quote: str,
        cash: int,
        config: np.ndarray | None = None,
        account_id: int = 1,
    ) -> None:
        """``cash`` is the opening balance in units of ``quote``; ``config``: shape (1,), dtype CONFIG.

        Without ``config`` there are no limits, and no order can be approved.
        """
        self._instruments, self._quote, self._account_id = tuple(instruments), quote, account_id
        self._limits = no_limits(cash) if config is None else limits_of(config)
        self._groups = [] if config is None else groups_of(config)
        self._approves = config is not None
        self.markets = tuple(
            Market(item.symbol, item.base, item.quote, grid_of(item, _element(config, k)))
            for k, item in enumerate(self._instruments)
        )
        self._executions: set[tuple[int, int]] = set()  # (order id, execution id) of every fill booked
        self._transfers: set[int] = set()
        self._opening: list[Delta] = [("holdings", quote, cash), ("equity", quote, -cash)]
        self.balances: dict[tuple[str, str], int] = {}
        self.counts = dict.fromkeys(_TABLES, 0)
        self.lots = Lots()
        self.paid_in = 0  # quote units; assets transferred count at their value then
        self.standing = Standing(self._limits, self.markets, self._held)
        self._hash = b""
        self._input = _NO_INPUT
        self._made: list[Transaction] = []

    def start(self, start: bytes) -> None:
        """Begin the chain at the journal header's SHA-256."""
        self._hash = start

    def head(self) -> str:
        """The chain's head, 64 hexadecimal digits."""
        return self._hash.hex()

    @property
    def entry_count(self) -> int:
        return self.counts["entry"]

    @property
    def transaction_count(self) -> int:
        return self.counts["txn"]

    def transactions(self, first: int, records: np.ndarray) -> list[Transaction]:
        """Book the ``records`` that start at sequence number ``first``; the transactions they cause."""
        self._made = []
        for _ in self._rows(first, records):
            pass
        return self._made

    def post(self, connection: sqlite3.Connection, first: int, records: np.ndarray) -> None:
        """Write what ``records`` cause, inside the caller's transaction. Raises sqlite3.Error if a law is broken."""
        for table, values in self._rows(first, records):
            connection.execute(_INSERT[table], (self._account_id, *values))

    @contextmanager
    def checking(self, connection: sqlite3.Connection) -> Iterator[Check]:
        """A function of (number of the first record, records) that books them and compares with the rows stored.

        The rows of each table are read once, in order. Raises LedgerBroken naming the first row that differs, and at
        the end if more rows are stored than the records caused.
        """
        with closing(StoredRows(connection, self._account_id, self.counts)) as stored:

            def check(first: int, records: np.ndarray) -> None:
                for table, values in self._rows(first, records):
                    stored.compare(table, (self._account_id, *values))

            yield check
            stored.end(self.counts)

    def _held(self, asset: str) -> int:
        return self.balances.get(("holdings", asset), 0)

    def _rows(self, first: int, records: np.ndarray) -> Iterator[Row]:
        """The rows that ``records`` cause, in the order in which they are written."""
        inputs = np.flatnonzero(records["kind"] < Kind.DECISION)
        rows = np.flatnonzero(_TAKEN[records["kind"]])
        seen = 0 if _OF_BOOKS[records["kind"]].any() else len(records)  # of the market's books
        for row, record in zip(rows.tolist(), records[rows].tolist(), strict=True):
            if seen < row and record[2] in _VALUED:
                self.standing.on_books(records[seen:row])
                seen = row
            if record[2] == Kind.INTENT:
                before = int(np.searchsorted(inputs, row)) - 1
                if before >= 0:
                    at = int(inputs[before])
                    self._input = (first + at, records[at].item())
            for table, values in self._take(first + row, record):
                self.counts[table] += 1
                yield table, values
        if seen < len(records):
            self.standing.on_books(records[seen:])
        if len(inputs):
            self._input = (first + int(inputs[-1]), records[int(inputs[-1])].item())

    def _take(self, seq: int, record: Record) -> Iterator[Row]:
        kind = record[2]
        if kind == Kind.BAR:
            self.standing.on_bar(record)
        elif kind == Kind.CHECK:
            self.standing.on_check(record)
        elif kind == Kind.ORDER:
            yield from self.standing.on_order(seq, record)
        elif kind == Kind.RISK:
            yield from self.standing.on_risk(seq, record)
        elif kind == Kind.INTENT:
            if self._approves:
                yield from self.standing.on_intent(seq, record, self._input)
        elif kind == Kind.SESSION:
            yield from self._setup()
            self.paid_in += self._opening[0][2]
            yield from self._book(seq, "SESSION", self._opening)
        elif kind == Kind.FILL:
            yield from self._fill(seq, record)
        elif kind == Kind.TRANSFER:
            yield from self._transfer(seq, record)
        else:
            yield from self._funding(seq, record)

    def _setup(self) -> Iterator[Row]:
        """The account, its assets and its markets."""
        profile = "margin" if self._limits["is_margin"] else "spot"
        yield "account", (profile, self._quote, *self._limits.values())
        units = {item.base: item.base_unit for item in self._instruments} | {
            self._quote: self._instruments[0].quote_unit
        }
        for asset, unit in sorted(units.items()):
            yield "asset", (asset, unit)
        for k, market in enumerate(self.markets):
            yield "market", (k, market.symbol, market.base, market.quote, *market.grid.values())
        digest = bytes(32)
        for number, (group, kind, k, cap_ppm) in enumerate(self._groups, 1):
            row = (group, number, kind, k, 1, cap_ppm, 0)
            digest = hashlib.sha256(digest + canonical_json(list(row))).digest()
            yield "member", (*row, digest)

    def _fill(self, seq: int, record: Record) -> Iterator[Row]:
        execution = (record[7], record[11])
        if execution in self._executions:
            return
        self._executions.add(execution)
        executed_ns, known_ns, _, side, k, _, flags, order_id, price, qty, fee, exec_id = record
        market = self.markets[k]
        deltas = fill_deltas(record, market)
        yield from self._book(seq, "FILL", deltas)
        amount = market.notional(price, qty, up=side == Side.BUY)
        fee_asset = market.base if flags == FeeAsset.BASE else market.quote
        approved = int(order_id in self.standing.known)
        units = qty * market.grid["lot_units"]
        yield "fill", (
            self.transaction_count, order_id, exec_id, k, side, price, qty, amount, units, fee, fee_asset, executed_ns,
            known_ns, approved,
        )  # fmt: skip
        moved = {
            asset: sum(d for name, of, d in deltas if name == "holdings" and of == asset) for _, asset, _ in deltas
        }
        txn = self.transaction_count
        yield from self.lots.rows(txn, k, moved[market.base], -moved[market.quote], known_ns)
        yield from self.standing.on_fill(seq, record)

    def _transfer(self, seq: int, record: Record) -> Iterator[Row]:
        """A deposit, withdrawal or correction: into ``equity`` or ``adjustment``, never into profit."""
        known_ns, k, flags, (amount, cause, transfer_id) = record[1], record[4], record[6], record[7:10]
        if transfer_id in self._transfers:
            return
        self._transfers.add(transfer_id)
        market, said = self.markets[k], TransferCause(cause)
        asset = market.base if flags == FeeAsset.BASE else market.quote
        against = "adjustment" if said == TransferCause.ADJUSTMENT else "equity"
        yield from self._book(seq, "TRANSFER", [("holdings", asset, amount), (against, asset, -amount)])
        yield "transfer", (self.transaction_count, transfer_id, said.name, asset, amount, known_ns)
        if asset == market.quote:
            self.paid_in += amount
            return
        before = self.lots.cost(k)
        worth = market.value(self.standing.marks2[k], amount)
        yield from self.lots.rows(self.transaction_count, k, amount, worth, known_ns, at_cost=True)
        self.paid_in += self.lots.cost(k) - before

    def _funding(self, seq: int, record: Record) -> Iterator[Row]:
        known_ns, k, (price, rate_ppb) = record[1], record[4], record[7:9]
        market = self.markets[k]
        units = self._held(market.base)
        amount = funding_amount(market, price, rate_ppb, units)
        if amount == 0:
            return
        deltas = [("holdings", market.quote, -amount), ("funding", market.quote, amount)]
        yield from self._book(seq, "FUNDING", deltas)
        yield "funding", (self.transaction_count, k, price, rate_ppb, units, amount, known_ns)

    def _book(self, seq: int, cause: str, deltas: Sequence[Delta]) -> Iterator[Row]:
        """A transaction of ``deltas``: its entries, then the row that seals them."""
        txn, number, entries = self.transaction_count + 1, self.entry_count, []
        for account, asset, delta in deltas:
            if delta == 0:
                continue
            number += 1
            before = self.balances.get((account, asset), 0)
            self.balances[account, asset] = before + delta
            entries.append(Entry(number, txn, account, asset, delta, before, before + delta))
        body = [txn, seq, cause, [[e.account, e.asset, e.delta, e.balance_after] for e in entries]]
        self._hash = hashlib.sha256(self._hash + canonical_json(body)).digest()
        self._made.append(Transaction(txn, seq, cause, tuple(entries), self._hash))
        for e in entries:
            yield "entry", (e.id, txn, e.account, e.asset, e.delta, e.balance_before, e.balance_after)
        yield "txn", (txn, seq, cause, len(entries), self._hash)


def _element(config: np.ndarray | None, k: int) -> Any:
    return None if config is None else config[0]["markets"][k]


def _divide(a: int, b: int, *, up: bool) -> int:
    return -(-a // b) if up else a // b
