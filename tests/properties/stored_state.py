"""The schema as judge: whether the row of an order inserts, among what the account owns, owes and waits for.

Two things are taken away from the schema for this: the laws that tie a reservation to one order's history (its sums are
put in as they are), and the rules themselves for orders of the past (negative ids), which only fill the rolling hour.
"""

import sqlite3
from typing import Any

from core.instruments import Instrument
from core.records import Kind, Metric, Reason, Side
from runner.journal_schema import insert_batch
from runner.ledger import Ledger
from runner.schema import LEDGER, OBJECTS
from runner.standing import Judged, limits_of
from runner.store.sqlite import insert
from tests.properties.random_state import NOW_NS, Case, Order

SEQ = 5
_INSERT = {table.name: insert(table) for table in LEDGER}
_UNTIED = ("reservation_continuous", "reservation_of_approval")


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


def _intent(order: Order) -> tuple[int, ...]:
    head = (NOW_NS, NOW_NS, int(Kind.INTENT), int(order.side), order.index, 0, int(order.action))
    return (*head, 7, order.limit, order.qty, NOW_NS + 1, 0)
