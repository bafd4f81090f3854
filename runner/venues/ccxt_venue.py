"""An exchange through ccxt: orders that are never doubled, lost or invented (DESIGN: Venue, Exactly-once orders).

The session submits what its journal holds; what becomes of it comes back as ORDER and FILL records (``drain``,
``events``), with ``health`` saying whether new exposure may be taken and ``findings`` what our books do not explain.
A create is sent once. Everything else is a question, and is asked until it is answered.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Final

import numpy as np

from core.errors import BadInput, Refused
from core.instruments import Instrument
from core.records import INTENT, OrderFlag
from runner.venues.care import Care
from runner.venues.filters import Reference
from runner.venues.health import START, TABLE, VENUE, Health
from runner.venues.outbound import Outbound, Report
from runner.venues.profiles import PROFILES, Ids
from runner.venues.protocol import AccountSnapshot, Finding, Known, OpenOrder
from runner.venues.reconcile import Reconciler
from runner.venues.rest import Denied, Rest, VenueError
from runner.venues.settings import Keys, VenueSettings
from runner.venues.stream import PrivateStream
from runner.venues.tables import Listed, Table
from runner.venues.tasks import Tasks
from runner.venues.telling import never_back

CLOCK_SAMPLES: Final = 3
REFRESH: Final = 0.5  # of the age at which the table of instruments is too old


class CcxtVenue:
    """One account at one exchange (``protocol.Venue``).

    ``now_ns`` is the clock of this machine; ``reference`` gives an instrument's prices from the session's own feed,
    without it they are asked for before an order.
    """

    def __init__(
        self,
        settings: VenueSettings,
        keys: Keys,
        run_id: str,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        chance: random.Random | None = None,
        reference: Callable[[int], Reference] | None = None,
    ) -> None:
        self._settings, self._clock_ns = settings, now_ns
        chance, told_ns = chance or random.Random(), never_back(now_ns)
        self.profile = PROFILES[settings.venue]()
        self.ids = Ids(run_id, self.profile)
        self.health = Health(told_ns, settings.failures_max)
        self.rest = Rest(settings, keys, self.profile, self.health, now_ns=now_ns, chance=chance)
        self.rest.measure = self._set_clock
        self.outbound = Outbound(told_ns)
        self.findings = self.outbound.findings  # what our books do not explain, oldest first
        self.reconciler = Reconciler(
            self.profile,
            self.rest,
            self.outbound,
            self.ids,
            self.health,
            lambda each: self.stream.doubt(each.ts_ns, f"execution {each.exec_id} was not told"),
        )
        self._changed, self._wake = asyncio.Event(), asyncio.Event()
        self.stream = PrivateStream(
            self.profile, self.rest.api, settings, now_ns=told_ns, chance=chance,
            on_report=self._on_report, on_change=self._wake.set, failed=self._fail,
        )  # fmt: skip
        self._tasks, self._table = Tasks(self._fail), Table(settings.table_hours_max)
        self._care = Care(
            settings, self.profile, self.rest, self.outbound, self.reconciler, self.health, self._table, self._tasks,
            now_ns=told_ns, chance=chance, reference=reference, changed=self._changed.set, wake=self._wake.set,
        )  # fmt: skip
        self._error: BaseException | None = None
        self._can_trade = False

    # Opening and closing

    async def connect(self, known: Sequence[Known] = ()) -> None:
        """See ``protocol.Venue``. Returns when all lists were compared once; UNKNOWN orders may still be sought."""
        tries = self._settings.tries
        await self._set_clock(tries)
        rights = await self.profile.rights(self.rest, tries)
        if rights.can_withdraw:
            raise Refused(
                f"the {self._settings.venue} key may withdraw or transfer assets; a runner's key must not: make one "
                "with reading and spot trading only"
            )
        self._can_trade = rights.can_trade
        self._table.loaded(_instruments(await self.profile.load(self.rest, self._settings.symbols, tries)))
        accept_until_ms = self.rest.venue_ms + self._settings.accept_ms  # whatever was signed before, was before now
        for each in known:
            self.outbound.resume(each, accept_until_ms)
        await self.reconciler.start()
        await self.reconciler.once()
        self.health.clear(START)
        self._tasks.spawn(self.stream.run())
        self._tasks.spawn(self._reconcile())
        self._care.see_to(*self.outbound.live())

    async def close(self) -> None:
        """End every task and session. Open orders stay; what was received can still be drained."""
        await self._tasks.close()
        self.stream.disconnect("closed")
        await self.rest.close()
        self._changed.set()

    async def instruments(self) -> tuple[Instrument, ...]:
        """Raises Refused when the table is older than it may be."""
        if self._table.is_stale:
            raise Refused(f"the table of instruments is older than {self._settings.table_hours_max} h; connect again")
        return _instruments(self.profile.listed)

    # Orders

    def submit(self, intent: np.ndarray, client_order_id: str) -> None:
        """See ``protocol.Venue``."""
        self._may_send()
        self._care.send(self.outbound.add(intent, client_order_id))

    def cancel(self, intent: np.ndarray) -> None:
        """An order that is over is left alone; one whose fate is not known is cancelled once it is found."""
        self._may_send()
        row = intent.view(INTENT)[0]
        if int(row["flags"]) & OrderFlag.STOP:
            raise BadInput(f"order {row['order_id']}: turning an order into a stop is not possible at this venue yet")
        order = self.outbound.orders.get(int(row["order_id"]))
        if order is not None and not order.is_over:
            order.cancel_wanted = True
            self._care.see_to(order)

    async def cancel_all(self) -> None:
        """Every order that is not over, and whatever else is open in the instruments."""
        self._may_send()
        for order in self.outbound.live():
            order.cancel_wanted = True
        self._care.see_to(*self.outbound.live())
        for k in range(len(self.profile.listed)):
            for report in await self.profile.orders(self.rest, k):
                if self.outbound.find(report.client_id, report.venue_id) is None:
                    try:
                        await self.profile.cancel(self.rest, k, report.client_id)
                    except VenueError as error:
                        self.health.failed(str(error))
        while any(order.cancel_wanted for order in self.outbound.live()):
            await asyncio.sleep(self._settings.wait_first_ms / 1000)

    async def account(self) -> AccountSnapshot:
        """Asked of the venue now."""
        count = range(len(self.profile.listed))
        reports = [report for k in count for report in await self.profile.orders(self.rest, k)]
        executed = [each for k in count for each in await self.profile.executions(self.rest, k)]
        return AccountSnapshot(
            balances=await self.profile.balances(self.rest),
            open_orders=tuple(
                OpenOrder(
                    client_order_id=each.client_id, venue_order_id=each.venue_id, instrument=each.instrument,
                    side=each.side, price=each.price, remaining=each.qty - each.filled,
                )
                for each in reports
            ),
            executions=tuple((each.venue_id, each.exec_id) for each in executed),
        )  # fmt: skip

    # What the session takes

    def drain(self) -> np.ndarray:
        """The records since the last call, (n,) RECORD. Raises what ended the venue."""
        if self._error is not None:
            raise self._error
        self._changed.clear()
        return self.outbound.told.take()

    async def events(self) -> AsyncIterator[np.ndarray]:
        """Records as they come, none of the arrays empty, until the venue is closed."""
        while True:
            records = self.drain()
            if len(records):
                yield records
            elif self._tasks.closed:
                return
            else:
                await self._changed.wait()

    # Around the orders

    async def _reconcile(self) -> None:
        while True:
            period_ms = self._settings.reconcile_ms if self.stream.up_ns else self._settings.poll_ms
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), period_ms / 1000)
            self._wake.clear()
            try:
                if self._table.age() > REFRESH:
                    await self._refresh()
                await self.reconciler.once()
                self.health.clear(VENUE)
            except Denied as denied:
                self.health.failed(str(denied))
            self._care.see_to(*self.outbound.live())
            if self.outbound.told.waiting:
                self._changed.set()

    async def _refresh(self) -> None:
        """Read the table of instruments again, in use."""
        found = _instruments(await self.profile.load(self.rest, self._settings.symbols, 0))
        if changed := ", ".join(self._table.loaded(found)):
            self.findings.append(Finding(kind="instrument", subject=changed))
            self.health.block(TABLE, f"grid or fees of {changed} changed: start again")

    async def _set_clock(self, tries: int = 0) -> None:
        """Our clock against the venue's: of a few answers, the one that came soonest."""
        best = (float("inf"), 0)
        for _ in range(CLOCK_SAMPLES):
            sent_ns = self._clock_ns()
            venue_ms = await self.profile.time_ms(self.rest, tries)
            took_ns = self._clock_ns() - sent_ns
            best = min(best, (took_ns, venue_ms - (sent_ns + took_ns // 2) // 1_000_000))
        self.rest.set_clock(best[1])

    def _may_send(self) -> None:
        if not self._can_trade:
            raise Refused(f"the {self._settings.venue} key may read only; live trading needs one that may trade")

    def _on_report(self, report: Report) -> None:
        order = self.outbound.report(report)
        if order is None:
            self._wake.set()  # nobody's: the lists will tell whose
        else:
            self._care.see_to(order)
        self._changed.set()

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self.health.block(VENUE, str(error))
        self._changed.set()


def _instruments(listed: Sequence[Listed]) -> tuple[Instrument, ...]:
    return tuple(item.instrument for item in listed)
