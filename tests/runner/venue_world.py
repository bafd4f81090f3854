"""A double, an adapter that trades on it, and what must hold between them at the end: in virtual time."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import numpy as np

from core.orders import AFTER, IMPOSSIBLE
from core.records import FILL, INTENT, ORDER, RECORD, Action, FeeAsset, Kind, OrderFlag, OrderState, Side
from runner.venues.ccxt_venue import CcxtVenue
from runner.venues.outbound import Stage
from runner.venues.protocol import Known
from runner.venues.settings import Keys, VenueSettings
from tests.doubles.clock import Clock
from tests.doubles.faults import FaultPlan
from tests.doubles.server import served
from tests.doubles.venues import KEY, build
from tests.doubles.virtual import virtually
from tests.doubles.wire import Double

SYMBOL = "BTC/USDT"
TICKS = 100  # a quote unit
QUICK = {"request_ms": 1500, "wait_max_ms": 4000, "reconcile_ms": 5000, "tries": 100}


class World:
    """``venue`` is the adapter in use; ``records`` what every adapter of this run has told, in order."""

    def __init__(self, double: Double, host: str, now_ns: Callable[[], int], seed: int, **settings: Any) -> None:
        self.double, self.exchange, self.now_ns = double, double.exchange, now_ns
        self._host, self._settings, self._seed = host, settings, seed
        self.records: list[np.ndarray] = []
        self.intents: dict[int, tuple[np.ndarray, str]] = {}
        self.findings: list[Any] = []
        self.skew_ns = 0  # of the adapter's clock
        self.life_ns = 0  # of an order; 0: for ever
        self._since = 0  # the first record of this adapter
        self.venue = self.adapter()

    def adapter(self, **changes: Any) -> CcxtVenue:
        """A new one; the one before is forgotten as a crash would."""
        key = changes.pop("key", KEY)
        settings = VenueSettings(
            venue="binance", symbols=(SYMBOL,), rest_url=f"http://{self._host}", ws_url=f"ws://{self._host}",
            **(QUICK | self._settings | changes),
        )  # fmt: skip
        return CcxtVenue(
            settings, Keys(key.api, key.secret), "run", now_ns=lambda: self.now_ns() + self.skew_ns,
            chance=random.Random(self._seed),
        )  # fmt: skip

    def intend(self, side: int, price: int, qty: int, flags: int = 0, action: int = Action.OPEN) -> int:
        """Make an order durable, as a journal would; its id."""
        order_id, row = len(self.intents) + 1, np.zeros(1, INTENT)
        row["kind"], row["side"], row["flags"] = Kind.INTENT, side, flags | action
        row["order_id"], row["price"], row["qty"] = order_id, price, qty
        row["ts_known"] = self.now_ns()
        row["deadline_ns"] = self.now_ns() + self.life_ns if self.life_ns else 0
        self.intents[order_id] = row, self.venue.ids.of(order_id, row.tobytes())
        return order_id

    def submit(self, order_id: int) -> int:
        """Send a durable order."""
        self.venue.submit(*self.intents[order_id])
        return order_id

    def buy(self, price: int = 49_000 * TICKS, qty: int = 1000, flags: int = 0) -> int:
        """Both."""
        return self.submit(self.intend(Side.BUY, price, qty, flags))

    def sell(self, price: int = 51_000 * TICKS, qty: int = 1000, flags: int = 0) -> int:
        """Both."""
        return self.submit(self.intend(Side.SELL, price, qty, flags, Action.REDUCE))

    def cancel(self, order_id: int) -> None:
        """Ask for a cancellation, as the core does."""
        self.drain()
        if self.state(order_id) >= OrderState.PENDING_CANCEL and self.state(order_id) != OrderState.UNKNOWN:
            return
        self.mark(order_id, OrderState.PENDING_CANCEL)
        row = self.intents[order_id][0].copy()
        row["flags"] = Action.CANCEL
        self.venue.cancel(row)

    def drain(self) -> None:
        """Take what the adapter has told, into the journal."""
        self.records += list(self.venue.drain().reshape(-1, 1))
        self.findings = list(self.venue.findings)

    async def crash(self, **changes: Any) -> None:
        """Drop the adapter as it is, and start another from what is durable."""
        self.drain()
        await self.venue.close()
        self._since = len(self.records)
        self.venue = self.adapter(**changes)
        await self.venue.connect([self.known(order_id) for order_id in self.intents if not self.is_over(order_id)])

    def known(self, order_id: int) -> Known:
        """What the journal holds of an order."""
        intent, client_id = self.intents[order_id]
        fills = dict(self.fills(order_id))
        return Known(intent=intent, client_order_id=client_id, state=self.state(order_id), executions=fills)

    def mark(self, order_id: int, state: OrderState) -> None:
        """The core itself moved an order, as it does when it cancels."""
        row = np.zeros(1, ORDER)
        row["kind"], row["order_id"], row["state"], row["ts_known"] = Kind.ORDER, order_id, state, self.latest_ns()
        self.records.append(row.view(RECORD))

    def latest_ns(self) -> int:
        """When the last record became known."""
        return int(self.records[-1]["ts_known"][0]) if self.records else 0

    def states(self, order_id: int) -> list[tuple[OrderState, int]]:
        """What the core was told of an order: states and reasons."""
        rows = [row.view(ORDER)[0] for row in self.records if row["kind"][0] == Kind.ORDER]
        told = [(OrderState(int(row["state"])), int(row["reason"])) for row in rows if row["order_id"] == order_id]
        return [each for each in told if each[0] != OrderState.PENDING_CANCEL]  # which the core says itself

    def fills(self, order_id: int) -> list[tuple[int, int]]:
        """Execution ids and lots that the core was told."""
        rows = [row.view(FILL)[0] for row in self.records if row["kind"][0] == Kind.FILL]
        return [(int(row["exec_id"]), int(row["qty"])) for row in rows if row["order_id"] == order_id]

    def is_over(self, order_id: int) -> bool:
        """Nothing more is expected."""
        return self.state(order_id) > OrderState.UNKNOWN

    def state(self, order_id: int) -> OrderState:
        """As the core's order state machine has it, which must allow every step."""
        state, filled, qty = OrderState.PENDING_NEW, 0, int(self.intents[order_id][0]["qty"][0])
        for row in self.records:
            if row.view(ORDER)["order_id"][0] != order_id:
                continue
            if row["kind"][0] == Kind.FILL:
                assert state <= OrderState.UNKNOWN, f"a fill of order {order_id} in {state!r}"
                filled += int(row.view(FILL)["qty"][0])
                state = OrderState(int(AFTER[state, OrderState.FILLED if filled >= qty else OrderState.PARTIAL]))
            else:
                after = int(AFTER[state, row.view(ORDER)["state"][0]])
                assert after != IMPOSSIBLE, f"order {order_id}: {state!r} to {row.view(ORDER)['state'][0]}"
                state = OrderState(after)
        return state

    def verify(self) -> None:
        """Orders there == orders meant, each once; fills known == fills there; balances equal; nothing unexplained."""
        self.drain()
        placed = Counter(order.new.client_id for order in self.exchange.orders.values())
        assert max(placed.values(), default=0) <= 1, f"placed twice: {placed}"
        assert not set(placed) - {client_id for _, client_id in self.intents.values()}
        mine = {order.new.client_id: order for order in self.exchange.orders.values()}
        for order_id, (_, client_id) in self.intents.items():
            there = mine.get(client_id)
            assert self.is_over(order_id) == (there is None or not there.is_open), (order_id, self.states(order_id))
            ours = self.venue.outbound.orders.get(order_id)
            assert ours is None or (ours.stage in (Stage.ACKED, Stage.ENDED)) == (there is not None), ours
            assert (there is not None) == any(state == OrderState.NEW for state, _ in self.states(order_id))
        numbers = {client_id: order_id for order_id, (_, client_id) in self.intents.items()}
        true = sorted(
            (numbers[fill.order.new.client_id], fill.id, fill.price, fill.lots, fill.fee,
             FeeAsset.QUOTE if fill.fee_asset == "USDT" else FeeAsset.BASE)
            for fill in self.exchange.fills if fill.order.new.client_id in numbers
        )  # fmt: skip
        told = [row.view(FILL)[0] for row in self.records if row["kind"][0] == Kind.FILL]
        names = ("order_id", "exec_id", "price", "qty", "fee", "flags")
        assert sorted(tuple(int(row[name]) for name in names) for row in told) == true
        known = [int(row["ts_known"][0]) for row in self.records[self._since :]]
        assert known == sorted(known)
        for asset in ("BTC", "USDT"):
            assert self.venue.reconciler.balances[asset] == sum(self.exchange.balance("main", asset)), asset
        assert not self.findings, self.findings


@asynccontextmanager
async def world(now_ns: Callable[[], int], plan: FaultPlan | None = None, seed: int = 0, **settings: Any) -> Any:
    """A world whose adapter is not connected yet."""
    double = build("binance", Clock(now_ns), plan, funds=1_000_000)
    async with served(double) as host:
        made = World(double, host, now_ns, seed, **settings)
        try:
            yield made
        finally:
            await made.venue.close()
    double.verify()


def play(
    script: Callable[[World], Awaitable[None]], plan: FaultPlan | None = None, seed: int = 0, **settings: Any
) -> None:
    """Connect, run ``script``, verify."""

    async def run(now_ns: Callable[[], int]) -> None:
        async with world(now_ns, plan, seed, **settings) as made:
            await made.venue.connect()
            await script(made)
            await asyncio.sleep(15)  # the lists are compared, twice
            made.verify()

    virtually(run)


POST_ONLY, IMMEDIATE = int(OrderFlag.POST_ONLY), int(OrderFlag.IMMEDIATE)
