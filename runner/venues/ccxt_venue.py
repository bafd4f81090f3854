"""An exchange through ccxt: orders that are never doubled, lost or invented (DESIGN: Venue, Exactly-once orders).

The session submits what its journal holds; what becomes of it comes back as ORDER and FILL records (``drain``,
``events``), with ``health`` saying whether new exposure may be taken and ``findings`` what our books do not explain.
A create is sent once. Everything else is a question, and is asked until it is answered.
"""

import asyncio
import contextlib
import random
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from typing import Any, Final

import numpy as np

from core.errors import BadInput, Refused
from core.instruments import Instrument
from core.records import ACTION_MASK, INTENT, Action, OrderFlag, Reason
from runner.live.link import Backoff
from runner.venues import filters
from runner.venues.filters import Reference
from runner.venues.health import START, TABLE, VENUE, Health
from runner.venues.outbound import Execution, Order, Outbound, Report, Stage
from runner.venues.profiles import PROFILES, Ids
from runner.venues.protocol import AccountSnapshot, Finding, Known, OpenOrder
from runner.venues.reconcile import Reconciler
from runner.venues.rest import Busy, Denied, Endpoint, Rest, Unanswered, VenueError
from runner.venues.settings import HOUR_MS, Keys, Trading
from runner.venues.stream import PrivateStream

CLOCK_SAMPLES: Final = 3
ORDER_TURN: Final = Endpoint("an order", 1, True)
SECOND_NS: Final = 1_000_000_000


