"""On order books the ledger values the account as the core does, record by record, and approves what it quotes."""

import numpy as np
import pytest

from core import book, config, engine, strategies
from core.records import FILL, INTENT, LEVEL, ORDER, RECORD, Action, FeeAsset, Kind, MarketFlag, OrderState, Side
from core.settings import Account, Execution, Risk, Strategy, Trading
from runner import ledger_state
from tests.runner.books import BTC, ETH, SECOND, T0, Books, record, session

SETTINGS = Trading(
    account=Account(profile="margin", initial_cash="1000000", leverage_ppm=3_000_000),
    execution=Execution(order_ttl_ns=3600 * SECOND),
    strategy=Strategy(kind="mm1", order_lots=40, inventory_lots=120),
    risk=Risk(asset_cap_ppm=1_000_000, total_cap_ppm=2_000_000, max_orders_per_hour=0, flatten_daily_loss_ppm=900_000,
              daily_stop_ppm=900_000, caution_drawdown_ppm=700_000, halt_drawdown_ppm=800_000,
              flatten_drawdown_ppm=900_000),
)  # fmt: skip


class Market:
    """A core with two books, a venue that fills at random, and the ledger that is fed the journal of both."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.books = Books(BTC, ETH, settings=SETTINGS)
        self.config = config.build(SETTINGS, (BTC, ETH))
        self.state = engine.new_state(self.config)
        self.core_books = book.new_books(2)
        self.strategy = strategies.get(SETTINGS.strategy.kind)
        self.now, self.exec_id, self.middle = T0, 0, [6_000_000, 300_000]
        self.open: list[np.void] = []
        self.books.post(session())

    def feed(self, one: np.ndarray) -> None:
        """One input to the core; it and what came of it to the ledger; both must agree."""
        out = np.zeros(engine.OUT_PER_INPUT, RECORD)
        count = engine.on_core_record(self.config, self.state, one, out, self.strategy, self.core_books)
        self.books.post(one, out[:count])
        made = out[:count]
        for intent in made[made["kind"] == Kind.INTENT].view(INTENT):
            if intent["flags"] & 0xFF == Action.CANCEL:
                self.open = [item for item in self.open if item["order_id"] != intent["order_id"]]
                self.tell(intent, OrderState.CANCELED)
            else:
                self.tell(intent, OrderState.NEW)
                self.open.append(intent.copy())
        self.agree()

    def tell(self, intent: np.void, state: int) -> None:
        self.feed(record(Kind.ORDER, ORDER, self.now, order_id=intent["order_id"], state=state, side=intent["side"],
                         instrument=intent["instrument"]))  # fmt: skip

    def agree(self) -> None:
        standing, ledger = self.books.ledger.standing, self.books.ledger
        account = self.state[0]["account"]
        assert ledger.balances.get(("holdings", "USDT"), 0) == account["cash"]
        for k in range(2):
            position = self.state[0]["positions"][k]
            assert standing.marks2[k] == position["mark2"]
            assert ledger.lots.units(k) == position["base_units"]
            assert ledger.markets[k].value(standing.marks2[k], ledger.lots.units(k)) == position["value"]
            assert standing.live[k] == self.state[0]["orders"][k]["live"]

    def step(self) -> None:
        self.now += int(self.rng.integers(1, SECOND))
        k = int(self.rng.integers(2))
        roll = self.rng.random()
        if roll < 0.5:
            self.middle[k] += int(self.rng.integers(-3, 4))
            side = int(self.rng.choice([Side.BUY, Side.SELL]))
            price = self.middle[k] + int(self.rng.integers(1, 6)) * (-1 if side == Side.BUY else 1)
            flags = MarketFlag.LAST if self.rng.random() < 0.7 else 0
            qty = int(self.rng.choice([0, 500, 5_000]))
            kind = Kind.CLEAR if self.rng.random() < 0.05 else Kind.LEVEL
            self.feed(record(kind, LEVEL, self.now, side=side, price=price, qty=qty, flags=flags, instrument=k))
        elif roll < 0.75 or not self.open:
            self.feed(record(Kind.TIMER, RECORD, self.now))
        else:
            self.fill(int(self.rng.integers(len(self.open))))

    def fill(self, which: int) -> None:
        intent = self.open[which]
        qty = int(self.rng.integers(1, intent["qty"] + 1))
        self.exec_id += 1
        if qty == intent["qty"]:
            del self.open[which]
        else:
            intent["qty"] -= qty
        self.feed(record(Kind.FILL, FILL, self.now, order_id=intent["order_id"], side=intent["side"],
                         instrument=intent["instrument"], price=intent["price"], qty=qty, fee=int(qty % 7),
                         flags=FeeAsset.QUOTE, exec_id=self.exec_id))  # fmt: skip


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_ledger_follows_books_as_the_core_does(seed: int) -> None:
    market = Market(seed)
    for _ in range(600):
        market.step()
    approvals = market.books.rows(
        "SELECT COUNT(*), SUM(action = 1), SUM(side = 2), COUNT(DISTINCT instrument) FROM approval"
    )
    assert approvals[0][0] > 40 and approvals[0][1] > 20 and approvals[0][2] > 20 and approvals[0][3] == 2
    assert {row[0] for row in market.books.rows("SELECT DISTINCT kind FROM signal")} == {"TIMER"}
    assert market.books.verify().balances == market.books.ledger.balances


def test_one_batch_or_many() -> None:
    """The rows do not depend on where the journal was cut."""
    market = Market(7)
    for _ in range(200):
        market.step()
    whole = Books(BTC, ETH, settings=SETTINGS)
    whole.post(market.books.records)
    for table in ("valuation", "approval", "reservation", "entry"):
        assert whole.rows(f"SELECT * FROM {table}") == market.books.rows(f"SELECT * FROM {table}")


def test_a_snapshot_keeps_the_books() -> None:
    """A ledger restored from its memory in the middle goes on as the one that stayed, to the byte."""
    market = Market(9)
    for _ in range(150):
        market.step()
    again = market.books.empty()
    ledger_state.load(again, ledger_state.dump(market.books.ledger), market.books.connection)
    assert ledger_state.dump(again) == ledger_state.dump(market.books.ledger)
    market.books.ledger = again
    for _ in range(150):
        market.step()
    market.books.verify()