class CcxtVenue:
    """One account at one exchange (``protocol.Venue``).

    ``now_ns`` is the clock of this machine; ``reference`` gives an instrument's prices from the session's own feed,
    without it they are asked for before an order.
    """

    def __init__(
        self,
        settings: Trading,
        keys: Keys,
        run_id: str,
        *,
        now_ns: Callable[[], int] = time.time_ns,
        chance: random.Random | None = None,
        reference: Callable[[int], Reference] | None = None,
    ) -> None:
        self._settings, self._clock_ns, self._chance = settings, now_ns, chance or random.Random()
        self._reference, self._references = reference, {}  # type: tuple[Any, dict[int, tuple[float, Reference]]]
        self._latest_ns = 0
        self.profile = PROFILES[settings.venue]()
        self.ids = Ids(run_id, self.profile)
        self.health = Health(self.now_ns, settings.failures_max)
        self.rest = Rest(
            settings, keys, self.profile.budget(), self.health, self.profile.judge, now_ns=now_ns, chance=self._chance
        )
        self.rest.measure = self._set_clock
        self.outbound = Outbound(self.now_ns)
        self._reconciler = Reconciler(self.profile, self.rest, self.outbound, self.ids, self.health, self._on_missed)
        self.stream = PrivateStream(
            self.profile, self.rest.api, settings, now_ns=self.now_ns, chance=self._chance,
            on_report=self._on_report, on_change=self._wake_up, failed=self._fail,
        )  # fmt: skip
        self._tasks: set[asyncio.Task[None]] = set()
        self._cared: set[int] = set()  # orders with a task
        self._changed, self._wake = asyncio.Event(), asyncio.Event()
        self._error: BaseException | None = None
        self._can_trade, self._table_s, self._closed = False, 0.0, False

    def now_ns(self) -> int:
        """The time, never before what it was."""
        self._latest_ns = max(self._latest_ns, self._clock_ns())
        return self._latest_ns

    # Opening and closing

    async def connect(self, known: Sequence[Known] = ()) -> None:
        """See ``protocol.Venue``. Returns when all lists were compared once; UNKNOWN orders may still be sought."""
        tries = self._settings.tries
        await self._set_clock()
        rights = await self.profile.rights(self.rest, tries)
        if rights.can_withdraw:
            raise Refused(
                f"the {self._settings.venue} key may withdraw or transfer assets; a runner's key must not: make one "
                "with reading and spot trading only"
            )
        self._can_trade = rights.can_trade
        await self._load(tries)
        accept_until_ms = self.rest.venue_ms + self._settings.accept_ms  # whatever was signed before, was before now
        for each in known:
            self.outbound.resume(each.intent, each.client_order_id, each.executions, accept_until_ms)
        await self._reconciler.start()
        await self._reconciler.once()
        self.health.clear(START)
        self._spawn(self.stream.run())
        self._spawn(self._reconcile())
        self._attend()

    async def close(self) -> None:
        """End every task and session. Open orders stay; what was received can still be drained."""
        tasks, self._tasks, self._closed = self._tasks, set(), True
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self.stream.disconnect("closed")
        await self.rest.close()
        self._changed.set()

    async def instruments(self) -> tuple[Instrument, ...]:
        """Raises Refused when the table is older than it may be."""
        if self._is_stale():
            raise Refused(f"the table of instruments is older than {self._settings.table_hours_max} h; connect again")
        return tuple(item.instrument for item in self.profile.listed)

    # Orders

    def submit(self, intent: np.ndarray, client_order_id: str) -> None:
        """See ``protocol.Venue``."""
        self._may_send()
        order = self.outbound.add(intent, client_order_id)
        self._cared.add(order.order_id)
        self._spawn(self._live(order))

    def cancel(self, intent: np.ndarray) -> None:
        """An order that is over is left alone; one whose fate is not known is cancelled once it is found."""
        self._may_send()
        row = intent.view(INTENT)[0]
        if int(row["flags"]) & OrderFlag.STOP:
            raise BadInput(f"order {row['order_id']}: turning an order into a stop is not possible at this venue yet")
        order = self.outbound.orders.get(int(row["order_id"]))
        if order is not None and not order.is_over:
            order.cancel_wanted = True
            self._care(order)

    async def cancel_all(self) -> None:
        """Every order that is not over, and whatever else is open in the instruments."""
        self._may_send()
        for order in self.outbound.live():
            order.cancel_wanted = True
            self._care(order)
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

    @property
    def findings(self) -> list[Finding]:
        """What our books do not explain, oldest first."""
        return self.outbound.findings

    def drain(self) -> np.ndarray:
        """The records since the last call, (n,) RECORD. Raises what ended the venue."""
        if self._error is not None:
            raise self._error
        self._changed.clear()
        return self.outbound.take()

    async def events(self) -> AsyncIterator[np.ndarray]:
        """Records as they come, none of the arrays empty, until the venue is closed."""
        while True:
            records = self.drain()
            if len(records):
                yield records
            elif self._closed:
                return
            else:
                await self._changed.wait()

    # One order's life

    async def _live(self, order: Order) -> None:
        await self._send(order)
        await self._see_to(order)

    async def _send(self, order: Order) -> None:
        reason = await self._obstacle(order)
        left_s = (order.deadline_ns - self.now_ns()) / SECOND_NS if order.deadline_ns else float("inf")
        if reason == Reason.NONE and not await self.rest.turn(ORDER_TURN, max(0.0, left_s)):
            reason = Reason.RATE_LIMIT
        if reason != Reason.NONE:
            self.outbound.refused(order, reason)
            return
        self.outbound.sent(order, self.rest.venue_ms + self._settings.accept_ms)
        try:
            venue_id = await self.profile.create(self.rest, order)
        except Busy:
            self.outbound.refused(order, Reason.RATE_LIMIT)
        except Denied as denied:
            refusal = self.profile.refusal(denied)
            if refusal is None:
                self.outbound.unknown(order)
            else:
                self.outbound.refused(order, refusal)
            if denied.is_clock:
                self._wake_up()
        except Unanswered as unanswered:
            self.health.failed(str(unanswered))
            self.outbound.unknown(order)
        else:
            if venue_id:
                self.outbound.acked(order, venue_id, self.now_ns())
            else:
                self.outbound.unknown(order)
        self._changed.set()

    async def _obstacle(self, order: Order) -> Reason:
        """Why ``order`` is not sent at all."""
        if self._is_stale():
            self.health.block(TABLE, "the table of instruments is out of date")
            return Reason.STALE
        if order.flags & ACTION_MASK == Action.OPEN and not self.health.may_trade:
            return Reason.CIRCUIT_OPEN
        if order.cancel_wanted:
            return Reason.CANCEL_STALE
        k = order.instrument
        try:
            prices = await self._prices(k)
        except Denied as denied:
            self.health.failed(str(denied))
            return Reason.MARKET_HALTED
        open_orders = sum(each.instrument == k and each.stage != Stage.NEW for each in self.outbound.live())
        limits = self.profile.listed[k].filters
        return filters.check(limits, order.side, order.price, order.qty, order.flags, prices, open_orders)

    async def _prices(self, k: int) -> Reference:
        if self._reference is not None:
            return self._reference(k)
        now_s = asyncio.get_running_loop().time()
        asked_s, found = self._references.get(k, (float("-inf"), Reference(0)))
        if now_s - asked_s > self._settings.reference_ms / 1000:
            found = await self.profile.reference(self.rest, k)
            self._references[k] = (asyncio.get_running_loop().time(), found)
        return found

    async def _see_to(self, order: Order) -> None:
        """Ask the venue about ``order`` until nothing about it is open but its filling."""
        waits = Backoff(self._settings.wait_first_ms / 1000, self._settings.wait_max_ms / 1000, self._chance)
        try:
            while order.needs_care:
                most_s = float("inf")
                try:
                    if order.stage == Stage.UNKNOWN:
                        most_s = await self._resolve(order)
                    elif order.lacks_fills:
                        await asyncio.sleep(self._settings.settle_ms / 1000)
                        if order.lacks_fills:
                            await self._reconciler.fills_of(order)
                    else:
                        await self._cancel(order)
                except Denied as denied:
                    self.health.failed(str(denied))
                self._changed.set()
                if order.needs_care:
                    await asyncio.sleep(min(most_s, waits.after(0)))
        finally:
            self._cared.discard(order.order_id)

    async def _resolve(self, order: Order) -> float:
        """Look for an order of which nobody knows whether it arrived; seconds until its absence can be told."""
        report = await self.profile.order(self.rest, order.instrument, client_id=order.client_id)
        if report is not None:
            self.outbound.report(report)
            return float("inf")
        venue_ms = await self.profile.time_ms(self.rest)
        left_ms = order.accept_until_ms + self._settings.margin_ms - venue_ms
        if left_ms > 0:
            return left_ms / 1000
        # By the venue's own clock the deadline has passed: what is in none of its lists now will never be.
        if not await self._reconciler.search(order, venue_ms - HOUR_MS):
            self.outbound.absent(order)
        return float("inf")

    async def _cancel(self, order: Order) -> None:
        """Ask for the cancellation, then for what became of the order: the answer to a cancel may be lost like any."""
        if not await self.rest.turn(ORDER_TURN, self._settings.wait_max_ms / 1000):
            return
        try:
            await self.profile.cancel(self.rest, order.instrument, order.client_id)
        except Unanswered as unanswered:
            self.health.failed(str(unanswered))
        except VenueError:
            pass  # refused: it has ended, or there were too many requests; the next answer tells
        report = await self.profile.order(self.rest, order.instrument, venue_id=order.venue_id)
        if report is not None:
            self.outbound.report(report)

    # Around the orders

    async def _reconcile(self) -> None:
        while True:
            period_ms = self._settings.reconcile_ms if self.stream.up_ns else self._settings.poll_ms
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wake.wait(), period_ms / 1000)
            self._wake.clear()
            try:
                if self._table_age_ms() > self._settings.table_hours_max * HOUR_MS / 2:
                    await self._load(0)
                await self._reconciler.once()
                self.health.clear(VENUE)
            except Denied as denied:
                self.health.failed(str(denied))
            self._attend()
            if self.outbound.waiting:
                self._changed.set()

    async def _set_clock(self) -> None:
        """Our clock against the venue's: of a few answers, the one that came soonest."""
        best = (float("inf"), 0)
        for _ in range(CLOCK_SAMPLES):
            sent_ns = self._clock_ns()
            venue_ms = await self.profile.time_ms(self.rest)
            took_ns = self._clock_ns() - sent_ns
            best = min(best, (took_ns, venue_ms - (sent_ns + took_ns // 2) // 1_000_000))
        self.rest.set_clock(best[1])

    async def _load(self, tries: int) -> None:
        before = [item.instrument for item in self.profile.listed]
        after = [item.instrument for item in await self.profile.load(self.rest, self._settings.symbols, tries)]
        self._table_s = asyncio.get_running_loop().time()
        changed = [old.symbol for old, new in zip(before, after, strict=False) if old != new]
        if changed:
            self.findings.append(Finding(kind="instrument", subject=", ".join(changed)))
            self.health.block(TABLE, f"grid or fees of {', '.join(changed)} changed: start again")

    def _table_age_ms(self) -> float:
        return (asyncio.get_running_loop().time() - self._table_s) * 1000

    def _is_stale(self) -> bool:
        return not self.profile.listed or self._table_age_ms() > self._settings.table_hours_max * HOUR_MS

    def _may_send(self) -> None:
        if not self._can_trade:
            raise Refused(f"the {self._settings.venue} key may read only; live trading needs one that may trade")

    def _on_report(self, report: Report) -> None:
        order = self.outbound.report(report)
        if order is None:
            self._wake_up()  # nobody's: the lists will tell whose
        else:
            self._care(order)
        self._changed.set()

    def _on_missed(self, execution: Execution) -> None:
        self.stream.doubt(execution.ts_ns, f"execution {execution.exec_id} was not told")
        self._changed.set()

    def _attend(self) -> None:
        for order in self.outbound.live():
            self._care(order)

    def _care(self, order: Order) -> None:
        if order.needs_care and order.order_id not in self._cared and not self._closed:
            self._cared.add(order.order_id)
            self._spawn(self._see_to(order))

    def _wake_up(self) -> None:
        self._wake.set()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._on_end)

    def _on_end(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()):
            self._fail(error)

    def _fail(self, error: BaseException) -> None:
        self._error = self._error or error
        self.health.block(VENUE, str(error))
        self._changed.set()
